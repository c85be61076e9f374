"""Yes-or-no questions, comparisons of size, questions about two subjects or two aspects.

A yes-or-no question is answered by the fact that decides it ("Does a fox eat honey?" - "A fox eats
berries and mice."): a model of this size learned the facts, but its yes and no were no better than
chance. A comparison states both sizes, then which animal is bigger. Questions are drawn, not
listed; a hash of the wording, and one of what it asks about, decide the split. Comparisons that the
world cannot answer are declined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random
from typing import TypeVar

from lora_magic.demo.heard import heard, words
from lora_magic.demo.texts import unknown
from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.grammar import plural, polish
from lora_magic.demo.texts.relations import beyond, checking, frames, values
from lora_magic.demo.texts.relations.facts import Fact, fields, told
from lora_magic.demo.texts.relations.sentences import BY_NAME, FACTS
from lora_magic.demo.texts.split import Split, number, part_of_name
from lora_magic.demo.world import SIZES

T = TypeVar("T")
# The sixteenths of all wordings, and of all pairs and values, that are held out.
TEST, VALIDATION, PARTS = (0, 1), (2,), 16
# The shares of the aspects, and of direct, longer, stated and short wordings.
SHARES = {"yesno": 0.38, "size": 0.28, "both": 0.17, "two": 0.17}
SHAPES = (0.3, 0.2, 0.35, 0.15)
# The share of questions to decline that name what the world does not hold.
UNKNOWN_NAMES = 0.35
_TWO_OF = ("animal", "plant", "dish", "product", "thing", "job", "hobby")


@dataclass(frozen=True)
class Relation:
    """What a relation asks: fields of a kind, one or two names, and what is asked of them."""

    kind: str
    fields: tuple[str, ...]
    names: tuple[str, ...]
    asked: str = ""

    @property
    def subject(self) -> str:
        """As the subject of a question: "animal/food/fox/honey", "animal/size/fox/bear/open"."""
        parts = (self.kind, "+".join(self.fields), *self.names, self.asked)
        return "/".join(part for part in parts if part)

    @property
    def pair(self) -> str:
        """What is held out, in whatever order it is asked."""
        asked = "" if self.fields == ("size",) and len(self.names) == 2 else self.asked
        parts = (self.kind, "+".join(sorted(self.fields)), *sorted(self.names), asked)
        return "/".join(parts)


def read(question: Question) -> Relation:
    """The relation that a question's subject encodes."""
    kind, fields_, *rest = question.subject.split("/")
    several = question.aspect in ("size", "both")
    count = 2 if several else 1
    return Relation(kind, tuple(fields_.split("+")), tuple(rest[:count]), "".join(rest[count:]))


def part_of(text: str) -> Split:
    """The split of a wording, or of a pair of subjects or a subject and a value."""
    sixteenth = number(f"relation/{text}") % PARTS
    return "test" if sixteenth in TEST else "validation" if sixteenth in VALIDATION else "train"


def _weighted(shares: dict[T, float], rng: Random) -> T:
    return rng.choices(list(shares), cum_weights=list(accumulate(shares.values())))[0]


def draw(rng: Random, split: Split) -> tuple[Question, str]:
    """A question of the split, and a true answer.

    Outside of training the wording is held out, or what it asks about, or both.
    """
    aspect = _weighted(SHARES, rng)
    wanted = _wanted(rng, split)
    while True:
        relation, shapes = _DRAWN[aspect](rng)
        shape = _shape(shapes, rng)
        if (part_of(shape), part_of(relation.pair)) == wanted:
            asked = _encoded(relation, shape) if aspect == "size" else relation
            question = _question(aspect, asked, shape)
            return question, answer(question, rng)


def _wanted(rng: Random, split: Split) -> tuple[Split, Split]:
    return rng.choice(((split, "train"), ("train", split), (split, split)))


def _shape(shapes: tuple[tuple[str, ...], ...], rng: Random) -> str:
    # A kind of wording may be missing: short ones, for a question which of two is bigger.
    filled = {i: weight for i, weight in enumerate(SHAPES[: len(shapes)]) if shapes[i]}
    return rng.choice(shapes[_weighted(filled, rng)])


