"""What yes-or-no questions and questions about two things ask for, as tables of templates.

Knows the sentences about each fact of the world; not how they become questions (`frames`), nor
which values are a "no" (`values`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from lora_magic.demo.texts.grammar import joined, plural
from lora_magic.demo.texts.outdoors import at
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


FACTS = (
    Fact(
        "animal",
        "food",
        "a {name} eats {fact}",
        (
            "[does a|does the] {name} eat {value}",
            "do {many} [eat|like|feed on] {value}",
            "would a {name} eat {value}",
            "can I feed {value} to a {name}",
        ),
        ("[a|the] {name} eats {value}", "{many} [eat|like to eat] {value}"),
        ("{name} eats {value}", "{many} eat {value}", "{value} for a {name}"),
        (
            "what do [a|the] {name} and [a|the] {other} eat",
            "what do {many} and {others} [eat|like to eat|feed on]",
            "what should I feed a {name} and a {other}",
            "what is the food of a {name} and a {other}",
        ),
        ("what [a {name} and a {other}|{many} and {others}] eat",),
        "it eats {fact}",
        ("what does [a|the] {name} eat", "what do {many} eat"),
        "what does it eat",
        "what a {name} eats",
        "what it eats",
        "food",
        3.0,
    ),
    Fact(
        "animal",
        "habitat",
        "a {name} lives {fact}",
        (
            "[does a|does the] {name} live {value}",
            "do {many} live {value}",
            "can I [find|see] a {name} {value}",
            "are {many} found {value}",
        ),
        ("[a|the] {name} lives {value}", "{many} live {value}", "you find {many} {value}"),
        ("{name} lives {value}", "{many} {value}", "a {name} {value}"),
        (
            "where do [a|the] {name} and [a|the] {other} live",
            "where do {many} and {others} live",
            "where can I [find|see] a {name} and a {other}",
            "where are {many} and {others} at home",
        ),
        ("where [a {name} and a {other}|{many} and {others}] live",),
        "it lives {fact}",
        ("where does [a|the] {name} live", "where do {many} live"),
        "where does it live",
        "where a {name} lives",
        "where it lives",
        "home",
        3.0,
    ),
    Fact(
        "animal",
        "trait",
        "a {name} is {fact}",
        ("is [a|the] {name} {value}", "are {many} {value}", "would you call a {name} {value}"),
        ("[a|the] {name} is {value}", "{many} are {value}"),
        ("{name} {value}", "{many} {value}", "{value} {many}"),
        (
            "what are {many} and {others} like",
            "what are a {name} and a {other} like",
            "how would you describe {many} and {others}",
        ),
        ("what [a {name} and a {other}|{many} and {others}] are like",),
        "it is {fact}",
        ("what is [a|the] {name} like", "what are {many} like"),
        "what is it like",
        "what a {name} is like",
        "what it is like",
        "character",
        2.0,
    ),
    Fact(
        "animal",
        "size",
        "a {name} is {fact}",
        ("is [a|the] {name} {value}", "are {many} {value}", "is a {name} a {value} animal"),
        ("[a|the] {name} is {value}", "{many} are {value}", "a {name} is a {value} animal"),
        ("{name} {value}", "{many} {value}"),
        (
            "how big are {many} and {others}",
            "how big are a {name} and a {other}",
            "what size are {many} and {others}",
        ),
        ("how big [a {name} and a {other}|{many} and {others}] are",),
        "it is {fact}",
        ("how big is [a|the] {name}", "how big are {many}"),
        "how big is it",
        "how big a {name} is",
        "how big it is",
        "size",
    ),
    Fact(
        "plant",
        "water",
        "a {name} needs water {fact}",
        (
            "does [a|my|the] {name} need water {value}",
            "should I water [a|my|the] {name} {value}",
            "do I have to water my {name} {value}",
        ),
        ("[a|my] {name} needs water {value}", "I should water my {name} {value}"),
        ("water {name} {value}", "{name} needs water {value}"),
        (
            "how often should I water [a|my] {name} and [a|my] {other}",
            "when do a {name} and a {other} need water",
            "how much water do my {name} and my {other} need",
        ),
        ("how often [a|my] {name} and [a|my] {other} need water",),
        "it needs water {fact}",
        ("how often should I water [a|my] {name}",),
        "how often does it need water",
        "how often a {name} needs water",
        "how often it needs water",
        "water",
    ),
    Fact(
        "plant",
        "spot",
        "a {name} grows best {fact}",
        (
            "does a {name} grow best {value}",
            "should I [put|plant|keep] my {name} {value}",
            "does a {name} like to be {value}",
        ),
        ("[a|my] {name} grows best {value}", "I should keep my {name} {value}"),
        ("{name} {value}", "{name} grows best {value}"),
        (
            "where do a {name} and a {other} grow best",
            "where should I [put|keep] my {name} and my {other}",
            "where do I plant a {name} and a {other}",
        ),
        ("where a {name} and a {other} grow best",),
        "it grows best {fact}",
        ("where does [a|my] {name} grow best",),
        "where does it grow best",
        "where a {name} grows best",
        "where it grows best",
        "place",
    ),
    Fact(
        "place",
        "things",
        "{at} the {name} you can see {fact}",
        (
            "can I see {value} {at} the {name}",
            "do you see {value} {at} the {name}",
            "will I find {value} {at} the {name}",
        ),
        ("you can see {value} {at} the {name}", "one finds {value} {at} the {name}"),
        ("{value} {at} the {name}",),
    ),
    Fact(
        "weather",
        "wear",
        "on a {name} day, wear {fact}",
        (
            "should I wear {value} on a {name} day",
            "do I need {value} [when it is|if it is] {name}",
            "is it right to wear {value} when it is {name}",
        ),
        ("I should wear {value} on a {name} day", "people wear {value} when it is {name}"),
        ("{value} on a {name} day", "{name} day: {value}"),
    ),
    Fact(
        "dish",
        "ingredients",
        "for {name} you need {fact}",
        (
            "do I need {value} [for|to make] {name}",
            "{does} {name} contain {value}",
            "do you put {value} in {name}",
            "should I buy {value} for {name}",
        ),
        (
            "you need {value} for {name}",
            "I need {value} for {name}",
            "people put {value} in {name}",
        ),
        ("{value} in {name}", "{name} with {value}", "{value} for {name}"),
        weight=3.0,
    ),
    Fact(
        "dish",
        "taste",
        "{name} {taste_verb} {fact}",
        ("{does} {name} taste {value}", "{is} {name} {value}"),
        ("{name} {taste_verb} {value}", "{name} {is} {value}"),
        ("{value} {name}", "{name} {value}"),
        (
            "what do {name} and {other} taste like",
            "how do {name} and {other} taste",
            "what is the taste of {name} and {other}",
        ),
        ("[what {name} and {other} taste like|how {name} and {other} taste]",),
        "{it} {taste_verb} {fact}",
        ("what {does} {name} taste like", "how {does} {name} taste"),
        "what {does} {it} taste like",
        "what {name} {taste_verb} like",
        "what {it} {taste_verb} like",
        "taste",
        1.5,
    ),
    Fact(
        "dish",
        "occasion",
        "{name} {is} perfect for {fact}",
        pair=(
            "what are {name} and {other} perfect for",
            "for which occasion are {name} and {other}",
        ),
        clause=("what {name} and {other} are perfect for",),
        again="{it} {is} perfect for {fact}",
        what=("when {is} {name} a good idea", "what {is} {name} perfect for"),
        what_it="what {is} {it} perfect for",
        told="what {name} {is} perfect for",
        told_it="what {it} {is} perfect for",
        word="occasion",
        weight=0.5,
    ),
    Fact(
        "product",
        "use",
        "with a {name}, you can {fact}",
        (
            "can I {value} with a {name}",
            "can [a|my] {name} help me to {value}",
            "do people use a {name} to {value}",
        ),
        ("you can {value} with a {name}", "people use a {name} to {value}"),
        ("{name} to {value}", "{value} with a {name}"),
        (
            "what can I do with a {name} and a {other}",
            "what are a {name} and a {other} good for",
        ),
        ("what a {name} and a {other} are good for",),
        "with it, you can {fact}",
        ("what is a {name} good for",),
        "what is it good for",
        "what a {name} is good for",
        "what it is good for",
        "use",
    ),
    Fact(
        "product",
        "part",
        "the best part of a {name} is {fact}",
        pair=(
            "what is the best part of a {name} and of a {other}",
            "which parts of a {name} and a {other} are important",
        ),
        clause=("what the best part of a {name} and of a {other} is",),
        again="its best part is {fact}",
        what=("what is the best part of a {name}",),
        what_it="what is its best part",
        told="what the best part of a {name} is",
        told_it="what its best part is",
        word="best part",
        weight=0.5,
    ),
    Fact(
        "thing",
        "material",
        "a {name} is made of {fact}",
        (
            "is [a|the] {name} made of {value}",
            "do people make a {name} out of {value}",
            "do I need {value} to make a {name}",
        ),
        ("[a|the] {name} is made of {value}", "people make a {name} out of {value}"),
        ("{name} made of {value}", "{value} {name}", "{name} {value}"),
        (
            "what are a {name} and a {other} made of",
            "which material do I need for a {name} and a {other}",
            "what is the material of a {name} and a {other}",
        ),
        ("what a {name} and a {other} are made of",),
        "it is made of {fact}",
        ("what is [a|the] {name} made of",),
        "what is it made of",
        "what a {name} is made of",
        "what it is made of",
        "material",
        2.0,
    ),
    Fact(
        "thing",
        "use",
        "you can use a {name} to {fact}",
        (
            "can I use a {name} to {value}",
            "do people use a {name} to {value}",
            "is a {name} used to {value}",
            "can I {value} with a {name}",
        ),
        ("you can use a {name} to {value}", "you can {value} with a {name}"),
        ("{name} to {value}", "{value} with a {name}"),
        (
            "what can I do with a {name} and a {other}",
            "what are a {name} and a {other} for",
            "what do people use a {name} and a {other} for",
        ),
        ("what a {name} and a {other} are for",),
        "you can use it to {fact}",
        ("what is a {name} for", "what can I do with a {name}"),
        "what is it for",
        "what a {name} is for",
        "what it is for",
        "use",
    ),
    Fact(
        "job",
        "place",
        "a {name} works {fact}",
        (
            "does [a|the] {name} work {value}",
            "do {many} work {value}",
            "can I [find|meet] a {name} {value}",
        ),
        ("[a|the] {name} works {value}", "{many} work {value}"),
        ("{name} works {value}", "{many} {value}"),
        (
            "where do [a|the] {name} and [a|the] {other} work",
            "where do {many} and {others} work",
            "where can I [find|meet] a {name} and a {other}",
        ),
        ("where [a {name} and a {other}|{many} and {others}] work",),
        "the place of work is {fact}",
        ("where does [a|the] {name} work", "where do {many} work"),
        "what is the place of work",
        "where a {name} works",
        "what the place of work is",
        "place of work",
        2.0,
    ),
    Fact(
        "job",
        "tool",
        "a {name} works with {fact}",
        (
            "does [a|the] {name} [work with|use|need] {value}",
            "do {many} [work with|use] {value}",
        ),
        ("[a|the] {name} [works with|uses|needs] {value}", "{many} [work with|use] {value}"),
        ("{name} with {value}", "{many} use {value}"),
        (
            "what do [a|the] {name} and [a|the] {other} work with",
            "what do {many} and {others} need for the work",
            "which tools do a {name} and a {other} use",
        ),
        ("what [a {name} and a {other}|{many} and {others}] work with",),
        "the most important tool is {fact}",
        ("what does [a|the] {name} work with", "what do {many} work with"),
        "what is the most important tool",
        "what a {name} works with",
        "what the most important tool is",
        "tool",
        2.0,
    ),
    Fact(
        "hobby",
        "needs",
        "for {name} you need {fact}",
        (
            "do I need {value} [for|to start with] {name}",
            "should I buy {value} for {name}",
            "does {name} need {value}",
        ),
        ("you need {value} for {name}", "{name} needs {value}"),
        ("{value} for {name}", "{name} with {value}"),
        (
            "what do I need for {name} and {other}",
            "what should I buy for {name} and [for |]{other}",
            "what do {name} and {other} need",
        ),
        ("what I need for {name} and {other}",),
        "you need {fact}",
        ("what do I need for {name}",),
        "what does it need",
        "what I need for {name}",
        "what it needs",
        "equipment",
        1.5,
    ),
    Fact(
        "hobby",
        "reason",
        "people like {name} because {fact}",
        pair=(
            "why do people like {name} and {other}",
            "what is good about {name} and {other}",
        ),
        clause=("why people like {name} and {other}",),
        again="people like it because {fact}",
        what=("why do people like {name}",),
        what_it="why do people like it",
        told="why people like {name}",
        told_it="why people like it",
        word="charm",
        weight=0.5,
    ),
)
BY_NAME: Mapping[str, Fact] = {fact.name: fact for fact in FACTS}


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
    several = kind == "dish" and name.endswith("s") and name not in _SINGULAR
    return {
        "name": name,
        "many": plural(name),
        "at": at(name) if kind == "place" else "",
        "does": "do" if several else "does",
        "is": "are" if several else "is",
        "it": "they" if several else "it",
        "taste_verb": "taste" if several else "tastes",
    }
