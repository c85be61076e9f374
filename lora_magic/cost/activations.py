"""What a pass keeps for its backward pass, and what its steps need for a moment, in bytes.

Autograd keeps what a gradient is computed from. A frozen weight needs no gradient, so its layer
keeps nothing of its input; LoRA needs the input for A, and A·x for B. Steps that keep the same
tensor keep it once. Knows a model's steps, a setting, and which tensors torch's operations keep
(tests/cost/test_memory.py compares); knows no weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from lora_magic.adapters.shapes import LINEAR
from lora_magic.adapters.targets import is_attention

from . import ops
from .model import Model
from .ops import Op
from .setting import BYTES, Setting

#: How many tensors an activation keeps, if not one: it is made of several operations.
_KEEPS = {"gelu_new": 4, "gelu_fast": 5, "quick_gelu": 2, "mish": 3}
#: Activations that keep their result, which the next layer reads.
_RESULT = ("relu", "sigmoid", "tanh")
#: Methods with virtual tokens, and with small layers in the residual stream.
VIRTUAL, BOTTLENECK = ("prefix", "prompt"), ("houlsby", "adapter-l")


class Bytes(NamedTuple):
    """Bytes for each token, for each row's length squared, and for a pass."""

    token: float = 0.0
    square: float = 0.0
    fixed: float = 0.0

    def plus(self, other: Bytes, times: float = 1) -> Bytes:
        """This and `times` the other."""
        return Bytes(
            self.token + times * other.token,
            self.square + times * other.square,
            self.fixed + times * other.fixed,
        )

    def at(self, rows: int, length: int) -> int:
        """The bytes for so many rows of a length."""
        return round(rows * length * (self.token + self.square * length) + self.fixed)


@dataclass(frozen=True, eq=False)
class Use:
    """A model used in one way, for any rows and lengths: what is done with each of its modules.

    `ranks` are those of the method's layers by path (0 for one without a rank), `inputs` the paths
    whose inputs (IA)³ scales, `trained` the base's own parameters that are trained, by module, and
    `bits` those of the quantised layers. `masked` is whether attention gets a mask.
    """

    model: Model
    setting: Setting
    ranks: dict[str, int] = field(default_factory=dict)
    inputs: frozenset[str] = frozenset()
    trained: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)

    @cached_property
    def size(self) -> int:
        """The bytes of a number of the base."""
        return BYTES[self.setting.dtype]

    @cached_property
    def wide(self) -> int:
        """The bytes of a number of the adapter: float32, or wider."""
        return max(4, self.size)

    @cached_property
    def method(self) -> str:
        """The adapter's, "" without one."""
        return "" if self.setting.spec is None else self.setting.spec.method

    @cached_property
    def packed(self) -> bool:
        """Whether the rows of a pass follow one another, with attention within each of them."""
        plain = self.setting.plain or not self.setting.training or self.method in VIRTUAL
        return self.model.causal and not self.model.head and not plain

    @cached_property
    def masked(self) -> bool:
        """Whether attention gets a mask: rows are padded, or follow virtual tokens."""
        return self.method in VIRTUAL or (self.setting.rows > 1 and not self.packed)

    def by_matrix(self, op: Op) -> bool:
        """Are attention's weights a matrix? torch's kernel for a CPU has no dropout."""
        on_cpu = self.setting.training and not self.setting.cuda
        return bool(op.how) or (on_cpu and op.share > 0)

    @property
    def autocast(self) -> bool:
        """Whether a run casts the factors as well: float16 on a GPU needs its loss scaled."""
        return self.setting.training and self.setting.cuda and self.setting.dtype == "fp16"

    def fused(self, op: Op) -> bool:
        """Is this layer's LoRA one function, which keeps its input in its own number format?"""
        spec = self.setting.spec
        return (
            spec is not None
            and not self.setting.plain
            and not self.autocast
            and not (spec.dora or spec.dropout or spec.init in ("pissa", "olora"))
            and spec.method == "lora"
            and op.path not in self.bits
            and op.path not in self.trained
            and self.model.shapes.modules[op.path].kind == LINEAR
        )


