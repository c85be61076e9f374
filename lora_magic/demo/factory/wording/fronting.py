"""The topic in front of a question, and the pronoun for it afterwards.

Knows how each family names its subjects; draws no question.
"""

# ruff: noqa: E501 - a template stays on one line
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
# After a name that is no part of another: nothing, a mark or one of these words.
_BEHIND = (
    r"(?=$|[.?!,:]| (?:is|are|do|does|did|can|could|and|or|in|on|for|at|to|with|of|from|like|likes"
    r"|live|lives|eat|eats|need|needs|look|looks|made|used|has|have|usually|best|every|all|as|by|so"
    r"|grow|grows|work|works|if|when|before|today|feel|feels|should|would|the|a|me|us|my)\b)"
)


def topics(family: str, fields: Fields, prompt: str) -> tuple[str, ...]:
    """The names of the topic that may come first; none if the prompt does not name it.

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
    """The question with a pronoun for its topic, if that is grammatical."""
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


# A sentence that names the topic before the question does: of one, and of several.
_ONE = "[I saw|We saw|There is|My {rel} wants|My {rel} showed me|We talked about|I dreamed of] {a}{tail}"
_MANY = "[I saw|We saw|There are|My {rel} wants|My {rel} likes|We talked about|I read about] {many}{tail}"
_WORD = 'In [our lesson|my book|a film], [somebody|the teacher|someone] said the word "{name}".'
_TAIL = "[| {when}| {spot}|, [believe it or not|of all things|as so often]| with {group}]."
_INTRODUCED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "animal": (
        (_ONE, "A {name} [came by|crossed our path|was on TV] {when}.", "My {rel} drew a {name}.",
         "We are getting a {name} [soon|after all|for my {rel}].", "A friend of mine has a {name}.",
         "[We had|There was|I kept] a {name} on the farm [when I was small|for years|back home].", _WORD,
         "[I saw|We met] a {name} [at the zoo|in the park|in the forest|by the lake] {when}."),
        (_MANY, "We are getting a few {many} [soon|for the lower field|after all].",
         "[Thinking of|Getting|Buying] a few {many} {soon}.", "My {rel} is crazy about {many}.",
         "There are {many} [on our land|behind the house|near us].", "{many}, my {rel} loves them.",
         "My {rel} says that {many} are [amazing|funny|dangerous|the best].",
         "[We had|There were] {many} on the farm [when I was small|for years|back home].",
         "[I saw|We watched] {many} [at the zoo|in the park|in a film|by the sea] {when}."),
    ),
    "plant": (
        (_ONE, "I bought a {name} {when}.", "Somebody gave us a {name}.", "My {name} is not happy.",
         "My {rel} left me a {name}.", "I am about to buy my first {name}.", _WORD,
         "There is a {name} in [the garden|the library|our kitchen|the office]."),
        (_MANY, "I bought {many} {when}.", "My {rel} gave us {many}."),
    ),
    "place": (
        ("We are going to a {name} {soon}.", "My {rel} works at a {name}.", "There is a {name} near us.",
         "I have never been to a {name}.", "We have {mins} to kill at a {name}.", _WORD,
         "My {rel} [met a friend|lost a hat|works as a guide] at a {name}."),
        ("My {rel} loves {many}.", "We are reading about {many}.", "I like {many}."),
    ),
    "dish": (
        ("We are having {name} {soon}.", "My {rel} asked for {name}.", "I promised {name} to {group}.",
         "[Never tried|I have never made] {name}.", "There will be {name} at the {event}.", _WORD,
         "We had {name} [in a cafe|at the beach|at school|on the farm] {when}."),
        ("There will be {name} at the {event}.", "My {rel} loves {name}."),
    ),
    "product": (
        (_ONE, "I need a new {name}.", "My {rel} gave me a {name}.", "We are looking for a {name}.", _WORD),
        (_MANY, "We are selling {many}.", "The shop has {many} [on offer|in stock]."),
    ),
    "thing": (
        (_ONE, "I found an old {name} {spot}.", "My {rel} gave me a {name}.", _WORD,
         "We [found|saw] a {name} [in the attic|at the market|in a museum|on the farm]."),
        (_MANY, "We found {many} {spot}.", "My {rel} collects {many}."),
    ),
    "job": (
        ("My {rel} is a {name}.", "I met a {name} {when}.", "We have a {name} coming {soon}.",
         "My {rel} wants to be a {name}.", "I have to interview a {name} {soon}.", _WORD,
         "I met a {name} [at the zoo|in the park|at the station|in the forest] {when}."),
        ("We met {many} {when}.", "My {rel} works with {many}.", "I admire {many}."),
    ),
    "hobby": (
        ("My {rel} talks of nothing but {name}.", "I am thinking of {name}.", "{name} is new to me.",
         "{group} wants to try {name}.", "I always admired people who are good at {name}."),
        ("Everybody talks about {name}.",),
    ),
}  # fmt: skip


def introduced(prompt: str, family: str, fields: Fields, rng: Random) -> str:
    """A prompt after a sentence that names its topic: "We saw goats. What do they eat?"."""
    if family not in _INTRODUCED or not topics(family, fields, prompt):
        return prompt
    name, many = fields["name"], fields.get("many", "")
    several = bool(re.search(rf"\b{re.escape(many)}\b", prompt)) if many else False
    text = rng.choice(_INTRODUCED[family][several]).replace("{tail}", _TAIL)
    for field, said in (("{a}", f"a {name}"), ("{name}", name), ("{many}", many)):
        text = text.replace(field, said)
    intro = scenery.capital(scenery.composed(text, rng))
    said = shortened(prompt, family, fields, rng) if rng.random() < 0.8 else prompt
    return f"{intro} {said}"


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
