"""`%lora status`, or a bare `%lora`."""

from __future__ import annotations

from lora_magic.magics.verb import Call, Verb


def run(call: Call) -> object:
    """Tell where the session stands."""
    return call.session.status()


VERB = Verb(
    name="status",
    summary="what is loaded, attached, active, merged; what to type next",
    run=run,
    examples=("%lora",),
)
