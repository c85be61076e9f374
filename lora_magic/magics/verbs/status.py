"""`%lora status`, or a bare `%lora`."""

from __future__ import annotations

from lora_magic.magics.variables import models_in
from lora_magic.magics.verb import Call, Verb


def run(call: Call) -> object:
    """Tell where the session stands, and before there is a base, which models the notebook has."""
    status = call.session.status()
    return status if status.base is not None else status.with_found(models_in(call.variables))


VERB = Verb(
    name="status",
    summary="what is loaded, attached, active, merged; what to type next",
    run=run,
    examples=("%lora",),
)
