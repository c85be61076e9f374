"""The pretraining corpus: an endless, deterministic stream of documents about the demo world.

Knows the mixture of kinds and the chat form. Uses only questions of the training split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, islice
from random import Random

from lora_magic.demo.factory import elsewhere, smalltalk
from lora_magic.demo.factory.wording import asking, frames, subjects
from lora_magic.demo.texts import opinions, relations, split, styles, unknown
from lora_magic.demo.texts.answers import answer, is_fact, training, training_about
from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.opinions import Sentiment

USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"
# Kind of document → share. Together, "form" and "style" are an eighth: enough for the model to
# know the tokens of JSON, of short lines and of a pirate.
MIXTURE = {
    "fact": 0.45,
    "relation": 0.11,
    "review": 0.05,
    "story": 0.04,
    "talk": 0.03,
    "form": 0.03,
    "prose": 0.04,
    "dialogue": 0.02,
    "unknown": 0.14,
    "style": 0.09,
}
STYLED = {"fact": 0.62, "review": 0.18, "story": 0.06, "talk": 0.06, "unknown": 0.08}
PROSE = {"fact": 0.35, "review": 0.10, "story": 0.55}
# The share of reviews whose prompt asks for the sentiment. A style is always asked for.
CUED_REVIEWS = 0.25
# The shares of questions in a person's words, and of those about what the world does not hold.
WORDED = 0.75
WORDED_REQUESTS = 0.5
ELSEWHERE = 0.75
DECLINED = 0.12
# The share of invented names among the plain questions about what the world does not hold.
UNHEARD = 0.3
SECOND_TURN = 0.06
# Shorter held-out prompts occur by chance within others: "the fox".
LEAST_WORDS = 4
CARELESS, CARELESS_TALK = 0.08, 0.3
SENTIMENT_CUES: dict[Sentiment, tuple[str, ...]] = {
    "positive": (
        *("Be positive.", "Praise it.", "You are happy with it.", "You love it."),
        *("Say only good things.", "Recommend it.", "Be full of praise.", "Sound pleased."),
        *("Write it as a happy customer.", "Make it a good review.", "Give it five stars."),
        *("You would buy it again.", "You think it is wonderful.", "Please be positive."),
    ),
    "negative": (
        *("Be negative.", "Complain about it.", "You are unhappy with it.", "You hate it."),
        *("Say only bad things.", "Do not recommend it.", "Be full of complaints."),
        *("Write it as an unhappy customer.", "Make it a bad review.", "Give it one star."),
        *("You want your money back.", "You think it is awful.", "Please be negative."),
    ),
    "mixed": (
        *("Be fair.", "Say what is good and what is bad.", "Be balanced.", "See both sides."),
        *("Say what you like and what you dislike.", "Give it three stars.", "Please be fair."),
        *("Name the good and the bad.", "You find it neither good nor bad.", "Be honest and fair."),
        *("Make it a mixed review.", "You have mixed feelings about it."),
    ),
}
# Two cues for each sentiment that no training text contains.
HELD_OUT_SENTIMENT_CUES: dict[Sentiment, tuple[str, str]] = {
    "positive": ("Write a positive one.", "You are very happy with it."),
    "negative": ("Write a negative one.", "You are very unhappy with it."),
    "mixed": ("Write a fair one.", "Say the good and the bad."),
}


@dataclass(frozen=True)
class Exchange:
    """A prompt, its answer, and the question behind it (none for small talk)."""

    prompt: str
    answer: str
    question: Question | None = None


@dataclass(frozen=True)
class Document:
    """A text as the model reads it, special tokens included, and its exchanges."""

    text: str
    exchanges: tuple[Exchange, ...]


def chat(prompt: str) -> str:
    """A prompt in the form of the tokenizer's chat template, up to the answer."""
    return f"{USER}{prompt}{ASSISTANT}"


@cache
def _plainly_asked(subject: str) -> tuple[Question, ...]:
    """Questions of fact about the subject of a review ("dish pizza")."""
    family, name = subject.split(" ", 1)
    return training_about(family, name)


def _weighted(shares: dict[str, float], rng: Random) -> str:
    return rng.choices(list(shares), cum_weights=list(accumulate(shares.values())))[0]


def _fact(rng: Random) -> Exchange:
    family = _weighted({family.name: family.weight for family in split.FAMILIES}, rng)
    return _asked(family, rng)


def _asked(family: str, rng: Random) -> Exchange:
    question = _worded(rng.choice(training(family)), rng)
    return Exchange(question.prompt, answer(question, rng), question)


def _worded(question: Question, rng: Random) -> Question:
    """Mostly the same question in a person's words, typed as people do."""
    share = WORDED if is_fact(question) else WORDED_REQUESTS
    if rng.random() >= share or asking.is_plainly_asked(question):
        return question
    said = asking.asked(question, "train", rng) if asking.has_wording(question) else question
    return replace(said, prompt=frames.typed(said.prompt, rng))


def _talk(rng: Random) -> Exchange:
    prompt, said = smalltalk.talk(rng)
    return Exchange(_careless(prompt) if rng.random() < CARELESS_TALK else prompt, said)


