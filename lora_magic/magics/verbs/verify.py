"""`%lora verify`."""

from __future__ import annotations

from lora_magic.magics.verb import Argument, Call, Verb


def run(call: Call) -> object:
    """Check that not a bit of the base has changed."""
    return call.session.verify(**call.flags)


VERB = Verb(
    name="verify",
    summary="whether one bit of the base has changed",
    run=run,
    arguments=(Argument("--quick", "compare pointers and versions, read no byte", kind=None),),
    examples=("%lora verify",),
)
