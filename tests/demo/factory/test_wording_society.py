"""Wordings for jobs, hobbies, feelings and requests: whole, distinct, and about one thing each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from random import Random

import pytest

from lora_magic.demo.factory import corpus
from lora_magic.demo.factory.wording import feelings, hobbies, jobs, statements
from lora_magic.demo.factory.wording.parts import Wording
from lora_magic.demo.factory.wording.subjects import REQUESTS, bare
from lora_magic.demo.texts import dialogue, forms, opinions, split, stories, styles, unknown
from lora_magic.demo.texts.grammar import expand, needed, plural, polish, render
from lora_magic.demo.texts.outdoors import at
from lora_magic.demo.texts.society import FEELING, HOBBY, JOB

FACTS = {**jobs.WORDINGS, **hobbies.WORDINGS, **feelings.WORDINGS}
NAMES = {**jobs.NAMES, **hobbies.NAMES, **feelings.NAMES}
FAMILIES = {family.name: family for family in (JOB, HOBBY, FEELING)}
ALLOWED = {
    "job": {"name", "many"},
    "hobby": {"name", "verb"},
    "feeling": {"name", "noun", "said"},
}
#: Templates of a part, at least.
FEWEST = {"questions": 14, "clauses": 8, "phrases": 6, "notes": 6, "contexts": 8}
ASKED = {"questions": 14, "notes": 6}


def _fields(family: str, subject: str, name: str) -> Iterator[dict[str, str]]:
    """Every set of fields that a wording may use: one for each statement of a feeling."""
    fields = {**FAMILIES[family].fields(subject, Random(0)), "name": name, "many": plural(name)}
    if family == "job":
        fields["bare"] = bare(fields["tool"])
    if family == "hobby":
        fields["verb"] = hobbies.HOBBY_VERB[subject]
    if family != "feeling":
        yield fields
        return
    fields["noun"] = feelings.FEELING_NOUN[subject]
    for said in statements.FEELING_SAID[subject]:
        yield {**fields, "said": said}


def _shapes(templates: tuple[str, ...]) -> list[str]:
    return [text for template in templates for text in expand(template)]


def _every(wording: Wording) -> list[str]:
    return [text for part in FEWEST for text in _shapes(getattr(wording, part))]


def test_every_aspect_of_the_three_families_has_a_wording() -> None:
    aspects = {(f.name, aspect.name) for f in FAMILIES.values() for aspect in f.aspects}
    assert set(FACTS) == aspects


def test_every_request_has_a_wording() -> None:
    assert set(REQUESTS) == {
        *(("review", kind) for kind in opinions.KINDS),
        *(("story", plot) for plot in stories.PROMPTS),
        *(("form", form) for form in forms.PROMPTS),
        *(("dialogue", kind) for kind in dialogue.SUBJECTS),
    }


@pytest.mark.parametrize("key", [*FACTS, *REQUESTS], ids="/".join)
def test_parts_have_enough_members_and_none_twice(key: tuple[str, str]) -> None:
    wording = FACTS.get(key) or REQUESTS[key]
    for part, least in (FEWEST if key in FACTS else ASKED).items():
        templates = getattr(wording, part)
        assert len(set(templates)) == len(templates) >= least, part
    for part in FEWEST:
        shapes = [split.plain(shape) for shape in _shapes(getattr(wording, part))]
        assert len(set(shapes)) == len(shapes), [s for s in shapes if shapes.count(s) > 1]


@pytest.mark.parametrize("key", [*FACTS, *REQUESTS], ids="/".join)
def test_a_part_has_its_form(key: tuple[str, str]) -> None:
    wording = FACTS.get(key) or REQUESTS[key]
    for shape in (*_shapes(wording.questions), *_shapes(wording.contexts)):
        assert re.fullmatch(r"(?:[A-Z]|\{).*[.?!]", shape), shape
    for shape in _shapes(wording.contexts):
        assert re.search(r"[.!?] [A-Z]", shape), shape
    for shape in (*_shapes(wording.clauses), *_shapes(wording.phrases), *_shapes(wording.notes)):
        assert re.match(r"[a-z{]|JSON", shape), shape
        assert not shape.endswith((".", "?", "!")), shape
    for shape in _every(wording):
        assert not re.search(r"[\[\]|]| {2}|^ | $| [,.?!]", shape), shape


@pytest.mark.parametrize("key", FACTS, ids="/".join)
def test_a_wording_of_a_fact_is_rendered_for_every_subject_and_name(key: tuple[str, str]) -> None:
    family, aspect = key
    allowed = {"tool", "bare"} if aspect == "who" else ALLOWED[family]
    shapes = _every(FACTS[key])
    assert all(needed(shape) and needed(shape) <= allowed for shape in shapes)
    rng = Random(0)
    for subject in FAMILIES[family].subjects:
        for name in (subject, *NAMES.get(f"{family}/{subject}", ())):
            for fields in _fields(family, subject, name):
                for shape in rng.sample(shapes, 40):
                    assert "{" not in polish(render(shape, fields, rng))


def _requested(kind: str, name: str) -> Mapping[str, str]:
    """The fields of a request about a subject: what its own texts have, and nothing else."""
    if kind != "dish":
        return {"name": name, "at": at(name)}
    (fields,) = (s.fields(Random(0)) for s in opinions.SUBJECTS if s.name == name)
    return {field: fields[field] for field in ("name", "was", "they", "them")}


@pytest.mark.parametrize("key", REQUESTS, ids="/".join)
def test_a_request_is_rendered_for_every_subject(key: tuple[str, str]) -> None:
    family, aspect = key
    subjects = [q for q in split.everything() if (q.family, q.aspect) == key]
    assert subjects
    for subject in {q.subject for q in subjects}:
        name = subject.removeprefix(f"{aspect} ") if family == "review" else subject
        for shape in _every(REQUESTS[key]):
            assert "name" in needed(shape), shape
            if family == "form":
                asked = forms.asked(shape, name)
                plural_dish = forms.SUBJECTS[name]["kind"] == "dish"
                assert not (plural_dish and re.search(rf"\ban? {name}", asked)), asked
            else:
                asked = render(shape, _requested(aspect, name), Random(0))
            assert "{" not in asked, asked


def _owners() -> Iterator[tuple[str, str, str]]:
    """Kind of subject, aspect, and each shape that asks a subject of this kind for the aspect."""
    plots = {"lost": "thing", "gift": "thing"}
    for family in split.FAMILIES:
        for aspect in family.aspects:
            yield from ((family.name, aspect.name, text) for text in aspect.phrasings)
    for (family_name, aspect_name), wording in FACTS.items():
        yield from ((family_name, aspect_name, text) for text in _every(wording))
    for (family_name, aspect_name), wording in REQUESTS.items():
        if family_name == "form":
            kinds = {fields["kind"] for fields in forms.SUBJECTS.values()}
        else:
            kinds = {plots.get(aspect_name, aspect_name)}
        named = family_name if family_name in ("review", "dialogue") else aspect_name
        yield from ((kind, f"to {named}", text) for kind in kinds for text in _every(wording))


def test_no_shape_asks_for_two_aspects() -> None:
    owners: dict[tuple[str, str], set[str]] = defaultdict(set)
    for kind, aspect, text in _owners():
        owners[kind, split.plain(text.replace("{name}", "x-name"))].add(aspect)
    assert not {text: found for text, found in owners.items() if len(found) > 1}


def test_only_requests_ask_for_a_form_and_none_for_a_voice() -> None:
    forbidden = re.compile(r"pirate|grumpy|cheerful|formal|json|bullet|short line", re.IGNORECASE)
    for key, wording in {**FACTS, **REQUESTS}.items():
        if key[0] != "form":
            assert not [text for text in _every(wording) if forbidden.search(text)]


def test_another_name_belongs_to_one_subject_only() -> None:
    names = [name for more in NAMES.values() for name in more]
    assert len(set(names)) == len(names)
    subjects = {f"{family.name}/{name}" for family in split.FAMILIES for name in family.subjects}
    assert subjects.issuperset(NAMES)
    beyond = {name for _, known in unknown.NAMES.values() for name in known}
    taken = {subject.split("/")[1] for subject in subjects} | beyond
    assert taken.isdisjoint(names)
    assert not {plural(name) for name in taken} & set(names)


def test_every_hobby_has_a_verb_and_every_feeling_a_noun_and_statements() -> None:
    assert set(hobbies.HOBBY_VERB) == set(HOBBY.subjects)
    assert set(feelings.FEELING_NOUN) == set(statements.FEELING_SAID) == set(FEELING.subjects)
    said = [text for texts in statements.FEELING_SAID.values() for text in texts]
    assert len(set(said)) == len(said)
    assert all(len(texts) >= 6 for texts in statements.FEELING_SAID.values())
    for text in said:
        assert re.fullmatch(r"(?:I\b|[a-z]).*[a-z]", text), text


def test_a_statement_shows_one_feeling_only() -> None:
    words = {f: {f, n, *NAMES.get(f"feeling/{f}", ())} for f, n in feelings.FEELING_NOUN.items()}
    for feeling, texts in statements.FEELING_SAID.items():
        for other in set(words) - {feeling}:
            for text in texts:
                assert not [w for w in words[other] if re.search(rf"\b{w}\b", text)], text


@pytest.mark.parametrize("style", styles.STYLES)
def test_there_are_many_ways_to_ask_for_a_style(style: str) -> None:
    ways = (*styles.CUES[style], *styles.TAILS[style])
    assert len(styles.CUES[style]) >= 12
    assert len(set(map(split.plain, ways))) == len(ways)
    others = {
        split.plain(cue)
        for table in (styles.CUES, styles.TAILS, styles.HELD_OUT_CUES)
        for other, cues in table.items()
        if other != style
        for cue in cues
    }
    assert others.isdisjoint(map(split.plain, (*ways, *styles.HELD_OUT_CUES[style])))


@pytest.mark.parametrize("style", styles.STYLES)
@pytest.mark.parametrize("prompt", ["Where is it?", "Tell me about it.", "fox food"])
def test_a_cue_stands_before_or_after_the_words_of_the_prompt(style: str, prompt: str) -> None:
    rng, bare = Random(0), split.plain(prompt)
    drawn = {styles.cued(prompt, style, rng) for _ in range(600)}
    cues, tails = styles.CUES[style], styles.TAILS[style]
    assert {split.plain(text) for text in drawn} == {
        *(split.plain(f"{cue} {prompt}") for cue in cues),
        *(split.plain(f"{prompt} {cue}") for cue in (*cues, *tails)),
    }
    assert all(bare in split.plain(text) for text in drawn)
    assert not drawn & set(styles.held_out(prompt, style))


def test_an_ending_keeps_the_mark_of_the_prompt() -> None:
    assert styles.tailed("Where is it?", "as a pirate") == "Where is it, as a pirate?"
    assert styles.tailed("fox food", "as a pirate") == "fox food, as a pirate"
    assert styles.behind("fox food", "Use JSON.") == "fox food. Use JSON."
    assert styles.behind("Where is it?", "Use JSON.") == "Where is it? Use JSON."


def test_no_training_prompt_has_a_cue_that_is_held_out() -> None:
    tables = (styles.HELD_OUT_CUES, corpus.HELD_OUT_SENTIMENT_CUES)
    held = [split.plain(cue) for table in tables for pair in table.values() for cue in pair]
    trained = (styles.CUES, styles.TAILS, corpus.SENTIMENT_CUES)
    cues = [split.plain(cue) for table in trained for group in table.values() for cue in group]
    assert not [(one, cue) for one in held for cue in cues if one in cue]
    for document in islice(corpus.documents(0, 0), 3000):
        for exchange in document.exchanges:
            prompt = split.plain(exchange.prompt)
            assert not [one for one in held if one in prompt], prompt


def test_a_sentiment_has_many_cues_and_each_is_its_own() -> None:
    cues = [cue for group in corpus.SENTIMENT_CUES.values() for cue in group]
    assert len(set(cues)) == len(cues)
    assert all(len(group) >= 12 for group in corpus.SENTIMENT_CUES.values())
