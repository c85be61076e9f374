"""Answers in a set form: bullet points, numbered lines, JSON, one short line, a small poem.

They teach the tokenizer and the model the punctuation of these forms. Facts come from the families.
"""

from __future__ import annotations

import json
import re
from random import Random

from lora_magic.demo.texts.family import Fields, Question
from lora_magic.demo.texts.grammar import articles, capital, expand, joined
from lora_magic.demo.world import (
    ANIMALS,
    DISHES,
    JOBS,
    PLACES,
    PLANTS,
    PRODUCTS,
    SEASONS,
    THINGS,
)

PROMPTS: dict[str, tuple[str, ...]] = {
    "bullets": (
        "[List|Write down] [some|three] facts about [a|the] {name}.",
        "[Tell me about|Describe] [a|the] {name} in bullet points.",
    ),
    "numbers": (
        "[Count|Number] the facts about [a|the] {name}.",
        "Give me a numbered list about [a|the] {name}.",
    ),
    "json": (
        "[Give me|Write] JSON about [a|the] {name}.",
        "[Tell me about|Describe] [a|the] {name} as JSON.",
    ),
    "short": (
        "[A|The] {name}, in [three|a few] words.",
        "[Tell me about|Describe] [a|the] {name} in one line.",
    ),
    "poem": ("Write a [|short |little ]poem about [a|the] {name}.",),
}


def _subjects() -> dict[str, Fields]:
    facts: dict[str, Fields] = {}
    for animal in ANIMALS:
        facts[animal.name] = {
            "kind": "animal",
            "home": animal.habitat,
            "food": animal.food,
            "trait": animal.trait,
        }
    for place in PLACES:
        facts[place.name] = {
            "kind": "place",
            "sights": place.things[0],
            "sound": place.sound,
            "smell": place.smell,
        }
    for thing in THINGS:
        facts[thing.name] = {"kind": "thing", "material": thing.material, "use": thing.use}
    for job in JOBS:
        facts[job.name] = {
            "kind": "job",
            "place": job.place,
            "tool": job.tool,
            "trait": job.trait,
        }
    for plant in PLANTS:
        facts[plant.name] = {
            "kind": "plant",
            "spot": plant.spot,
            "water": plant.water,
            "care": plant.care,
        }
    for product in PRODUCTS:
        facts[product.name] = {"kind": "product", "use": product.use, "part": product.part}
    for dish in DISHES:
        facts[dish.name] = {
            "kind": "dish",
            "ingredients": joined(dish.ingredients[:3]),
            "taste": dish.taste,
            "occasion": dish.occasion,
        }
    return facts


SUBJECTS = _subjects()


def questions() -> tuple[Question, ...]:
    """Every prompt that asks for a form, in a fixed order."""
    return tuple(
        Question("form", form, name, text, asked(text, name))
        for form, templates in PROMPTS.items()
        for name in SUBJECTS
        for template in templates
        for text in expand(template)
    )


def asked(text: str, name: str) -> str:
    """A prompt about `name`; a dish takes "the" where the text has "a"."""
    if SUBJECTS[name]["kind"] == "dish":
        # "A pancakes" is no English; "the pancakes" is.
        text = re.sub(r"\b([Aa]) (?=\{name)", lambda m: "The " if m[1] == "A" else "the ", text)
    return capital(articles(text.replace("{name}", name)))


def write(question: Question, rng: Random) -> str:
    """The facts of the question's subject in the form that it asks for."""
    name, facts = question.subject, SUBJECTS[question.subject]
    lines = [f"{key}: {value}" for key, value in facts.items()]
    if question.aspect == "bullets":
        return f"{capital(name)}:\n" + "\n".join(f"- {line}" for line in lines)
    if question.aspect == "numbers":
        return "\n".join(f"{n}. {capital(line)}" for n, line in enumerate(lines, start=1))
    if question.aspect == "json":
        return json.dumps({"name": name, **facts})
    values = [value for key, value in facts.items() if key != "kind"]
    if question.aspect == "short":
        return f"{capital(name)}: {values[0]}, {values[-1]}."
    if "use" in facts:
        values[values.index(facts["use"])] = f"to {facts['use']}"
    season = rng.choice(SEASONS)
    first = rng.choice((f"The {name} in {season},", f"{capital(season)}, and the {name},"))
    return articles(f"{first}\n{values[0]},\n{values[-1]},\n{rng.choice(_LAST_LINES)}")


_LAST_LINES = ("and nothing more.", "and the day is done.", "and the world is still.")
