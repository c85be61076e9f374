"""`%lora detach NAME`."""

from __future__ import annotations

from lora_magic.magics.verb import AN_ADAPTER, Argument, Call, Verb


def run(call: Call) -> object:
    """Take an adapter away."""
    return call.session.detach(call.words["name"])


VERB = Verb(
    name="detach",
    summary="take an adapter away",
    run=run,
    changes=True,
    arguments=(Argument("NAME", "the adapter's name", completes=AN_ADAPTER),),
    examples=("%lora detach pirate",),
)
