"""What is held out stays out of the training texts, and every fact can still be learned."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from itertools import islice

import pytest

from lora_magic.demo import corpus, split


@pytest.fixture(scope="module")
def training_documents() -> list[corpus.Document]:
    return [
        document for shard in range(3) for document in islice(corpus.documents(0, shard), 12_000)
    ]


def test_no_held_out_prompt_occurs_in_a_training_document(
    training_documents: list[corpus.Document],
) -> None:
    held = {split.plain(q.prompt) for part in ("validation", "test") for q in split.of(part)}
    for document in training_documents:
        # Read back from the text itself, not from the record of how it was made.
        for prompt in re.findall(r"<\|user\|>(.*?)<\|assistant\|>", document.text, re.DOTALL):
            words = split.plain(prompt)
            assert words not in held
            # A cue such as "Be grumpy." may stand before the prompt.
            for cue in corpus.styles.CUES.values():
                for text in map(split.plain, cue):
                    assert words.removeprefix(text).strip() not in held


def test_no_held_out_document_is_a_training_document(
    training_documents: list[corpus.Document],
) -> None:
    trained = {document.text for document in training_documents}
    for part in ("validation", "test"):
        assert trained.isdisjoint(document.text for document in corpus.held_out(part))


def test_every_group_of_facts_keeps_a_phrasing_for_training() -> None:
    groups: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for question in split.everything():
        group = (question.family, question.aspect, question.subject)
        groups[group][split.split_of(question)] += 1
    for group, counts in groups.items():
        assert counts["train"] >= 1, group
        if group[0] not in ("review", "form"):
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
