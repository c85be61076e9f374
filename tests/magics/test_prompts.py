"""What a person types as a prompt is what the session gets."""

from __future__ import annotations

from typing import Any

import pytest

from lora_magic.errors import CommandError


@pytest.mark.parametrize(
    "prompt",
    [
        "What's up?",
        "It costs $19.90 or $5, not {x} and not {{y}}",
        "#5 is alive",
        "What is (a) [bracket?",
        "50% of 3 \\ 4?",
        'He said "no" and "yes"',
        "a # b",
        "what??",
        "?",
        "x = %lora ask y?",
        "'''quoted?",
        "0123abc?",
    ],
)
@pytest.mark.parametrize("before", ["", "x = ", "if True:\n    "])
def test_a_prompt_arrives_as_typed(shell: Any, session: Any, before: str, prompt: str) -> None:
    if prompt == "?":
        prompt = "-- ?"
        shell.run(f"{before}%lora ask {prompt}")
        assert session.last[1] == ("?",)
        return
    shell.run(f"{before}%lora ask {prompt}")
    assert session.last == ("ask", (prompt,), {})


@pytest.mark.parametrize(
    ("typed", "prompt"),
    [
        ('"What\'s up?"', "What's up?"),
        ("'What's up?'", "What's up?"),
        ("'a' or 'b'", "'a' or 'b'"),
        ('"a" or "b"', '"a" or "b"'),
        ('"ends with ;"', "ends with ;"),
        ("-- --steep hills", "--steep hills"),
        ("--seed 3 hi --seed 4", "hi --seed 4"),
        ("--seed=3    hi   there", "hi   there"),
        ("- a dash", "- a dash"),
    ],
)
def test_quotes_round_the_whole_and_flags_before_it_come_off(
    shell: Any, session: Any, typed: str, prompt: str
) -> None:
    shell.run(f"%lora ask {typed}")
    assert session.last[1] == (prompt,)


def test_flags_before_a_prompt_are_values_and_may_hold_a_variable(shell: Any, session: Any) -> None:
    shell.run("n = 7\n%lora ask --seed {n} --temperature 0.5 --max-new-tokens=9 {n} foxes?")
    expected = {"seed": 7, "temperature": 0.5, "max_new_tokens": 9}
    assert session.last == ("ask", ("{n} foxes?",), expected)


def test_adapters_to_compare_are_named_with_commas(shell: Any, session: Any) -> None:
    shell.run("%lora compare --adapters base,pirate What's up?")
    assert session.last == ("compare", ("What's up?",), {"adapters": ["base", "pirate"]})


def test_a_cell_is_one_prompt_for_ask(shell: Any, session: Any) -> None:
    shell.run("%%lora ask --seed 1\nFirst $5 {x}.\n\nSecond, don't?\n")
    assert session.last == ("ask", ("First $5 {x}.\n\nSecond, don't?",), {"seed": 1})


def test_blank_lines_part_the_prompts_of_compare(shell: Any, session: Any) -> None:
    shell.run("%%lora compare\n\nOne\nline two\n\n  \nTwo?\n")
    assert session.last[1] == ("One\nline two", "Two?")


def test_a_prompt_is_above_or_below_and_not_both(shell: Any, session: Any) -> None:
    with pytest.raises(CommandError, match="Move it below"):
        shell.run("%%lora ask hi\nthere")
    for cell in ("%lora ask", "%lora compare --seed 1", "%%lora ask\n", "%lora ask --"):
        with pytest.raises(CommandError, match="prompt is missing"):
            shell.run(cell)
    assert session.calls == []


# Prompts that were probably meant otherwise are answered as typed, with a note above


@pytest.mark.parametrize("prompt", ["{p}", "$p", "${p}"])
def test_a_variables_name_as_the_prompt_is_told(shell: Any, session: Any, prompt: str) -> None:
    seen = shell.run(f"p = 'What does a fox eat?'\n%lora ask {prompt}")
    assert session.last == ("ask", (prompt,), {})
    assert "variables are not expanded in a prompt" in seen.printed
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
