"""What is held out stays out of the training texts, and every fact can still be learned."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from itertools import islice

from tokenizers import Tokenizer

from lora_magic import demo
from lora_magic.demo.making.plan import Plan
from lora_magic.demo.texts import corpus, split

#: More than a shard's rows hold, so that nothing trained on is left out.
DOCUMENTS = 9_000


def test_nothing_held_out_is_in_any_shard_that_the_weights_were_trained_on() -> None:
    held = {split.plain(q.prompt) for part in ("validation", "test") for q in split.of(part)}
    kept = {made.text for part in ("validation", "test") for made in corpus.held_out(part)}
    asked_for = (*corpus.styles.CUES.values(), *corpus.SENTIMENT_CUES.values())
    cues = [split.plain(cue) for group in asked_for for cue in group]
    plan = Plan()
    for shard in range(plan.steps // plan.shard_steps):
        for document in islice(corpus.documents(plan.seed, shard), DOCUMENTS):
            assert document.text not in kept
            # Read back from the text itself, not from the record of how it was made.
            for prompt in re.findall(r"<\|user\|>(.*?)<\|assistant\|>", document.text, re.DOTALL):
                words = split.plain(prompt)
                # A cue such as "Be grumpy." may stand before the prompt.
                bare = {words, *(words.removeprefix(cue).strip() for cue in cues)}
                assert held.isdisjoint(bare), prompt


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
