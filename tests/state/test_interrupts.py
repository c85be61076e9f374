"""■ at any line of our own code: the session is as it was, or the verb had just been done."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

import lora_magic
from lora_magic.errors import TrainingStopped
from lora_magic.state import train as training
from lora_magic.state.session import Session
from lora_magic.training.reporter import SilentReporter
from tests.conftest import logits, perturb
from tests.state.shared import snapshot

PACKAGE = str(Path(lora_magic.__file__).parent)

#: How many lines of a verb are interrupted, one in each run, spread over all that it runs.
POINTS = 30

VERBS: dict[str, Callable[[Session], object]] = {
    "merge": lambda s: s.merge("two"),
    "unmerge": lambda s: s.unmerge(),
    "swap": lambda s: s.swap("two"),
    "attach": lambda s: s.attach("three", rank=2),
    "compare": lambda s: s.compare("Hello", max_new_tokens=2),
    "ask": lambda s: s.ask("Hello", max_new_tokens=2),
    "evaluate": lambda s: s.evaluate("two", text="Where? => Here.", max_new_tokens=2),
    "save": lambda s: s.save("two", "saved"),
    "open": lambda s: s.open("there", "three"),
    "train": lambda s: s.train("two", text="Where? => Here.", steps=1),
    "spectrum": lambda s: s.spectrum("one"),
    "blend": lambda s: s.blend("three", "one=0.7 two=-0.3", method="dare", rank=2),
    "compress": lambda s: s.compress("two", rank=1),
    "attach full": lambda s: s.attach("three", method="full"),
    "attach pissa": lambda s: s.attach("three", rank=2, init="pissa"),
    "attach prefix": lambda s: s.attach("three", method="prefix"),
    "swap several": lambda s: s.swap("one=0.7,two=-0.3"),
}


class Lines:
    """Counts the lines of our package that run; at line `at` it interrupts, as ■ does.

    With `error` it raises that there instead, as a library or a full disk would.
    """

    def __init__(self, at: int | None = None, error: Exception | None = None) -> None:
        self.at, self.seen, self.error = at, 0, error

    @property
    def hit(self) -> bool:
        """Was line `at` reached?"""
        return self.at is not None and self.seen >= self.at

    def __enter__(self) -> Lines:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGE):
            return None
        # No library and no disk can fail where handlers and locks are set and released.
        if self.error is not None and file.endswith(("interrupts.py", "transaction.py")):
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.at:
                if self.error is not None:
                    raise self.error
                signal.raise_signal(signal.SIGINT)
        return self._trace


def prepare(session: Session, verb: str) -> None:
    for seed, name in enumerate(("one", "two")):
        session.attach(name, rank=2)
        perturb(session, name, seed=seed)
    session.save("one", "there")
    session.swap("one")
    if verb == "unmerge":
        session.merge("one")


def standing(session: Session) -> dict[str, object]:
    """Where a session stands, and what it answers."""
    return {**snapshot(session), "answer": logits(session).tolist()}


@pytest.mark.parametrize("verb", VERBS)
def test_an_interrupt_at_any_line_leaves_all_or_nothing(verb: str, session: Session) -> None:
    prepare(session, verb)
    before = standing(session)
    with Lines() as counted:
        VERBS[verb](session)
    now = after = standing(session)
    for point in range(POINTS):
        # What left everything as it was is a beginning too.
        if not same(now, before):
            session.load(session._state.base.name, replace=True)
            restart(session, verb)
        at = 1 + point * counted.seen // POINTS
        stopped = interrupted(lambda: VERBS[verb](session), at)
        session.verify()
        assert session.verify(), f"{verb}, line {at} of {counted.seen}"
        now = standing(session)
        whole = same(now, before) or same(now, after)
        assert whole, f"{verb}, line {at} of {counted.seen}: {differing(now, before)}"
        assert stopped or same(now, after)


def restart(session: Session, verb: str) -> None:
    """The same beginning again, on the same model object."""
    if session.merged is not None:
        session.unmerge()
    for name in list(session.adapters):
        session.detach(name, discard=True)
    prepare(session, verb)


def interrupted(work: Callable[[], object], at: int) -> bool:
    try:
        with Lines(at):
            work()
    except KeyboardInterrupt:
        return True
    except TrainingStopped:
        # A training that is stopped after its step keeps it.
        return True
    return False


#: What another capture of the same adapter makes anew: only that there is as much of it counts.
_MADE_ANEW = ("tree", "hooks")


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    return not differing(one, other)


def differing(one: dict[str, object], other: dict[str, object]) -> list[str]:
    return [key for key in one if told(key, one[key]) != told(key, other[key])]


def told(key: str, value: Any) -> object:
    if key not in _MADE_ANEW:
        return value
    return {name: type(module).__name__ for name, module in value.items()}


def test_the_interrupt_of_this_file_does_interrupt(session: Session) -> None:
    def broken_off() -> None:
        with Lines(5):
            session.spectrum("one")

    session.attach("one", rank=2)
    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert torch.isfinite(logits(session)).all()


@pytest.mark.parametrize(
    "where", ["torch.distributed", "peft.tuners", "transformers.modeling_utils"]
)
def test_an_interrupt_of_the_first_import_leaves_a_kernel_that_works(where: str) -> None:
    """A half imported torch cannot be imported again in its process."""
    code = f"""
