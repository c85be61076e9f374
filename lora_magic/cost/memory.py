"""The peak of memory by part: for inference, LoRA, QLoRA and full fine-tuning.

A step has its peak where the loss is computed, in the backward pass of its last block, where
workers add up their gradients, or where the optimizer takes it. Knows a model's shapes and steps
and a setting; knows no card and no machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from lora_magic.adapters.spec import AdapterSpec

from . import builder
from .activations import BOTTLENECK, Block, Bytes, Use, bottleneck, by_block
from .count import sites_in, trainable, trained_in
from .model import Model
from .ops import Op
from .setting import Setting

#: The parts, in the order of a stacked picture.
PARTS = (
    "weights",
    "adapter",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "cache",
    "workspace",
)

#: Logits that exist at once in our loss of the trained tokens; see training/trained_loss.py.
_CHUNK = 2**23

#: Numbers of the gradients that workers add up at once, in float32; see scale/collective.py.
_BUCKET = 2**24


class Memory(NamedTuple):
    """Bytes by part at the moment of the peak; parts that are 0 are left out."""

    parts: tuple[tuple[str, int], ...]

    @property
    def peak(self) -> int:
        """The sum of the parts."""
        return sum(size for _, size in self.parts)

    def of(self, part: str) -> int:
        """The bytes of one part."""
        return dict(self.parts).get(part, 0)


def memory(model: Model, setting: Setting) -> Memory:
    """The peak of a model used in one way."""
    known = _known(model, _common(setting))
    moments = known.training(setting) if setting.training else known.inference(setting)
    found = max(moments, key=lambda moment: sum(moment.values())) | known.fixed
    if setting.training:
        found["optimizer"] = two_moments(known.trained, setting.optimizer)
    return Memory(tuple((part, size) for part in PARTS if (size := round(found.get(part, 0)))))


def _common(setting: Setting) -> Setting:
    """Settings with the same common part differ only in what is computed each time."""
    same = {"rows": min(setting.rows, 2), "length": 0, "trained": None, "passes": 1, "workers": 1}
    return setting.changed(**same, optimizer="adamw", checkpointing=False)


class _Known(NamedTuple):
    """What does not depend on rows and lengths: `kept` by all blocks, by the largest, and outside
    of them; `work` is what steps need for a moment, `moving` what the optimizer's step needs."""

    use: Use
    fixed: dict[str, int]
    moving: int
    trained: int
    blocks: int
    kept: Bytes
    largest: Bytes
    outside: Bytes
    work: frozenset[Bytes]

    def training(self, setting: Setting) -> Iterator[dict[str, float]]:
        """The moments of a pass."""
        use, model = self.use, self.use.model
        rows, length = setting.rows, setting.length
        if use.method == "prompt" and setting.spec is not None:
            length += setting.spec.virtual_tokens
        stream = rows * length * model.shapes.width * use.size
        if setting.checkpointing:
            kept = self.blocks * stream
            again = self.largest.at(rows, length)
        else:
            kept, again = self.kept.at(rows, length), 0
        outside = self.outside.at(rows, length)
        work = max((one.at(rows, length) for one in self.work), default=0)
        gradients = 4 * self.trained
        earlier = gradients if setting.passes > 1 else 0
        loss = self._loss(setting)
        yield {"activations": kept + outside + stream, "logits": loss, "gradients": earlier}
        yield {"activations": kept + again + stream, "workspace": work, "gradients": earlier}
        summed = 4 * min(self.trained, _BUCKET) if setting.workers > 1 else 0
        yield {"gradients": gradients, "workspace": max(self.moving, summed)}

    def _loss(self, setting: Setting) -> int:
        """The logits, their softmax and its gradient."""
        use, model = self.use, self.use.model
        tokens, words = setting.rows * setting.length, model.vocabulary
        if model.head:
            return 0
        if not use.packed:
            return 3 * tokens * words * use.wide
        trained = tokens if setting.trained is None else setting.trained
        states = 2 * trained * model.shapes.width * use.size
        head = model.shapes.output
        if head in use.trained or head in use.ranks:
            return states + 3 * trained * words * use.wide
        rows = max(1, _CHUNK // max(words, 1))
        chunk, narrow = min(rows, trained) * words, use.size if use.size < use.wide else 0
        if trained <= rows:
            return states + chunk * (use.wide + 2 * narrow)
        later = min(rows, trained - rows) * words
        return states + chunk * use.wide + later * (use.wide + narrow)

    def inference(self, setting: Setting) -> Iterator[dict[str, float]]:
        """A prompt of the whole length is read."""
        use, model = self.use, self.use.model
        rows, length = setting.rows, setting.length
        cache = model.shapes.cache
        stored = 0
        if cache is not None:
            stored = 2 * cache.layers * cache.heads * cache.size * rows * length * use.size
        work = max((one.at(rows, length) for one in self.work), default=0)
        stream = 4 * rows * length * model.shapes.width * use.size
        stream += rows * length**2 if use.masked else 0
        yield {"cache": stored, "activations": stream, "workspace": work}
        yield {"cache": stored, "logits": 3 * rows * model.vocabulary * use.wide}


@lru_cache(maxsize=32)
def _known(model: Model, setting: Setting) -> _Known:
    use = use_of(model, setting)
    packed, whole = _stored(model, setting.bits)
    fixed = {"weights": packed + whole * use.size}
    count = 0
    if setting.spec is not None:
        count = trainable(model, setting.spec)
        # Beside it the session keeps the state that it started from, and during a run the one
        # that an error restores.
        fixed["adapter"] = 4 * count * (3 if setting.training else 2)
    kept, largest, work = Bytes(), Bytes(), set()
    small = between_blocks(use)
    for steps, times in _different(model, setting.spec, setting.bits):
        block = Block(use, steps)
        own = block.kept().plus(small)
        kept, largest = kept.plus(own, times), max(largest, own, key=lambda one: one.token)
        work |= block.work()
    return _Known(
        use,
        fixed,
        4 * max(_largest(model, setting.spec), count if setting.cuda else 0),
        count,
        len(_blocks(model)),
        kept,
        largest,
        Block(use, [op for op in model.ops if op.block < 0]).kept(),
        frozenset(work),
    )


@lru_cache(maxsize=16)
def _different(
    model: Model, spec: AdapterSpec | None, bits: int | None
) -> list[tuple[list[Op], int]]:
    """The blocks that need different memory, each with how many are like it."""
    ranks, inputs, trained = _acts(model, spec)
    quantised = bits_of(model, bits)
    found: dict[tuple[object, ...], tuple[list[Op], int]] = {}
    for steps, paths, alike in _blocks(model):
        own = [tuple(map(by.get, paths)) for by in (ranks, trained, quantised)]
        signature = (alike, *own, tuple(map(inputs.__contains__, paths)))
        first, times = found.get(signature, (steps, 0))
        found[signature] = first, times + 1
    return list(found.values())


@lru_cache(maxsize=8)
def _blocks(model: Model) -> list[tuple[list[Op], list[str], int]]:
    """The steps of each block, their paths, and a number that blocks of equal steps share."""
    known: dict[tuple[object, ...], int] = {}
    found = []
    for number, steps in by_block(model.ops).items():
        if number >= 0:
            alike = tuple(
                (op.kind, op.reads, op.gives, op.how, op.heads, op.kv_heads, op.window, op.share)
                for op in steps
            )
            paths = [op.path for op in steps]
            found.append((steps, paths, known.setdefault(alike, len(known))))
    return found


def between_blocks(use: Use) -> Bytes:
    """What a bottleneck after each block keeps."""
    if use.method not in BOTTLENECK:
        return Bytes()
    shapes = use.model.shapes
    rank = next((use.ranks[path] for path in shapes.blocks if path in use.ranks), None)
    return Bytes() if rank is None else bottleneck(use, shapes.width, rank)


@lru_cache(maxsize=16)
def _largest(model: Model, spec: AdapterSpec | None) -> int:
    """The numbers of the largest of the base's own parameters that are trained.

    The record of a run takes the difference of each from where it started. On a GPU the optimizer
    needs more: the square roots of all moments at once.
    """
    modules = model.shapes.modules
    sizes = (
        math.prod(shape)
        for path, names in _acts(model, spec)[2].items()
        for name, shape in modules[path].parameters
        if name in names
    )
    return max(sizes, default=0)


def use_of(model: Model, setting: Setting) -> Use:
    """How a setting uses the modules of a model."""
    return Use(model, setting, *_acts(model, setting.spec), bits_of(model, setting.bits))


@lru_cache(maxsize=16)
def _acts(
    model: Model, spec: AdapterSpec | None
) -> tuple[dict[str, int], frozenset[str], dict[str, tuple[str, ...]]]:
    """The fields of `Use` that follow from a spec alone: ranks, inputs and what is trained."""
    if spec is None:
        return {}, frozenset(), {}
    sites = sites_in(model, spec)
    return (
        {site.path: site.rank for site in sites},
        frozenset(site.path for site in sites if site.scales_inputs),
        trained_in(model, spec),
    )


@lru_cache(maxsize=16)
def bits_of(model: Model, bits: int | None) -> dict[str, int]:
    """The bits of the layers that are quantised, or that loading with so many bits quantises."""
    found = {path: module.bits for path, module in model.shapes.modules.items() if module.bits}
    return found if found or bits is None else dict.fromkeys(builder.quantised(model), bits)


@lru_cache(maxsize=16)
def _stored(model: Model, bits: int | None) -> tuple[int, int]:
    """The bytes of the quantised weights, and how many others there are; tied ones once."""
    layers = bits_of(model, bits)
    packed = whole = 0
    for path, name, shape in model.shapes.owned:
        count = math.prod(shape)
        if path in layers and name == "weight":
            packed += quantised(count, shape[0], layers[path])
        else:
            whole += count
    return packed, whole


def quantised(count: int, rows: int, bits: int) -> int:
    """The bytes of a quantised matrix of so many weights.

    In 4 bits with double quantisation (QLoRA, arXiv 2305.14314, section 3): a scale in 8 bits for
    64 weights, one in 32 for 256 of those, and two tables. In 8 bits: a scale for each row.
    """
    if bits == 8:
        return count + 4 * rows
    blocks = math.ceil(count / 64)
    return math.ceil(count / 2) + blocks + 4 * math.ceil(blocks / 256) + 4 * (16 + 256 + 1)


def two_moments(count: int, optimizer: str) -> int:
    """The bytes of AdamW's two moments of so many parameters."""
    return 2 * count + 8 * math.ceil(count / 256) if optimizer.endswith("8bit") else 8 * count
