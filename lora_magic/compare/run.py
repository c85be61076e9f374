"""The same prompts under several adapters: one pass where their updates can be stacked.

Knows models, slots, prompt forms and low-rank updates; knows no session and nothing of how an
adapter is made.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters.slots import Slots
from lora_magic.base.model import context_of
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import PromptError
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.stack import StackedLinear

# Offered here too: a session runs both.
from .ask import ask as ask
from .comparison import Comparison, Pane
from .generate import Generation, Watch, first_logits, generate
from .limits import check_flags, check_known, check_lengths

#: Answers that are being written: the prompt, and (adapter, text so far) of those that write now.
Written = tuple[str, tuple[tuple[str, str], ...]]

#: Called after each new token with a function that gives what is `Written`; true ends it.
Follow = Callable[[Callable[[], Written]], bool]

UNCHANGED = "first logits identical to base: this adapter changes nothing yet"
BROKEN = "logits are not finite: the adapter's weights have diverged"


@dataclass(frozen=True, eq=False)
class Variant:
    """One column of a comparison: what stands in the slots while it answers, and its prompt form.

    `deltas` are the same updates by module path, for stacking: `{}` for the base, None for an
    adapter that is not (only) low-rank updates of linear layers. They must say all that the
    replacements do: a path that only the replacements have keeps the pass from being batched.
    """

    name: str
    replacements: Mapping[str, nn.Module]
    deltas: Mapping[str, LowRank] | None
    form: PromptForm


def compare(
    model: Any,
    slots: Slots,
    tokenizer: Any,
    variants: Sequence[Variant],
    prompts: Sequence[str],
    *,
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    context: int | None = None,
    watch: Follow | None = None,
) -> Comparison:
    """Every prompt under every variant; the first variant is the base, for comparison.

    Each prompt is one batched pass when every variant has `deltas`, so that an answer does not
    depend on the cell's other prompts; else the variants answer one after the other. Draws are
    those of `generate`, with the same Gumbel noise in every pane. `watch` follows the answers while
    they are written, and may end them early. Slots and model are restored, after an error or an
    interrupt too.

    Raises `PromptError`, before anything runs, for no prompt, an empty one, one that fills the
    context, max_new_tokens < 1 or a temperature below 0.
    """
    check_flags(max_new_tokens, temperature, seed)
    context = context or context_of(model)
    asked = list(dict.fromkeys(prompts))
    rows = _encoded(tokenizer, variants, asked, context)
    for inputs in rows:
        check_known(inputs, model)
    draw = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "seed": seed,
        "context": context,
    }
    stage = _Stage(model, slots, tokenizer, tuple(variants), _stack(slots, variants), draw, watch)
    panes = [
        pane
        for prompt, inputs in zip(asked, rows, strict=True)
        for pane in stage.panes(prompt, inputs)
    ]
    return Comparison(tuple(panes), temperature, seed)


@dataclass(frozen=True, eq=False)
class _Stage:
    """Everything that stays the same from prompt to prompt; lives as long as one comparison."""

    model: Any
    slots: Slots
    tokenizer: Any
    variants: tuple[Variant, ...]
    stack: Mapping[str, nn.Module] | None
    draw: Mapping[str, Any]
    watch: Follow | None

    def panes(self, prompt: str, inputs: Sequence[Sequence[int]]) -> list[Pane]:
        """One prompt's panes, given its token ids for each variant."""
        if self.stack is None:
            made = [
                answer
                for variant, ids in zip(self.variants, inputs, strict=True)
                for answer in self._answers(prompt, variant.replacements, [variant], [ids])
            ]
        else:
            made = self._answers(prompt, self.stack, self.variants, inputs)
        changes = self._changes(inputs)
        return [
            Pane(
                prompt=prompt,
                adapter=variant.name,
                text=answer.text,
                tokens=answer.tokens,
                ended=answer.ended,
                seconds=seconds,
                batched=self.stack is not None,
                first_logit_change=change,
                note="" if variant is self.variants[0] else _note(change),
            )
            for variant, (answer, seconds), change in zip(self.variants, made, changes, strict=True)
        ]

    def _answers(
        self,
        prompt: str,
        standing: Mapping[str, nn.Module],
        variants: Sequence[Variant],
        inputs: Sequence[Sequence[int]],
    ) -> list[tuple[Generation, float]]:
        """One pass with these modules in the slots: each row's answer, and the pass's seconds."""
        start = time.perf_counter()
        with self.slots.using(standing):
            stops = [variant.form.stop_ids for variant in variants]
            watch = self._following(prompt, [variant.name for variant in variants])
            made = generate(
                self.model, self.tokenizer, inputs, stop_ids=stops, watch=watch, **self.draw
            )
        seconds = time.perf_counter() - start
        return [(answer, seconds) for answer in made]

    def _following(self, prompt: str, names: Sequence[str]) -> Watch | None:
        if self.watch is None:
            return None
        follow = self.watch
        return lambda texts: follow(lambda: (prompt, tuple(zip(names, texts(), strict=True))))

    def _changes(self, inputs: Sequence[Sequence[int]]) -> list[float]:
        """max |Δ| of the first logits against the base on the same tokens, for each variant.

        Each is a pass of a single row, the base's too: the same shapes run the same kernels, so an
        adapter that changes nothing measures exactly 0 in any dtype.
        """
        base, *others = self.variants
        with self.slots.using(base.replacements):
            expected = {tuple(ids): first_logits(self.model, ids) for ids in map(tuple, inputs)}
        changes = [0.0]
        for variant, ids in zip(others, inputs[1:], strict=True):
            with self.slots.using(variant.replacements):
                seen = first_logits(self.model, ids)
            changes.append(_largest(seen, expected[tuple(ids)]))
        return changes


