"""Texts under a classifier's adapters: the probability of each label, side by side.

Knows models, slots and tokenizers; knows no session and nothing of how an adapter is made.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor

from lora_magic.adapters.slots import Slots
from lora_magic.base.model import context_of
from lora_magic.base.modes import evaluating
from lora_magic.base.prompt import classified_ids
from lora_magic.errors import PromptError

from .limits import check_known
from .prediction import Classification, Prediction
from .run import Variant

UNTRAINED = "untrained head"
UNCHANGED = "identical to base: this adapter changes nothing yet"
BROKEN = "its logits are not finite: the weights have diverged"


def classify(
    model: Any,
    tokenizer: Any,
    prompt: str,
    labels: Sequence[str],
    *,
    adapter: str,
    untrained: bool = False,
    context: int | None = None,
) -> Prediction:
    """The probabilities p = softmax(logits) of the labels, under what stands in the model.

    The text is read with the tokenizer's special tokens; of one that is longer than the context
    the beginning is, and the note says so. Raises `PromptError` for an empty text.
    """
    ids, cut = _read(model, tokenizer, prompt, context)
    shares = _probabilities(model, ids)
    notes = [UNTRAINED] if untrained else []
    return _verdict(prompt, adapter, labels, shares, notes, len(ids) if cut else None)


def compare(
    model: Any,
    slots: Slots,
    tokenizer: Any,
    variants: Sequence[Variant],
    prompts: Sequence[str],
    labels: Sequence[str],
    *,
    untrained: Container[str] = (),
    context: int | None = None,
) -> Classification:
    """Every text under every variant, one at a time; the first variant is the base.

    So that a prediction does not depend on which other texts are asked about. `untrained` names the
    variants whose head was drawn and never trained. Slots and model are restored, after an error or
    an interrupt too. Raises `PromptError`, before anything runs, for no text or an
    empty one.
    """
    if not prompts:
        raise PromptError("no text to classify; type it after the verb: %lora compare TEXT")
    asked = list(dict.fromkeys(prompts))
    read = [_read(model, tokenizer, prompt, context) for prompt in asked]
    predictions = []
    for prompt, (ids, cut) in zip(asked, read, strict=True):
        expected: tuple[float, ...] | None = None
        for variant in variants:
            with slots.using(variant.replacements):
                shares = _probabilities(model, ids)
            notes = [UNTRAINED] if variant.name in untrained else []
            if not notes and shares == expected:
                notes = [UNCHANGED]
            expected = expected or shares
            length = len(ids) if cut else None
            predictions.append(_verdict(prompt, variant.name, labels, shares, notes, length))
    return Classification(tuple(predictions))


def refuse_flags(max_new_tokens: int | None, temperature: float, seed: int) -> None:
    """Raise `PromptError` for flags of an answer: a classifier writes none."""
    given = {"--max-new-tokens": max_new_tokens, "--temperature": temperature, "--seed": seed}
    odd = [f"{flag} {value}" for flag, value in given.items() if value]
    if odd:
        raise PromptError(
            f"{', '.join(odd)}: a classifier gives labels and draws nothing; leave it out."
        )


def _read(model: Any, tokenizer: Any, prompt: str, context: int | None) -> tuple[list[int], bool]:
    if not isinstance(prompt, str):
        raise PromptError(f"the text is a {type(prompt).__name__}; expected text.")
    if not prompt.strip():
        raise PromptError("the text is empty; type what the model is to read.")
    longest = context or context_of(model) or 10**9
    ids, cut = classified_ids(tokenizer, prompt, longest)
    if not ids:
        raise PromptError(
            f"the tokenizer makes no token of {prompt[:40]!r}; is it the base's own? "
            "Type: %lora use model tokenizer"
        )
    check_known([ids], model)
    return ids, cut


@torch.no_grad()
def _probabilities(model: Any, ids: Sequence[int]) -> tuple[float, ...]:
    row = torch.tensor([list(ids)], device=model.device)
    with evaluating(model):
        logits: Tensor = model(input_ids=row, attention_mask=torch.ones_like(row)).logits
    return tuple(logits[0].double().softmax(-1).tolist())


def _verdict(
    prompt: str,
    adapter: str,
    labels: Sequence[str],
    shares: tuple[float, ...],
    notes: list[str],
    length: int | None,
) -> Prediction:
    if not all(map(math.isfinite, shares)):
        notes = [BROKEN]
    if length is not None:
        notes = [*notes, f"only the first {length} tokens fit and were read"]
    return Prediction(prompt, adapter, tuple(labels), shares, "; ".join(notes))
