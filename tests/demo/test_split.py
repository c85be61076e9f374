"""What is held out stays out of the training texts, and every fact can still be learned."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

import pytest
from tokenizers import Tokenizer

from lora_magic import demo
from lora_magic.demo.factory import corpus
from lora_magic.demo.factory.plan import Plan
from lora_magic.demo.texts import answers, split, styles
from lora_magic.demo.texts.family import Question

#: More than a shard's rows hold, so that nothing trained on is left out.
DOCUMENTS = 13_000
#: One shard in so many is read, from its first document to its last: in all alike, a draw that
#: holds a held-out prompt is drawn again.
EVERY, PARTS = 6, 4
#: Shorter prompts occur by chance within others.
LEAST_WORDS = 4


def _turns(text: str) -> list[str]:
    """The prompts of a text, read back from the text itself."""
    return re.findall(r"<\|user\|>(.*?)<\|assistant\|>", text, re.DOTALL)


def _asked(text: str) -> Iterator[str]:
    """The prompts of a text, and the lines of a dialogue."""
    yield from _turns(text)
    yield from re.findall(r"^[A-Z][a-z]+: (.*)$", re.sub(r"<\|[a-z]+\|>", "\n", text), re.MULTILINE)


def _bare(words: str, cues: Sequence[str]) -> Iterator[str]:
    """A prompt's words, and what is left without one cue, two cues and so on ("Be grumpy.")."""
    yield words
    for cue in cues:
        if words.startswith(f"{cue} "):
            yield from _bare(words.removeprefix(f"{cue} "), cues)
        if words.endswith(f" {cue}"):
            yield from _bare(words.removesuffix(f" {cue}"), cues)


def _documents(questions: Sequence[Question]) -> Iterator[str]:
    """Every question with one answer, in the chat form."""
    rng = Random(0)
    for question in questions:
        yield corpus.chat(question.prompt) + answers.answer(question, rng) + corpus.END


def _spans(words: Sequence[str], lengths: Sequence[int]) -> Iterator[str]:
    """What a longer prompt holds, of these numbers of words."""
    for length in lengths:
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_held_out_is_in_the_shards_that_the_weights_were_trained_on(part: int) -> None:
    held_out = (split.of("validation"), split.of("test"))
    held = {split.plain(q.prompt) for questions in held_out for q in questions}
    kept = {text for questions in held_out for text in _documents(questions)}
    styled = (*styles.CUES.values(), *styles.TAILS.values())
    asked_for = (*styled, *corpus.SENTIMENT_CUES.values())
    cues = [split.plain(cue) for group in asked_for for cue in group]
    plan = Plan()
    lengths = sorted({len(one.split()) for one in held} - {*range(LEAST_WORDS)})
    for shard in range(part * EVERY, plan.steps // plan.shard_steps, PARTS * EVERY):
        for document in islice(corpus.documents(plan.seed, shard), DOCUMENTS):
            assert document.text not in kept
            for prompt in _asked(document.text):
                assert held.isdisjoint(_bare(split.plain(prompt), cues)), prompt
            # Not lines of a dialogue: each is one question, and "What is a kite made of?" is
            # another one than "What is a kite?".
            for prompt in _turns(document.text):
                words = split.plain(prompt).split()
                assert held.isdisjoint(_spans(words, lengths)), prompt


def test_a_held_out_prompt_would_be_found_wherever_it_stands() -> None:
    (prompt, *_) = (question.prompt for question in split.of("test"))
    cue = styles.CUES["json"][0]
    for text in (
        corpus.chat(prompt),
        corpus.chat(f"{cue} Be negative. {prompt}"),
        corpus.chat(f"Be negative. {prompt} {cue}"),
        corpus.chat("Hello.") + f"Anna: {prompt}\nTom: Yes.",
        corpus.chat("Hello.") + "Hi." + corpus.END + corpus.chat(prompt.lower().rstrip(".?")),
    ):
        cues = [split.plain(cue), split.plain("Be negative.")]
        found = {bare for asked in _asked(text) for bare in _bare(split.plain(asked), cues)}
        assert split.plain(prompt) in found, text


def test_so_many_documents_are_more_than_a_shard_holds() -> None:
    plan, tokenizer = Plan(), Tokenizer.from_file(str(demo.folder() / "tokenizer.json"))
    texts = [made.text for made in islice(corpus.documents(plan.seed, 0), DOCUMENTS)]
    tokens = sum(len(encoded.ids) for encoded in tokenizer.encode_batch(texts))
    assert tokens > plan.rows * plan.length * plan.shard_steps


def test_every_group_of_facts_keeps_a_phrasing_for_training() -> None:
    groups: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for question in split.everything():
        group = (question.family, question.aspect, question.subject)
        groups[group][split.split_of(question)] += 1
    for group, counts in groups.items():
        if group[0] != "unknown":
            assert counts["train"] >= 1, group
        if group[0] not in ("review", "form", "unknown", "product"):
            assert counts["test"] >= 1, group


def test_the_parts_share_no_words() -> None:
    parts = [
        {split.plain(question.prompt) for question in split.of(part)}
        for part in ("train", "validation", "test")
    ]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_at_least_fifteen_subjects_keep_their_review_prompts_out_of_training() -> None:
    by_subject: dict[str, set[str]] = defaultdict(set)
    for question in split.everything():
        if question.family == "review" and question.phrasing.startswith("Write a"):
            by_subject[question.subject].add(split.split_of(question))
    assert sum(parts == {"test"} for parts in by_subject.values()) >= 15


def test_the_hash_is_sha256_and_so_the_same_everywhere() -> None:
    expected = int(hashlib.sha256(b"fox").hexdigest()[:16], 16)
    assert split.number("fox") == expected