class Block:
    """The steps of one block, in one use."""

    def __init__(self, use: Use, steps: Sequence[Op]) -> None:
        self._use, self._steps = use, steps
        found = [op for op in steps if op.kind == ops.ATTENTION]
        self._attention = found[0] if found else None

    def kept(self) -> Bytes:
        """What its forward pass keeps."""
        found: dict[str, Bytes] = {}
        for number, op in enumerate(self._steps):
            for name, size in self._kept(op):
                found[name or f"{number}"] = size
        all_of = Bytes()
        for size in found.values():
            all_of = all_of.plus(size)
        return all_of

    def work(self) -> set[Bytes]:
        """What each of its steps needs for a moment, in the backward pass or in the only one."""
        return {
            self._backward(op) if self._use.setting.training else self._forward(op)
            for op in self._steps
        }

    # What is kept, by the name of the tensor; "" for one that no other step keeps

    def _kept(self, op: Op) -> Iterator[tuple[str, Bytes]]:
        use, size = self._use, self._use.size
        match op.kind:
            case ops.NORM:
                yield from self._of_norm(op)
            case ops.LINEAR:
                yield from self._of_linear(op)
            case ops.ATTENTION:
                yield from self._of_attention(op)
            case ops.ACTIVATION:
                name = "result" if op.how in _RESULT else ""
                yield name, Bytes(_KEEPS.get(op.how, 1) * op.gives * size)
            case ops.PRODUCT:
                yield "", Bytes(2 * op.gives * size)
            case ops.DROPOUT:
                yield "", Bytes(op.gives * (1 if use.setting.cuda else size))
            case ops.EXPERTS:
                # Each chosen expert's inner outputs, the gate's result, and the weighted outputs.
                yield "", Bytes(op.active * (3 * op.inner + op.reads) * size)
            case ops.SCAN if op.how != "conv":
                # In plain torch every token's states are kept, in float32, in three forms.
                forms = 1 if use.setting.cuda else 3
                yield "", Bytes(forms * op.gives * op.size * use.wide + 9 * op.gives * size)
            case ops.EMBED if op.path in use.ranks:
                yield "", Bytes(use.ranks[op.path] * use.wide)

    def _of_norm(self, op: Op) -> Iterator[tuple[str, Bytes]]:
        use = self._use
        if op.how == "layer":
            yield op.input, Bytes(op.reads * use.size + 2 * use.size)
            return
        # It is computed in float32: in a narrower format a copy is kept.
        yield op.input, Bytes(op.reads * use.wide + use.wide)
        if op.path in use.trained:
            yield f"{op.path} normed", Bytes(op.gives * use.size)

    def _of_linear(self, op: Op) -> Iterator[tuple[str, Bytes]]:
        use, path = self._use, op.path
        size, wide = use.size, use.wide
        read = self._name_of_input(op), Bytes(op.reads * size)
        if "weight" in use.trained.get(path, ()):
            yield read
            if size < wide:
                yield f"{path} cast", Bytes(fixed=op.reads * op.gives * size)
        if path not in use.ranks:
            return
        if use.method in BOTTLENECK:
            yield f"{path} small", bottleneck(use, op.gives, use.ranks[path])
        elif use.method == "ia3":
            scaled = op.reads if path in use.inputs else op.gives
            yield f"{path} vector", Bytes(fixed=scaled * wide)
            if path not in use.inputs:
                yield f"{path} scaled", Bytes(op.gives * size)
            elif size == wide:
                yield read
            else:
                yield f"{path} scaled", Bytes(op.reads * wide)
        else:
            yield from self._of_low_rank(op, read)

    def _of_low_rank(self, op: Op, read: tuple[str, Bytes]) -> Iterator[tuple[str, Bytes]]:
        use, spec = self._use, self._use.setting.spec
        assert spec is not None  # it has ranks
        yield f"{op.path} inner", Bytes(use.ranks[op.path] * use.wide)
        if spec.dropout:
            noise = 1 if use.setting.cuda else use.wide
            yield f"{op.path} dropped", Bytes(op.reads * (use.wide + noise))
        elif use.size == use.wide or use.fused(op):
            yield read
        else:
            # PEFT's layers read a copy in the factors' format, each its own.
            each = use.size if use.autocast else use.wide
            yield f"{op.path} wide", Bytes(op.reads * each)
        if spec.method == "adalora":
            yield f"{op.path} A", Bytes(fixed=use.ranks[op.path] * op.reads * use.wide)
        if spec.dora:
            yield f"{op.path} results", Bytes(op.gives * (use.size + use.wide))

    def _name_of_input(self, op: Op) -> str:
        """The tensor that a linear layer reads, if another step keeps it too."""
        if op.input != op.path:
            return f"to {op.input}"
        attention = self._attention
        if attention is not None and op.reads == attention.gives and is_attention(op.path):
            # Documents' outputs are joined to a new tensor.
            return f"to {op.path}" if self._use.packed else "attended"
        results = [one for one in self._steps if one.kind == ops.ACTIVATION and one.how in _RESULT]
        return "result" if any(one.gives == op.reads for one in results) else f"to {op.path}"

    def _of_attention(self, op: Op) -> Iterator[tuple[str, Bytes]]:
        use, size = self._use, self._use.size
        of_all, of_keys = op.heads * op.size, op.kv_heads * op.size
        fused = any(one.kind == ops.LINEAR and one.gives == op.reads for one in self._steps)
        copied = use.by_matrix(op) and use.packed and size == use.wide
        if fused and (copied or any(one.kind == ops.ROTARY for one in self._steps)):
            # Queries and keys become new tensors; values stay a part of the first one.
            yield "joined", Bytes((op.reads - of_keys) * size)
        if use.by_matrix(op):
            yield from self._of_matrix(op)
            return
        keys = of_all if use.masked else of_keys
        yield "", Bytes((of_all + 2 * keys) * size + 4 * op.heads)
        yield "attended", Bytes(of_all * size)
        if use.masked:
            yield "mask", Bytes(square=size)

    def _of_matrix(self, op: Op) -> Iterator[tuple[str, Bytes]]:
        use, of_all = self._use, op.heads * op.size
        dropped = use.setting.training and op.share > 0
        if not op.how:
            # In float32: queries, keys, values, weights before and after dropout, and its mask.
            yield "", Bytes(3 * of_all * use.wide, 3 * op.heads * use.wide)
            return
        narrow = use.size if use.size < use.wide else 0
        capped = use.size if op.how == "capped" else 0
        noise = 2 * use.size if dropped else 0
        yield "", Bytes(3 * of_all * use.size, op.heads * (use.wide + narrow + capped + noise))

    # What is needed for a moment

    def _forward(self, op: Op) -> Bytes:
        """Inputs and outputs; a gate's product reads two."""
        use, size = self._use, self._use.size
        match op.kind:
            case ops.PRODUCT:
                return Bytes(3 * op.gives * size)
            case ops.EXPERTS:
                return Bytes(op.active * (3 * op.inner + 2 * op.reads) * size)
            case ops.LINEAR:
                return Bytes((op.reads + op.gives) * size, fixed=self._unpacked(op))
            case ops.NORM:
                return Bytes(op.reads * (2 * use.wide + size))
            case ops.ATTENTION:
                own = op.reads + op.gives
                if use.by_matrix(op):
                    return Bytes(own * size, op.heads * use.wide * 2)
                if use.masked:
                    # torch's function wants keys and values of all heads, and the mask as numbers.
                    own += 2 * (op.heads - op.kv_heads) * op.size
                return Bytes(own * size, size if use.masked else 0)
        return Bytes((op.reads + op.gives) * size)

    def _backward(self, op: Op) -> Bytes:
        """Gradients of outputs and inputs."""
        use, size = self._use, self._use.size
        match op.kind:
            case ops.PRODUCT:
                # What its reader kept of it has been freed.
                return Bytes(3 * op.gives * size).plus(self._read_of(op), -1)
            case ops.EXPERTS:
                return Bytes(op.active * (3 * op.inner + 2 * op.reads) * size)
            case ops.LINEAR:
                copies = use.wide if op.path in use.ranks and size < use.wide else 0
                return Bytes((op.reads + op.gives) * (size + copies), fixed=self._unpacked(op))
            case ops.NORM:
                return Bytes(op.reads * (3 * use.wide))
            case ops.ATTENTION:
                scores = op.heads * use.wide * 2 if use.by_matrix(op) else 0
                return Bytes((op.reads + 2 * op.gives) * size, scores)
            case ops.ACTIVATION:
                return Bytes((1 + _KEEPS.get(op.how, 1)) * op.gives * size)
        return Bytes((op.reads + op.gives) * size)

    def _read_of(self, op: Op) -> Bytes:
        """What the layer that reads this step's result keeps of it."""
        after = self._steps[self._steps.index(op) + 1 :]
        for reader in after:
            if reader.kind == ops.LINEAR and reader.reads == op.gives:
                return dict(self._kept(reader)).get(self._name_of_input(reader), Bytes())
        return Bytes()

    def _unpacked(self, op: Op) -> int:
        """A quantised weight in the number format of computation."""
        return op.reads * op.gives * self._use.size if op.path in self._use.bits else 0


def bottleneck(use: Use, width: int, rank: int) -> Bytes:
    """What a bottleneck keeps: its input and r numbers, and its norm's output."""
    norm = use.method == "adapter-l"
    return Bytes(use.wide * (width * (2 if norm else 1) + rank + (2 if norm else 0)))


def by_block(steps: Iterable[Op]) -> dict[int, list[Op]]:
    """The steps of each block; −1 for those outside."""
    found: dict[int, list[Op]] = {}
    for op in steps:
        found.setdefault(op.block, []).append(op)
    return found
