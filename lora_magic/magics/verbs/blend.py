"""`%lora blend NEW a=0.7 b=0.3`."""

from __future__ import annotations

from lora_magic.adapters.methods import BLENDS
from lora_magic.magics.verb import Argument, Call, Completes, Thing, Verb, number, whole


def run(call: Call) -> object:
    """Make a new adapter out of others, each with its weight."""
    weights = " ".join(call.words.get("weights", ()))
    return call.session.blend(call.words["new"], weights, **call.flags)


VERB = Verb(
    name="blend",
    summary="a new adapter whose ΔW is the weighted sum of others'",
    run=run,
    changes=True,
    arguments=(
        Argument("NEW", "the new adapter's name"),
        Argument(
            "WEIGHTS",
            "adapters with their weights, as a=0.7 b=-0.3",
            many="*",
            completes=Completes(things=(Thing.ADAPTER,), weighed=True),
        ),
        Argument(
            "--method",
            "sum, ties, dare or magnitude; sum is exact",
            placeholder="METHOD",
            completes=Completes(BLENDS),
        ),
        Argument("--rank", "cut ΔW to the best one of this rank", whole, placeholder="R"),
        Argument("--density", "share of entries that ties, dare and magnitude keep", number),
        Argument("--seed", "of the entries that dare drops", whole),
        Argument("--replace", "put it in the place of one of that name", kind=None),
    ),
    examples=(
        "%lora blend mild pirate=0.4 formal=0.6",
        "%lora blend less pirate=1 rude=-0.5 --rank 8",
    ),
)
