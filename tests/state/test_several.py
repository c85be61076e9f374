"""`train a,b,c`: several adapters on the same rows, what is returned, refused and recorded."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from lora_magic.errors import AdapterError, CommandError, TrainingError, TrainingStopped
from lora_magic.state import several as runs
from lora_magic.state.session import Session
from lora_magic.training.reporter import LineReporter, SilentReporter, StepPoint
from lora_magic.training.summaries import COLUMNS, Summaries
from tests.conftest import perturb
from tests.state.resuming import ROWS

FLAGS: dict[str, Any] = {"steps": 3, "batch_size": 4, "lr": 1e-3}


@pytest.fixture
def three(session: Session) -> Session:
    for name, rank in zip("abc", (2, 4, 3), strict=True):
        session.attach(name, rank=rank)
    return session


def weights(session: Session) -> dict[str, Any]:
    return {
        f"{name} {key}": value
        for name, attached in session._state.attached.items()
        for key, value in attached.state().items()
    }


def test_several_names_give_a_summary_each_and_a_frame(three: Session) -> None:
    found = three.train("a, c,b", ROWS, **FLAGS)
    assert isinstance(found, Summaries)
    assert isinstance(found, tuple)
    assert [summary.adapter for summary in found] == ["a", "c", "b"]
    assert all(summary.forgetting is not None for summary in found)
    frame = found.to_frame()
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame.adapter) == ["a", "c", "b"]
    assert list(frame.steps) == [3, 3, 3]
    assert repr(found).count("\n") == 3
    shown = found._repr_mimebundle_()
    assert shown["text/plain"] == repr(found)
    assert all(f">{name}<" in str(shown["text/html"]) for name in "abc")
    assert {name: one.history.steps for name, one in three.adapters.items()} == {
        "a": 3,
        "b": 3,
        "c": 3,
    }
    assert three.verify()


def test_the_last_named_is_active_and_with_held_out_rows_the_best(three: Session) -> None:
    three.train(["c", "a"], ROWS, **FLAGS)
    assert three.active == "a"
    found = three.train("a,b,c", ROWS, eval=2, **FLAGS)
    losses = {summary.adapter: summary.held_out_after for summary in found}
    assert three.active == min(losses, key=losses.__getitem__) == found.best.adapter
    assert found.best.adapter in found.line


def test_the_ledger_has_an_entry_for_each(three: Session) -> None:
    three.train("a,b", ROWS, **FLAGS)
    entries = three.history().entries[-2:]
    assert [(entry.verb, entry.adapter, entry.state) for entry in entries] == [
        ("train", "a", "done"),
        ("train", "b", "done"),
    ]
    assert [entry.spec["rank"] for entry in entries] == [2, 4]
    assert [entry.outcome["steps"] for entry in entries] == [3, 3]
    three.train("a,b", ROWS, continue_=True, **FLAGS)
    again = three.history().entries[-2:]
    assert [entry.parents[0] for entry in again] == [(e.adapter, e.id) for e in entries]
    assert three.adapters["b"].history.steps == 6


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "not attached": ("a,x,y", {}, AdapterError, "no adapters 'x', 'y'; attached: a, b, c"),
    "twice": ("a,b,a", {}, CommandError, "a is named twice"),
    "none": ("", {}, AdapterError, "no adapter ''"),
    "an empty list": ([], {}, CommandError, "expected an adapter's name"),
    "the base": ("a,base", {}, AdapterError, "base is not an adapter"),
    "nothing attached": ("x,a", {}, AdapterError, "no adapter 'x'; .*type: %lora attach x"),
    "no name": (["a", 3], {}, AdapterError, "adapter 3: expected a name"),
    "resume": ("a,b", {"resume": True}, CommandError, "--resume continues a single run"),
    "find": ("a,b", {"lr": "find"}, CommandError, "--lr find searches the rate of a single"),
    "replay": ("a,b", {"replay": 0.1}, CommandError, "--replay works for a single adapter"),
    "guard": ("a,b", {"guard": [("q", "a")]}, CommandError, "--guard works for a single adapter"),
    "tracker": ("a,b", {"report_to": "trackio"}, CommandError, "--report-to follows a single run"),
    "wrong flag": ("a,b", {"lr": -1.0}, CommandError, "--lr -1"),
    "other forms": ("a,b", {"continue_": True}, CommandError, "different prompt forms"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(three: Session, case: str) -> None:
    names, flags, kind, told = REFUSED[case]
    three.train("a", ROWS, template="plain", **FLAGS)
    three.train("b", ROWS, template="chat", **FLAGS)
    perturb(three, "c")
    before, active, entries = weights(three), three.active, len(three.history().entries)
    with pytest.raises(kind, match=told) as caught:
        three.train(names, ROWS, **{**FLAGS, **flags})
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in weights(three).items())
    assert (three.active, len(three.history().entries)) == (active, entries)
    assert three.verify()


def test_one_that_fails_is_told_and_if_all_fail_it_is_an_error(
    three: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runs.train_arms

    def failing(state: Any, arms: Any, *rest: Any, **options: Any) -> Any:
        found = real(state, arms, *rest, **options)
        return [
            type(one)(one.attached, None, None, TrainingError(f"{one.attached.name}: no"), False)
            if one.attached.name in fails
            else one
            for one in found
        ]

    monkeypatch.setattr(runs, "train_arms", failing)
    fails = {"c"}
    found = three.train("a,b,c", ROWS, **FLAGS)
    assert [summary.adapter for summary in found] == ["a", "b"]
    assert found.failed == {"c": "c: no"}
    assert three.active == "b"
    assert found.line.endswith("dropped out: c")
    fails = {"a", "b"}
    with pytest.raises(TrainingError, match=r"^a: no; b: no$"):
        three.train("a,b", ROWS, **FLAGS)


class StopAt(SilentReporter):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.stop, self._at = threading.Event(), step
        self.finished: object = None

    def step(self, point: StepPoint) -> None:
        if point.step == self._at:
            self.stop.set()

    def finish(self, summary: object) -> None:
        self.finished = summary


def test_a_stop_keeps_what_was_learned(three: Session) -> None:
    reporter = StopAt(2)
    with pytest.raises(TrainingStopped, match=r"^stopped: .*keep what they learned.*--continue"):
        three.train("a,b", ROWS, reporter=reporter, **FLAGS)
    assert three.adapters["a"].history.steps == 2
    assert isinstance(reporter.finished, Summaries)
    assert three.history().entries[-1].state == "stopped"
    assert three.verify()


def test_lines_name_each_adapter() -> None:
    lines: list[str] = []
    now = [0.0]
    reporter = LineReporter(lines.append, every=5.0, clock=lambda: now[0])
    for step in (1, 2):
        for name, loss in (("a", 0.5), ("b", 0.25)):
            now[0] += 2
            held_out = ((step, loss / 2),)
            point = StepPoint(step, 9, loss, 1.0, 1.0, 10.0, held_out=held_out, adapter=name)
            reporter.step(point)
    assert lines == [
        "step 2/9, a loss 0.500 (held out 0.250), b loss 0.250 (held out 0.125), "
        "10 tokens/s, 1.0 s left"
    ]
