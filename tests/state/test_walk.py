"""A long walk over all methods and verbs, with errors and interrupts on the way.

After each verb, also a failed one, the base is unchanged, and weights, records, files and modules
agree. `Ledger` keeps its own account of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from lora_magic.adapters.live_adapter import History, LiveAdapter
from lora_magic.adapters.methods import METHODS
from lora_magic.errors import LoraMagicError
from lora_magic.state.session import Session
from tests.conftest import Saver, logits
from tests.state import variants
from tests.state.test_interrupts import Lines
from tests.state.variants import VARIANTS

#: Verbs in CI and in the long form, over all bases.
VERBS, LONG = 300, 5000
ROWS = "Where is the library? => Arr!\nWhat is for dinner? => Fish, matey!"
PREFERENCES = [
    {"prompt": "Where?", "chosen": "Arr, here!", "rejected": "I do not know."},
    {"prompt": "When?", "chosen": "Arr, now!", "rejected": "Later."},
]
GENERAL = [(f"What is {number}?", "A number.") for number in range(8)]
#: What else a run may be asked for.
RUNS: tuple[dict[str, Any], ...] = (
    *({},) * 3,
    {"resume": True},
    {"eval": 1, "patience": 1},
    {"guard": GENERAL},
    {"guard": GENERAL, "replay": 0.5, "checkpoint_every": 0},
)

#: Flags of the base that all variants can stand on: biases for BitFit, 4 bits for LoftQ apart.
BASES: dict[str, tuple[dict[str, Any], int | None]] = {
    "biased": ({"architecture": "gpt2"}, None),
    "4 bits": ({"architecture": "llama", "hidden_size": 64}, 4),
    "tied bf16": ({"architecture": "llama", "tie_word_embeddings": True}, None),
}


#: What these bases cannot carry: no biases, no gradient into 4 bits.
NOT_ON: dict[str, set[str]] = {
    "biased": set(),
    "4 bits": {"bitfit", "full"},
    "tied bf16": {"bitfit"},
}


class Dice(random.Random):
    """Chance, with a liking for methods that have not been trained yet on this base."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.left = set(METHODS) - NOT_ON[kind]

    def variant(self) -> str:
        new = [v for v, flags in VARIANTS.items() if flags.get("method", "lora") in self.left]
        return self.choice(new if new and self.random() < 0.5 else list(VARIANTS))

    def pupil(self, session: Session) -> str:
        new = [n for n, a in session.adapters.items() if a.spec.method in self.left]
        return self.choice(new) if new else _some(session, self)


Step = Callable[[Session, Dice], object]


def _some(session: Session, rng: Dice) -> str:
    return rng.choice([*session.adapters, "nobody"])


def attach(session: Session, rng: Dice) -> object:
    name = rng.variant()
    flags = variants.on(name, "c_attn" if session.model.config.model_type == "gpt2" else "q_proj")
    return session.attach(f"{name}_{rng.randrange(2)}", **flags, replace=rng.random() < 0.5)


def train(session: Session, rng: Dice) -> object:
    name = rng.pupil(session)
    long = name in session.adapters and session.adapters[name].spec.method == "adalora"
    steps = 10 if long else 3
    more, flags = rng.random() < 0.5, rng.choice(RUNS)
    return session.train(name, text=ROWS, steps=steps, continue_=more, **flags)


def prefer(session: Session, rng: Dice) -> object:
    return session.train(_some(session, rng), PREFERENCES, steps=2, continue_=True)


def find(session: Session, rng: Dice) -> object:
    return session.train(_some(session, rng), text=ROWS, lr="find")


def look(session: Session, rng: Dice) -> object:
    session.data("kept", ROWS)
    session.preview(None, "kept")
    session.history()
    return session.ask(data=["Where?", "When, and why?"], max_new_tokens=2)


def swap(session: Session, rng: Dice) -> object:
    if rng.random() < 0.3:
        return session.swap(f"{_some(session, rng)}=0.7,{_some(session, rng)}=-0.3")
    return session.swap(rng.choice(["base", _some(session, rng)]))


