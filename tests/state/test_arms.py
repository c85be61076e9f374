"""Several adapters trained on the same rows end as single runs of each would."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lora_magic.errors import CommandError
from lora_magic.state import train
from lora_magic.state.arms import Arm, Outcome, train_arms
from lora_magic.state.session import Session
from tests.conftest import perturb
from tests.state.resuming import ROWS
from tests.state.shared import Heard

FLAGS: dict[str, Any] = {"steps": 8, "batch_size": 4, "eval": 2}
NAMES = ("a", "b", "c")
RATES = {"a": 1e-3, "b": 3e-3, "c": 1e-2}


def attach(session: Session) -> None:
    for name, rank in zip(NAMES, (2, 4, 3), strict=True):
        session.attach(name, rank=rank)


def arms(session: Session, **rates: float) -> list[Arm]:
    known = session._state.attached
    return [Arm(known[name], {"lr": rate}) for name, rate in (rates or RATES).items()]


def run(session: Session, given: list[Arm], **options: Any) -> list[Outcome]:
    rows = session._rows("train", ROWS, None)
    options = {"flags": FLAGS, "one_batch": False, **options}
    return train_arms(session._state, given, rows, **options)


def weights(session: Session, name: str) -> dict[str, Tensor]:
    return session._state.attached[name].state()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_arms_one_after_another_are_single_runs_bit_for_bit(session: Session) -> None:
    attach(session)
    active, wanted = session.active, {}
    for name, rate in RATES.items():
        summary = session.train(name, ROWS, lr=rate, **FLAGS)
        wanted[name] = (weights(session, name), summary, session._state.attached[name].history)
        session._state.attached[name].set_state(session._state.attached[name].start)
    session.swap(active)
    heard = Heard()
    for outcome in run(session, arms(session), reporter=heard):
        state, summary, history = wanted[outcome.attached.name]
        assert outcome.error is None
        assert outcome.summary is not None
        assert outcome.summary.losses == summary.losses
        assert outcome.attached.history == history
        assert same(outcome.attached.state(), state)
        card = outcome.attached.run
        assert (card["steps"], card["flags"]["lr"]) == (8, RATES[outcome.attached.name])
    assert session.active == active
    assert session.verify()
    assert {point.adapter for point in heard.points} == set(NAMES)
    assert heard.lines[0].endswith("one after another")


def test_arms_that_pause_go_on_to_the_same_bits(session: Session) -> None:
    attach(session)
    whole = {o.attached.name: o.attached.state() for o in run(session, arms(session))}
    paused = run(session, arms(session), until=3)
    assert [o.summary and o.summary.ended for o in paused] == ["paused"] * 3
    rest = [Arm(o.attached, {"lr": RATES[o.attached.name]}, o.snapshot) for o in paused]
    for outcome in run(session, rest):
        assert outcome.summary is not None
        assert outcome.summary.steps == 8
        assert outcome.attached.history.steps == 8
        assert same(outcome.attached.state(), whole[outcome.attached.name])


def test_arms_need_not_be_attached(session: Session) -> None:
    attach(session)
    known = arms(session)
    whole = [o.attached.state() for o in run(session, known)]
    for name in NAMES:
        session.detach(name, discard=True)
    outcomes = run(session, known)
    assert all(same(o.attached.state(), one) for o, one in zip(outcomes, whole, strict=True))
    assert session.active == "base"
    assert not session.adapters
    assert session.verify()


def test_an_arm_that_diverges_is_restored_and_the_others_go_on(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach(session)
    wanted = {o.attached.name: o.attached.state() for o in run(session, arms(session))}
    for name in NAMES:
        perturb(session, name)
    before = weights(session, "b")
    real = train.steps

    def failing(state: Any, attached: Any, *rest: Any, **more: Any) -> Any:
        found = real(state, attached, *rest, **more)
        if attached.name == "b":
            raise CommandError("diverged")
        return found

    monkeypatch.setattr(train, "steps", failing)
    heard = Heard()
    found = run(session, arms(session), reporter=heard)
    assert [o.error is None for o in found] == [True, False, True]
    assert found[1].summary is None
    assert same(weights(session, "b"), before)
    assert all(same(weights(session, name), wanted[name]) for name in "ac")
    assert heard.lines[-1] == "b dropped out: diverged"
    assert session.verify()


def test_a_wrong_flag_of_one_arm_changes_nothing(session: Session) -> None:
    attach(session)
    perturb(session, "a")
    before = weights(session, "a")
    with pytest.raises(CommandError, match="--lr -1"):
        run(session, arms(session, a=1e-3, b=-1.0))
    assert same(weights(session, "a"), before)
