"""The pretraining corpus: an endless, pinned stream of documents about the demo world.

Knows the mixture of kinds and the chat form. Draws only questions of the training split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, islice
from random import Random

from lora_magic.demo.texts import forms, opinions, smalltalk, split, stories, styles
from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.opinions import Sentiment

USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"
# Half are mixed: the plain model takes no side, so that two opposite adapters both show.
SENTIMENTS: tuple[Sentiment, ...] = ("positive", "negative", "mixed", "mixed")
# Kind of document → share. A seventh speaks in a voice, so that adapters find those voices.
MIXTURE = {
    "fact": 0.46,
    "review": 0.09,
    "story": 0.10,
    "talk": 0.06,
    "form": 0.05,
    "prose": 0.10,
    "voice": 0.14,
}
VOICED = {"fact": 0.68, "review": 0.14, "story": 0.10, "talk": 0.08}
PROSE = {"fact": 0.35, "review": 0.10, "story": 0.55}
# Of the documents in a voice, those whose prompt asks for it.
CUED = 0.5
SECOND_TURN = 0.06
CARELESS = 0.08
_FAMILIES = {family.name: family for family in split.FAMILIES}


@dataclass(frozen=True)
class Exchange:
    """One prompt with its answer, and the question it was made of (none for small talk)."""

    prompt: str
    answer: str
    question: Question | None = None


@dataclass(frozen=True)
class Document:
    """A text as the model reads it, special tokens included, and its exchanges."""

    text: str
    exchanges: tuple[Exchange, ...]


def chat(prompt: str) -> str:
    """A prompt in the form of the tokenizer's chat template, ready to be answered."""
    return f"{USER}{prompt}{ASSISTANT}"


def answer(question: Question, rng: Random) -> str:
    """A true answer to any question of the world, in a plain voice."""
    if question.family == "review":
        return opinions.review(question, rng.choice(SENTIMENTS), rng)
    if question.family == "story":
        return stories.story(question, rng)
    if question.family == "form":
        return forms.write(question, rng)
    return _FAMILIES[question.family].answer(question, rng)


def is_about(question: Question, text: str) -> bool:
    """Whether a text is about the subject of the question."""
    judges = {"review": opinions.is_about, "story": stories.is_about, "form": forms.is_about}
    judge = judges.get(question.family)
    return judge(question, text) if judge else _FAMILIES[question.family].is_about(question, text)


def is_right(question: Question, text: str) -> bool:
    """Whether a text states the fact that was asked for (families of facts only)."""
    return _FAMILIES[question.family].is_right(question, text)


def is_fact(question: Question) -> bool:
    """Whether a question has one right fact as its answer."""
    return question.family in _FAMILIES


@cache
def _training(family: str) -> tuple[Question, ...]:
    return tuple(question for question in split.of("train") if question.family == family)


def _weighted(shares: dict[str, float], rng: Random) -> str:
    return rng.choices(list(shares), cum_weights=list(accumulate(shares.values())))[0]


def _fact(rng: Random) -> Exchange:
    family = _weighted({family.name: family.weight for family in split.FAMILIES}, rng)
    return _asked(family, rng)


def _asked(family: str, rng: Random) -> Exchange:
    question = rng.choice(_training(family))
    return Exchange(question.prompt, answer(question, rng), question)


def _talk(rng: Random) -> Exchange:
    return Exchange(*smalltalk.talk(rng))


_KINDS: dict[str, Callable[[Random], Exchange]] = {
    "fact": _fact,
    "review": lambda rng: _asked("review", rng),
    "story": lambda rng: _asked("story", rng),
    "form": lambda rng: _asked("form", rng),
    "talk": _talk,
}


def _voiced(rng: Random) -> Exchange:
    voice = rng.choice(styles.VOICES)
    plain = _KINDS[_weighted(VOICED, rng)](rng)
    spoken = styles.speak(plain.answer, voice, rng)
    cue = f"{rng.choice(styles.CUES[voice])} " if rng.random() < CUED else ""
    return Exchange(cue + plain.prompt, spoken, plain.question)


def _careless(prompt: str) -> str:
    """A prompt as people type it: no capital, no full stop."""
    return (prompt[:1].lower() + prompt[1:]).rstrip(".?!")


def document(rng: Random) -> Document:
    """One document of the training split."""
    kind = _weighted(MIXTURE, rng)
    if kind == "prose":
        told = _KINDS[_weighted(PROSE, rng)](rng)
        return Document(told.answer + END, (told,))
    exchanges = [_voiced(rng) if kind == "voice" else _KINDS[kind](rng)]
    if kind in ("fact", "talk") and rng.random() < SECOND_TURN:
        exchanges.append(_fact(rng))
    text = ""
    for exchange in exchanges:
        careless = rng.random() < CARELESS
        prompt = _careless(exchange.prompt) if careless else exchange.prompt
        text += chat(prompt) + exchange.answer + END
    return Document(text, tuple(exchanges))


def documents(seed: int, shard: int) -> Iterator[Document]:
    """The endless stream of one shard; the same seed and shard give the same documents."""
    rng = Random(split.number(f"corpus/{seed}/{shard}"))
    while True:
        yield document(rng)


def fingerprint(seed: int, count: int = 1000) -> str:
    """The sha256 of the stream's first documents: whether this generator made those weights."""
    first = (made.text for made in islice(documents(seed, 0), count))
    return hashlib.sha256("\n".join(first).encode()).hexdigest()


def held_out(which: split.Split) -> tuple[Document, ...]:
    """Every held-out question with one answer, in the chat form."""
    rng = Random(0)
    made = []
    for question in split.of(which):
        text = answer(question, rng)
        exchange = Exchange(question.prompt, text, question)
        made.append(Document(chat(question.prompt) + text + END, (exchange,)))
    return tuple(made)
