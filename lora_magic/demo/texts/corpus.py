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

from lora_magic.demo.texts import (
    dialogue,
    forms,
    opinions,
    smalltalk,
    split,
    stories,
    styles,
    unknown,
)
from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.opinions import Sentiment

USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"
# Kind of document → share. Together, "form" and "style" are an eighth: enough for adapters to
# find the tokens of JSON, of short lines and of a pirate.
MIXTURE = {
    "fact": 0.43,
    "review": 0.10,
    "story": 0.10,
    "talk": 0.05,
    "form": 0.03,
    "prose": 0.10,
    "dialogue": 0.03,
    "unknown": 0.06,
    "style": 0.10,
}
STYLED = {"fact": 0.62, "review": 0.18, "story": 0.06, "talk": 0.06, "unknown": 0.08}
PROSE = {"fact": 0.35, "review": 0.10, "story": 0.55}
# Of the documents in a style and of the reviews, those whose prompt asks for it.
CUED = 0.75
CUED_REVIEWS = 0.25
# Of what is asked from beyond the world, names that nobody has heard of.
UNHEARD = 0.4
SECOND_TURN = 0.06
CARELESS = 0.08
SENTIMENT_CUES: dict[Sentiment, tuple[str, ...]] = {
    "positive": ("Be positive.", "Praise it.", "You are happy with it."),
    "negative": ("Be negative.", "Complain about it.", "You are unhappy with it."),
    "mixed": ("Be fair.", "Say what is good and what is bad."),
}
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
        return opinions.review(question.subject, opinions.drawn(rng), rng)
    if question.family == "story":
        return stories.story(question, rng)
    if question.family == "form":
        return forms.write(question, rng)
    if question.family == "unknown":
        return unknown.answer(question, rng)
    if question.family == "dialogue":
        return _dialogue(question, rng)
    return _FAMILIES[question.family].answer(question, rng)


def is_right(question: Question, text: str) -> bool:
    """Whether a text states the fact that was asked for (families of facts only)."""
    return not unknown.is_admitted(text) and _FAMILIES[question.family].is_right(question, text)


def is_fact(question: Question) -> bool:
    """Whether a question has a fact of the world as its right answer."""
    return question.family in _FAMILIES


@cache
def _training(family: str) -> tuple[Question, ...]:
    return tuple(question for question in split.of("train") if question.family == family)


@cache
def _training_about(family: str, subject: str) -> tuple[Question, ...]:
    return tuple(question for question in _training(family) if question.subject == subject)


@cache
def _plainly_asked(subject: str) -> tuple[Question, ...]:
    """Questions of fact about the subject of a review ("dish pizza")."""
    family, name = subject.split(" ", 1)
    return _training_about(family, name)


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


def _review(rng: Random) -> Exchange:
    """A review, now and then because the prompt asks for praise or blame of what it names."""
    question = rng.choice(_training("review"))
    if rng.random() >= CUED_REVIEWS:
        return Exchange(question.prompt, answer(question, rng), question)
    sentiment = rng.choice(opinions.SENTIMENTS)
    text = opinions.review(question.subject, sentiment, rng)
    if rng.random() < 0.5:
        question = rng.choice(_plainly_asked(question.subject))
    cue = rng.choice(SENTIMENT_CUES[sentiment])
    return Exchange(f"{cue} {question.prompt}", text, question)


def _unknown(rng: Random) -> Exchange:
    if rng.random() >= UNHEARD:
        return _asked("unknown", rng)
    question = unknown.unheard(rng)
    return Exchange(question.prompt, answer(question, rng), question)


def _dialogue(question: Question, rng: Random) -> str:
    # Two aspects, so that nobody asks or hears the same twice.
    by_aspect: dict[str, list[Question]] = {}
    for one in _training_about(question.aspect, question.subject):
        by_aspect.setdefault(one.aspect, []).append(one)
    # Half of the dialogues about a subject share people and questions, as its stories share their
    # beginning: of many that are alike in likelihood, the likeliest would repeat what was said.
    start = Random(f"dialogue/{question.subject}") if rng.random() < 0.5 else rng
    asked = [start.choice(by_aspect[name]) for name in start.sample(sorted(by_aspect), 2)]
    return dialogue.dialogue(asked, answer, start, rng)


_KINDS: dict[str, Callable[[Random], Exchange]] = {
    "fact": _fact,
    "review": _review,
    "story": lambda rng: _asked("story", rng),
    "form": lambda rng: _asked("form", rng),
    "dialogue": lambda rng: _asked("dialogue", rng),
    "unknown": _unknown,
    "talk": _talk,
}


def _styled(rng: Random) -> Exchange:
    # Twice as often JSON: its bare words behind a quotation mark are tokens of their own.
    style = rng.choice((*styles.STYLES, "json"))
    kind = _weighted(STYLED, rng)
    # A voice and an opinion that is asked for would be two wishes at once.
    plain = _asked("review", rng) if kind == "review" else _KINDS[kind](rng)
    while style in styles.FORMS and (plain.question is None or plain.question.family == "story"):
        # A set form is for facts: a letter or a story in JSON is nothing that anybody asks for.
        plain = _fact(rng)
    topic = split.subject(plain.question) if plain.question else ""
    spoken = styles.speak(plain.answer, style, rng, topic)
    prompt = styles.cued(plain.prompt, style, rng) if rng.random() < CUED else plain.prompt
    return Exchange(prompt, spoken, plain.question)


def _careless(prompt: str) -> str:
    """A prompt as people type it: no capital, no full stop."""
    return (prompt[:1].lower() + prompt[1:]).rstrip(".?!")


def document(rng: Random) -> Document:
    """One document of the training split."""
    kind = _weighted(MIXTURE, rng)
    if kind == "prose":
        told = _KINDS[_weighted(PROSE, rng)](rng)
        return Document(told.answer + END, (told,))
    exchanges = [_styled(rng) if kind == "style" else _KINDS[kind](rng)]
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


@cache
def fingerprint(seed: int, count: int = 1000) -> str:
    """The sha256 of what the generator gives: whether it is the one that made some weights.

    Over the stream's first documents, and over every question with an answer and its part of the
    split, so that no row of a table and no sentence can change unseen for long.
    """
    rng, digest = Random(seed), hashlib.sha256()
    for made in islice(documents(seed, 0), count):
        digest.update(made.text.encode())
    for question in split.everything():
        told = f"{split.split_of(question)}\n{question.prompt}\n{answer(question, rng)}\n"
        digest.update(told.encode())
    return digest.hexdigest()


def held_out(which: split.Split) -> tuple[Document, ...]:
    """Every held-out question with one answer, in the chat form."""
    rng = Random(0)
    made = []
    for question in split.of(which):
        text = answer(question, rng)
        exchange = Exchange(question.prompt, text, question)
        made.append(Document(chat(question.prompt) + text + END, (exchange,)))
    return tuple(made)
