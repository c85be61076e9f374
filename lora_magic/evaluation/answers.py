"""Generated answers of base and adapters to rows: in one batch where they can be stacked.

Knows models, slots, variants and token ids; knows no session and no metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_magic.adapters.slots import Slots
from lora_magic.compare.ask import refuse
from lora_magic.compare.bulk import BATCH_TOKENS
from lora_magic.compare.generate import Generation, generate
from lora_magic.compare.limits import new_tokens
from lora_magic.compare.stack import Variant, stacked
from lora_magic.data.row import numbered
from lora_magic.errors import DataError

from .items import Item
from .passes import Passes

#: A prompt's token ids by variant.
Asked = tuple[tuple[int, ...], ...]


def answers(
    model: Any,
    slots: Slots,
    tokenizer: Any,
    variants: Sequence[Variant],
    items: Sequence[Item],
    passes: Passes,
    *,
    context: int | None,
    max_new_tokens: int | None,
    **sampling: Any,
) -> dict[int, list[Generation]]:
    """By place, the answer of each variant to a row that has a prompt; without those after a stop.

    In fp32 each is that of `generate` for its prompt alone. Equal prompts are answered once. Raises
    `DataError` for prompts that leave no room in the context, `PromptError` for a variant whose
    logits are not finite.
    """
    _check_room(items, context)
    places: dict[Asked, list[int]] = {}
    ordered = sorted(range(len(items)), key=lambda at: items[at].key)
    for place in ordered:
        asked = items[place].asked
        if asked is not None:
            places.setdefault(asked, []).append(place)
    prompts = list(places)
    lengths = [max(map(len, asked)) for asked in prompts]
    stack = stacked(slots, variants)
    together = len(variants) if stack else 1

    def room(length: int) -> int:
        return new_tokens(length, context, max_new_tokens)

    order = sorted(range(len(prompts)), key=lambda at: -lengths[at])
    rank = {at: number for number, at in enumerate(order)}

    def fitting(first: int, most: int) -> int:
        """How many follow with the same room for an answer as if alone."""
        new = room(lengths[first])
        most = min(most, max(1, BATCH_TOKENS // (together * (lengths[first] + new))))
        following = order[rank[first] : rank[first] + most]
        return sum(room(lengths[at]) == new for at in following)

    def made(inputs: Sequence[Sequence[int]], stops: Sequence[Sequence[int]]) -> list[Generation]:
        return generate(
            model,
            tokenizer,
            inputs,
            stop_ids=stops,
            max_new_tokens=max_new_tokens,
            context=context,
            watch=passes.look,
            **sampling,
        )

    def work(batch: list[int]) -> list[list[Generation]]:
        columns = [[prompts[at][number] for at in batch] for number in range(len(variants))]
        stops = [[variant.form.stop_ids] * len(batch) for variant in variants]
        if stack:
            with stack.using(slots):
                flat = made(sum(columns, []), sum(stops, []))
            found = [flat[at : at + len(batch)] for at in range(0, len(flat), len(batch))]
        else:
            found = []
            for variant, inputs, ends in zip(variants, columns, stops, strict=True):
                with slots.using(variant.replacements):
                    found.append(made(inputs, ends))
        for variant, inputs, column in zip(variants, columns, found, strict=True):
            for ids, one in zip(inputs, column, strict=True):
                if not one.finite:
                    refuse(model, slots, ids, variant.name)
        return [list(row) for row in zip(*found, strict=True)]

    written: dict[int, list[Generation]] = {}
    for at, row in passes.batches("answers", lengths, fitting, work):
        written |= dict.fromkeys(places[prompts[at]], row)
    return written


def _check_room(items: Sequence[Item], context: int | None) -> None:
    if context is None:
        return
    full = [item.number for item in items if max(map(len, item.asked or ((),))) >= context]
    if full:
        raise DataError(
            f"{numbered('row', full)}: the prompt fills the context of {context:,} tokens; shorten "
            "it, or leave it out of the data. Nothing was measured."
        )
