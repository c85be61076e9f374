from __future__ import annotations

from typing import Any

from lora_magic.compare.ask import Answer
from lora_magic.compare.comparison import Comparison, Pane


def a_pane(prompt: str, adapter: str, text: str, **changes: Any) -> Pane:
    facts = {"tokens": 3, "ended": True, "seconds": 1.5, "batched": True, "first_logit_change": 0.0}
    return Pane(prompt, adapter, text, **{**facts, **changes})


SHOWN = Comparison(
    (
        a_pane("one", "base", "a fox eats"),
        a_pane("one", "pirate", "a hen eats", first_logit_change=2.5),
        a_pane("two", "base", "hi"),
        a_pane("two", "pirate", "hi", note="nothing yet"),
    )
)


def test_the_frame_has_the_fixed_columns_and_one_row_a_pane() -> None:
    frame = SHOWN.to_frame()
    assert list(frame.columns) == [
        "prompt", "adapter", "text", "tokens", "seconds", "batched", "first_logit_change"
    ]  # fmt: skip
    assert frame["adapter"].tolist() == ["base", "pirate"] * 2
    assert frame["first_logit_change"].tolist() == [0.0, 2.5, 0.0, 0.0]


def test_prompts_and_adapters_come_in_the_order_asked() -> None:
    assert SHOWN.prompts == ("one", "two")
    assert SHOWN.adapters == ("base", "pirate")


def test_a_batched_pass_counts_once_in_the_line_and_single_answers_each() -> None:
    # Two prompts of 1.5 s: one pass each is 3 s, two answers each is 6 s.
    assert "base | pirate · 2 prompts · one pass per prompt, 3.00 s · greedy" in SHOWN.line
    single = tuple(
        a_pane(pane.prompt, pane.adapter, pane.text, batched=False) for pane in SHOWN.panes
    )
    line = Comparison(single, temperature=0.7, seed=3).line
    assert "one answer after the other, 6.00 s · temperature 0.7, seed 3" in line


def test_the_view_gets_the_words_marked_against_the_base() -> None:
    (prompt, panes), (_, others) = SHOWN.marked()
    assert prompt == "one"
    assert [one.pane.adapter for one in panes] == ["base", "pirate"]
    assert panes[1].words.pieces == (
        ("a", "same"), (" ", "same"), ("fox ", "missing"), ("hen", "added"), (" ", "same"),
        ("eats", "same"),
    )  # fmt: skip
    kinds = {kind for one in (panes[0], *others) for _, kind in one.words.pieces}
    assert kinds == {"same"}
    assert [one.same for one in (*panes, *others)] == [False, False, False, True]
    plain = str(SHOWN._repr_mimebundle_()["text/plain"])
    assert plain.count("first logits ±2.50") == 1
    assert "Same answer as base; nothing yet" in plain
    assert [prompt for prompt, _ in SHOWN.marked(1)] == ["one"]


def test_an_answer_that_was_stopped_is_not_called_the_same() -> None:
    stopped = (a_pane("one", "base", "a fox"), a_pane("one", "pirate", "a fox", stopped=True))
    assert not any(one.same for one in Comparison(stopped).marked()[0][1])
    never = [a_pane("one", name, "", tokens=0, stopped=True) for name in ("base", "pirate")]
    assert not any(one.same for one in Comparison(tuple(never)).marked()[0][1])
    both = (a_pane("one", "base", ""), a_pane("one", "pirate", ""))
    assert Comparison(both).marked()[0][1][1].same


def test_the_text_form_holds_every_answer_and_drives_no_terminal() -> None:
    shown = Comparison(
        (
            a_pane(
                "one",
                "base",
                "red \x1b[31m fox",
            ),
            a_pane("one", "new", "x", note="a remark"),
        )
    )
    assert "red" in repr(shown)
    assert "a remark" in repr(shown)
    assert "\x1b" not in repr(shown)
    assert all(pane.text in repr(SHOWN) for pane in SHOWN.panes)


def test_an_answer_is_its_text_and_says_how_it_came() -> None:
    answer = Answer("Hi", "pirate", "Ahoy \x1b[0m", 1, 0.25, False)
    assert str(answer) == "Ahoy \x1b[0m"
    assert answer.line == "pirate · 1 token · 0.25 s · cut at the limit"
    assert "\x1b" not in repr(answer)
    assert "Ahoy" in str(answer._repr_mimebundle_()["text/html"])
