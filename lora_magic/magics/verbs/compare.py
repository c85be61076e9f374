"""`%lora compare PROMPT` and `%%lora compare`."""

from __future__ import annotations

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.magics.prompts import several_prompts
from lora_magic.magics.verb import ANSWERING, Argument, Call, Completes, Thing, Verb, names


def run(call: Call) -> object:
    """Answer the same prompts with the base and its adapters."""
    return call.session.compare(*several_prompts(VERB, call), **call.flags)


def controls(call: Call) -> object:
    """Controls that begin with what was asked."""
    return call.session.panel("compare", prompt=several_prompts(VERB, call)[0], **call.flags)


VERB = Verb(
    name="compare",
    summary="answers side by side, base and adapters",
    run=run,
    controls=controls,
    prompt=True,
    body="prompts with blank lines between them",
    arguments=(
        Argument(
            "--adapters",
            "which ones; all unless given",
            names,
            completes=Completes((BASE_NAME,), (Thing.ADAPTER,), several=True),
        ),
        *ANSWERING,
    ),
    examples=(
        "%lora compare How do I make apple pie?",
        "%lora compare --adapters base,pirate How do I make apple pie?",
    ),
)