import signal, sys
class Press:
    pressed = False
    def find_spec(self, name, path=None, target=None):
        if name == {where!r} and not Press.pressed:
            Press.pressed = True
            signal.raise_signal(signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Press())
from lora_magic.state.session import Session
session = Session()
try:
    session.load("demo")
except BaseException as error:
    print(type(error).__name__)
print(Press.pressed, session.load("demo").name)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.split() == ["KeyboardInterrupt", "True", "demo"], done.stderr


#: Flags of `attach` and of `train`; AdaLoRA needs at least 10 steps.
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lora": ({"rank": 2}, {}),
    "lora+": ({"rank": 2}, {"lora_plus": 4.0}),
    "several passes": ({"rank": 2}, {"batch_size": 8}),
    "dora": ({"rank": 2, "dora": True}, {}),
    "full": ({"method": "full"}, {}),
    "houlsby": ({"method": "houlsby"}, {}),
    "adalora": ({"method": "adalora"}, {}),
}
EIGHT = [(f"Where is number {n}?", f"Here, {n}.") for n in range(8)]


def stopped_after(steps: int, session: Session, flags: dict[str, Any]) -> dict[str, Any]:
    """The weights of a run of `one` that Stop ends after so many steps."""

    class Stopping(SilentReporter):
        stop = threading.Event()

        def step(self, point: Any) -> None:
            if point.step == steps:
                self.stop.set()

    with pytest.raises(TrainingStopped):
        session.train("one", EIGHT, steps=12, reporter=Stopping(), **flags)
    assert session._state.attached["one"].history.steps == steps
    return session._state.attached["one"].state()


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("finished", [1, 4])
def test_after_a_second_interrupt_the_weights_are_those_of_the_finished_steps(
    kind: str, finished: int, session: Session
) -> None:
    """Compared with another run, that is asked to stop after that many steps."""
    attach, flags = RUNS[kind]
    session.attach("one", **attach)
    expected = stopped_after(finished, session, flags)
    session.attach("one", **attach, replace=True)
    steps, seen = [0], []

    class AtStep(SilentReporter):
        def step(self, point: Any) -> None:
            steps[0] = point.step
            seen.append(point.loss)

    def press(*_: Any) -> None:
        if steps[0] == finished and not pressed:
            pressed.append(1)
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    pressed: list[int] = []
    # Inside the model: with a hook on the model itself a run takes its own forward.
    hook = session.model.get_submodule("model.layers.1.mlp").register_forward_hook(press)
    with pytest.raises(TrainingStopped):
        session.train("one", EIGHT, steps=12, reporter=AtStep(), **flags)
    hook.remove()
    adapter = session._state.attached["one"]
    assert adapter.history.steps == finished == len(seen)
    assert adapter.history.last_loss == seen[-1]
    found = adapter.state()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert any(not torch.equal(found[name], adapter.start[name]) for name in found)
    assert session.verify()


@pytest.mark.parametrize("where", ["steps", "record"])
def test_an_interrupt_after_the_last_step_loses_no_run(
    where: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    session.train("one", EIGHT, steps=2)
    expected = session._state.attached["one"].state()
    session.attach("one", rank=2, replace=True)
    session.save("one", "before")
    real = training._history

    def ring(*given: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        if where == "record":
            signal.raise_signal(signal.SIGINT)
        return real(*given)

    monkeypatch.setattr(training, "_history", ring)
    with contextlib.suppress(KeyboardInterrupt, TrainingStopped):
        session.train("one", EIGHT, steps=2)
    adapter = session._state.attached["one"]
    assert adapter.history.steps == 2
    assert adapter.saved_to is None
    assert session._state.unsaved() == ["one"]
    found = adapter.state()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
