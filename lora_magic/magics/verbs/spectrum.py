"""`%lora spectrum NAME …`."""

from __future__ import annotations

from lora_magic.magics.verb import AN_ADAPTER, Argument, Call, Completes, Thing, Verb


def run(call: Call) -> object:
    """Show the singular values of ΔW."""
    return call.session.spectrum(*call.words.get("name", ()), **call.flags)


VERB = Verb(
    name="spectrum",
    summary="singular values of ΔW, module by module",
    run=run,
    arguments=(
        Argument("NAME", "adapters; the active one unless given", many="*", completes=AN_ADAPTER),
        Argument(
            "--module",
            "only modules with this in their name",
            completes=Completes(things=(Thing.MODULE,)),
        ),
    ),
    examples=("%lora spectrum pirate",),
)
