"""Forgetting, as a receipt and a card show it."""

from __future__ import annotations

import json

import pytest

from lora_magic.training.forgetting import (
    AnswerForgetting,
    Forgetting,
    TextForgetting,
    Unmeasured,
    recorded,
)

ANSWERS = AnswerForgetting(questions=24, subject=23, right=20, base_subject=24, base_right=22)
TEXT = TextForgetting(tokens=338, base_loss=3.2099, loss=3.3401)


@pytest.mark.parametrize(
    ("forgetting", "line"),
    [
        (
            ANSWERS,
            "forgetting: 20 of 24 questions answered correctly (base 22), 23 on topic (base 24)",
        ),
        (TEXT, "forgetting: loss on general text 3.21 → 3.34 (+0.13)"),
        (Unmeasured("stopped"), "forgetting: not measured (stopped)"),
    ],
)
def test_each_has_a_line(forgetting: Forgetting, line: str) -> None:
    assert forgetting.line == line


@pytest.mark.parametrize(("right", "shown"), [(0, True), (10, True), (11, False), (22, False)])
def test_a_remedy_is_shown_if_less_than_half_remains(right: int, shown: bool) -> None:
    line = AnswerForgetting(
        questions=24, subject=23, right=right, base_subject=24, base_right=22
    ).line
    assert line.endswith("; try more rows, fewer --steps or a smaller --lr") is shown


@pytest.mark.parametrize(
    ("loss", "change"),
    [(3.0, "(-0.21)"), (3.21, "(+0.00)"), (3.2099, "(+0.00)"), (4.0, "(+0.79)")],
)
def test_a_change_has_the_right_sign(loss: float, change: str) -> None:
    assert TextForgetting(338, 3.21, loss).line.endswith(change)


def test_the_facts_show_what_is_true_and_how_much_was_read() -> None:
    assert dict(ANSWERS.facts) == {
        "forgetting": "24 held-out questions",
        "answered on topic": "23 (base 24)",
        "answered correctly": "20 (base 22)",
    }
    assert dict(TEXT.facts) == {
        "forgetting": "loss on general text 3.210 → 3.340 (+0.130) over 338 tokens"
    }
    assert dict(Unmeasured("stopped").facts) == {"forgetting": "not measured (stopped)"}


def test_the_record_has_each_number_under_its_name() -> None:
    assert json.loads(json.dumps(recorded(ANSWERS))) == {
        "measure": "answers",
        "questions": 24,
        "subject": 23,
        "right": 20,
        "base_subject": 24,
        "base_right": 22,
    }
    assert recorded(Unmeasured("stopped")) == {"measure": "none", "why": "stopped"}
