"""A long walk over all methods and verbs, with errors and interrupts on the way: the base stays."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.adapters.methods import METHODS
from lora_magic.errors import LoraMagicError
from lora_magic.state.session import Session
from tests.conftest import Saver, logits
from tests.state import variants
from tests.state.test_interrupts import Lines
from tests.state.variants import VARIANTS

STEPS = 300
ROWS = "Where is the library? => Arr!\nWhat is for dinner? => Fish, matey!"

#: Flags of the base that all variants can stand on: biases for BitFit, 4 bits for LoftQ apart.
BASES: dict[str, tuple[dict[str, Any], int | None]] = {
    "biased": ({"architecture": "gpt2"}, None),
    "4 bits": ({"architecture": "llama", "hidden_size": 64}, 4),
}


#: What these bases cannot carry: no biases, no gradient into 4 bits.
NOT_ON: dict[str, set[str]] = {"biased": set(), "4 bits": {"bitfit", "full"}}


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
    return session.train(rng.pupil(session), text=ROWS, steps=10, continue_=rng.random() < 0.5)


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


def broken_off(session: Session, rng: Dice, error: Exception | None) -> str:
    """A step with ■, or an error, somewhere in it: steps are tried until one is met by it."""
    for _ in range(100):
        step, at = rng.choice(WALK), int(2 ** rng.uniform(0, 12))
        lines = Lines(at, error)
        with contextlib.suppress(LoraMagicError, KeyboardInterrupt, InjectedError), lines:
            step(session, rng)
        if lines.hit:
            return step.__name__
    raise AssertionError("no step was long enough to be broken off")


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("steps", [STEPS, pytest.param(10 * STEPS, marks=pytest.mark.long)])
def test_a_walk_leaves_the_base_bit_for_bit(steps: int, kind: str, saved_model: Saver) -> None:
    told, bits = BASES[kind]
    session = Session()
    session.load(str(saved_model(**told)), bits=bits)
    answer = logits(session)
    start = {name: t.clone() for name, t in session.model.state_dict().items()}
    rng, seen = Dice(kind), []
    # Where a method is still untrained after that, on until it is: its turn depends on the dice.
    for number in range(10 * steps):
        if number >= steps and not rng.left:
            break
        if number % 10 == 9:
            error = InjectedError("full disk") if number % 20 == 9 else None
            seen.append((broken_off(session, rng, error), "broken off"))
            assert session.verify(), seen[-10:]
        else:
            step = rng.choice(WALK)
            seen.append((step.__name__, taken(step, session, rng)))
        rng.left -= {a.spec.method for a in session.adapters.values() if a.history.steps}
    done = {name for name, what in seen if what == "done"}
    assert done == {step.__name__ for step in WALK}
    assert rng.left == set(), "every method has been trained on the way"
    if session.merged is not None:
        session.unmerge()
    session.swap("base")
    assert torch.equal(logits(session), answer)
    assert session.verify()
    after = session.model.state_dict()
    assert start.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in start.items())
    session.reset()
