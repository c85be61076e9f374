"""`%lora attach NAME`."""

from __future__ import annotations

from lora_magic.magics.verb import Argument, Call, Verb, number, whole


def run(call: Call) -> object:
    """Attach a new adapter."""
    return call.session.attach(call.words["name"], **call.flags)


VERB = Verb(
    name="attach",
    summary="a new adapter on the base",
    run=run,
    changes=True,
    arguments=(
        Argument("NAME", "the adapter's name"),
        Argument("--rank", "r of A (r×k) and B (d×r)", whole, placeholder="R"),
        Argument("--alpha", "α: ΔW = α/r · B·A", number),
        Argument("--dropout", "on the input of A while training; 0 unless given", number),
        Argument("--targets", "attention, all-linear, names with commas, or re:PATTERN"),
        Argument("--seed", "of A's start; made from the name unless given", whole),
        Argument("--replace", "put it in the place of one with another spec", kind=None),
    ),
    examples=("%lora attach pirate --rank 8", "%lora attach calm --targets q_proj,v_proj"),
)