def merge(session: Session, rng: Dice) -> object:
    return session.merge(_some(session, rng))


def unmerge(session: Session, rng: Dice) -> object:
    return session.unmerge()


def blend(session: Session, rng: Dice) -> object:
    parts = {_some(session, rng): 0.7, _some(session, rng): -0.3}
    return session.blend("blended", parts, rank=rng.choice([None, 2]), replace=True)


def compress(session: Session, rng: Dice) -> object:
    return session.compress(_some(session, rng), "compressed", rank=1, replace=True)


def save(session: Session, rng: Dice) -> object:
    return session.save(_some(session, rng))


def open_(session: Session, rng: Dice) -> object:
    saved = sorted(p.name for p in Path(".lora_magic/adapters").glob("*")) or ["nothing"]
    return session.open(rng.choice(saved), "opened", replace=True)


def detach(session: Session, rng: Dice) -> object:
    return session.detach(_some(session, rng), discard=rng.random() < 0.5)


WALK: tuple[Step, ...] = (
    *(attach,) * 4,
    *(train,) * 5,
    prefer,
    find,
    look,
    *(swap,) * 3,
    *(merge,) * 2,
    *(unmerge,) * 6,
    blend,
    compress,
    save,
    open_,
    detach,
)


class InjectedError(Exception):
    """An error that no one has thought of."""


def taken(step: Step, session: Session, rng: Dice) -> str:
    """What became of one step: `done` or `refused`."""
    try:
        step(session, rng)
    except LoraMagicError:
        return "refused"
    return "done"


class Pressed(Lines):
    """■ at line `at`, and again `gap` lines later: by then the first may be rolled back."""

    def __init__(self, at: int, gap: int) -> None:
        super().__init__()
        self.first, self.second = at, at + gap

    @property
    def hit(self) -> bool:
        """Was the first line reached?"""
        return self.seen >= self.first

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        follow = super()._trace(frame, event, argument)
        if follow is not None and event == "line" and self.seen in (self.first, self.second):
            signal.raise_signal(signal.SIGINT)
        return follow


def broken_off(session: Session, rng: Dice, kind: str) -> str:
    """A verb with ■, ■ twice, or an error somewhere in it; verbs are tried until it meets one."""
    for _ in range(100):
        step, at = rng.choice(WALK), int(2 ** rng.uniform(0, 12))
        error = InjectedError("full disk") if kind == "error" else None
        twice = Pressed(at, int(2 ** rng.uniform(0, 8)))
        lines = twice if kind == "■■" else Lines(at, error)
        with contextlib.suppress(LoraMagicError, KeyboardInterrupt, InjectedError), lines:
            step(session, rng)
        if lines.hit:
            return step.__name__
    raise AssertionError("no verb was long enough to be broken off")


def digest(tensor: Tensor) -> str:
    raw = tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(raw).hexdigest()


@dataclass
class Entry:
    """What is known of an adapter since its weights last changed."""

    history: History
    weights: dict[str, str]


