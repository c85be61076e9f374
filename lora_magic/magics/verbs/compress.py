"""`%lora compress [NAME] [NEW]`."""

from __future__ import annotations

from lora_magic.magics.verb import AN_ADAPTER, Argument, Call, Verb, number, whole


def run(call: Call) -> object:
    """Make an adapter of a smaller rank, or show what each rank would lose."""
    return call.session.compress(**call.words, **call.flags)


VERB = Verb(
    name="compress",
    summary="the best adapter of a smaller rank; without one, what each rank loses",
    run=run,
    changes=True,
    arguments=(
        Argument("NAME", "an adapter; the active one unless given", many="?", completes=AN_ADAPTER),
        Argument("NEW", "the new one's name; NAME_r4 or NAME_e95 unless given", many="?"),
        Argument("--rank", "the new rank of every module", whole, placeholder="R"),
        Argument("--energy", "or the share of Σσ² that each module keeps", number),
        Argument("--replace", "put it in the place of one of that name", kind=None),
    ),
    examples=(
        "%lora compress pirate",
        "%lora compress pirate --rank 4",
        "%lora compress pirate small --energy 0.95",
    ),
)