def _pair(fact: str, rng: Random) -> tuple[str, str]:
    """Two subjects, neither of whose names is in the other's: not a box and a music box."""
    one, two = rng.sample(list(told()[fact]), 2)
    first, second = set(one.split()), set(two.split())
    return _pair(fact, rng) if first <= second or second <= first else (one, two)


def _yes_or_no(rng: Random) -> tuple[Relation, tuple[tuple[str, ...], ...]]:
    fact = _weighted({fact: fact.weight for fact in FACTS if fact.ask}, rng)
    wanted = values.yes if rng.random() < 0.5 else values.no
    subject = rng.choice([name for name in told()[fact.name] if wanted(fact.name, name)])
    value = rng.choice(wanted(fact.name, subject))
    return Relation(fact.kind, (fact.field,), (subject,), value), frames.yes_or_no(fact)


def _size(rng: Random) -> tuple[Relation, tuple[tuple[str, ...], ...]]:
    one, two = _pair("animal/size", rng)
    # Which shape it is tells what is asked.
    shapes = frames.sizes() if rng.random() < 0.5 else frames.yes_or_no(frames.COMPARED)
    return Relation("animal", ("size",), (one, two)), shapes


def _both(rng: Random) -> tuple[Relation, tuple[tuple[str, ...], ...]]:
    fact = _weighted({fact: fact.weight for fact in FACTS if fact.pair}, rng)
    one, two = _pair(fact.name, rng)
    return Relation(fact.kind, (fact.field,), (one, two)), frames.both(fact)


def _two(rng: Random) -> tuple[Relation, tuple[tuple[str, ...], ...]]:
    kind = rng.choice(_TWO_OF)
    first, second = rng.sample([fact for fact in FACTS if fact.kind == kind and fact.what], 2)
    subject = rng.choice(list(told()[first.name]))
    return Relation(kind, (first.field, second.field), (subject,)), frames.two(first, second)


_DRAWN: dict[str, Callable[[Random], tuple[Relation, tuple[tuple[str, ...], ...]]]] = {
    "yesno": _yes_or_no,
    "size": _size,
    "both": _both,
    "two": _two,
}


def _encoded(relation: Relation, shape: str) -> Relation:
    """The relation with what the wording asks about two sizes."""
    asked = "smaller" if "smaller" in shape else "bigger"
    is_open = shape in frames.sizes()[0]
    return replace(relation, asked=asked if is_open else f"is {asked}")


def _question(aspect: str, relation: Relation, shape: str) -> Question:
    filled = fields(relation.kind, relation.names[0])
    filled |= {"value": relation.asked}
    if len(relation.names) == 2:
        filled |= {"other": relation.names[1], "others": plural(relation.names[1])}
    prompt = polish(shape.format_map(filled))
    return Question("relation", aspect, relation.subject, shape, prompt)


def answer(question: Question, rng: Random) -> str:
    """A true answer: the facts, and of two sizes the conclusion."""
    relation = read(question)
    told_first = [_sentence(relation, name, relation.fields[0]) for name in relation.names]
    if question.aspect == "size":
        return polish(f"{' and '.join(told_first)}{_conclusion(relation)}")
    if question.aspect == "both":
        return polish(f"{', and '.join(told_first)}.")
    if question.aspect == "two":
        return polish(f"{told_first[0]}. {_again(relation)}.")
    return polish(f"{told_first[0]}.")


def _sentence(relation: Relation, name: str, field: str) -> str:
    fact = BY_NAME[f"{relation.kind}/{field}"]
    return _told(fact, fact.answer, name)


def _told(fact: Fact, template: str, name: str) -> str:
    return template.format_map({**fields(fact.kind, name), "fact": told()[fact.name][name]})


def _again(relation: Relation) -> str:
    fact = BY_NAME[f"{relation.kind}/{relation.fields[1]}"]
    return _told(fact, fact.again, relation.names[0])


def _is_yes(relation: Relation) -> bool:
    return relation.asked in values.yes(f"{relation.kind}/{relation.fields[0]}", relation.names[0])


