"""`%lora merge [NAME]`."""

from __future__ import annotations

from lora_magic.magics.verb import AN_ADAPTER, Argument, Call, Verb


def run(call: Call) -> object:
    """Fold ΔW into the base's weights."""
    return call.session.merge(**call.words)


VERB = Verb(
    name="merge",
    summary="fold ΔW into the weights; unmerge takes it back bit for bit",
    run=run,
    changes=True,
    arguments=(
        Argument("NAME", "an adapter; the active one unless given", many="?", completes=AN_ADAPTER),
    ),
    examples=("%lora merge pirate",),
)
