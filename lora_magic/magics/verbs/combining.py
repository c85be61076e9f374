"""Verbs that combine weights: merge, unmerge, blend, compress."""

from __future__ import annotations

from collections.abc import Callable

from lora_magic.adapters.methods import BLENDS
from lora_magic.interrupts import Stop
from lora_magic.magics.verb import AN_ADAPTER, Argument, Call, Verb, number, text, whole
from lora_magic.magics.verbs.adapters import A_NAME
from lora_magic.magics.verbs.training import READING, rows_of

_REPLACE = Argument("--replace", None, "replace an adapter of that name")
_WEIGHTS = "adapters with their weights, as a=0.7,b=-0.3"

MERGE = Verb(
    "merge",
    "fold ΔW into the weights; unmerge undoes it bit for bit",
    (
        A_NAME,
        Argument("--check", None, "compute what rounding loses from every entry, not from 4,096"),
    ),
    ("%lora merge pirate",),
    changes=True,
)

UNMERGE = Verb(
    "unmerge", "restore the base's own weights, bit for bit", (), ("%lora unmerge",), changes=True
)

BLEND = Verb(
    "blend",
    "make an adapter whose ΔW is the weighted sum of others'",
    (
        Argument("NEW", text, "the new adapter's name"),
        Argument("WEIGHTS", text, _WEIGHTS, "", (), AN_ADAPTER, "*", several=True, weighed=True),
        Argument("--method", text, "how they are combined", words=BLENDS),
        Argument("--rank", whole, "truncate ΔW to this rank", "sum: exact; others: the ranks' sum"),
        Argument("--density", number, "share of entries to keep", "ties 0.2; dare, magnitude 0.5"),
        Argument("--seed", whole, "seed of the entries that dare drops", "from the name"),
        _REPLACE,
    ),
    ("%lora blend mild pirate=0.4 formal=0.6", "%lora blend less pirate=1,rude=-0.5 --rank 8"),
    changes=True,
)


def _compress(call: Call) -> object:
    """The new adapter or, with rows, which rank is enough; ■ ends that after the next token."""
    if call.body is None and "data" not in call.flags:
        return call.session.compress(**call.words, **call.flags)
    typed = " ".join(["compress", *call.words.values()])
    flags, reporter = rows_of(call, typed, f"%%lora {typed}"), call.reporter

    def watch(line: Callable[[], str]) -> bool:
        if reporter is not None:
            reporter.count(line)
        return stop.requested

    stop = Stop()
    if flags.get("remove_intruders"):
        # A part of that is no result: ■ raises at once, as it does without rows.
        return call.session.compress(**call.words, **flags, watch=watch)
    with stop:
        return call.session.compress(**call.words, **flags, watch=watch)


COMPRESS = Verb(
    "compress",
    "make the best adapter of a smaller rank; without --rank, show what each rank loses",
    (
        A_NAME,
        Argument("NEW", text, "the new adapter's name", "NAME_r4 or NAME_e95", many="?"),
        Argument("--rank", whole, "the new rank of every module", "none"),
        Argument("--energy", number, "share of Σσ² that each module keeps", "none"),
        Argument("--budget", whole, "parameters of this rank, distributed over modules", "none"),
        Argument("--remove-intruders", None, "remove singular vectors of W + ΔW that W lacks"),
        *READING,
        Argument("--rows", whole, "only the first N rows", "all"),
        _REPLACE,
    ),
    (
        "%lora compress pirate",
        "%lora compress pirate --data held_out",
        "%lora compress pirate --rank 4",
        "%lora compress pirate small --energy 0.95",
    ),
    changes=True,
    answers=True,
    body="held-out rows: prompt => completion, JSONL, or blocks of text",
    run=_compress,
    notes=(
        "With rows, every rank is measured on them: the smallest rank is named whose loss exceeds",
        "the adapter's by at most 1 % of its gain over the base, with 95 % probability (paired",
        "bootstrap over the rows). Use rows that the adapter was not trained on.",
    ),
)
