"""The same prompts under several adapters: one pass where their updates can be stacked.

Knows models, slots, prompt forms and low-rank updates; knows no session and no method.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters.slots import Slots
from lora_magic.base.finite import finite_rows
from lora_magic.base.model import context_of
from lora_magic.errors import PromptError

from .ask import refuse_base
from .comparison import Comparison, Pane
from .generate import Generation, OnToken, first_logits, generate
from .limits import check_flags, check_known, check_lengths
from .stack import Stack, Variant, stacked


@dataclass(frozen=True)
class Written:
    """A prompt, and the adapters that answer it now; called, it decodes their texts so far."""

    prompt: str
    adapters: tuple[str, ...]
    texts: Callable[[], list[str]] = field(compare=False)

    def __call__(self) -> dict[str, str]:
        """The text so far of each of the adapters."""
        return dict(zip(self.adapters, self.texts(), strict=True))


#: Called after each new token; True ends the answers.
OnAnswers = Callable[[Written], bool]

UNCHANGED = "first logits identical to base: this adapter changes nothing yet"
BROKEN = "its logits are not finite: training diverged"


def compare(
    model: Any,
    slots: Slots,
    tokenizer: Any,
    variants: Sequence[Variant],
    prompts: Sequence[str],
    *,
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    context: int | None = None,
    watch: OnAnswers | None = None,
) -> Comparison:
    """Every prompt under every variant; the first variant is the base.

    Each prompt is one batched pass if every variant has `deltas`, so that an answer does not depend
    on the other prompts; otherwise the variants answer one after the other. Sampling is that of
    `generate`, with the same Gumbel draws in every pane. `watch` is called after each new token and
    may end the answers early. Slots and model are restored, also after an error or an interrupt.

    Raises `PromptError`, before anything runs, for no prompt, an empty one, one that fills the
    context and flags that `generate` refuses; and for a base whose logits are not finite.
    """
    check_flags(max_new_tokens, temperature, seed, top_p)
    context = context or context_of(model)
    prompts = list(dict.fromkeys(prompts))
    rows = _encoded(tokenizer, variants, prompts, context)
    for inputs in rows:
        check_known(inputs, model)
    answer = partial(
        generate,
        model,
        tokenizer,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        context=context,
    )
    ended = _first_text(model, slots, variants, prompts[0], rows[0], answer, watch)
    run = _Run(model, slots, variants, stacked(slots, variants), answer, watch)
    if ended:
        run.ended.set()
    panes = [
        pane
        for prompt, inputs in zip(prompts, rows, strict=True)
        for pane in run.panes(prompt, inputs)
    ]
    return Comparison(tuple(panes), temperature, seed, top_p=top_p)


def _first_text(
    model: Any,
    slots: Slots,
    variants: Sequence[Variant],
    prompt: str,
    inputs: Sequence[Sequence[int]],
    answer: Callable[..., list[Generation]],
    watch: OnAnswers | None,
) -> bool:
    """Give `watch` the base's first token before the batch reads the prompt; does it end all?

    A CPU takes nearly n times as long to read a prompt n times as to read it once, so that a person
    would wait for n prompts to see a word. Answers one by one need no such pass.
    """
    batched = len(variants) > 1 and all(variant.deltas is not None for variant in variants)
    if watch is None or not batched or model.device.type != "cpu":
        return False
    base = variants[0]
    with slots.using(base.replacements):
        (made,) = answer([inputs[0]], stop_ids=[base.form.stop_ids], max_new_tokens=1)
    return watch(Written(prompt, (base.name,), lambda: [made.text]))


@dataclass(frozen=True, eq=False)
class _Run:
    """One comparison: what its prompts have in common. `stack` is None if no pass is batched."""

    model: Any
    slots: Slots
    variants: Sequence[Variant]
    stack: Stack | None
    generate: Callable[..., list[Generation]]
    watch: OnAnswers | None
    #: Set once `watch` has ended the answers: no other answer is begun.
    ended: threading.Event = field(default_factory=threading.Event)

    def panes(self, prompt: str, inputs: Sequence[Sequence[int]]) -> list[Pane]:
        """One prompt's panes, given its token ids for each variant."""
        if self.ended.is_set():
            return [self._unbegun(prompt, variant.name) for variant in self.variants]
        if self.stack is None:
            made = [
                answer
                for variant, ids in zip(self.variants, inputs, strict=True)
                for answer in self._answers(prompt, variant.replacements, [variant], [ids])
            ]
        else:
            made = self._answers(prompt, self.stack.modules, self.variants, inputs)
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
                stopped=not answer.ended and self.ended.is_set(),
                ids=answer.ids,
            )
            for variant, (answer, seconds), change in zip(self.variants, made, changes, strict=True)
        ]

    def _unbegun(self, prompt: str, adapter: str) -> Pane:
        """The pane of an answer that the user's stop came before; nothing of it was computed."""
        batched = self.stack is not None
        return Pane(prompt, adapter, "", 0, False, 0.0, batched, math.nan, stopped=True)

    def _answers(
        self,
        prompt: str,
        modules: Mapping[str, nn.Module],
        variants: Sequence[Variant],
        inputs: Sequence[Sequence[int]],
    ) -> list[tuple[Generation, float]]:
        """One pass with these modules in the slots: each row's answer, and the pass's seconds."""
        if self.ended.is_set():
            return [(Generation("", 0, False), 0.0) for _ in variants]
        start = time.perf_counter()
        with self.slots.using(modules):
            stops = [variant.form.stop_ids for variant in variants]
            on_token = self._on_token(prompt, [variant.name for variant in variants])
            made = self.generate(inputs, stop_ids=stops, watch=on_token)
        seconds = time.perf_counter() - start
        return [(answer, seconds) for answer in made]

    def _on_token(self, prompt: str, names: Sequence[str]) -> OnToken | None:
        watch = self.watch
        if watch is None:
            return None

        def on_token(texts: Callable[[], list[str]]) -> bool:
            if watch(Written(prompt, tuple(names), texts)):
                self.ended.set()
            return self.ended.is_set()

        return on_token

    def _changes(self, inputs: Sequence[Sequence[int]]) -> list[float]:
        """max |Δ| of the first logits against the base on the same tokens, for each variant.

        Each is a pass of a single row, the base's too: the same shapes run the same kernels, so an
        adapter that changes nothing measures exactly 0 in any dtype.
        """
        base, *others = self.variants
        with self.slots.using(base.replacements):
            expected = {tuple(ids): first_logits(self.model, ids) for ids in map(tuple, inputs)}
            for row, logits in expected.items():
                if not finite_rows(logits):
                    refuse_base(self.model, row)
        changes = [0.0]
        for variant, ids in zip(others, inputs[1:], strict=True):
            with self.slots.using(variant.replacements):
                found = first_logits(self.model, ids)
            changes.append(_largest_change(found, expected[tuple(ids)]))
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


def _largest_change(found: Tensor, expected: Tensor) -> float:
    """max |found − expected|; equal infinities (a masked vocabulary) are no change, not NaN."""
    change = torch.where(found == expected, torch.zeros_like(found), (found - expected).abs())
    return float(change.max())


def _note(change: float) -> str:
    if change == 0:
        return UNCHANGED
    return "" if math.isfinite(change) else BROKEN
