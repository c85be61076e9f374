"""Questions about what is not in the demo world, and answers that admit not knowing.

Without these the model would answer every question, and most of them wrongly. The names are real
but not in the world, or invented, new each time. Knows no facts.
"""

from __future__ import annotations

import re
from random import Random

from lora_magic.demo.texts.family import Aspect, Family, Question
from lora_magic.demo.texts.grammar import expand, needed, plural, polish, render
from lora_magic.demo.texts.indoors import DISH, PRODUCT, THING
from lora_magic.demo.texts.outdoors import ANIMAL, PLACE, PLANT
from lora_magic.demo.texts.society import HOBBY, JOB
from lora_magic.demo.world import ANIMALS, DISHES, HOBBIES, JOBS, PLACES, THINGS, beyond


def _parted(table: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in table.split(","))


# Names that are not in the world, by the family whose questions are asked about them.
NAMES: dict[str, tuple[Family, tuple[str, ...]]] = {
    "animal": (ANIMAL, _parted(beyond.ANIMALS)),
    "plant": (PLANT, _parted(beyond.PLANTS)),
    "dish": (DISH, _parted(beyond.DISHES)),
    "place": (PLACE, _parted(beyond.PLACES)),
    "product": (PRODUCT, _parted(beyond.PRODUCTS)),
    "thing": (THING, _parted(beyond.THINGS)),
    "job": (JOB, _parted(beyond.JOBS)),
    "hobby": (HOBBY, _parted(beyond.HOBBIES)),
}
# Prompts about nothing in the world; {who} and {where} are drawn from below.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "person": (
        "Who [is|was] {who}?",
        "When was {who} born?",
        "Tell me about {who}.",
        "What did {who} do?",
    ),
    "country": (
        "What is the capital of {where}?",
        "How many people live in {where}?",
        "Where is {where}?",
        "What do people eat in {where}?",
    ),
}
PEOPLE, COUNTRIES = _parted(beyond.PEOPLE), _parted(beyond.COUNTRIES)
QUESTIONS = tuple(beyond.QUESTIONS.strip().splitlines())
_START = _parted("bl,br,ch,d,dr,f,fl,g,gl,gr,j,k,kl,kr,l,m,n,pl,pr,qu,r,s,sh,sk,sn,sp,t,tr,v,w,z")
_MIDDLE = _parted("a,e,i,o,u,ai,oo")
_END = _parted("b,ck,ff,g,l,lm,m,mp,n,nk,p,rd,rk,sh,sk,t,v,x,zz")
# The number of phrasings of each real name, so that all names weigh the same.
_ASKED = 6
ADMITTED = "do not know"


def invented(rng: Random) -> str:
    """A name that means nothing, of two or three syllables: "drollimp"."""
    syllables = [rng.choice(_START) + rng.choice(_MIDDLE) for _ in range(rng.choice((1, 1, 2)))]
    return "".join(syllables) + rng.choice(_START) + rng.choice(_MIDDLE) + rng.choice(_END)


def is_several(kind: str, name: str) -> bool:
    """Whether a name takes a plural verb: only names of dishes do ("pancakes are")."""
    return kind == "dish" and name.endswith("s") and not name.endswith(("ss", "us"))


def _fields(kind: str, name: str) -> dict[str, str]:
    several = is_several(kind, name)
    return {
        "name": name,
        "many": plural(name),
        "at": "at",
        "does": "do" if several else "does",
        "is": "are" if several else "is",
    }


def phrasings(kind: str) -> tuple[str, ...]:
    """The questions about a name of this kind, with {name} open."""
    return tuple(text for aspect in NAMES[kind][0].aspects for text in _open(kind, aspect))


def _open(kind: str, aspect: Aspect) -> tuple[str, ...]:
    fields = set(_fields(kind, ""))
    return tuple(text for text in aspect.phrasings if needed(text) <= fields)


def _sizes(kind: str) -> tuple[str, ...]:
    """The questions about the size of a name of this kind."""
    return _open(kind, ANIMAL.aspect("size")) if kind == "animal" else ()


def _question(kind: str, name: str, phrasing: str) -> Question:
    prompt = polish(render(phrasing, _fields(kind, name), Random(0)))
    return Question("unknown", kind, name, phrasing, prompt)


def questions() -> tuple[Question, ...]:
    """Every question about real names that are not in the world, in a fixed order."""
    found = []
    for kind, (_, names) in NAMES.items():
        for name in names:
            every, sizes = phrasings(kind), _sizes(kind)
            rest = [text for text in every if text not in sizes]
            asked = Random(f"{kind}/{name}").sample(rest, _ASKED)
            asked += Random(f"size/{name}").sample(sizes, min(1, len(sizes)))
            found += [_question(kind, name, phrasing) for phrasing in asked]
    for kind, names in (("person", PEOPLE), ("country", COUNTRIES)):
        for name in names:
            for template in ELSEWHERE[kind]:
                for phrasing in expand(template):
                    prompt = phrasing.replace("{who}", name).replace("{where}", name)
                    found.append(Question("unknown", kind, name, phrasing, prompt))
    found += [Question("unknown", "other", prompt, prompt, prompt) for prompt in QUESTIONS]
    return tuple(found)


def unheard(rng: Random) -> Question:
    """A question about a newly invented name."""
    kind = rng.choice(tuple(NAMES))
    return _question(kind, invented(rng), rng.choice(phrasings(kind)))


def own_kind(question: Question) -> str | None:
    """The kind that an answer may name: "animal" for a zebra, None for an invented name."""
    _, names = NAMES.get(question.aspect, (None, ()))
    return question.aspect if question.subject in names else None


def answer(question: Question, rng: Random) -> str:
    """An answer that admits not knowing, and usually offers what to ask instead."""
    kind = own_kind(question)
    what = f"this {kind}" if kind and rng.random() < 0.6 else "that"
    openings = [f"I do not know {what}.", f"[sorry|I am sorry], but I do not know {what}."]
    said = [rng.choice(openings)]
    if rng.random() < 0.5:
        said.append("my world is [small|very small].")
    if rng.random() < 0.6:
        said.append(f"ask me about {_known(rng)}.")
    return polish(render(" ".join(said), {}, rng))


def _known(rng: Random) -> str:
    a, d, j = rng.choice(ANIMALS).name, rng.choice(DISHES).name, rng.choice(JOBS).name
    h, p, t = rng.choice(HOBBIES).name, rng.choice(PLACES).name, rng.choice(THINGS).name
    return rng.choice((f"the {a}", f"{d}", f"the {j}", f"{h}", f"the {p}", f"the {t}"))


def is_of_kind(question: Question, text: str) -> bool:
    """Whether the kinds that a text says it does not know ("this animal") are the question's."""
    named = {match[1] for match in _NAMED.finditer(text.lower())}
    return named <= {own_kind(question)}


# What an answer may not know: the kinds of names, and others that it should call "that".
_KINDS = (*NAMES, *ELSEWHERE, "weather", "feeling", "city", "film", "book", "song", "brand", "word")
_NAMED = re.compile(rf"know (?:this|that|the|such an?|any|an?) ({'|'.join(_KINDS)})s?\b")


def is_admitted(text: str) -> bool:
    """Whether an answer says that it does not know."""
    return ADMITTED in text.lower()
