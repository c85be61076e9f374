"""`--lr find` shows the loss against the rate and changes nothing, stopped or not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lora_magic import demo
from lora_magic.errors import CommandError, TrainingStopped
from lora_magic.state.session import Session
from lora_magic.training.reporter import RunPlan, StepPoint
from tests.conftest import Saver

ROWS = [(f"Where is {n}?", f"Arr, {n}!") for n in range(20)]


class Listener:
    """Calls something after each step, and keeps what the search ends with."""

    def __init__(self, at: Callable[[int], object] = lambda step: None) -> None:
        self.stop = threading.Event()
        self.results: list[Any] = []
        self._at = at

    def start(self, plan: RunPlan) -> None:
        self.line = plan.line

    def step(self, point: StepPoint) -> None:
        self._at(point.step)

    def finish(self, summary: Any) -> None:
        self.results.append(summary)


@pytest.fixture(scope="module")
def session(saved_model: Saver) -> Session:
    session = Session()
    session.load(str(saved_model()))
    session.attach("one", rank=4, dropout=0.1)
    session.attach("other", rank=2)
    session.train("one", ROWS, steps=3)
    session.swap("other")
    return session


def everything(session: Session) -> tuple[Any, ...]:
    """All that a search could change."""
    adapters = session._state.attached.values()
    return (
        {a.name: (a.record(), a.recorded()) for a in adapters},
        session.active,
        session.merged,
        dict(session._state.modules),
        [module.training for module in session.model.modules()],
    )


def tensors(session: Session) -> dict[str, torch.Tensor]:
    adapters = session._state.attached.values()
    return {f"{a.name}.{name}": tensor for a in adapters for name, tensor in a.state().items()}


def unchanged(session: Session, act: Callable[[], object]) -> bool:
    before, weights, generator = everything(session), tensors(session), torch.get_rng_state()
    act()
    after = tensors(session)
    assert session.verify()
    assert torch.equal(torch.get_rng_state(), generator)
    same = all(torch.equal(after[name], tensor) for name, tensor in weights.items())
    return same and everything(session) == before


@pytest.mark.parametrize("flags", [{}, {"continue_": True}, {"epochs": 3.0, "eval": 5}])
def test_it_raises_the_rate_over_60_steps_and_changes_nothing(
    session: Session, flags: dict[str, Any]
) -> None:
    listener, found = Listener(), []

    def act() -> None:
        found.append(session.train("one", ROWS, lr="find", reporter=listener, **flags))

    assert unchanged(session, act)
    (curve,) = found
    assert listener.results == [curve]
    assert 20 < len(curve.losses) <= 60
    default = session._state.base.recipe.learning_rate
    factors = [b / a for a, b in zip(curve.rates, curve.rates[1:], strict=False)]
    assert curve.rates[0] == pytest.approx(default / 100)
    assert factors == pytest.approx([1e4 ** (1 / 59)] * len(factors))
    assert curve.rate is not None
    assert "only searching a learning rate" in listener.line
    assert f"lr rising to {default * 100:g}," in listener.line
    assert "warm-up" not in listener.line


def test_every_step_reads_the_same_rows() -> None:
    session = Session()
    session.load("demo")
    session.attach("still", rank=2)
    losses = session.train("still", list(demo.rows("pirate", 20)), lr="find").losses
    session.reset()
    # The lowest rate moves the loss by less than another batch would.
    assert losses[:5] == pytest.approx([losses[0]] * 5, abs=0.02)
    assert losses[0] > losses[30]


@pytest.mark.parametrize("method", ["adalora", "houlsby", "full", "prefix"])
def test_it_works_for_every_kind_of_method(session: Session, method: str) -> None:
    session.attach("kind", method=method, replace=True)
    assert unchanged(session, lambda: session.train("kind", ROWS, lr="find"))
    session.detach("kind")


def test_stopped_it_changes_nothing_and_says_so(session: Session) -> None:
    def press(step: int) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    def act() -> None:
        with pytest.raises(TrainingStopped, match="one: --lr find was stopped; nothing is changed"):
            session.train("one", ROWS, lr="find", reporter=Listener(press))

    assert unchanged(session, act)


def test_an_interrupt_in_a_pass_changes_nothing(session: Session) -> None:
    def twice(step: int) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    def act() -> None:
        with pytest.raises((TrainingStopped, KeyboardInterrupt)):
            session.train("one", ROWS, lr="find", reporter=Listener(twice))

    assert unchanged(session, act)


def test_another_word_is_refused(session: Session) -> None:
    with pytest.raises(CommandError, match="--lr 'search': expected a number"):
        session.train("one", ROWS, lr="search")
