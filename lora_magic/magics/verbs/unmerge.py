"""`%lora unmerge`."""

from __future__ import annotations

from lora_magic.magics.verb import Call, Verb


def run(call: Call) -> object:
    """Put the base's own weights back."""
    return call.session.unmerge()


VERB = Verb(
    name="unmerge",
    summary="the base's own weights back, bit for bit",
    run=run,
    changes=True,
    examples=("%lora unmerge",),
)