class Ledger:
    """An account of a session of its own, and the laws that hold after every verb."""

    def __init__(self, session: Session) -> None:
        self.session, self.model = session, session.model
        self.tree = dict(session.model.named_modules())
        self.hooks = self._hooks()
        self.answer = logits(session)
        self.handler = signal.getsignal(signal.SIGINT)
        self.threads = torch.get_num_threads()
        self.entries: dict[LiveAdapter, Entry] = {}

    def _hooks(self) -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in self.tree.values())

    def check(self) -> None:
        """Raise `AssertionError` if weights, records, files, modules or modes disagree."""
        session = self.session
        attached = session._state.attached
        self.entries = {a: e for a, e in self.entries.items() if attached.get(a.name) is a}
        for adapter in attached.values():
            self._weights_and_history(adapter)
            self._saved(adapter)
        assert session.verify()
        self._modules()
        assert not any(p.requires_grad for m in self.tree.values() for p in m.parameters(False))
        assert not any(p.requires_grad for p in self.model.parameters())
        assert not any(module.training for module in self.tree.values())
        assert torch.is_grad_enabled()
        assert torch.get_num_threads() == self.threads
        assert signal.getsignal(signal.SIGINT) is self.handler

    def _weights_and_history(self, adapter: LiveAdapter) -> None:
        weights = {name: digest(tensor) for name, tensor in adapter.tensors()}
        known = self.entries.get(adapter)
        record = self.session.adapters[adapter.name]
        assert record.history == adapter.history
        if known is not None and known.history == record.history:
            assert weights == known.weights, f"{adapter.name} was trained and not recorded"
        elif known is not None:
            # A run from the start repeats a first run with --continue, bit for bit.
            if known.history.steps != record.history.steps:
                assert weights != known.weights, f"{adapter.name} was recorded and not trained"
            assert adapter.saved_to is None
            assert record.history.last_loss == adapter.run["last_loss"]
        self.entries[adapter] = Entry(record.history, weights)

    def _saved(self, adapter: LiveAdapter) -> None:
        """Whoever counts as saved is on disk: each tensor under any name."""
        if adapter.saved_to is None or not adapter.saved_to.is_dir():
            return
        if adapter.spec.init in ("pissa", "olora"):
            return  # saved with their frozen negative, at twice the rank: tests/adapters/test_store
        [file] = adapter.saved_to.glob("*.safetensors")
        with safe_open(file, "pt") as opened:
            found = {digest(opened.get_tensor(key)) for key in opened.keys()}  # noqa: SIM118
        live = set(self.entries[adapter].weights.values())
        assert live <= found, f"{adapter.name} ({adapter.spec.line}): {len(live - found)} differ"

    def _modules(self) -> None:
        """The active adapter's modules are in the model, and no other one's."""
        state, session = self.session._state, self.session
        expected: dict[str, nn.Module] = dict(self.tree)
        if session.merged is not None:
            assert session.merged == session.active
        elif session.active in state.attached:
            expected |= state.attached[session.active].replacements
        elif session.active == "base":
            assert torch.equal(logits(session), self.answer)
            assert self._hooks() == self.hooks
        if session.merged is None and "," not in session.active and "=" not in session.active:
            for path, module in expected.items():
                if path:
                    parent = self.tree[path.rpartition(".")[0]]
                    assert parent._modules[path.rpartition(".")[2]] is module, path


KINDS = ("■", "■■", "error")


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("verbs", [VERBS, pytest.param(LONG, marks=pytest.mark.long)])
def test_weights_records_files_and_modules_agree_after_each_verb_of_a_walk(
    verbs: int, kind: str, saved_model: Saver
) -> None:
    told, bits = BASES[kind]
    session = Session()
    session.load(str(saved_model(**told)), bits=bits, dtype="bf16" if "bf16" in kind else None)
    start = {name: t.clone() for name, t in session.model.state_dict().items()}
    ledger, rng, seen = Ledger(session), Dice(kind), []
    steps = -(-verbs // len(BASES))
    wanted = {step.__name__ for step in WALK}
    # Where a method is untrained or a verb not done after that, on until it is: chance decides.
    for number in range(10 * steps):
        done = {name for name, what in seen if what == "done"}
        if number >= steps and not rng.left and done == wanted:
            break
        if number % 4 == 3:
            how = KINDS[number // 4 % len(KINDS)]
            seen.append((broken_off(session, rng, how), how))
        else:
            step = rng.choice(WALK)
            seen.append((step.__name__, taken(step, session, rng)))
        try:
            ledger.check()
        except AssertionError as error:
            raise AssertionError(f"after {number} verbs, the last {seen[-5:]}: {error}") from error
        rng.left -= {a.spec.method for a in session.adapters.values() if a.history.steps}
    assert {name for name, what in seen if what == "done"} == wanted
    assert rng.left == set(), "every method has been trained on the way"
    print(kind, len(seen), "verbs,", sum(what in KINDS for _, what in seen), "broken off")
    if session.merged is not None:
        session.unmerge()
    session.swap("base")
    ledger.check()
    after = session.model.state_dict()
    assert start.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in start.items())
    session.reset()