def _encoded(
    tokenizer: Any, variants: Sequence[Variant], prompts: Sequence[str], context: int | None
) -> list[list[list[int]]]:
    """Token ids by prompt and variant, or one error for all prompts that do not fit."""
    if not prompts:
        raise PromptError("no prompt to compare; type it after the verb: %lora compare PROMPT")
    rows = [[variant.form.encode(tokenizer, prompt) for variant in variants] for prompt in prompts]
    check_lengths(prompts, [max(inputs, key=len) for inputs in rows], context)
    return rows


def _stack(slots: Slots, variants: Sequence[Variant]) -> dict[str, nn.Module] | None:
    """What stands in the slots while all variants answer at once; None when they cannot."""
    base = variants[0]
    deltas = [variant.deltas for variant in variants if variant.deltas is not None]
    told = [
        set(variant.replacements) <= {*(variant.deltas or ()), *base.replacements}
        for variant in variants
    ]
    if len(variants) < 2 or len(deltas) < len(variants) or not all(told):
        return None
    paths = dict.fromkeys(path for updates in deltas for path in updates)
    below = {path: base.replacements.get(path, slots.original(path)) for path in paths}
    if not all(_rows_stay(path, module) for path, module in below.items()):
        return None
    stacked = {
        path: StackedLinear(module, [updates.get(path) for updates in deltas])
        for path, module in below.items()
    }
    return {**base.replacements, **stacked}


def _rows_stay(path: str, module: nn.Module) -> bool:
    """Whether a layer sees the batch's rows in order, as vectors.

    An embedding sees ids, and an expert sees whatever tokens its router sends it.
    """
    return not isinstance(module, nn.Embedding) and "experts" not in path.split(".")


def _largest(seen: Tensor, expected: Tensor) -> float:
    """max |seen − expected|; equal infinities (a masked vocabulary) are no change, not NaN."""
    moved = torch.where(seen == expected, torch.zeros_like(seen), (seen - expected).abs())
    return float(moved.max())


def _note(change: float) -> str:
    if change == 0:
        return UNCHANGED
    return "" if math.isfinite(change) else BROKEN
