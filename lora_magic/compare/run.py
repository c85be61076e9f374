"""The same prompts under several adapters: one pass where their updates can be stacked.

Knows models, slots, prompt forms and low-rank updates; knows no session and no method.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lora_magic.adapters.slots import Slots
from lora_magic.base.finite import finite_rows
from lora_magic.base.model import context_of
from lora_magic.errors import PromptError

from .ask import refuse_base
from .comparison import Comparison, Pane
from .generate import Generation, OnToken, generate
from .limits import check_flags, check_known, check_lengths
from .mix import Mix, Mixed, log_probabilities
from .stack import Stack, Variant, in_blocks, stacked


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
    mix: Mix | None = None,
) -> Comparison:
    """Every prompt under every variant, the first of which is the base, and under a mix.

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
    members = mix.variants if mix else ()
    rows = _encoded(tokenizer, [*variants, *members], prompts, context)
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
    stack = stacked(slots, [*variants, *members])
    own = in_blocks(slots, members) if mix and stack is None else None
    run = _Run(model, slots, variants, mix, stack, own, answer, watch)
    if ended:
        run.ended.set()
    panes = [
        pane
        for prompt, inputs in zip(prompts, rows, strict=True)
        for pane in run.panes(prompt, inputs)
    ]
    return Comparison(tuple(panes), temperature, seed, top_p=top_p)


