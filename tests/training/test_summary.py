"""A run's record and its listeners."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from lora_magic.numbers import duration
from lora_magic.training.forgetting import AnswerForgetting, Guard
from lora_magic.training.reporter import LineReporter, RunPlan, SilentReporter, StepPoint
from lora_magic.training.summary import RunSummary

SUMMARY = RunSummary(
    adapter="pirate",
    steps=3,
    planned_steps=3,
    stopped=False,
    examples=10,
    held_out=0,
    trained_tokens=1312,
    cut=0,
    empty=0,
    losses=(3.414, 1.5, 0.6249),
    held_out_before=None,
    held_out_after=None,
    seconds=7.94,
    learning_rate=4e-3,
    batch_size=8,
    seed=0,
    end_token="<|im_end|>",
    data_hash="0" * 64,
)


def test_the_receipt_is_one_line() -> None:
    assert SUMMARY.line == (
        "pirate: 3 steps in 7.9 s, loss 3.41 → 0.62, 10 rows, 1,312 tokens trained"
    )


def test_printed_it_is_its_line() -> None:
    assert repr(SUMMARY) == SUMMARY.line


def test_the_receipt_tells_a_stop_what_was_held_out_and_what_was_lost() -> None:
    line = replace(
        SUMMARY,
        stopped=True,
        planned_steps=60,
        held_out_before=3.0,
        held_out_after=2.0,
        cut=1,
        empty=2,
    ).line
    assert line.startswith("pirate: stopped after 3 of 60 steps, in 7.9 s, loss 3.41 → 0.62, ")
    assert "held out 3.00 → 2.00" in line
    assert line.endswith("1 cut, 2 empty")


def test_the_guard_is_shown_before_the_forgetting_with_what_is_missing() -> None:
    kept = AnswerForgetting(24, 24, 22, 24, 22)
    summary = replace(SUMMARY, guard=Guard(0.5, 0.75, 40, 900), forgetting=kept)
    assert summary.line.endswith(f"; guard: loss 0.50 → 0.75 (+0.25) on 40 rows; {kept.line}")
    assert dict(summary.facts)["guard"] == "loss 0.500 → 0.750 (+0.250) on 40 rows, 900 tokens"
    assert kept.advice == ""
    stopped = replace(SUMMARY, guard=Guard(0.5, None, 1, 9, 3, "stopped"))
    assert stopped.line.endswith("; guard: loss 0.50 → not measured (stopped) on 1 row")
    assert dict(stopped.facts)["guard rows trained on"] == "3"


def test_a_run_that_replayed_is_not_told_to_replay() -> None:
    bad = AnswerForgetting(24, 12, 12, 24, 24)
    assert replace(SUMMARY, forgetting=bad).line.endswith(f"; {bad.advice}")
    measured = replace(SUMMARY, forgetting=bad, guard=Guard(0.5, 0.75, 40, 900))
    assert measured.line.endswith(f"; {bad.advice}")
    replayed = replace(SUMMARY, forgetting=bad, guard=Guard(0.5, 0.75, 40, 900, replayed=40))
    assert replayed.line.endswith(bad.line)


def test_the_receipt_tells_the_best_step_and_what_ended_the_run() -> None:
    best = replace(SUMMARY, best_step=2, held_out_after=1.0)
    assert best.line.startswith(
        "pirate: 3 steps in 7.9 s, best at step 2 of 3: kept, loss 3.41 → 1.50, held out 1.00, "
    )
    assert (best.kept_steps, best.last_loss, SUMMARY.kept_steps) == (2, 1.5, 3)
    early = replace(best, ended="held-out", planned_steps=60)
    assert early.line.startswith(
        "pirate: 3 of at most 60 steps in 7.9 s, best at step 2 of 3: kept"
    )
    assert ("ended by", "the held-out loss, which improved no more") in early.facts
    assert ("best step", "2, kept") in early.facts
    late = replace(SUMMARY, ended="minutes", planned_steps=60)
    assert late.line.startswith("pirate: 3 of at most 60 steps in 7.9 s (--minutes), loss 3.41")


def test_forgetting_is_shown_after_the_loss() -> None:
    summary = replace(SUMMARY, cut=1, forgetting=AnswerForgetting(24, 23, 20, 24, 22))
    assert summary.line.endswith(
        "tokens trained, 1 cut; forgetting: 20 of 24 questions answered correctly (base 22), "
        "23 on topic (base 24)"
    )
    assert ("answered correctly", "20 (base 22)") in summary.facts
    bundle = summary._repr_mimebundle_()
    for form in ("text/plain", "text/html"):
        assert "forgetting: 20 of 24 questions answered correctly (base 22), 23" in str(
            bundle[form]
        )
    assert "20 (base 22)" in str(bundle["text/html"])


def test_a_summary_is_a_value() -> None:
    assert replace(SUMMARY) == SUMMARY
    assert (SUMMARY.first_loss, SUMMARY.last_loss) == (3.414, 0.6249)
    assert replace(SUMMARY, losses=()).last_loss is None
    with pytest.raises(FrozenInstanceError):
        SUMMARY.steps = 4  # type: ignore[misc]  # that is what is tested


def test_the_frame_has_one_row_a_step() -> None:
    frame = SUMMARY.to_frame()
    assert list(frame.columns) == ["step", "loss"]
    assert frame.values.tolist() == [[1, 3.414], [2, 1.5], [3, 0.6249]]


def test_the_rich_form_holds_the_receipt_and_the_facts() -> None:
    bundle = SUMMARY._repr_mimebundle_()
    assert "pirate: 3 steps" in str(bundle["text/plain"])
    page = str(bundle["text/html"])
    for part in ("pirate", "1,312", "0.004", "&lt;|im_end|&gt;"):
        assert part in page


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.04 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_are_told_for_a_person(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_lines_come_at_the_start_now_and_then_at_the_last_step_and_at_the_end() -> None:
    told: list[str] = []
    now = [0.0]
    reporter = LineReporter(told.append, every=5.0, clock=lambda: now[0])
    reporter.start(RunPlan("pirate", "the plan"))
    for step in range(1, 21):
        now[0] += 1.0
        reporter.step(StepPoint(step, 20, 1.5, step, 20 - step, 1234.5))
    reporter.finish(SUMMARY)
    assert told[0] == "the plan"
    assert told[-1] == SUMMARY.line
    assert [line.split(",")[0] for line in told[1:-1]] == [
        f"step {step}/20" for step in (5, 10, 15, 20)
    ]
    assert told[1] == "step 5/20, loss 1.500, 1,234 tokens/s, 15 s left"


def test_a_short_run_has_no_line_between_the_first_and_the_last() -> None:
    told: list[str] = []
    reporter = LineReporter(told.append, every=5.0, clock=lambda: 0.0)
    reporter.start(RunPlan("pirate", "the plan"))
    for step in range(1, 21):
        reporter.step(
            StepPoint(step, 20, 1.5, step, 20 - step, 1234.5, None, ((0, 3.0), (10, 2.0)))
        )
    reporter.finish(SUMMARY)
    assert told == ["the plan", SUMMARY.line]


def test_a_line_tells_the_held_out_loss_where_there_is_one() -> None:
    told: list[str] = []
    reporter = LineReporter(told.append, every=0.0, clock=lambda: 0.0)
    reporter.step(StepPoint(1, 20, 1.5, 1.0, 19.0, 100.0, None, ((0, 3.0), (1, 2.0))))
    assert told == ["step 1/20, loss 1.500 (held out 2.000), 100 tokens/s, 19 s left"]


def test_of_many_adapters_a_line_names_the_three_with_the_lowest_losses() -> None:
    told: list[str] = []
    reporter = LineReporter(told.append, every=0.0, clock=lambda: 0.0)
    for at, name in enumerate("abcde"):
        held_out = ((1, 5.0 - at),) if name != "e" else ()
        reporter.step(StepPoint(1, 20, 1.0, 1.0, 19.0, 100.0, None, held_out, name))
    assert told[2] == (
        "step 1/20, a loss 1.000 (held out 5.000), b loss 1.000 (held out 4.000), "
        "c loss 1.000 (held out 3.000), 100 tokens/s, 19 s left"
    )
    assert told[-1] == (
        "step 1/20, d loss 1.000 (held out 2.000), c loss 1.000 (held out 3.000), "
        "b loss 1.000 (held out 4.000) and 2 more, 100 tokens/s, 19 s left"
    )


def test_a_silent_reporter_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = SilentReporter()
    reporter.start(RunPlan("pirate", "the plan"))
    reporter.step(StepPoint(1, 20, 1.5, 1.0, 19.0, 1.0))
    reporter.finish(SUMMARY)
    assert capsys.readouterr().out == ""
