"""Greedy answers and their logits inside the session: what an export must give again.

Knows a model, its slots and prompts; knows no format and no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters.slots import Slots
from lora_magic.base.model import BaseModel
from lora_magic.base.prompt import PromptForm
from lora_magic.base.restore import evaluating
from lora_magic.compare.classify import encoded
from lora_magic.compare.generate import generate

#: Greedy tokens of an answer that are compared, at most.
TOKENS = 32


@dataclass(frozen=True, eq=False)
class Reference:
    """Prompts, as read and as answered.

    For each prompt: its token ids, the greedy answer's ids (the end token included), and the logits
    [T, V] in fp32 on the CPU from which each of these T tokens was chosen, with the answer's own
    tokens before it. A classifier has no answers, and logits [1, labels].
    """

    prompts: tuple[str, ...]
    inputs: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    logits: tuple[Tensor, ...]

    @property
    def classifies(self) -> bool:
        """Are these label scores?"""
        return not any(self.answers)


def answered(
    base: BaseModel,
    slots: Slots,
    modules: Mapping[str, nn.Module],
    form: PromptForm | None,
    prompts: Sequence[str],
    context: int,
) -> Reference:
    """The prompts' greedy answers with these modules in the slots, one by one, without padding."""
    model, tokenizer = base.model, base.needs_tokenizer()
    if form is None:
        rows = [tuple(encoded(model, tokenizer, text, context)[0]) for text in prompts]
        answers: list[tuple[int, ...]] = [()] * len(rows)
    else:
        rows = [tuple(form.encode(tokenizer, prompt)) for prompt in prompts]
        with slots.using(modules):
            answers = [_greedy(model, tokenizer, row, form, context) for row in rows]
    return replayed(
        base, slots, modules, Reference(tuple(prompts), tuple(rows), tuple(answers), ())
    )


def _greedy(
    model: Any, tokenizer: Any, row: Sequence[int], form: PromptForm, context: int
) -> tuple[int, ...]:
    (answer,) = generate(
        model,
        tokenizer,
        [row],
        stop_ids=form.stop_ids,
        max_new_tokens=min(TOKENS, context - len(row)),
        context=context,
    )
    return answer.ids


@torch.no_grad()
def replayed(
    base: BaseModel, slots: Slots, modules: Mapping[str, nn.Module], given: Reference
) -> Reference:
    """The logits of the same tokens with other modules in the slots."""
    model: Any = base.model
    found = []
    with slots.using(modules), evaluating(model):
        for row, answer in zip(given.inputs, given.answers, strict=True):
            ids = torch.tensor([[*row, *answer]], device=base.device)
            kwargs = {} if given.classifies else {"use_cache": False}
            logits = model(input_ids=ids, **kwargs).logits.float().cpu()
            if not given.classifies:
                logits = logits[0, len(row) - 1 : -1]
            found.append(logits.clone())
    return Reference(given.prompts, given.inputs, given.answers, tuple(found))
