"""A prompt that was probably meant otherwise is answered as typed, with a note beside it."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("prompt", ["{p}", "$p", "${p}"])
def test_a_variables_name_as_the_prompt_is_told(shell: Any, session: Any, prompt: str) -> None:
    seen = shell.run(f"p = 'What does a fox eat?'\n%lora ask {prompt}")
    assert session.last == ("ask", (prompt,), {})
    assert "a prompt is taken as typed" in seen.printed
    # The whole line: %load_ext puts no name into the notebook.
    assert "import lora_magic; lora_magic.session().ask(p)" in seen.printed


def test_flags_behind_the_prompt_are_told(shell: Any, session: Any) -> None:
    seen = shell.run("%lora compare What does a fox eat? --seed 3")
    assert session.last[1] == ("What does a fox eat? --seed 3",)
    assert "--seed was read as part of the prompt; flags come before it" in seen.printed


@pytest.mark.parametrize("prompt", ["{q}", "costs $19.90", "What is --depth in git?", "a {p} b"])
def test_other_prompts_are_not_commented_on(shell: Any, session: Any, prompt: str) -> None:
    assert shell.run(f"p = 1\n%lora ask {prompt}").printed == ""


def test_a_semicolon_silences_the_note_too(shell: Any, session: Any) -> None:
    assert shell.run("p = 1\n%lora ask {p};").printed == ""