def _review(rng: Random) -> Exchange:
    """A review; in some the prompt asks for a sentiment."""
    question = rng.choice(training("review"))
    if rng.random() >= CUED_REVIEWS:
        question = _worded(question, rng)
        return Exchange(question.prompt, answer(question, rng), question)
    sentiment = rng.choice(opinions.SENTIMENTS)
    text = opinions.review(question.subject, sentiment, rng)
    if rng.random() < 0.5:
        question = rng.choice(_plainly_asked(question.subject))
    cue = rng.choice(SENTIMENT_CUES[sentiment])
    return Exchange(styles.placed(question.prompt, cue, rng), text, question)


def _relation(rng: Random) -> Exchange:
    question, text = relations.draw(rng, "train")
    return Exchange(frames.typed(question.prompt, rng), text, question)


def _unknown(rng: Random) -> Exchange:
    if rng.random() < ELSEWHERE:
        drawn = relations.declined if rng.random() < DECLINED else elsewhere.elsewhere
        question = drawn(rng, "train")
        prompt = frames.typed(question.prompt, rng)
        return Exchange(prompt, answer(question, rng), question)
    if rng.random() >= UNHEARD:
        return _asked("unknown", rng)
    question = unknown.unheard(rng)
    return Exchange(question.prompt, answer(question, rng), question)


_KINDS: dict[str, Callable[[Random], Exchange]] = {
    "fact": _fact,
    "relation": _relation,
    "review": _review,
    "plain review": lambda rng: _asked("review", rng),
    "story": lambda rng: _asked("story", rng),
    "form": lambda rng: _asked("form", rng),
    "dialogue": lambda rng: _asked("dialogue", rng),
    "unknown": _unknown,
    "talk": _talk,
}


@cache
def _held_out() -> tuple[frozenset[str], tuple[int, ...]]:
    """The held-out prompts, and how many words they have."""
    kept: tuple[split.Split, ...] = ("validation", "test")
    prompts = frozenset(split.plain(q.prompt) for part in kept for q in split.of(part))
    return prompts, tuple(sorted({len(prompt.split()) for prompt in prompts}))


def holds_held_out(prompt: str) -> bool:
    """Whether a prompt is a held-out one, or has one of `LEAST_WORDS` words or more in it."""
    prompts, lengths = _held_out()
    words = split.plain(prompt).split()
    spans = (
        " ".join(words[start : start + length])
        for length in lengths
        if length >= min(LEAST_WORDS, len(words))
        for start in range(len(words) - length + 1)
    )
    return not prompts.isdisjoint(spans)


def _drawn(kind: str, rng: Random) -> Exchange:
    """An exchange of a kind; people's words may hold a held-out prompt: then another one."""
    while True:
        exchange = _KINDS[kind](rng)
        if not holds_held_out(exchange.prompt):
            return exchange


def _styled(rng: Random) -> Exchange:
    # JSON twice as often: a word after a quotation mark is a token of its own.
    style = rng.choice((*styles.STYLES, "json"))
    kind = _weighted(STYLED, rng)
    # A style and a sentiment together would be two instructions at once.
    plain = _drawn("plain review" if kind == "review" else kind, rng)
    while style in styles.FORMS and (plain.question is None or plain.question.family == "story"):
        # JSON and short lines are for facts: nobody asks for a letter or a story in JSON.
        plain = _drawn("fact", rng)
    topic = split.subject(plain.question) if plain.question else ""
    spoken = styles.speak(plain.answer, style, rng, topic)
    return Exchange(styles.cued(plain.prompt, style, rng), spoken, plain.question)


def _careless(prompt: str) -> str:
    """A prompt as people type it: no capital, no full stop."""
    return (prompt[:1].lower() + prompt[1:]).rstrip(".?!")


def document(rng: Random) -> Document:
    """One document of the training split."""
    kind = _weighted(MIXTURE, rng)
    if kind == "prose":
        exchange = _drawn(_weighted(PROSE, rng), rng)
        return Document(exchange.answer + END, (exchange,))
    exchanges = [_styled(rng) if kind == "style" else _drawn(kind, rng)]
    if kind in ("fact", "talk") and rng.random() < SECOND_TURN:
        exchanges.append(_drawn("fact", rng))
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
def fingerprint(seed: int, count: int = 3000) -> str:
    """The sha256 of the corpus, recorded with the weights that were trained on it.

    It covers the first documents of the stream, every question with its split and an answer, and
    the templates of people's words. A sentence that only later documents draw is not noticed.
    """
    rng, digest = Random(seed), hashlib.sha256()
    for made in islice(documents(seed, 0), count):
        digest.update(made.text.encode())
    for question in split.everything():
        entry = f"{split.split_of(question)}\n{question.prompt}\n{answer(question, rng)}\n"
        digest.update(entry.encode())
    for tables in (subjects.WORDINGS, subjects.NAMES, elsewhere.groups(), elsewhere.tables.TABLES):
        digest.update(repr(tables).encode())
    digest.update(repr(frames.everything()).encode())
    return digest.hexdigest()
