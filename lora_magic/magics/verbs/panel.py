"""`%lora panel`."""

from __future__ import annotations

from lora_magic.magics.verb import Argument, Call, Completes, Verb
from lora_magic.magics.verbs import compare, ratio, spectrum

VIEWS = tuple(verb.name for verb in (ratio.VERB, spectrum.VERB, compare.VERB))


def run(call: Call) -> object:
    """Make controls over the session."""
    return call.session.panel(call.words.get("view"))


VERB = Verb(
    name="panel",
    summary="ratio, spectrum and comparison as controls, in tabs over the session",
    run=run,
    arguments=(
        Argument(
            "VIEW",
            "ratio, spectrum or compare; all three unless given",
            many="?",
            completes=Completes(VIEWS),
        ),
    ),
    examples=("%lora panel", "%lora panel ratio"),
)
