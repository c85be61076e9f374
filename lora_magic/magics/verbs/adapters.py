"""Verbs about one adapter: attach, detach, swap, save, open."""

from __future__ import annotations

from lora_magic.adapters.methods import METHODS, Method
from lora_magic.adapters.presets import PRESETS, VIRTUAL_TOKENS, advice_lines
from lora_magic.adapters.spec import (
    ALL_LINEAR,
    ATTENTION,
    BASE_NAME,
    BIASES,
    INITS,
    PATTERN,
)
from lora_magic.adapters.spec import AdapterSpec as Spec
from lora_magic.base.recipe import LARGE, SMALL
from lora_magic.demo import RECIPE
from lora_magic.magics.verb import AN_ADAPTER, Argument, Thing, Verb, number, text, weighted, whole

NAME = Argument("NAME", text, "the adapter's name", things=AN_ADAPTER)
A_NAME = Argument("NAME", text, "an adapter", "the active one", (), AN_ADAPTER, "?")
TARGETS = (ATTENTION, ALL_LINEAR, PATTERN)
_MODULES = (Thing.MODULE,)


def by_base(field: str) -> str:
    """A recipe's default, by the size of the base; the embedded model has its own."""
    small, large = getattr(SMALL, field), getattr(LARGE, field)
    above = f"; above 1B parameters {_plain(large)}" if large != small else ""
    differs = RECIPE.get(field, small) != small
    own = f"; demo {_plain(RECIPE[field])}" if differs else ""
    return f"{_plain(small)}{above}{own}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def method_line(method: Method) -> str:
    """One method, its parameters per task, and what it cannot do."""
    no = [column for column, answer in method.abilities.items() if answer == "no"]
    lacks = ", ".join(_LACKS[column] for column in no if column in _LACKS)
    without = f"; {lacks}" if lacks else ""
    return f"  {method.name:10} {method.title}: {method.storage}{without}"


#: What a method lacks, by column of the table of methods.
_LACKS = {
    "merge": "no merge",
    "weighted with others": "no weighted sum",
    "spectrum": "no spectrum",
    "on 4 or 8 bits": "not on 4 or 8 bits",
}


PURPOSE_LINES = tuple(
    f"--for {name}: rank {rank}, alpha {alpha:g}, {targets or 'default'} targets"
    for name, (rank, alpha, targets) in PRESETS.items()
)

ATTACH = Verb(
    "attach",
    "attach a new adapter to the base",
    (
        Argument("NAME", text, "the adapter's name"),
        Argument("--method", text, "the adapter's method", Spec.method, tuple(METHODS)),
        Argument("--rank", whole, "r: A is r×k, B d×r; a bottleneck's width", by_base("rank")),
        Argument("--alpha", number, "α: ΔW = α/r · B·A", by_base("alpha")),
        Argument("--dropout", number, "share of A's inputs dropped in training", "0"),
        Argument(
            "--targets",
            text,
            "attention, all-linear, names with commas, or re:PATTERN",
            by_base("targets"),
            TARGETS,
            _MODULES,
            several=True,
        ),
        Argument("--init", text, "the initial A and B", Spec.init, INITS),
        Argument("--rslora", None, "scale by α/√r instead of α/r"),
        Argument("--dora", None, "train the magnitude of each output separately"),
        Argument("--bias", text, "train biases too", Spec.bias, BIASES),
        Argument("--norms", None, "train the norms too"),
        Argument(
            "--rank-pattern",
            text,
            "ranks by module, such as q_proj=16,…",
            "none",
            (),
            _MODULES,
            several=True,
            weighed=True,
        ),
        Argument(
            "--alpha-pattern",
            text,
            "alphas by module, such as q_proj=32,…",
            "none",
            (),
            _MODULES,
            several=True,
            weighed=True,
        ),
        Argument("--virtual-tokens", whole, "for prefix or prompt tuning", str(VIRTUAL_TOKENS)),
        Argument("--for", text, "rank, alpha and targets by use", "none", tuple(PRESETS)),
        Argument("--seed", whole, "seed of the initial A", "from the name"),
        Argument("--replace", None, "replace an adapter that has another spec"),
    ),
    (
        "%lora attach pirate --rank 8",
        "%lora attach calm --targets q_proj,v_proj",
        "%lora attach sharp --init pissa --rslora",
        "%lora attach small --method ia3",
    ),
    changes=True,
    notes=("methods:", *map(method_line, METHODS.values()), *PURPOSE_LINES),
    ending=advice_lines(),
)

DETACH = Verb(
    "detach",
    "remove an adapter",
    (NAME, Argument("--discard", None, "also if it is trained and not saved")),
    ("%lora detach pirate", "%lora detach pirate --discard"),
    changes=True,
)

SWAP = Verb(
    "swap",
    "choose the adapter that answers; base for none",
    (
        Argument(
            "NAME",
            weighted,
            "an adapter, or base; several at once as a=0.7,b=0.3",
            "",
            (BASE_NAME,),
            AN_ADAPTER,
            "+",
            several=True,
        ),
    ),
    ("%lora swap pirate", "%lora swap base", "%lora swap pirate=0.7,formal=0.3"),
    changes=True,
)

SAVE = Verb(
    "save",
    "write an adapter to a folder, in PEFT's format",
    (
        A_NAME,
        Argument(
            "FOLDER",
            text,
            "the folder to write",
            ".lora_magic/adapters/NAME",
            (),
            (Thing.FOLDER,),
            "?",
        ),
    ),
    ("%lora save pirate", "%lora save pirate out/pirate"),
    changes=True,
)

OPEN = Verb(
    "open",
    "read an adapter from a folder or the hub, in PEFT's format or ours",
    (
        Argument(
            "FOLDER",
            text,
            "a folder, a saved adapter's name, or a hub id",
            "",
            (),
            (Thing.SAVED, Thing.FOLDER),
        ),
        Argument("NAME", text, "the adapter's name", "the folder's name", many="?"),
        Argument("--allow-other-base", None, "open one made for another base", was="--other-base"),
        Argument("--replace", None, "replace another adapter of that name"),
    ),
    ("%lora open out/pirate", "%lora open out/pirate buccaneer"),
    changes=True,
)
