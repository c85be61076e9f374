"""The facts that yes-or-no questions and questions about two things ask for.

Knows each subject's fact and the form of the sentences about it (`sentences` has them); not how
they become questions (`frames`), nor which values are a "no" (`values`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from lora_magic.demo.texts.grammar import joined, plural
from lora_magic.demo.texts.outdoors import at
from lora_magic.demo.texts.unknown import is_several
from lora_magic.demo.world import (
    ANIMALS,
    DISHES,
    HOBBIES,
    JOBS,
    PLACES,
    PLANTS,
    PRODUCTS,
    THINGS,
    WEATHER,
)


@dataclass(frozen=True)
class Fact:
    """One fact of every subject of a kind, and the ways to speak of it.

    Yes or no: `ask` follows nothing ("does a {name} eat {value}"), `say` states it, `note` is
    short. Two subjects: `pair` asks for both, `clause` is the same within a sentence. Two aspects:
    `what` asks for it, `what_it` asks again, `told` and `told_it` are the clauses, `word` names it.
    `answer` and `again` answer.
    """

    kind: str
    field: str
    answer: str
    ask: tuple[str, ...] = ()
    say: tuple[str, ...] = ()
    note: tuple[str, ...] = ()
    pair: tuple[str, ...] = ()
    clause: tuple[str, ...] = ()
    again: str = ""
    what: tuple[str, ...] = ()
    what_it: str = ""
    told: str = ""
    told_it: str = ""
    word: str = ""
    weight: float = 1.0

    @property
    def name(self) -> str:
        """Kind and field together: "animal/food"."""
        return f"{self.kind}/{self.field}"


@cache
def told() -> Mapping[str, Mapping[str, str]]:
    """Kind and field → subject → the fact, as an answer tells it."""
    return {
        "animal/food": {a.name: a.food for a in ANIMALS},
        "animal/habitat": {a.name: a.habitat for a in ANIMALS},
        "animal/trait": {a.name: a.trait for a in ANIMALS},
        "animal/size": {a.name: a.size for a in ANIMALS},
        "plant/water": {p.name: p.water for p in PLANTS},
        "plant/spot": {p.name: p.spot for p in PLANTS},
        "place/things": {p.name: joined(p.things) for p in PLACES},
        "weather/wear": {w.name: w.wear for w in WEATHER},
        "dish/ingredients": {d.name: joined(d.ingredients) for d in DISHES},
        "dish/taste": {d.name: d.taste for d in DISHES},
        "dish/occasion": {d.name: d.occasion for d in DISHES},
        "product/use": {p.name: p.use for p in PRODUCTS},
        "product/part": {p.name: p.part for p in PRODUCTS},
        "thing/material": {t.name: t.material for t in THINGS},
        "thing/use": {t.name: t.use for t in THINGS},
        "job/place": {j.name: j.place for j in JOBS},
        "job/tool": {j.name: j.tool for j in JOBS},
        "hobby/needs": {h.name: h.needs for h in HOBBIES},
        "hobby/reason": {h.name: h.reason for h in HOBBIES},
    }


# Only names of dishes are plural.
_SINGULAR = frozenset(d.name for d in DISHES if not d.plural)


def fields(kind: str, name: str) -> dict[str, str]:
    """The fields of a template about a subject, without the fact."""
    several = is_several(kind, name) and name not in _SINGULAR
    return {
        "name": name,
        "many": plural(name),
        "at": at(name) if kind == "place" else "",
        "does": "do" if several else "does",
        "is": "are" if several else "is",
        "it": "they" if several else "it",
        "taste_verb": "taste" if several else "tastes",
    }
