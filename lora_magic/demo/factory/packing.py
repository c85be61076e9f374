"""Documents → rows of tokens: several whole documents a row, none attends to another.

Knows shards, masks and positions; knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lora_magic.demo.factory.corpus import documents
from lora_magic.demo.factory.vocabulary import ASSISTANT_ID, USER_ID

# Rows kept open for a document that fits: with 8, 98 % of the positions are filled.
_OPEN = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Tokens [n, t], a mask [n, 1, t, t] (true: attends), positions [n, t], labels [n, t]."""

    tokens: Tensor
    mask: Tensor
    positions: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(*(part.to(device) for part in vars(self).values()))


@dataclass(frozen=True, eq=False)
class Shard:
    """Packed rows: tokens, the index of the document (-1: padding), the position in it.

    `asked`: whether a token belongs to a prompt.
    """

    tokens: Tensor
    document: Tensor
    position: Tensor
    asked: Tensor

    def batch(self, rows: slice) -> Batch:
        """Some rows as the model's inputs; a document's first token and prompts have no label."""
        tokens, document, position = self.tokens[rows], self.document[rows], self.position[rows]
        length = tokens.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        mask = (document[:, :, None] == document[:, None, :]) & causal
        unlabelled = (document < 0) | (position == 0) | self.asked[rows]
        labels = tokens.masked_fill(unlabelled, -100)
        return Batch(tokens, mask[:, None], position, labels)


def shard(tokenizer: Tokenizer, seed: int, number: int, rows: int, length: int) -> Shard:
    """Exactly `rows` rows of `length` tokens from the stream of one shard; deterministic."""
    stream = documents(seed, number)
    closed: list[list[list[int]]] = []
    opened: list[list[list[int]]] = []
    while True:
        texts = [next(stream).text for _ in range(512)]
        for encoding in tokenizer.encode_batch(texts):
            _place(encoding.ids[:length], opened, length)
            if len(opened) > _OPEN:
                fullest = max(range(len(opened)), key=lambda i: _used(opened[i]))
                closed.append(opened.pop(fullest))
            if len(closed) == rows:
                return _laid_out(closed, length)


def _used(row: list[list[int]]) -> int:
    return sum(map(len, row))


def _place(ids: list[int], opened: list[list[list[int]]], length: int) -> None:
    """Put a document into the fullest open row with room, else open a new row."""
    fitting = [row for row in opened if _used(row) + len(ids) <= length]
    if fitting:
        max(fitting, key=_used).append(ids)
    else:
        opened.append([ids])


def _laid_out(packed: list[list[list[int]]], length: int) -> Shard:
    shape = (len(packed), length)
    tokens = torch.zeros(shape, dtype=torch.long)
    document = torch.full(shape, -1, dtype=torch.long)
    position = torch.zeros(shape, dtype=torch.long)
    asked = torch.zeros(shape, dtype=torch.bool)
    for row, texts in enumerate(packed):
        start = 0
        for number, ids in enumerate(texts):
            stop = start + len(ids)
            tokens[row, start:stop] = torch.tensor(ids)
            document[row, start:stop] = number
            position[row, start:stop] = torch.arange(len(ids))
            asked[row, start:stop] = _of_prompts(tokens[row, start:stop])
            start = stop
    return Shard(tokens, document, position, asked)


def _of_prompts(ids: Tensor) -> Tensor:
    """Whether each token lies between a user's token and the end of the assistant's."""
    begun, ended = (ids == USER_ID).cumsum(0), (ids == ASSISTANT_ID).cumsum(0)
    return (begun > ended) | (ids == ASSISTANT_ID)
