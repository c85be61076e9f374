"""Prompts as they were typed: where they are, and notes on one that was probably meant otherwise.

A prompt is on the line, or in the cell below it, never in both; it is answered as typed. Knows a
verb's flags and the notebook's variables by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lora_magic.errors import CommandError
from lora_magic.magics.verb import Verb

_NAME_ALONE = re.compile(r"\{(\w+)\}|\$(\w+)|\$\{(\w+)\}")


def prompts_of(verb: Verb, typed: str, body: str | None) -> list[str]:
    """The line's prompt, or the cell's: one, or several with blank lines between them.

    Raises `CommandError` where there is none, or where there are both.
    """
    blocks = [body or ""] if verb.prompt == "one" else re.split(r"\n[ \t]*\n", body or "")
    below = [block.strip() for block in blocks if block.strip()]
    if typed and below:
        raise CommandError(
            f"%%lora {verb.name}: one prompt is on the line ({typed!r}), others are below it."
            " Move it below, too."
        )
    if not typed and not below:
        raise CommandError(f"%lora {verb.name}: the prompt is missing. Type: {verb.usage}")
    return below or [typed]


def notes_on(prompt: str, verb: Verb, variables: Mapping[str, Any]) -> list[str]:
    """What to say above the answer: flags behind the prompt, a variable's name as the prompt."""
    notes = []
    behind = [a.name for a in verb.arguments if a.is_flag and f" {a.name}" in f" {prompt}"]
    if behind:
        notes.append(
            f"Note: {', '.join(behind)} was read as part of the prompt; flags come before it: "
            f"{verb.usage}"
        )
    alone = _NAME_ALONE.fullmatch(prompt)
    name = next((group for group in alone.groups() if group), "") if alone else ""
    if name in variables:
        notes.append(
            f"Note: variables are not expanded in a prompt, so this asked {prompt!r} itself. To "
            f"ask its value: import lora_magic; lora_magic.session().{verb.name}({name})"
        )
    return notes
