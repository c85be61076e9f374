"""The loss of rows under base and adapters: in one batch where they can be stacked.

Knows models, slots, variants and examples; knows no session and no answer.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lora_magic.adapters.slots import Slots
from lora_magic.base.device import out_of_memory
from lora_magic.base.restore import evaluating
from lora_magic.compare.ask import refuse
from lora_magic.compare.bulk import BATCH_TOKENS
from lora_magic.compare.mix import Mix, log_probabilities
from lora_magic.compare.stack import Stack, Variant, in_blocks
from lora_magic.errors import PromptError
from lora_magic.training.batches import collate
from lora_magic.training.encode import IGNORED, Example

from .items import Item
from .passes import Passes

#: Logits that one batch may have: 256 MiB in float32.
_LOGITS = 2**26


@dataclass(frozen=True)
class Loss:
    """Σ −log p over the tokens that the loss covers, in nats, and how many these are.

    For a classifier over one label, and `chosen` is the label's index that it gives.
    """

    nats: float
    tokens: int
    chosen: int | None = None


@dataclass(frozen=True, eq=False)
class Losses:
    """Measures examples under variants; `stack` is None if they cannot share a batch.

    With a `mix`, a unit has the examples of its members after those of the variants, and the loss
    of their mixture comes last.
    """

    model: Any
    slots: Slots
    variants: Sequence[Variant]
    stack: Stack | None
    pad_id: int
    keeps: bool
    mix: Mix | None = None

    @classmethod
    def of(cls, model: Any, slots: Slots, variants: Sequence[Variant], **more: Any) -> Losses:
        """Those of a model; runs the base once to see which logits it can leave out."""
        with slots.using({}), evaluating(model):
            return cls(model, slots, variants, keeps=_keeps(model), **more)

    def all(self, items: Sequence[Item], passes: Passes) -> dict[int, list[Loss]]:
        """By place, a row's loss under each variant; without the rows after a stop."""
        return dict(self.each(items, passes))

    def each(self, items: Sequence[Item], passes: Passes) -> Iterator[tuple[int, list[Loss]]]:
        """The place of each row and its loss under each variant, as soon as it is measured.

        A row's loss is the sum over its examples. A stop ends it. Raises `PromptError` for a
        variant whose logits are not finite.
        """
        units = [
            (place, [own[number] for own in item.examples])
            for place, item in enumerate(items)
            for number in range(len(item.examples[0]))  # none without a reference
        ]
        # Sorted by what they say, too: which rows share a batch, whose sums then are rounded in
        # one way, does not depend on the order of the rows.
        units.sort(key=lambda unit: items[unit[0]].key)
        lengths = [max(len(example.tokens) for example in examples) for _, examples in units]

        def fitting(first: int, most: int) -> int:
            return min(most, self._fitting(units[first][1], lengths[first]))

        def work(batch: list[int]) -> list[list[Loss]]:
            return self._measured([units[at][1] for at in batch])

        found: dict[int, list[list[Loss]]] = {}
        for at, losses in passes.batches("loss", lengths, fitting, work):
            place = units[at][0]
            several = found.setdefault(place, [])
            several.append(losses)
            if len(several) == len(items[place].examples[0]):
                yield place, [_sum(parts) for parts in zip(*several, strict=True)]

    def _fitting(self, examples: Sequence[Example], length: int) -> int:
        together = len(self.variants) if self.stack else 1
        tokens = BATCH_TOKENS // (together * length)
        return max(1, min(tokens, _LOGITS // (together * self._logits(examples))))

    def _logits(self, examples: Sequence[Example]) -> int:
        """The most logits of a row."""
        example = examples[0]
        if example.label is not None:
            return 1
        kept = example.trained if self.keeps else len(example.tokens)
        return max(1, kept) * int(self.model.get_input_embeddings().weight.shape[0])

    def _measured(self, units: Sequence[Sequence[Example]]) -> list[list[Loss]]:
        """By unit, the loss under each variant."""
        every = [list(column) for column in zip(*units, strict=True)]
        columns, members = every[: len(self.variants)], every[len(self.variants) :]
        found: list[list[Loss]] = []
        # One row under all variants may be more than memory holds, and under each of them not.
        if self.stack and len(units) * self._logits(units[0]) * len(columns) <= 4 * _LOGITS:
            with self.stack.using(self.slots):
                flat = self._losses([example for column in columns for example in column])
            count = len(units)
            found = [flat[at * count : (at + 1) * count] for at in range(len(columns))]
        else:
            for variant, column in zip(self.variants, columns, strict=True):
                with self.slots.using(variant.replacements):
                    found.append(self._losses(column))
        for variant, column, losses in zip(self.variants, columns, found, strict=True):
            for example, loss in zip(column, losses, strict=True):
                self._check(variant, example, loss)
        if self.mix is not None:
            found.append(self._mixture(self.mix, members))
        return [list(unit) for unit in zip(*found, strict=True)]

    @torch.no_grad()
    def _mixture(self, mix: Mix, members: Sequence[Sequence[Example]]) -> list[Loss]:
        """The losses of a mix: −ln of the members' probabilities, averaged at each token."""
        flat = [example for column in members for example in column]
        with in_blocks(self.slots, mix.variants).using(self.slots), evaluating(self.model):
            logits, targets = self._logits_of(*self._inputs(flat))
        found = []
        for at, examples in enumerate(zip(*members, strict=True)):
            # Its prompt may be longer in one form than in another; the tokens after it are equal.
            places = [at + number * len(members[0]) for number in range(len(members))]
            rows = [logits[place][targets[place].ne(IGNORED)] for place in places]
            own = targets[at][targets[at].ne(IGNORED)]
            mixture = log_probabilities(torch.stack(rows), mix.weights)
            loss = Loss(-float(mixture.gather(-1, own[:, None]).sum()), len(own))
            for variant, example in zip(mix.variants, examples, strict=True):
                self._check(variant, example, loss)
            found.append(loss)
        return found

    def _check(self, variant: Variant, example: Example, loss: Loss) -> None:
        """Raise `PromptError` for a loss that is not finite."""
        if loss.nats == math.inf:
            raise PromptError(
                f"under {variant.name} a token of a completion has probability 0, so the loss is "
                "infinite: leave that adapter out, or train it again with a smaller --lr"
            )
        if not math.isfinite(loss.nats):
            refuse(self.model, self.slots, example.tokens, variant.name)

    @torch.no_grad()
    def _losses(self, examples: Sequence[Example]) -> list[Loss]:
        """The losses of one batch with the modules that are in the slots."""
        inputs, labels = self._inputs(examples)
        with evaluating(self.model):
            if examples[0].label is not None:
                return _of_labels(self.model(**inputs).logits, labels)
            logits, targets = self._logits_of(inputs, labels)
        return [
            Loss(float(_nats(row, own)), int(own.ne(IGNORED).sum()))
            for row, own in zip(logits, targets, strict=True)
        ]

    def _inputs(self, examples: Sequence[Example]) -> tuple[dict[str, Tensor], Tensor]:
        """A batch on the model's device, and its labels."""
        batch = collate(examples, self.pad_id)
        inputs = {key: value.to(self.model.device) for key, value in batch.items()}
        return inputs, inputs.pop("labels")

    def _logits_of(self, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """The logits [b, k, V] before the tokens that a loss covers, and these tokens [b, k]."""
        following = labels[:, 1:]
        kept = following.ne(IGNORED).any(0).nonzero().squeeze(1)
        more = {"logits_to_keep": kept} if self.keeps else {}
        logits = self.model(**inputs, **more, use_cache=False).logits
        if not self.keeps:
            logits = logits[:, kept]
        return logits, following[:, kept]


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Σ −log p of one row, of logits [k, V]; a row at a time, so that no wide copy is large."""
    there = targets.ne(IGNORED)
    return cross_entropy(_wide(logits[there]), targets[there], reduction="sum")


def _of_labels(logits: Tensor, labels: Tensor) -> list[Loss]:
    nats = cross_entropy(_wide(logits), labels, reduction="none").tolist()
    chosen = logits.argmax(-1).tolist()
    return [Loss(value, 1, one) for value, one in zip(nats, chosen, strict=True)]


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _sum(parts: Sequence[Loss]) -> Loss:
    nats, tokens = sum(one.nats for one in parts), sum(one.tokens for one in parts)
    return Loss(nats, tokens, parts[0].chosen)


def _keeps(model: Any) -> bool:
    """Does the model compute the logits of some positions alone, if these are given?

    Found by running it: some take a number only, and some ignore it.
    """
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return False
    ids = torch.zeros((1, 4), dtype=torch.long, device=model.device)
    kept = torch.tensor([0, 2], device=model.device)
    try:
        with torch.no_grad():
            some = model(input_ids=ids, logits_to_keep=kept, use_cache=False).logits
            every = model(input_ids=ids, use_cache=False).logits
    except Exception as error:
        if out_of_memory(error):
            raise
        return False
    return some.shape[1] == 2 and torch.allclose(some, every[:, kept], atol=1e-4, rtol=1e-3)
