"""`%lora reset`."""

from __future__ import annotations

from lora_magic.magics.verb import Call, Verb


def run(call: Call) -> object:
    """Let go of everything."""
    return call.session.reset()


VERB = Verb(
    name="reset",
    summary="let go of everything and put the base back as it was",
    run=run,
    changes=True,
    examples=("%lora reset",),
)
