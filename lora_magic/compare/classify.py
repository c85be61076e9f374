"""Texts under a classifier's adapters: the probability of each label, side by side.

Knows models, slots and tokenizers; knows no session and no method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from typing import Any

import torch
from torch import Tensor

from lora_magic.adapters.slots import Slots
from lora_magic.base.model import context_of
from lora_magic.base.prompt import check_text, check_tokens
from lora_magic.base.restore import evaluating
from lora_magic.base.tokens import classified_ids
from lora_magic.errors import PromptError

from .ask import refuse_base
from .limits import check_known
from .prediction import Classification, Prediction
from .stack import Variant

UNTRAINED = "untrained head"
UNCHANGED = "identical to base: this adapter changes nothing yet"
BROKEN = "its logits are not finite: training diverged"


def classify(
    model: Any,
    tokenizer: Any,
    prompt: str,
    labels: Sequence[str],
    *,
    adapter: str,
    slots: Slots | None = None,
    untrained: bool = False,
    context: int | None = None,
) -> Prediction:
    """The labels' probabilities p = softmax(logits) for one text, with the active adapter.

    The text is read with the tokenizer's special tokens. One that is longer than the context is
    truncated, and the note says so. Raises `PromptError` for an empty text, and with `slots` for a
    base whose logits are not finite.
    """
    tokens = encoded(model, tokenizer, prompt, context)
    made = _predict(model, tokens, prompt, adapter, labels, untrained)
    if slots is not None and not math.isfinite(made.probability):
        with slots.using({}):
            refuse_base(model, tokens[0])
    return made


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
    stop: Callable[[], bool] | None = None,
) -> Classification:
    """Every text under every variant; the first variant is the base.

    One text at a time, so that a prediction does not depend on the other texts. `untrained` names
    the variants with a new head that was never trained. `stop` is called after each text and ends
    it. Slots and model are restored, also after an error or an interrupt. Raises `PromptError`,
    before anything runs, for no text or an empty one.
    """
    if not prompts:
        raise PromptError("no text to classify; type it after the verb: %lora compare TEXT")
    texts = dict.fromkeys(prompts)
    read = {text: encoded(model, tokenizer, text, context) for text in texts}
    predictions = []
    for text, tokens in read.items():
        base: tuple[float, ...] | None = None
        for variant in variants:
            new = variant.name in untrained
            with slots.using(variant.replacements):
                made = _predict(model, tokens, text, variant.name, labels, new, base)
                if base is None and not math.isfinite(made.probability):
                    refuse_base(model, tokens[0])
            base = base or made.probabilities
            predictions.append(made)
        if stop is not None and stop():
            break
    left = len(predictions) < len(texts) * len(variants)
    return Classification(tuple(predictions), stopped=left)


def refuse_flags(
    max_new_tokens: int | None, temperature: float, seed: int, top_p: float = 1.0
) -> None:
    """Raise `PromptError` for the flags of generation: a classifier generates no text."""
    given = {"--max-new-tokens": max_new_tokens, "--temperature": temperature, "--seed": seed}
    given["--top-p"] = top_p if top_p != 1 else 0
    odd = [f"{flag} {value}" for flag, value in given.items() if value]
    if odd:
        raise PromptError(f"{', '.join(odd)}: a classifier generates no text; omit the flag.")


#: Token ids, and whether the text was truncated.
_Encoded = tuple[list[int], bool]


def encoded(model: Any, tokenizer: Any, text: str, context: int | None) -> _Encoded:
    """A text's token ids, cut to the context, and whether they were; `PromptError` if empty."""
    check_text(text)
    ids, truncated = classified_ids(tokenizer, text, most=context or context_of(model) or 10**9)
    check_tokens(ids, text)
    check_known([ids], model)
    return ids, truncated


def _predict(
    model: Any,
    read: _Encoded,
    text: str,
    adapter: str,
    labels: Sequence[str],
    untrained: bool,
    base: tuple[float, ...] | None = None,
) -> Prediction:
    """The prediction, with a note on it; `base` are the base's probabilities, for comparison."""
    ids, truncated = read
    (shares,) = probabilities(model, [ids])
    if not all(map(math.isfinite, shares)):
        note = BROKEN
    elif untrained:
        note = UNTRAINED
    else:
        note = UNCHANGED if shares == base else ""
    cut = f"truncated to the first {len(ids)} tokens" if truncated else ""
    notes = "; ".join(filter(None, [note, cut]))
    return Prediction(text, adapter, tuple(labels), shares, notes)


@torch.no_grad()
def probabilities(model: Any, rows: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
    """softmax(logits) of rows of token ids, all of one length."""
    ids = torch.tensor([list(row) for row in rows], device=model.device)
    with evaluating(model):
        logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return [tuple(shares) for shares in logits.double().softmax(-1).tolist()]
