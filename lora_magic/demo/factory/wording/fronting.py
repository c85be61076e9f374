"""The topic in front of a question, and the pronoun that stands for it afterwards.

Knows how each family names its subjects; draws no question.
"""

from __future__ import annotations

import re
from functools import cache
from random import Random

from lora_magic.demo.factory.wording import scenery
from lora_magic.demo.texts.family import Fields

# Families whose names are adjectives, or verbs.
_QUALITIES = frozenset({"weather", "feeling"})
_DOINGS = frozenset({"hobby"})
# A dish of several pieces: "pancakes", "sandwiches with tuna".
_SEVERAL = re.compile(r"(?:(?! with ).)+(?<!u)s(?: with|$)")
# Before a subject; elsewhere "they" is "them".
_SUBJECT = re.compile(
    r"(?:^|[.?!:,-] |\b(?:do|does|did|are|is|can|could|should|would|will|where|what|how|why|which"
    r"|when|that|if|because|whether|and) )$",
    re.IGNORECASE,
)
# Before what is shown, which is no pronoun: "there is a flute".
_SHOWN = re.compile(r"\b(?:there|that|this|here) (?:is|was|are) $", re.IGNORECASE)
_VERB = re.compile(
    r" (?:is|are|do|does|did|can|could|should|would|likes?|lives?|eats?|needs?|looks?|has|have"
    r"|grows?|works?|feels?|usually)\b"
)
# Behind a name that stands for itself: nothing, a mark or one of these words.
_BEHIND = (
    r"(?=$|[.?!,:]| (?:is|are|do|does|did|can|could|and|or|in|on|for|at|to|with|of|from|like|likes"
    r"|live|lives|eat|eats|need|needs|look|looks|made|used|has|have|usually|best|every|all|as|by|so"
    r"|grow|grows|work|works|if|when|before|today|feel|feels|should|would|the|a|me|us|my)\b)"
)


def topics(family: str, fields: Fields, prompt: str) -> tuple[str, ...]:
    """The names of the topic that may stand in front; none if the prompt does not name it.

    A question that asks for the topic itself would be answered by its first word.
    """
    name, many, noun = (fields.get(one, "-") for one in ("name", "many", "noun"))
    if not any(one in prompt.lower() for one in (name.lower(), many.lower(), noun)):
        return ()
    if family == "weather":
        return f"{name} days", f"{name} weather", noun
    if family == "feeling":
        return f"feeling {name}", f"being {name}", noun
    if family in _DOINGS:
        return name, name, f"{name} as a hobby"
    if family == "fault":
        return name, f"my {name}", f"our {name}"
    if family == "dish":
        return (name,)
    if re.search(rf"\b{re.escape(many)}\b", prompt):
        return many, many, name
    return name, name, f"the {name}", f"a {name}"


@cache
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    listed = "|".join(re.escape(one) for one in names)
    return re.compile(rf"\b(?:{listed}){_BEHIND}")


def shortened(prompt: str, family: str, fields: Fields, rng: Random) -> str:
    """The topic as a pronoun where it stands in the question, if that is grammatical."""
    if family in _QUALITIES:
        return prompt
    name, many = fields["name"], fields.get("many", "")
    articled = tuple(f"{article} {name}" for article in ("a", "an", "the", "my", "our", "this"))
    if family == "dish" or family in _DOINGS:
        singular = family != "dish" or not _SEVERAL.match(name)
        found = _pattern((*articled, name)).search(prompt)
    else:
        several = _pattern((many,)).search(prompt)
        singular = several is None
        found = several or _pattern(articled).search(prompt)
    if not found or _SHOWN.search(prompt[: found.start()]):
        return prompt
    before, behind = prompt[: found.start()], prompt[found.end() :]
    is_subject = bool(_SUBJECT.search(before) or _VERB.match(behind))
    return f"{before}{_pronoun(family, singular, is_subject, rng)}{behind}"


def _pronoun(family: str, singular: bool, is_subject: bool, rng: Random) -> str:
    if not singular:
        return "they" if is_subject else "them"
    if family == "job":
        return rng.choice(("he", "she") if is_subject else ("him", "her"))
    return "it"


BETWEEN = (
    "We are [a family with two kids|{doing}|{spot}|visitors|complete beginners]. ",
    "I'm {trait}. ",
    "{scene}. ",
    "{why}. ",
    "My {rel} [asked|wants to know|has no idea]. ",
    "[Need it {soon}|Asking for {group}|Never mind why|Quick one|For our {event}]. ",
    "Not that it matters, but {why}. ",
    "[I'm|I am] {doing}. ",
)


def between(rng: Random) -> str:
    """A sentence between the topic and its question."""
    return scenery.capital(scenery.drawn(BETWEEN, rng))
