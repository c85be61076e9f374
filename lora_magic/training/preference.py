"""Direct preference optimization: pairs of a chosen and a rejected answer, and the loss over them.

    L = −log σ(β·[(log π(c) − log π₀(c)) − (log π(r) − log π₀(r))])

Rafailov et al. 2023, arXiv 2305.18290, equation 7. π is the model with the adapter, π₀ with the
adapter as the run begins: its log-probabilities are measured before the first step, so there is no
second model in memory. Knows rows, examples and a model; knows no adapter and no run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn

from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Refused, Row, numbered
from lora_magic.errors import DataError

from .encode import IGNORED, Encoded, digest_of, encode
from .sample import sample_line


def are_preferences(rows: Sequence[Row]) -> bool:
    """Does every row have a rejected answer? Raises `DataError` if only some have."""
    without = [row.line or place + 1 for place, row in enumerate(rows) if row.rejected is None]
    if without and len(without) < len(rows):
        raise DataError(
            f"{numbered('row', without)}: no rejected answer, but other rows have one; give all "
            "rows prompt, chosen and rejected, or train on them apart."
        )
    return bool(rows) and not without


def encode_preferences(
    rows: Sequence[Row],
    tokenizer: Any,
    form: PromptForm,
    max_length: int,
    *,
    skip_bad: bool = False,
) -> Encoded:
    """Examples of pairs: the tokens of the chosen answer, and with them the rejected one's.

    A pair is cut if one side is, and left out as too long or empty if one side is. Raises
    `DataError` as `encode` does, and if both answers of a row are equal; with `skip_bad` such rows
    are left out and listed.
    """
    refused = Refused()
    for place, row in enumerate(rows):
        if row.completion == row.rejected:
            refused.add(place, row.line or place + 1, "chosen and rejected are the same")
    encoded = partial(encode, skip_bad=skip_bad, refused=refused)
    chosen = [answered(row, row.completion) for row in rows]
    better = encoded(chosen, tokenizer, form, max_length)
    other = [answered(row, row.rejected) for row in rows]
    worse = encoded(other, tokenizer, form, max_length)
    rejected = {example.row: example for example in worse.examples}
    longer = {e.row: length for e, length in zip(worse.examples, worse.lengths, strict=True)}
    pairs, lengths = [], []
    for example, length in zip(better.examples, better.lengths, strict=True):
        if example.row in rejected:
            pairs.append(replace(example, rejected=rejected[example.row]))
            lengths.append(max(length, longer[example.row]))
    if not pairs:
        raise DataError(
            "nothing to train on: in no row both answers can be trained; shorten the prompts, or "
            "raise --max-length."
        )
    left = len(rows) - len(pairs) - len(refused.places)
    full = min(max(better.full, worse.full), left)
    made = replace(
        better,
        examples=tuple(pairs),
        cut=sum(length > max_length for length in lengths),
        empty=left - full,
        full=full,
        lengths=tuple(lengths),
        data_hash=digest_of(rows),
        skipped=worse.skipped,
    )
    return replace(made, sample=sample_line(made, tokenizer))


def answered(row: Row, answer: str | None) -> Row:
    """The row with one of its answers, its only trained turn."""
    answer = answer or ""
    if row.messages is None:
        return replace(row, completion=answer, rejected=None)
    before = tuple(replace(turn, trained=False) for turn in row.messages[:-1])
    last = replace(row.messages[-1], content=answer, trained=True)
    return replace(row, completion=answer, messages=(*before, last), rejected=None)


@dataclass(frozen=True)
class Preference:
    """The loss over a batch whose second half are the rejected answers of its first half.

    `batch["reference"]` [n] has log π₀(c) − log π₀(r) of each pair.
    """

    beta: float

    def margins(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """β·[(log π(c) − log π₀(c)) − (log π(r) − log π₀(r))] of each pair [n]."""
        return self.beta * (differences(model, batch) - batch["reference"])

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The mean loss over the pairs."""
        return -F.logsigmoid(self.margins(model, batch)).mean()

    def items(self, batch: dict[str, Tensor]) -> int:
        """How many pairs a batch has."""
        return len(batch["input_ids"]) // 2


def differences(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """log π(c) − log π(r) of each pair [n], in float32."""
    labels = batch["labels"][:, 1:]
    found = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    logits = found.logits[:, :-1].float()
    tokens = labels.masked_fill(labels == IGNORED, 0)
    chances = logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    chances = chances.masked_fill(labels == IGNORED, 0.0).sum(-1)
    chosen, rejected = chances.chunk(2)
    difference: Tensor = chosen - rejected
    return difference


@torch.no_grad()
def reference(model: nn.Module, batch: dict[str, Tensor]) -> list[float]:
    """log π₀(c) − log π₀(r) of each pair of a batch, with the model as it is."""
    return [float(value) for value in differences(model, batch)]
