"""`%lora save [NAME] [FOLDER]`."""

from __future__ import annotations

from lora_magic.magics.verb import A_FOLDER, AN_ADAPTER, Argument, Call, Verb


def run(call: Call) -> object:
    """Write an adapter to a folder."""
    return call.session.save(**call.words)


VERB = Verb(
    name="save",
    summary="an adapter into a folder, in PEFT's format",
    run=run,
    changes=True,
    arguments=(
        Argument("NAME", "an adapter; the active one unless given", many="?", completes=AN_ADAPTER),
        Argument(
            "FOLDER", "where; .lora_magic/adapters/NAME unless given", many="?", completes=A_FOLDER
        ),
    ),
    examples=("%lora save pirate", "%lora save pirate out/pirate"),
)
