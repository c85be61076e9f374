"""`%lora swap NAME`."""

from __future__ import annotations

from lora_magic.magics.verb import Argument, Call, Verb


def run(call: Call) -> object:
    """Choose which adapter answers."""
    return call.session.swap(call.words["name"])


VERB = Verb(
    name="swap",
    summary="which adapter answers; base for none",
    run=run,
    changes=True,
    arguments=(Argument("NAME", "an adapter's name, or base"),),
    examples=("%lora swap pirate", "%lora swap base"),
)
