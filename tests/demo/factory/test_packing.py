"""Documents that share a row do not see each other."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer

from lora_magic.demo.factory import packing, vocabulary
from lora_magic.demo.factory.plan import Plan, build


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return vocabulary.train_tokenizer(0, documents_read=2000)


@pytest.fixture(scope="module")
def shard(tokenizer: Tokenizer) -> packing.Shard:
    return packing.shard(tokenizer, 0, 0, rows=8, length=160)


def test_a_packed_document_gives_the_logits_it_gives_alone(shard: packing.Shard) -> None:
    model = build(Plan(hidden=32, layers=2, heads=2, inner=48)).eval()
    batch = shard.batch(slice(0, 2))
    with torch.no_grad():
        together = model(
            input_ids=batch.tokens, attention_mask=batch.mask, position_ids=batch.positions
        ).logits
    for row in range(2):
        for number in range(int(shard.document[row].max()) + 1):
            places = shard.document[row] == number
            with torch.no_grad():
                alone = model(input_ids=batch.tokens[row, places][None]).logits[0]
            torch.testing.assert_close(together[row, places], alone, atol=2e-5, rtol=1e-4)


def test_labels_leave_out_first_tokens_and_filling(shard: packing.Shard) -> None:
    batch = shard.batch(slice(0, 8))
    learned = batch.labels != -100
    assert not learned[shard.position == 0].any()
    assert not learned[shard.document < 0].any()
    assert torch.equal(batch.labels[learned], batch.tokens[learned])


def test_answers_are_learned_with_their_end_and_prompts_are_not(shard: packing.Shard) -> None:
    learned = shard.batch(slice(0, 8)).labels != -100
    for row in range(8):
        for number in range(int(shard.document[row].max()) + 1):
            places = (shard.document[row] == number).nonzero().flatten().tolist()
            # A document without a prompt is learned from its second token on.
            answering = True
            for place in places:
                token = int(shard.tokens[row, place])
                if token == vocabulary.USER_ID:
                    answering = False
                assert learned[row, place] == (answering and place != places[0])
                if token == vocabulary.ASSISTANT_ID:
                    answering = True
            assert answering  # up to the end token, which is learned


def test_the_prompt_of_a_second_turn_is_not_learned_either() -> None:
    user, assistant, end = vocabulary.USER_ID, vocabulary.ASSISTANT_ID, vocabulary.END_ID
    packed = packing._laid_out([[[user, 9, assistant, 8, end, user, 7, assistant, 6, end]]], 12)
    learned = packed.batch(slice(0, 1)).labels[0] != -100
    assert learned.nonzero().flatten().tolist() == [3, 4, 8, 9]


def test_every_document_ends_with_the_end_token(shard: packing.Shard) -> None:
    for row in range(8):
        for number in range(int(shard.document[row].max()) + 1):
            tokens = shard.tokens[row, shard.document[row] == number]
            assert tokens[-1] == vocabulary.END_ID


def test_a_shard_is_always_the_same(tokenizer: Tokenizer, shard: packing.Shard) -> None:
    again = packing.shard(tokenizer, 0, 0, rows=8, length=160)
    assert torch.equal(again.tokens, shard.tokens)
    assert not torch.equal(packing.shard(tokenizer, 0, 1, 8, 160).tokens, shard.tokens)


def test_at_most_a_twelfth_of_the_places_is_filling(tokenizer: Tokenizer) -> None:
    shard = packing.shard(tokenizer, 0, 0, rows=200, length=256)
    assert (shard.document >= 0).float().mean() > 11 / 12
