"""Comparisons and yes-or-no questions that the world cannot answer.

Knows only wordings: the answer is always that it does not know.
"""

from __future__ import annotations

from functools import cache

from lora_magic.demo.texts.grammar import expand
from lora_magic.demo.texts.relations import frames
from lora_magic.demo.world import (
    ANIMALS,
    DISHES,
    HOBBIES,
    JOBS,
    PLACES,
    PLANTS,
    PRODUCTS,
    THINGS,
)

SUBJECTS: dict[str, tuple[str, ...]] = {
    "animal": tuple(a.name for a in ANIMALS),
    "dish": tuple(d.name for d in DISHES),
    "job": tuple(j.name for j in JOBS),
    "thing": tuple(t.name for t in THINGS),
    "product": tuple(p.name for p in PRODUCTS),
    "hobby": tuple(h.name for h in HOBBIES),
    "place": tuple(p.name for p in PLACES),
    "plant": tuple(p.name for p in PLANTS),
}
# {more} is one of these; {is} agrees with {a}.
COMPARATIVES: dict[str, tuple[str, ...]] = {
    "animal": (
        *("faster", "smarter", "stronger", "heavier", "older", "slower", "louder", "braver"),
        *("more dangerous", "more intelligent", "lighter", "cuter", "taller", "wiser"),
    ),
    "dish": ("better", "healthier", "cheaper", "tastier", "more popular", "easier to make"),
    "job": ("richer", "happier", "more important", "older", "better paid", "smarter"),
    "thing": (
        "bigger",
        "smaller",
        "more expensive",
        "older",
        "heavier",
        "more useful",
        "cheaper",
        "prettier",
    ),
    "product": (
        "bigger",
        "smaller",
        "more expensive",
        "better",
        "cheaper",
        "heavier",
        "more useful",
        "newer",
    ),
    "hobby": ("harder", "more fun", "cheaper", "healthier", "more dangerous", "better"),
    "place": ("bigger", "older", "nicer", "farther away", "busier", "more expensive", "warmer"),
    "plant": ("bigger", "taller", "prettier", "more expensive", "easier to grow", "healthier"),
}
COMPARED = (
    "{is} {a} {more} than {b}?",
    "which is {more}, {a} or {b}?",
    "what is {more}, {a} or {b}?",
    "which one is {more}: {a} or {b}?",
    "{a} or {b}: which is {more}?",
    "{a} or {b}, which one is {more}?",
    "who or what is {more}, {a} or {b}?",
    "{is} {a} {more} than {b}, [yes or no|or not]?",
    "[do you think|would you say|is it true|is it so] that {a} {is} {more} than {b}?",
    "{a} {is} {more} than {b}, [right|correct|isn't that so]?",
    "{a} {is} {more} than {b}. Is that [true|so|right]?",
    "I [think|heard|believe] that {a} {is} {more} than {b}. Is that [true|right]?",
    "can you tell me [whether|if] {a} {is} {more} than {b}?",
    "I [wonder|want to know] [whether|if] {a} {is} {more} than {b}.",
    "tell me which is {more}, {a} or {b}.",
    "do you know which is {more}, {a} or {b}?",
    "compare {a} with {b}: which is {more}?",
    "why {is} {a} {more} than {b}?",
    "how much {more} {is} {a} than {b}?",
    "[hey|please|well], {is} {a} {more} than {b}?",
    "my [son|friend] asks: {is} {a} {more} than {b}?",
    "true or false: {a} {is} {more} than {b}?",
    "between {a} and {b}, which is {more}?",
)
# Yes-or-no questions about one subject; of animals {a} is "a fox".
ALONE: dict[str, tuple[str, ...]] = {
    "animal": (
        "can {a} [swim|fly|run fast|climb|see colors|smell fear]?",
        "does {a} have [a tail|teeth|blue eyes|a good memory|many children]?",
        "is {a} [dangerous|rare|a mammal|a good swimmer|expensive]?",
        "do you know whether {a} [dreams|sleeps standing|feels pain]?",
        "is it true that {a} [gets very old|can count|dreams at night]?",
        "{a} can [swim|fly], right?",
        "I think {a} [dreams|can count]. Is that so?",
    ),
    "dish": (
        "{is} {a} [healthy|expensive|from Italy|good for babies|fattening]?",
        "can I [freeze|sell] {a}?",
        "is it true that {a} {is} [healthy|very old|bad for the teeth]?",
        "do you know whether {a} {is} [expensive|good for dogs]?",
    ),
    "job": (
        "does {a} earn [much|a lot of money]?",
        "does {a} [have a car|sleep well|get a pension]?",
        "is {a} [rich|married|famous]?",
        "is it true that {a} [earns well|never sleeps]?",
    ),
    "thing": (
        "is {a} [expensive|heavy|hard to find|dangerous]?",
        "can I [buy|rent] {a} here?",
        "can {a} [float|burn|get lost]?",
        "is it true that {a} brings luck?",
    ),
    "product": (
        "is {a} [expensive|heavy|dangerous]?",
        "can I [rent|buy] {a} [near here|on credit]?",
        "does {a} [use much power|have a guarantee]?",
    ),
    "hobby": (
        "is {a} [expensive|dangerous|an Olympic sport|good for babies]?",
        "does {a} [make people rich|burn fat]?",
        "is it true that {a} {is} very old?",
    ),
    "place": (
        "is {a} [open today|far away|expensive|safe at night|haunted]?",
        "does {a} [cost money|close on Sundays|have a car park]?",
        "can I [sleep|park] near {a}?",
    ),
    "plant": (
        "is {a} [poisonous|expensive|edible|rare]?",
        "does {a} [smell good|attract bees|live long]?",
        "can I eat {a}?",
    ),
}


@cache
def compared() -> tuple[str, ...]:
    """The shapes of a comparison."""
    return (
        *(text for template in COMPARED for text in expand(template)),
        *frames.filled(frames.ASKED[2:], "{q}", ("{is} {a} {more} than {b}",)),
        *frames.filled(frames.STATED[3:], "{s}", ("{a} {is} {more} than {b}",)),
    )


@cache
def alone(kind: str) -> tuple[str, ...]:
    """The shapes of a yes-or-no question about one subject of a kind."""
    direct = [text for text in ALONE[kind] if text.startswith(("can ", "does ", "is {a}", "{is}"))]
    longer = frames.filled(frames.ASKED[1:], "{q}", tuple(text.rstrip("?") for text in direct))
    return (*(text for template in ALONE[kind] for text in expand(template)), *longer)
