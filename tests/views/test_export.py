"""An export's receipt: one line for a terminal, and the prompts on demand in a notebook."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lora_magic.export.receipt import Check, Export, PromptCheck

PROMPTS = (
    PromptCheck("Why <b>?", 3, True, 0.0),
    PromptCheck("How?", 4, False, 0.5, 2, "rounding of W0 + ΔW to bf16"),
)
CHECK = Check("reader 1.0", "logits", PROMPTS, 1e-6, 1e-4, ("a note of the reader",))
MADE = Export(
    "pirate",
    "merged",
    Path("out"),
    (("config.json", 400), ("model.safetensors", 9_000_000)),
    CHECK,
    ("a note",),
    (("load it here", "%lora load out"),),
)
LINE = (
    "pirate exported to out (merged, 9 MB, 2 files): read back by reader 1.0 in another process, "
    "the same greedy tokens on 1 of 2 prompts, largest logit difference 0.50 (rounding of W0 + ΔW "
    "to bf16)"
)


def test_a_terminal_gets_the_line_the_notes_and_the_commands() -> None:
    found = MADE._repr_mimebundle_()
    shown = ["not the same from token 2: How?", "a note", "a note of the reader"]
    shown.append("load it here: %lora load out")
    assert found["text/plain"] == "\n  ".join([LINE, *shown])
    assert MADE.line == repr(MADE) == LINE
    assert repr(CHECK) == CHECK.line


def test_a_notebook_shows_the_commands_and_the_notes_unfolded() -> None:
    page, _, folded = str(MADE._repr_mimebundle_()["text/html"]).partition("<details")
    for text in ("%lora load out", "a note of the reader", "1 of 2 prompts", "bf16"):
        assert text in page
    assert "How?" in folded
    assert folded.count("bf16") == 0, "one reason is told once"


def test_a_notebook_gets_every_prompt_and_no_markup_of_a_prompt() -> None:
    page = str(MADE._repr_mimebundle_()["text/html"])
    for text in ("Why &lt;b&gt;?", "from token 2", "rounding of W0 + ΔW to bf16", "reader 1.0"):
        assert text in page
    assert "<b>?" not in page


def test_the_frame_has_a_row_for_each_prompt() -> None:
    frame = MADE.to_frame()
    assert list(frame["same"]) == [True, False]
    assert frame.loc[1].tolist() == [
        *("pirate", "merged", "How?", 4, False, 0.5, 2, "rounding of W0 + ΔW to bf16")
    ]


def test_what_was_not_checked_says_so() -> None:
    unchecked = replace(MADE, check=None)
    assert unchecked.line.endswith("not checked: it was not read back")
    assert "--unchecked" in str(unchecked._repr_mimebundle_()["text/html"])
