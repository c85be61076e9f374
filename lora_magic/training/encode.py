"""Rows as tokens and labels: what the model reads, and what the loss covers.

Knows tokenizers through the prompt's form; knows no model and no run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lora_magic.base.prompt import PromptForm, classified_ids, token_ids
from lora_magic.errors import DataError, PromptError, listed, near

from .row import Row, RowErrors, numbered

#: The label of a token that the loss does not cover, in torch's cross entropy and transformers.
IGNORED = -100


@dataclass(frozen=True)
class Example:
    """One sequence: its tokens, their labels (−100 where the loss does not cover them), its row.

    For a classifier `labels` is empty and `label` the index of the one label. `position` is its
    row's, which decides whether it is held out.
    """

    tokens: tuple[int, ...]
    labels: tuple[int, ...]
    row: int
    label: int | None = None
    position: float = 0.0

    @property
    def trained(self) -> int:
        """Tokens that the loss covers, or 1 for a label."""
        return sum(label != IGNORED for label in self.labels) + (self.label is not None)


@dataclass(frozen=True)
class Encoded:
    """Encoded rows, and how many were cut or left out.

    `cut` examples were longer than `max_length` tokens and lost their end. `empty` ones had nothing
    to train on, and in `full` ones the prompt fills `max_length`: both are left out. `texts` rows
    are plain text. `data_hash` is the sha256 of the rows as read. `classes` are a classifier's
    labels, otherwise (). `held_out` are examples of another set of rows, which are measured and
    never trained on; None if some of `examples` are held out.
    """

    examples: tuple[Example, ...]
    cut: int
    empty: int
    data_hash: str
    full: int = 0
    texts: int = 0
    end_token: str | None = None
    classes: tuple[str, ...] = ()
    held_out: tuple[Example, ...] | None = None

    def measured_on(self, other: Encoded) -> Encoded:
        """With another set's examples held out; its rows are part of the hash."""
        both = hashlib.sha256((self.data_hash + other.data_hash).encode()).hexdigest()
        return replace(self, held_out=other.examples, data_hash=both)


def encode(rows: Sequence[Row], tokenizer: Any, form: PromptForm, max_length: int) -> Encoded:
    """Tokens and labels of rows, in the prompt's form.

    The loss covers a completion and one end token, not the prompt; for plain text, every token.
    Each assistant turn of a conversation is one example, with the turns before it as its prompt. An
    example longer than `max_length` is cut at its end. One whose prompt alone fills `max_length` is
    left out and counted as full; one without a token to train is counted as empty.

    Raises `DataError` with the numbers of rows that the template refuses, and when no example is
    left.
    """
    examples: list[Example] = []
    left_out: list[int] = []
    cut = full = empty = 0
    errors = RowErrors("row")
    for index, row in enumerate(rows):
        try:
            pieces = list(_pieces(row, tokenizer, form))
        except PromptError as error:
            errors.add(row.line or index + 1, str(error).rstrip("."))
            continue
        for prefix, answer in pieces:
            example = _example(prefix, answer, max_length, index)
            if example is None:
                empty += not answer
                full += bool(answer)
                left_out.append(row.line or index + 1)
            else:
                examples.append(replace(example, position=row.position))
                cut += len(prefix) + len(answer) > max_length
    errors.raise_any("No row was trained on.")
    if not examples:
        raise DataError(_nothing_left(left_out, full, max_length))
    return Encoded(
        examples=tuple(examples),
        cut=cut,
        empty=empty,
        full=full,
        texts=sum(row.prompt is None and row.messages is None for row in rows),
        end_token=form.end_token,
        data_hash=_digest(rows),
    )


