"""An endless stream of prompts that the demo world cannot answer, as wide as people are.

Templates are filled from tables. One template in eight and one entry of a table in eight are held
out by a hash, half of them for validation and half for the test. Knows no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random

from lora_magic.demo.factory import sections
from lora_magic.demo.factory.elsewhere import made, tables
from lora_magic.demo.texts import split, unknown
from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.grammar import articles, expand, needed, plural, render
from lora_magic.demo.texts.outdoors import at
from lora_magic.demo.texts.split import Split

Templates = tuple[str, ...]
# One template or entry in so many is in the test split, and one in validation.
HELD_OUT = 16
# Of prompts that are held out, the share whose template is; the others have an entry that is.
BY_TEMPLATE = 0.5
# Group → its share of the stream.
SHARES = {"topic": 0.50, "tongue": 0.08, "relation": 0.25, "name": 0.17}
# Names without an article, the same in singular and plural.
_BARE = ("dish", "hobby", "weather", "feeling")


def _read(file: str) -> dict[str, Templates]:
    return sections.read(Path(__file__).parent / "templates" / f"{file}.txt")


@cache
def groups() -> Mapping[str, Mapping[str, Templates]]:
    """Group → topic, or kind of subject → its templates."""
    files = ("sciences", "society", "culture", "requests")
    relations, names = _read("relations"), _read("names")
    named = {kind: (*names["named"], *relations[kind]) for kind in unknown.NAMES}
    named["product"] += names["faulty"]
    return {
        "topic": {topic: lines for file in files for topic, lines in _read(file).items()},
        "tongue": _read("tongues"),
        "relation": relations,
        "name": named,
    }


def part_of(text: str) -> Split:
    """The split of a template, or of an entry of a table ("city/Paris")."""
    places: tuple[Split, ...] = ("test", "validation", "train")
    return places[min(2, split.number(f"elsewhere/{text}") % HELD_OUT)]


_NAMES = {
    "who": ("person", unknown.PEOPLE),
    "where": ("country", unknown.COUNTRIES),
    **{kind: (kind, names) for kind, (_, names) in unknown.NAMES.items()},
}


@cache
def entries(field: str, part: Split) -> tuple[str, ...]:
    """The entries of a field's table in a split; of the kinds of names, "animal" is a field."""
    if field in _NAMES:
        kind, names = _NAMES[field]
        return tuple(name for name in names if split.part_of_name(kind, name) == part)
    listed = [" ".join(entry.split()) for entry in tables.TABLES[field].split(",")]
    return tuple(entry for entry in listed if part_of(f"{field}/{entry}") == part)


def _entry(field: str, rng: Random, part: Split) -> str:
    """An entry of a split, or of training where the split has none."""
    if field not in made.FIELDS:
        return rng.choice(entries(field, part) or entries(field, "train"))
    while True:
        value = made.FIELDS[field](rng)
        if part_of(f"{field}/{value}") == part:
            return value


def table(field: str) -> str:
    """The table of a field: "city" of {city2}."""
    return re.sub(r"\d$", "", field)


def _is_listed(table: str) -> bool:
    return table in _NAMES or table in tables.TABLES


@cache
def _shapes(group: str, topic: str, part: Split) -> Templates:
    """The templates of a topic whose hash puts them in a split."""
    return tuple(text for text in groups()[group][topic] if part_of(text) == part)


def _holds_out(shape: str, group: str, part: Split) -> bool:
    """Whether a held-out entry can stand in this text."""
    tables_ = {table(field) for field in needed(shape)}
    made_or_held = (t in made.FIELDS or (_is_listed(t) and entries(t, part)) for t in tables_)
    return group == "name" or any(made_or_held)


def elsewhere(rng: Random, part: Split) -> Question:
    """A question of a split that the world does not answer.

    Its aspect is its topic, "relation" for one about a subject of the world, or the kind of a name
    that the world does not hold.
    """
    while True:
        question = _drawn(rng, part)
        if question and split.plain(question.prompt) not in split.prompts():
            return question


def _drawn(rng: Random, part: Split) -> Question | None:
    """A question, or None where the draw has nothing that is held out."""
    by_entry = part != "train" and rng.random() >= BY_TEMPLATE
    group = rng.choices(list(SHARES), cum_weights=list(accumulate(SHARES.values())))[0]
    topic = rng.choice(tuple(groups()[group]))
    templates = _shapes(group, topic, "train" if by_entry else part)
    if not templates:
        return None
    template = rng.choice(templates)
    shape = rng.choice(expand(template))
    if by_entry and not _holds_out(shape, group, part):
        return None
    filled: Split = part if by_entry else "train"
    name = _subject(group, topic, rng, filled)
    fields = about(topic, name) if name else {}
    for field in sorted(needed(shape) - set(fields)):
        fields[field] = _entry(table(field), rng, filled)
    prompt = render(shape, fields, rng).strip()
    # Others are as they are written, since an article of English may be a word there.
    if group != "tongue" and topic != "code":
        prompt = articles(prompt)
    aspect = "relation" if group == "relation" else topic
    return Question("unknown", aspect, name or topic, template, prompt)


_FAMILIES = {family.name: tuple(family.subjects) for family in split.FAMILIES}


def _subject(group: str, topic: str, rng: Random, part: Split) -> str:
    """The name that is asked about; none for a topic."""
    if group == "name":
        return _entry(topic, rng, part)
    if group == "relation":
        name = rng.choice(_FAMILIES[topic])
        return split.subject(Question(topic, "", name, "", ""))
    return ""


def about(kind: str, name: str) -> dict[str, str]:
    """The fields of a template about a subject of this kind."""
    bare, several = kind in _BARE, unknown.is_several(kind, name)
    return {
        "name": name,
        "kind": kind,
        "a": name if bare else f"a {name}",
        "the": name if bare else f"the {name}",
        "many": name if bare else plural(name),
        "at": at(name),
        "is": "are" if several else "is",
        "Is": "Are" if several else "Is",
        "was": "were" if several else "was",
        "does": "do" if several else "does",
    }
