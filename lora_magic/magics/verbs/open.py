"""`%lora open FOLDER [NAME]`."""

from __future__ import annotations

from lora_magic.magics.verb import Argument, Call, Completes, Thing, Verb


def run(call: Call) -> object:
    """Read an adapter from a folder."""
    return call.session.open(**call.words, **call.flags)


VERB = Verb(
    name="open",
    summary="an adapter from a folder or the hub, in PEFT's format or ours",
    run=run,
    changes=True,
    arguments=(
        Argument(
            "FOLDER",
            "where it lies, or a hub id",
            completes=Completes(things=(Thing.SAVED, Thing.FOLDER)),
        ),
        Argument("NAME", "what to call it; the folder's name unless given", many="?"),
        Argument("--other-base", "even if it was made for another base", kind=None),
        Argument("--replace", "put it in the place of another of that name", kind=None),
    ),
    examples=("%lora open out/pirate", "%lora open out/pirate buccaneer"),
)
