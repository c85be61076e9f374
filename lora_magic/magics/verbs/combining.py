"""Verbs that combine weights: merge, unmerge, blend, compress."""

from __future__ import annotations

from lora_magic.adapters.methods import BLENDS
from lora_magic.magics.verb import AN_ADAPTER, Argument, Verb, number, text, whole
from lora_magic.magics.verbs.adapters import A_NAME
from lora_magic.magics.verbs.training import READING

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

COMPRESS = Verb(
    "compress",
    "make the best adapter of a smaller rank; without --rank, show what each rank loses",
    (
        A_NAME,
        Argument("NEW", text, "the new adapter's name", "NAME_r4 or NAME_e95", many="?"),
        Argument("--rank", whole, "the new rank of every module", "none"),
        Argument("--energy", number, "share of Σσ² that each module keeps", "none"),
        Argument("--remove-intruders", None, "keep the rank, and remove the intruder dimensions"),
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
)