class _Made(NamedTuple):
    """An answer, the seconds of its pass, and its first logits [V]; None if it was not begun."""

    answer: Generation
    seconds: float
    first: Tensor | None


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
    """One comparison: what its prompts have in common.

    `stack` is for one pass of all rows: the variants, then the members of the mix. Without it the
    variants answer one by one, and the mix in a pass of its own with `mix_stack`.
    """

    model: Any
    slots: Slots
    variants: Sequence[Variant]
    mix: Mix | None
    stack: Stack | None
    mix_stack: Stack | None
    generate: Callable[..., list[Generation]]
    watch: OnAnswers | None
    #: Set once `watch` has ended the answers: no other answer is begun.
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def rows(self) -> list[Variant]:
        """The variants, and the members of the mix."""
        return [*self.variants, *(self.mix.variants if self.mix else ())]

    def panes(self, prompt: str, inputs: Sequence[Sequence[int]]) -> list[Pane]:
        """One prompt's panes, given its token ids for each of the rows."""
        names = [variant.name for variant in self.variants] + ([self.mix.name] if self.mix else [])
        if self.ended.is_set():
            return [self._unbegun(prompt, name) for name in names]
        made = list(self._made(prompt, inputs))
        changes = self._changes(inputs, [first for _, _, first in made])
        return [
            Pane(
                prompt=prompt,
                adapter=name,
                text=answer.text,
                tokens=answer.tokens,
                ended=answer.ended,
                seconds=seconds,
                batched=self.stack is not None,
                first_logit_change=change,
                note="" if place == 0 or first is None else _note(change),
                stopped=not answer.ended and self.ended.is_set(),
                ids=answer.ids,
            )
            for place, (name, (answer, seconds, first), change) in enumerate(
                zip(names, made, changes, strict=False)
            )
        ]

    def _unbegun(self, prompt: str, adapter: str) -> Pane:
        """The pane of an answer that the user's stop came before; nothing of it was computed."""
        batched = self.stack is not None
        return Pane(prompt, adapter, "", 0, False, 0.0, batched, math.nan, stopped=True)

    def _made(self, prompt: str, inputs: Sequence[Sequence[int]]) -> Iterator[_Made]:
        """The answers of all rows; those of a mix's members are one answer."""
        count = len(self.variants)
        if self.stack is not None:
            yield from self._answers(prompt, self.stack.modules, self.rows, inputs, count)
            return
        for variant, ids in zip(self.variants, inputs, strict=False):
            yield from self._answers(prompt, variant.replacements, [variant], [ids], 1)
        if self.mix_stack is not None:
            members = self.rows[count:], inputs[count:]
            yield from self._answers(prompt, self.mix_stack.modules, *members, 0)

    def _answers(
        self,
        prompt: str,
        modules: Mapping[str, nn.Module],
        rows: Sequence[Variant],
        inputs: Sequence[Sequence[int]],
        start: int,
    ) -> list[_Made]:
        """One pass with these modules in the slots: an answer for each row of token ids.

        The rows from `start` on are the members of the mix.
        """
        if self.ended.is_set():
            return [_Made(Generation("", 0, False), 0.0, None) for _ in rows]
        began = time.perf_counter()
        stops, names = [one.form.stop_ids for one in rows], [one.name for one in rows]
        mixed = None
        if self.mix is not None and start < len(rows):
            mixed = Mixed(start, self.mix.weights)
            stops[start:] = [self.mix.stop_ids] * (len(rows) - start)
            names[start:] = [self.mix.name]
        with self.slots.using(modules):
            first: list[Tensor] = []
            made = self.generate(
                inputs,
                stop_ids=stops,
                watch=self._on_token(prompt, names),
                first=first.extend,
                mix=mixed,
            )
        seconds = time.perf_counter() - began
        return [_Made(*one) for one in zip(made, repeat(seconds), first)]

    def _on_token(self, prompt: str, names: Sequence[str]) -> OnToken | None:
        watch = self.watch
        if watch is None:
            return None

        def on_token(texts: Callable[[], list[str]]) -> bool:
            # The members of a mix have one text, and one name.
            if watch(Written(prompt, tuple(names), lambda: texts()[: len(names)])):
                self.ended.set()
            return self.ended.is_set()

        return on_token

    def _changes(
        self, inputs: Sequence[Sequence[int]], firsts: Sequence[Tensor | None]
    ) -> list[float]:
        """max |Δ| of the first logits against the base on the same tokens, for each pane.

        Of a mix it is max |Δ ln p|. NaN for an answer that was not begun. 0 for one without effect:
        a batch's rows may differ in the last bits, since a kernel may compute them in different
        ways.
        """
        base = self.variants[0]
        expected = self._expected(inputs, firsts[0])
        for row, logits in expected.items():
            if not finite_rows(logits):
                with self.slots.using(base.replacements):
                    refuse_base(self.model, row)
        pairs = [(found, expected[tuple(ids)]) for found, ids in zip(firsts, inputs, strict=True)]
        count = len(self.variants)
        changes = [0.0]
        for variant, pair in zip(self.variants[1:], pairs[1:count], strict=True):
            changes.append(_change(*pair, variant.changes_nothing))
        if self.mix is not None:
            found, known = zip(*pairs[count:], strict=True)
            idle = all(variant.changes_nothing for variant in self.mix.variants)
            changes.append(_change(self._mixture(found), self._mixture(known), idle))
        return changes

    def _mixture(self, rows: Sequence[Tensor | None]) -> Tensor | None:
        begun = [row for row in rows if row is not None]
        assert self.mix is not None  # asked only for its members
        return log_probabilities(torch.stack(begun), self.mix.weights) if begun else None

    def _expected(
        self, inputs: Sequence[Sequence[int]], first: Tensor | None
    ) -> dict[tuple[int, ...], Tensor]:
        """The base's first logits by token ids, from passes of the same shapes.

        `first` are those of its answer.
        """
        assert first is not None  # the base answers first
        known = {tuple(inputs[0]): first}
        others = dict.fromkeys(ids for ids in map(tuple, inputs) if ids not in known)
        batches = [inputs] if self.stack is not None and others else [[ids] for ids in others]
        for batch in batches:
            found: list[Tensor] = []
            with self.slots.using(self.variants[0].replacements):
                self.generate(batch, stop_ids=[], max_new_tokens=1, first=found.extend)
            known = dict(zip(map(tuple, batch), found, strict=True)) | known
        return known


def _encoded(
    tokenizer: Any, variants: Sequence[Variant], prompts: Sequence[str], context: int | None
) -> list[list[list[int]]]:
    """Token ids by prompt and variant, or one error for all prompts that do not fit."""
    if not prompts:
        raise PromptError("no prompt to compare; type it after the verb: %lora compare PROMPT")
    forms = dict.fromkeys(variant.form for variant in variants)
    encoded = [{form: form.encode(tokenizer, prompt) for form in forms} for prompt in prompts]
    rows = [[by_form[variant.form] for variant in variants] for by_form in encoded]
    check_lengths(prompts, [max(inputs, key=len) for inputs in rows], context)
    return rows


def _change(found: Tensor | None, expected: Tensor | None, idle: bool) -> float:
    if found is None or expected is None:
        return math.nan
    change = _largest_change(found, expected)
    return 0.0 if idle and math.isfinite(change) else change


def _largest_change(found: Tensor, expected: Tensor) -> float:
    """max |found − expected|; equal infinities (a masked vocabulary) are no change, not NaN."""
    change = torch.where(found == expected, torch.zeros_like(found), (found - expected).abs())
    return float(change.max())


def _note(change: float) -> str:
    if change == 0:
        return UNCHANGED
    return "" if math.isfinite(change) else BROKEN
