"""`%lora ask PROMPT`."""

from __future__ import annotations

from lora_magic.magics.prompts import one_prompt
from lora_magic.magics.verb import ANSWERING, Call, Verb


def run(call: Call) -> object:
    """Answer with the active adapter."""
    return call.session.ask(one_prompt(VERB, call), **call.flags)


VERB = Verb(
    name="ask",
    summary="an answer of the active adapter",
    run=run,
    prompt=True,
    body="one prompt of as many lines as it has",
    arguments=ANSWERING,
    examples=("%lora ask What's up?", "%lora ask --max-new-tokens 40 How do I make apple pie?"),
)
