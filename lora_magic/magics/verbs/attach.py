"""`%lora attach NAME`."""

from __future__ import annotations

from lora_magic.adapters.methods import METHODS, Method
from lora_magic.adapters.spec import ALL_LINEAR, ATTENTION, BIASES, INITS, PATTERN, PRESETS
from lora_magic.errors import listed
from lora_magic.magics.verb import Argument, Call, Completes, Thing, Verb, number, whole


def method_line(method: Method) -> str:
    """One method with what it keeps for a task, and what it cannot do."""
    lacks = [
        column
        for column, answer in method.abilities.items()
        if answer == "no" and column != "one pass with others"
    ]
    without = f" (not: {', '.join(lacks)})" if lacks else ""
    return f"  {method.name:10} {method.title}: {method.storage}{without}"


PURPOSE_LINES = tuple(
    f"--for {name}: rank {rank}, alpha {alpha:g}, targets {targets or 'as usual'}"
    for name, (rank, alpha, targets) in PRESETS.items()
)


METHOD = Completes(tuple(METHODS))
TARGETS = Completes((ATTENTION, ALL_LINEAR, PATTERN), (Thing.MODULE,), several=True)
BY_MODULE = Completes(things=(Thing.MODULE,), several=True, weighed=True)


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
        Argument("--method", listed(METHODS, 20), placeholder="METHOD", completes=METHOD),
        Argument("--rank", "r of A (r×k) and B (d×r), or of a bottleneck", whole, placeholder="R"),
        Argument("--alpha", "α: ΔW = α/r · B·A", number),
        Argument("--dropout", "on the input of A while training; 0 unless given", number),
        Argument(
            "--targets",
            "attention, all-linear, names with commas, or re:PATTERN",
            completes=TARGETS,
        ),
        Argument(
            "--init",
            f"where A and B start: {', '.join(INITS)}",
            placeholder="START",
            completes=Completes(INITS),
        ),
        Argument("--rslora", "α/√r in the place of α/r", kind=None),
        Argument("--dora", "train each output's magnitude apart", kind=None),
        Argument(
            "--bias",
            f"train biases too: {', '.join(BIASES)}",
            placeholder="WHICH",
            completes=Completes(BIASES),
        ),
        Argument("--norms", "train the norms too", kind=None),
        Argument(
            "--rank-pattern",
            "other ranks by module",
            placeholder="q_proj=16,…",
            completes=BY_MODULE,
        ),
        Argument(
            "--alpha-pattern",
            "other alphas by module",
            placeholder="q_proj=32,…",
            completes=BY_MODULE,
        ),
        Argument("--virtual-tokens", "n of prefix and prompt tuning", whole),
        Argument(
            "--for",
            "rank and targets by use: style, instructions, domain",
            completes=Completes(tuple(PRESETS)),
        ),
        Argument("--seed", "of A's start; made from the name unless given", whole),
        Argument("--replace", "put it in the place of one with another spec", kind=None),
    ),
    examples=(
        "%lora attach pirate --rank 8",
        "%lora attach calm --targets q_proj,v_proj",
        "%lora attach sharp --init pissa --rslora",
        "%lora attach small --method ia3",
    ),
    notes=("methods:", *map(method_line, METHODS.values()), *PURPOSE_LINES),
)
