"""`%lora ratio`."""

from __future__ import annotations

from lora_magic.magics.verb import AN_ADAPTER, Argument, Call, Verb, whole
from lora_magic.magics.verbs.attach import METHOD, TARGETS


def run(call: Call) -> object:
    """Set trainable parameters against the base's."""
    return call.session.ratio(**call.words, **call.flags)


def controls(call: Call) -> object:
    """Controls that begin with what was asked about."""
    return call.session.panel("ratio", adapter=call.words.get("name"), **call.flags)


VERB = Verb(
    name="ratio",
    summary="trainable parameters against the base's",
    run=run,
    controls=controls,
    arguments=(
        Argument("NAME", "an adapter; the active one unless given", many="?", completes=AN_ADAPTER),
        Argument(
            "--method", "as if it were of this method", placeholder="METHOD", completes=METHOD
        ),
        Argument("--rank", "as if it had this rank", whole, placeholder="R"),
        Argument("--targets", "as if it had these targets", completes=TARGETS),
        Argument("--virtual-tokens", "as if a prefix or prompt had so many", whole),
    ),
    examples=(
        "%lora ratio",
        "%lora ratio --rank 64",
        "%lora ratio --method houlsby --rank 8",
    ),
)
