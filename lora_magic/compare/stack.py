"""Several variants in one batch: the modules that apply each update to its own rows.

Knows variants, slots and low-rank updates; knows no prompt and does not run a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from lora_magic.adapters.delta import low_rank_of
from lora_magic.adapters.row_blocks import RowBlocks
from lora_magic.adapters.slots import ROOT, Slots
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import AdapterError
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.stack import StackedLinear


@dataclass(frozen=True, eq=False)
class Variant:
    """The base or an adapter: the modules in the slots while it answers, and its prompt form.

    `deltas` are the same updates by module path, for stacking: `{}` for the base, None for an
    adapter with anything but low-rank updates of linear layers. A path with a replacement and no
    delta prevents a batched pass.
    """

    name: str
    replacements: Mapping[str, nn.Module]
    deltas: Mapping[str, LowRank] | None
    form: PromptForm

    @property
    def changes_nothing(self) -> bool:
        """Are all of its updates zero, because their B is? False without `deltas`: unknown."""
        updates = self.deltas
        if updates is None or not self.replacements.keys() <= updates.keys():
            return False
        return not any(bool(update.up.any()) for update in updates.values())


@dataclass(frozen=True, eq=False)
class Stack:
    """The modules for one batch of all variants, whose rows follow one another by variant.

    With n variants and b rows each, row i·b + j of the batch is row j of variant i.
    """

    modules: Mapping[str, nn.Module]
    variants: int

    @contextmanager
    def using(self, slots: Slots) -> Iterator[None]:
        """The stack's modules are in the slots during a block."""
        with slots.using(self.modules):
            yield


def stacked(slots: Slots, variants: Sequence[Variant]) -> Stack | None:
    """One batch for all variants; None if one of them cannot share it. The first is the base."""
    base = variants[0]
    deltas = [variant.deltas for variant in variants if variant.deltas is not None]
    complete = all(
        set(variant.replacements) <= {*(variant.deltas or ()), *base.replacements}
        for variant in variants
    )
    if len(variants) < 2 or len(deltas) < len(variants) or not complete:
        return None
    paths = dict.fromkeys(path for updates in deltas for path in updates)
    layers = {path: base.replacements.get(path, slots.original(path)) for path in paths}
    if not all(keeps_rows(path, layer) for path, layer in layers.items()):
        return None
    modules = {
        path: StackedLinear(layer, [updates.get(path) for updates in deltas])
        for path, layer in layers.items()
    }
    return Stack({**base.replacements, **modules}, len(variants))


def in_blocks(slots: Slots, variants: Sequence[Variant]) -> Stack:
    """One batch for variants of any method but virtual tokens, base or not.

    A module that one of them replaces by more than a low-rank update is called once for each.
    Raises `AdapterError` for virtual tokens and for the experts of a mixture.
    """
    paths = dict.fromkeys(path for variant in variants for path in variant.replacements)
    return Stack({path: _in_blocks(slots, path, variants) for path in paths}, len(variants))


def _in_blocks(slots: Slots, path: str, variants: Sequence[Variant]) -> nn.Module:
    layer = slots.original(path)
    by = {one.name: one.replacements[path] for one in variants if path in one.replacements}
    if path == ROOT or "experts" in path.split("."):
        kind = "virtual tokens" if path == ROOT else "the experts of a mixture, which get any rows"
        raise AdapterError(
            f"--mix: {next(iter(by))} changes {kind}, so it cannot share a batch; name others, or "
            f"compare them side by side: %lora compare --adapters {','.join(by)} PROMPT"
        )
    updates = [low_rank_of(by[one.name]) if one.name in by else None for one in variants]
    present = [update for update in updates if update is not None]
    if len(present) < len(by) or not keeps_rows(path, layer):
        return RowBlocks(layer, [by.get(one.name) for one in variants])
    return StackedLinear(layer, updates)


def keeps_rows(path: str, layer: nn.Module) -> bool:
    """Whether a layer receives the batch's rows in order, as vectors.

    An embedding receives ids, and an expert whichever tokens its router sends.
    """
    return not isinstance(layer, nn.Embedding) and "experts" not in path.split(".")
