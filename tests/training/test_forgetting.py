"""Forgetting, as a receipt and a card show it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lora_magic.training.forgetting import (
    ADVICE,
    Answered,
    AnswerForgetting,
    Forgetting,
    ReadText,
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


@pytest.mark.parametrize(
    ("right", "subject", "lost"),
    [
        (24, 24, None),
        (20, 20, None),
        (19, 20, "right"),
        (12, 24, "right"),
        (19, 19, "right and on topic"),
        (0, 0, "right and on topic"),
    ],
)
def test_a_loss_of_truth_or_of_the_subject_is_a_warning_with_what_was_measured_to_help(
    right: int, subject: int, lost: str | None
) -> None:
    found = AnswerForgetting(24, subject, right, base_subject=24, base_right=24)
    assert found.advice == (f"too few are {lost}; {ADVICE}" if lost else "")


def test_each_measure_is_set_beside_the_bases_own() -> None:
    # A base that answers half: ten of its twelve right answers are enough.
    assert AnswerForgetting(24, 24, 10, base_subject=24, base_right=12).advice == ""
    assert "right" in AnswerForgetting(24, 24, 9, base_subject=24, base_right=12).advice
    only_topic = AnswerForgetting(24, 19, 16, base_subject=24, base_right=16).advice
    assert only_topic.startswith("too few are on topic;")


def test_only_what_the_base_knew_is_forgotten() -> None:
    answers = [
        Answered(f"{base} {own}", "a", "b", base, own, True, True)
        for base in (True, False)
        for own in (True, False)
    ]
    found = AnswerForgetting.of(answers)
    assert (found.questions, found.right, found.base_right, found.subject) == (4, 2, 2, 4)
    assert [one.prompt for one in found.failed] == ["True False"]
    assert found.line.endswith(
        "; to see them: run.forgetting.to_frame(), with run = %lora train … or --out run"
    )


def test_the_loss_on_texts_is_the_mean_over_tokens() -> None:
    texts = [ReadText("a", 1, 2.0, 4.0), ReadText("b c d", 3, 1.0, 2.0)]
    found = TextForgetting.of(texts)
    assert (found.tokens, found.base_loss, found.loss) == (4, 1.25, 2.5)
    assert found.to_frame().to_dict("list") == {
        "text": ["a", "b c d"],
        "tokens": [1, 3],
        "base_loss": [2.0, 1.0],
        "loss": [4.0, 2.0],
    }


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
    answers = (Answered("What?", "Yes.", "No.", True, False, True, True),)
    assert recorded(replace(ANSWERS, answers=answers)) == recorded(ANSWERS)
    assert recorded(Unmeasured("stopped")) == {"measure": "none", "why": "stopped"}
