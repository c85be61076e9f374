"""What an adapter kept of its base, in a receipt's words."""

from __future__ import annotations

import json

import pytest

from lora_magic.training.forgetting import Content, Forgetting, GeneralText, Unmeasured, recorded

CONTENT = Content(asked=24, subject=23, right=20, base_subject=24, base_right=22)
GENERAL = GeneralText(tokens=338, base_loss=3.2099, loss=3.3401)


@pytest.mark.parametrize(
    ("kept", "line"),
    [
        (CONTENT, "content: 23 of 24 about the right subject, 20 true (base 24, 22)"),
        (GENERAL, "general text: loss 3.21 → 3.34 (+0.13)"),
        (Unmeasured("content", "stopped"), "content: not measured (stopped)"),
    ],
)
def test_each_is_told_in_a_line(kept: Forgetting, line: str) -> None:
    assert kept.line == line


@pytest.mark.parametrize(("right", "told"), [(0, True), (10, True), (11, False), (22, False)])
def test_what_to_try_is_told_where_less_than_half_is_left(right: int, told: bool) -> None:
    line = Content(asked=24, subject=23, right=right, base_subject=24, base_right=22).line
    assert (
        line.endswith("; much is forgotten: try more rows, fewer --steps or a smaller --lr") is told
    )


@pytest.mark.parametrize(
    ("loss", "told"),
    [(3.0, "(-0.21)"), (3.21, "(+0.00)"), (3.2099, "(+0.00)"), (4.0, "(+0.79)")],
)
def test_a_change_has_a_sign_that_it_deserves(loss: float, told: str) -> None:
    assert GeneralText(338, 3.21, loss).line.endswith(told)


def test_the_facts_tell_what_is_true_and_how_much_was_read() -> None:
    assert dict(CONTENT.facts) == {
        "content": "24 held-out questions",
        "about the right subject": "23 (base 24)",
        "and true": "20 (base 22)",
    }
    assert dict(GENERAL.facts) == {"general text": "loss 3.210 → 3.340 (+0.130) over 338 tokens"}
    assert dict(Unmeasured("content", "stopped").facts) == {"content": "not measured (stopped)"}


def test_the_record_holds_each_number_under_its_name() -> None:
    assert json.loads(json.dumps(recorded(CONTENT))) == {
        "what": "content",
        "asked": 24,
        "subject": 23,
        "right": 20,
        "base_subject": 24,
        "base_right": 22,
    }
    assert recorded(Unmeasured("content", "stopped")) == {"what": "content", "why": "stopped"}