def encode_labelled(
    rows: Sequence[Row], tokenizer: Any, classes: Sequence[str], max_length: int
) -> Encoded:
    """Tokens of texts and the index of their label in `classes`.

    A text gets the tokenizer's special tokens; one longer than `max_length` is cut at its end but
    keeps them. A row without a text or a label is left out and counted as empty.

    Raises `DataError` with the numbers of rows whose label is unknown, and when no row is left.
    """
    known = {name: place for place, name in enumerate(classes)}
    examples: list[Example] = []
    left_out: list[int] = []
    cut = 0
    errors = RowErrors("row")
    for index, row in enumerate(rows):
        number, name = row.line or index + 1, row.completion.strip()
        if row.prompt is None:
            errors.add(number, "a text without a label")
            continue
        if name and name not in known:
            errors.add(number, _no_label(name[:40], known))
            continue
        tokens, was_cut = classified_ids(tokenizer, row.prompt, max_length)
        if row.empty or not tokens:
            left_out.append(number)
        else:
            examples.append(Example(tuple(tokens), (), index, known[name], row.position))
            cut += was_cut
    errors.raise_any(f"The labels are {listed(classes, 20)}; type `text => label`.")
    if not examples:
        raise DataError(_nothing_left(left_out, 0, max_length).replace("completion", "label"))
    return Encoded(
        examples=tuple(examples),
        cut=cut,
        empty=len(left_out),
        data_hash=_digest(rows),
        classes=tuple(classes),
    )


def _no_label(name: str, known: Iterable[str]) -> str:
    hint = near(name, known).strip()
    return f"unknown label {name!r}" + (f" ({hint})" if hint else "")


def _nothing_left(rows: list[int], full: int, max_length: int) -> str:
    if full:
        return (
            f"nothing to train on: the prompt alone fills {max_length} tokens in "
            f"{numbered('row', rows)}; shorten it, or raise --max-length."
        )
    empty = f"no completion in {numbered('row', rows)}" if rows else "there are no rows"
    return f"nothing to train on: {empty}."


def _pieces(row: Row, tokenizer: Any, form: PromptForm) -> Iterator[tuple[list[int], list[int]]]:
    """Pairs of prompt and answer tokens; ([], []) for an empty row."""
    if row.empty:
        yield [], []
    elif row.messages is not None:
        turns = [message.plain() for message in row.messages]
        for place, turn in enumerate(turns):
            prompted = any(t["role"] not in ("system", "assistant") for t in turns[:place])
            if turn["role"] == "assistant" and prompted and turn["content"].strip():
                prefix = form.encode_messages(tokenizer, turns[:place])
                yield prefix, form.encode_answer(tokenizer, turn["content"])
    elif row.prompt is not None:
        yield form.encode(tokenizer, row.prompt), form.encode_answer(tokenizer, row.completion)
    else:
        # With the tokenizer's special tokens, as in pretraining.
        ids = token_ids(tokenizer, row.completion, special=True)
        end = form.end_token_id
        yield [], ids if end is None or ids[-1:] == [end] else [*ids, end]


def _example(prefix: list[int], answer: list[int], max_length: int, row: int) -> Example | None:
    tokens = (prefix + answer)[:max_length]
    labels = ([IGNORED] * len(prefix) + answer)[:max_length]
    # Nothing predicts the first token. With its label ignored here, the count that the Trainer
    # divides by is right in all its versions.
    labels[:1] = [IGNORED] * len(labels[:1])
    example = Example(tuple(tokens), tuple(labels), row)
    return example if example.trained else None


def _digest(rows: Sequence[Row]) -> str:
    """sha256 over what the rows say, in order, without their line numbers."""
    digest = hashlib.sha256()
    for row in rows:
        turns = None
        if row.messages is not None:
            turns = [m.plain() if m.trained else {**m.plain(), "weight": 0} for m in row.messages]
        said: list[Any] = [row.prompt, row.completion, turns]
        more = {
            "system": row.system,
            "tools": row.tools,
            "rejected": row.rejected,
            "second": row.second,
        }
        if given := {name: value for name, value in more.items() if value is not None}:
            said.append(given)
        digest.update(json.dumps(said).encode() + b"\n")
    return digest.hexdigest()
