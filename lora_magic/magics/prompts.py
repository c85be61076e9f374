"""Finds the prompts of a line or cell, and notes likely mistakes in them.

A prompt is on the line or in the cell below it, never in both; it is answered as typed. Knows the
names of a verb's flags and of the notebook's variables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from lora_magic.errors import CommandError
from lora_magic.magics.verb import Verb

_NAME_ALONE = re.compile(r"\{(\w+)\}|\$(\w+)|\$\{(\w+)\}")


def prompts_of(verb: Verb, typed: str, body: str | None, given: Collection[str] = ()) -> list[str]:
    """The line's prompt, or the cell's: one, or several with blank lines between them.

    `given` are the keywords of the flags: one that gives the prompts leaves none to be typed.
    Raises `CommandError` if there is none, or if two places have one.
    """
    flags = [a.name for a in verb.arguments if a.asks and a.key in given]
    text = [f"a prompt ({typed[:40]!r})"] if typed else ["a prompt below"] if body else []
    if flags and len(flags + text) > 1:
        raise CommandError(f"%lora {verb.name}: {' and '.join(flags + text)} are given; keep one.")
    if flags:
        return []
    blocks = [body or ""] if verb.prompt == "one" else blocks_of(body or "")
    below = [block.strip() for block in blocks if block.strip()]
    if typed and below:
        raise CommandError(
            f"%%lora {verb.name}: one prompt is on the line ({typed!r}), others are below it."
            " Move it below them."
        )
    if not typed and not below:
        raise CommandError(f"%lora {verb.name}: the prompt is missing. Type: {verb.usage}")
    return below or [typed]


def blocks_of(text: str) -> list[str]:
    """The prompts of a cell or a prompt box, with blank lines between them; [""] for none."""
    blocks = [block.strip() for block in re.split(r"\n[ \t]*\n", text)]
    return [block for block in blocks if block] or [""]


def notes_on(prompt: str, verb: Verb, variables: Mapping[str, Any]) -> list[str]:
    """Notes to print above the answer: on flags after the prompt, or a variable as the prompt."""
    notes = []
    after = [a.name for a in verb.arguments if a.is_flag and f" {a.name}" in f" {prompt}"]
    if after:
        notes.append(
            f"Note: {', '.join(after)} was read as part of the prompt; flags come before it: "
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
