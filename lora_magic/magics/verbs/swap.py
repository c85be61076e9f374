"""`%lora swap NAME`, `%lora swap a=0.7,b=0.3`."""

from __future__ import annotations

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.magics.verb import Argument, Call, Completes, Thing, Verb


def run(call: Call) -> object:
    """Choose which adapter answers."""
    return call.session.swap(",".join(call.words["name"]))


VERB = Verb(
    name="swap",
    summary="which adapter answers; base for none",
    run=run,
    changes=True,
    arguments=(
        Argument(
            "NAME",
            "an adapter's name, or base; several at once as a=0.7,b=0.3",
            many="+",
            completes=Completes((BASE_NAME,), (Thing.ADAPTER,), several=True),
        ),
    ),
    examples=("%lora swap pirate", "%lora swap base", "%lora swap pirate=0.7,formal=0.3"),
)
