"""Where a prompt stands: on the line, or in the cell below it; never in both."""

from __future__ import annotations

import re

from lora_magic.errors import CommandError
from lora_magic.magics.verb import Call, Verb


def one_prompt(verb: Verb, call: Call) -> str:
    """The line's prompt, or the whole of the cell as one."""
    return _only(verb, call, [call.body.strip()] if call.body else [])[0]


def several_prompts(verb: Verb, call: Call) -> list[str]:
    """The line's prompt, or those of the cell: a blank line ends one."""
    blocks = re.split(r"\n[ \t]*\n", call.body or "")
    return _only(verb, call, [block.strip() for block in blocks if block.strip()])


def _only(verb: Verb, call: Call, below: list[str]) -> list[str]:
    if call.prompt and below:
        raise CommandError(
            f"%%lora {verb.name}: one prompt on the line ({call.prompt!r}) and more below."
            " Move it below, too."
        )
    if not call.prompt and not below:
        raise CommandError(f"%lora {verb.name}: the prompt is missing. Type: {verb.usage}")
    return below or [call.prompt]
