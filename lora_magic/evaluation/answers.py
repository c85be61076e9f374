"""Generated answers of base and adapters to rows: in one batch where they can be stacked.

Knows models, slots, variants and token ids; knows no session and no metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.adapters.slots import Slots
from lora_magic.compare.ask import refuse
from lora_magic.compare.bulk import BATCH_TOKENS
from lora_magic.compare.generate import Generation, generate
from lora_magic.compare.limits import new_tokens
from lora_magic.compare.mix import Mix, Mixed
from lora_magic.compare.stack import Stack, Variant, in_blocks

from .items import Item
from .passes import Passes

#: A prompt's token ids, by variant.
Asked = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Answering:
    """Answers prompts under variants, with these flags of `generate`; `stack` is None if the
    variants cannot share a batch. Prompts have those of a mix's members after the variants'."""

    model: Any
    slots: Slots
    tokenizer: Any
    variants: Sequence[Variant]
    stack: Stack | None
    passes: Passes
    context: int | None
    sampling: Mapping[str, Any]
    mix: Mix | None = None

    def all(self, items: Sequence[Item]) -> Iterator[tuple[int, list[Generation]]]:
        """The place of each row that has a prompt, and its answer under each variant.

        In fp32 each is that of `generate` for its prompt alone. Equal prompts are answered once.
        A stop ends it. Raises `PromptError` for a variant whose logits are not finite.
        """
        places: dict[Asked, list[int]] = {}
        for place, item in sorted(enumerate(items), key=lambda pair: pair[1].key):
            if item.asked is not None:
                places.setdefault(item.asked, []).append(place)
        # As `Passes` takes them, so that those that share a batch follow one another.
        prompts = sorted(places, key=lambda asked: -_longest(asked))

        def fitting(first: int, most: int) -> int:
            return self._fitting(prompts[first:], most)

        def work(batch: list[int]) -> list[list[Generation]]:
            return self._answered([prompts[at] for at in batch])

        lengths = list(map(_longest, prompts))
        for at, answers in self.passes.batches("answers", lengths, fitting, work):
            for place in places[prompts[at]]:
                yield place, answers

    def _room(self, asked: Asked) -> int:
        return new_tokens(_longest(asked), self.context, self.sampling.get("max_new_tokens"))

    def _fitting(self, following: Sequence[Asked], most: int) -> int:
        """How many of these share a batch: with the same room for an answer as if alone."""
        new = self._room(following[0])
        together = len(self.variants) if self.stack else 1
        tokens = BATCH_TOKENS // (together * (_longest(following[0]) + new))
        some = following[: min(most, max(1, tokens))]
        return sum(self._room(asked) == new for asked in some)

    def _answered(self, prompts: Sequence[Asked]) -> list[list[Generation]]:
        """By prompt, the answer of each variant."""
        columns = [[asked[at] for asked in prompts] for at in range(len(self.variants))]
        stops = [[variant.form.stop_ids] * len(prompts) for variant in self.variants]
        if self.stack:
            with self.stack.using(self.slots):
                flat = self._generated(
                    [ids for column in columns for ids in column],
                    [ids for column in stops for ids in column],
                )
            found = [flat[at : at + len(prompts)] for at in range(0, len(flat), len(prompts))]
        else:
            found = []
            for variant, column, ends in zip(self.variants, columns, stops, strict=True):
                with self.slots.using(variant.replacements):
                    found.append(self._generated(column, ends))
        names = [variant.name for variant in self.variants]
        if self.mix is not None:
            names.append(self.mix.name)
            columns.append([asked[len(self.variants)] for asked in prompts])
            found.append(self._mixture(self.mix, prompts))
        for name, column, made in zip(names, columns, found, strict=True):
            for ids, one in zip(column, made, strict=True):
                if not one.finite:
                    refuse(self.model, self.slots, ids, name)
        return [list(row) for row in zip(*found, strict=True)]

    def _mixture(self, mix: Mix, prompts: Sequence[Asked]) -> list[Generation]:
        """By prompt, the answer of all members of a mix together."""
        first, count = len(self.variants), len(mix.members)
        inputs = [asked[first + at] for at in range(count) for asked in prompts]
        with in_blocks(self.slots, mix.variants).using(self.slots):
            stops = [mix.stop_ids] * len(inputs)
            made = self._generated(inputs, stops, mix=Mixed(0, mix.weights))
        return made[: len(prompts)]

    def _generated(
        self,
        inputs: Sequence[Sequence[int]],
        stops: Sequence[Sequence[int]],
        mix: Mixed | None = None,
    ) -> list[Generation]:
        return generate(
            self.model,
            self.tokenizer,
            inputs,
            stop_ids=stops,
            context=self.context,
            watch=self.passes.look,
            mix=mix,
            **self.sampling,
        )


def _longest(asked: Asked) -> int:
    return max(map(len, asked))