def _bigger(relation: Relation) -> str:
    """The bigger of two animals, "" if both are of one size."""
    first, second = (SIZES.index(told()["animal/size"][name]) for name in relation.names)
    return "" if first == second else relation.names[0 if first > second else 1]


def _conclusion(relation: Relation) -> str:
    bigger, word = _bigger(relation), relation.asked.removeprefix("is ")
    if not bigger:
        return ". they are about the same size."
    one, two = relation.names
    named = bigger if word == "bigger" else two if bigger == one else one
    return f", so the {named} is {word}."


def is_right(question: Question, text: str) -> bool:
    """Whether a text states the facts asked for, and gives no wrong verdict.

    The fact itself answers a yes or no: "A whale lives in the deep ocean."
    """
    if unknown.is_admitted(text):
        return False
    relation = read(question)
    names = relation.names
    asked = [f"{relation.kind}/{field}" for field in relation.fields]
    said = heard(text, [words(told()[fact][name]) for fact in asked for name in names])
    if len(names) == 1:
        stated = checking.is_about(said, asked[0], names[0]) and all(
            checking.states(said, fact, names[0]) for fact in asked
        )
        verdicts = (None, _is_yes(relation))
        return stated and (question.aspect == "two" or checking.verdict(text) in verdicts)
    for name, other in (names, names[::-1]):
        parts = checking.parts_about(said, asked[0], name, other)
        if not any(checking.states(part, asked[0], name) for part in parts):
            return False
    return question.aspect == "both" or _concludes_rightly(relation, text)


def _concludes_rightly(relation: Relation, text: str) -> bool:
    bigger, one = _bigger(relation), relation.names[0]
    called = checking.concludes(text, *relation.names)
    if not relation.asked.startswith("is "):
        return called == bigger
    smaller_asked = relation.asked == "is smaller"
    expected = bool(bigger) and (bigger == one) is not smaller_asked
    said = checking.verdict(text)
    return (
        said in (None, expected)
        and called in (None, bigger)
        and not (said is None and called is None)
    )


def declined(rng: Random, split: Split) -> Question:
    """A comparison or a yes-or-no question of the split that the world cannot answer.

    A third are about a name that the world does not hold: "Is a zebra bigger than a mouse?"
    """
    wanted = _wanted(rng, split)
    if rng.random() < UNKNOWN_NAMES:
        return _about_unknown(rng, wanted)
    while True:
        kind = rng.choice(tuple(beyond.SUBJECTS))
        names = rng.sample(beyond.SUBJECTS[kind], 2)
        more = rng.choice(beyond.COMPARATIVES[kind])
        is_alone = rng.random() < 0.4
        shape = rng.choice(beyond.alone(kind) if is_alone else beyond.compared())
        names = names[:1] if is_alone else names
        pair = "/".join((kind, *sorted(names), "" if is_alone else more))
        if (part_of(shape), part_of(f"beyond/{pair}")) != wanted:
            continue
        article = "" if kind in ("dish", "hobby") else "the " if kind == "place" else "a "
        a, b = (f"{article}{name}" for name in (*names, names[0])[:2])
        filled = {"a": a, "b": b, "more": more, "is": fields(kind, names[0])["is"]}
        prompt = polish(shape.format_map(filled))
        return Question("unknown", "other", pair, shape, prompt)


def _about_unknown(rng: Random, wanted: tuple[Split, Split]) -> Question:
    """A relation of the world with the first name, or one of two, replaced by a strange one."""
    while True:
        aspect = rng.choice(("yesno", "yesno", "size", "both"))
        relation, shapes = _DRAWN[aspect](rng)
        if relation.kind not in unknown.NAMES:
            continue
        name = rng.choice(unknown.NAMES[relation.kind][1])
        shape = _shape(shapes, rng)
        if (part_of(shape), part_of_name(relation.kind, name)) != wanted:
            continue
        place = rng.randrange(len(relation.names))
        names = (*relation.names[:place], name, *relation.names[place + 1 :])
        prompt = _question(aspect, replace(relation, names=names), shape).prompt
        return Question("unknown", relation.kind, name, shape, prompt)
