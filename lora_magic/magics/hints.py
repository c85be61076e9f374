"""Notes on a prompt that was probably meant otherwise; it is answered as typed all the same.

Knows a verb's flags and the notebook's variables by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lora_magic.magics.verb import Verb

_NAME_ALONE = re.compile(r"\{(\w+)\}|\$(\w+)|\$\{(\w+)\}")


def notes_on(prompt: str, verb: Verb, variables: Mapping[str, Any]) -> list[str]:
    """What to say beside the answer: flags behind the prompt, a variable's name as the prompt."""
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
            f"Note: a prompt is taken as typed, so this asked {prompt!r} itself; for what the "
            f"variable holds: import lora_magic; lora_magic.session().{verb.name}({name})"
        )
    return notes
