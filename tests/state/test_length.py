"""Held-out rows and the length of a run, as the session and an adapter's card see them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch

from lora_magic.errors import CommandError, DataError
from lora_magic.state.session import Session
from lora_magic.training.reporter import RunPlan, StepPoint

ROWS = [(f"What is {number}?", f"It is {number}, matey!") for number in range(60)]
OTHER = [(f"Where is {number}?", f"Arr, at {number}.") for number in range(6)]


class Listener:
    """Keeps the first line, and the adapter's weights after each step."""

    def __init__(self, session: Session) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.line = ""
        self._session = session

    def start(self, plan: RunPlan) -> None:
        self.line = plan.line

    def step(self, point: StepPoint) -> None:
        self.weights.append(self._session._state.attached["one"].state())

    def finish(self, summary: Any) -> None:
        """Nothing."""


def weights(session: Session) -> dict[str, torch.Tensor]:
    return session._state.attached["one"].state()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], tensor) for name, tensor in other.items())


@pytest.mark.parametrize("method", ["lora", "adalora"])
def test_without_a_length_the_best_step_is_kept_and_recorded(
    session: Session, tmp_path: Path, method: str
) -> None:
    session.attach("one", method=method, rank=4)
    listener = Listener(session)
    # So high a rate that the held-out loss rises before the end.
    summary = session.train("one", ROWS, lr=0.2, patience=2, reporter=listener)
    assert summary.planned_steps == 60
    assert summary.held_out == len({p for p, _ in ROWS}) - summary.examples > 0
    assert summary.best_step is not None
    measured = dict(summary.held_out_losses[1:])
    settled = {step: loss for step, loss in measured.items() if method == "lora" or step >= 42}
    assert summary.best_step == min(settled, key=lambda step: (settled[step], step))
    assert summary.held_out_after == measured[summary.best_step]
    assert equal(weights(session), listener.weights[summary.best_step - 1])
    history = session.adapters["one"].history
    assert (history.steps, history.last_loss) == (summary.best_step, summary.last_loss)
    session.save("one", tmp_path / "one")
    run = json.loads((tmp_path / "one" / "lora_magic.json").read_text())["run"]
    assert (run["best_step"], run["ended"]) == (summary.best_step, summary.ended)
    assert f"best at step {summary.best_step} of {summary.steps}: kept" in summary.line


def test_a_card_without_the_new_fields_is_read(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.train("one", ROWS, steps=2)
    session.save("one", tmp_path / "one")
    card = tmp_path / "one" / "lora_magic.json"
    fields = json.loads(card.read_text())
    for name in ("best_step", "ended"):
        del fields["run"][name]
    fields.pop("sha256", None)
    fields.pop("files", None)
    card.write_text(json.dumps(fields))
    assert session.open(tmp_path / "one", "two").history == session.adapters["one"].history


def test_other_rows_are_measured_and_never_trained_on(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    frame = pandas.DataFrame(OTHER, columns=["question", "answer"])
    frame.to_csv(path, index=False)
    session.attach("one", rank=2)
    listener = Listener(session)
    found = [
        session.train("one", ROWS, steps=3, eval=eval, reporter=listener)
        for eval in (OTHER, frame, path, str(path))
    ]
    first = found[0]
    assert (first.examples, first.held_out) == (60, 6)
    assert ", 6 held out, " in listener.line
    assert all(asdict(run) | {"seconds": 0.0} == asdict(first) | {"seconds": 0.0} for run in found)
    # The same weights as of a run that does not see them.
    kept = weights(session)
    alone = session.train("one", ROWS, steps=3, eval=0)
    assert equal(weights(session), kept)
    assert alone.losses == first.losses
    assert first.held_out_before is not None
    assert alone.held_out_before is None


def test_rows_that_ask_what_another_set_asks_are_left_out_and_counted(session: Session) -> None:
    session.attach("one", rank=2)
    listener = Listener(session)
    run = session.train("one", ROWS, steps=1, eval=ROWS[:4], reporter=listener)
    assert (run.examples, run.held_out) == (56, 4)
    assert ", 4 left out (in --eval)" in listener.line
    with pytest.raises(DataError, match="--eval: every training row has the same prompt"):
        session.train("one", ROWS, steps=1, eval=ROWS)


def test_another_set_decides_even_over_few_rows(session: Session) -> None:
    session.attach("one", rank=2)
    run = session.train("one", ROWS[:10], eval=OTHER)
    assert run.best_step is not None
    assert session.adapters["one"].history.steps == run.best_step


def test_few_rows_take_60_steps_and_say_why(session: Session) -> None:
    session.attach("one", rank=2)
    listener = Listener(session)
    run = session.train("one", ROWS[:10], reporter=listener)
    assert (run.steps, run.ended, run.best_step, run.held_out) == (60, "steps", None, 0)
    assert "60 steps (60 epochs), since no rows are held out" in listener.line


def test_what_cannot_be_held_out_is_refused_and_changes_nothing(session: Session) -> None:
    session.attach("one", rank=2)
    before = weights(session)
    for eval, error in (("no/such.csv", DataError), ({"a": 1}, DataError), (60, CommandError)):
        with pytest.raises(error):
            session.train("one", ROWS, steps=1, eval=eval)
    with pytest.raises(CommandError, match="--patience 2: no rows are held out"):
        session.train("one", ROWS[:10], patience=2)
    assert equal(weights(session), before)
    assert session.adapters["one"].history.steps == 0
