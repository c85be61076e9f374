"""Writes down a model's modules and its steps together, block by block, from an architecture.

Knows names and sizes; the files of `architectures` know who is called what.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lora_magic.adapters.shapes import (
    CONV1D,
    EMBEDDING,
    LINEAR,
    OTHER,
    ModuleShape,
    Parameters,
    Shapes,
)
from lora_magic.errors import BaseModelError

from . import ops
from .model import Model
from .ops import Op
from .peft_names import refused, scaled

#: The key under which a config gives a classifier's number of labels; it has none otherwise.
LABELS = "labels of the classifier"

#: The end of the name of transformers' classifiers.
CLASSIFIER = "ForSequenceClassification"

#: The most modules that are written down: a hundred times those of the largest models.
_MOST = 300_000


class Builder:
    """The modules and steps so far.

    `within(block)` sets the block that the following steps belong to. Paths of modules must be
    written in the order of the model's own `named_modules`; containers are added by themselves.
    """

    def __init__(self) -> None:
        self.modules: dict[str, ModuleShape] = {}
        self.ops: list[Op] = []
        self.block = -1
        self.ties: dict[str, str] = {}
        self.last: str | None = None
        self.of_experts: set[str] = set()
        self.inactive = 0

    def within(self, block: int) -> None:
        """The block of the following steps, -1 for none."""
        self.block = block

    def add(
        self,
        path: str,
        kind: str = OTHER,
        parameters: Parameters = (),
        class_name: str = "",
        plain_lookup: bool = True,
    ) -> None:
        """A module; the containers above it come first, if they are new.

        Raises `ValueError` for a size that no module has.
        """
        least = 1 if kind == OTHER else 0
        for name, shape in parameters:
            for side in shape:
                if type(side) is not int or side < least:
                    raise ValueError(f"{path}.{name} would have the sizes {shape}")
        above = path.rpartition(".")[0]
        if above and above not in self.modules:
            self.add(above)
        if len(self.modules) > _MOST:
            raise BaseModelError(
                f"a model of more than {_MOST:,} modules is not planned. Correct its config."
            )
        self.modules[path] = ModuleShape(path, kind, parameters, class_name, plain_lookup)

    def step(self, kind: str, **what: Any) -> None:
        """A step of the current block."""
        self.ops.append(Op(kind, block=self.block, **what))

    def embedding(
        self, path: str, rows: int, width: int, class_name: str = "Embedding", **what: Any
    ) -> None:
        """A table of vectors: [rows, width]."""
        self.add(path, EMBEDDING, (("weight", (rows, width)),), class_name, **what)
        self.step(ops.EMBED, gives=width, path=path)

    def linear(
        self,
        path: str,
        outputs: int,
        inputs: int,
        bias: bool = False,
        *,
        reads: str = "",
        conv1d: bool = False,
        class_name: str = "Linear",
    ) -> None:
        """A linear layer; those that read the same tensor of a block give it the same name.

        Another `class_name` than torch's is one that bitsandbytes does not quantise.
        """
        weight = (inputs, outputs) if conv1d else (outputs, inputs)
        parameters: Parameters = (("weight", weight),)
        if bias:
            parameters += (("bias", (outputs,)),)
        kind, name = (CONV1D, "Conv1D") if conv1d else (LINEAR, class_name)
        self.add(path, kind, parameters, name)
        self.step(ops.LINEAR, reads=inputs, gives=outputs, path=path, input=reads or path)

    def norm(
        self,
        path: str,
        width: int,
        how: str = "rms",
        *,
        bias: bool = False,
        weight: bool = True,
        shape: tuple[int, ...] = (),
    ) -> None:
        """A norm: "rms" as in Llama, "layer" as torch's own, "mean" as that without its bias.

        `width` is how many numbers of a token it reads, `shape` that of its weight (default: one
        for each); without `weight` it has no parameters.
        """
        shape = shape or (width,)
        parameters: Parameters = (("weight", shape),) if weight else ()
        if weight and (bias or how == "layer"):
            parameters += (("bias", shape),)
        self.add(path, OTHER, parameters, "LayerNorm" if how != "rms" else "RMSNorm")
        self.step(ops.NORM, reads=width, gives=width, path=path, how=how)

    def attention(
        self,
        heads: int,
        kv_heads: int,
        size: int,
        *,
        window: int | None = None,
        how: str = "",
        share: float = 0.0,
    ) -> None:
        """softmax(QKᵀ)V, with `kv_heads` of keys and values of `size` for `heads` queries.

        `share` is that of its dropout. `how` is "eager" if it is always computed by the matrix of
        weights, "capped" if that is also capped; "" for one of torch's kernels.
        """
        self.step(
            ops.ATTENTION,
            reads=(heads + 2 * kv_heads) * size,
            gives=heads * size,
            heads=heads,
            kv_heads=kv_heads,
            size=size,
            window=window,
            how=how,
            share=share,
        )

    def activation(self, how: str, width: int) -> None:
        """A nonlinearity of every number."""
        self.step(ops.ACTIVATION, reads=width, gives=width, how=how)

    def product(self, width: int) -> None:
        """The product of two tensors, number by number: a gate."""
        self.step(ops.PRODUCT, reads=width, gives=width)

    def dropout(self, share: float, width: int) -> None:
        """A dropout that is on in training."""
        if share:
            self.step(ops.DROPOUT, reads=width, gives=width, share=share)

    def shapes(self, **what: Any) -> Shapes:
        """The shapes of what was written down; `what` are the other fields of `Shapes`."""
        kind = what.get("model_type", "")
        return Shapes(
            self.modules,
            experts=frozenset(self.of_experts),
            refused=refused(kind, self.modules.values()),
            scaled=scaled(kind),
            **what,
        )

    def decoder(
        self,
        config: Mapping[str, Any],
        name: str,
        *,
        architecture: str,
        blocks: str,
        head: tuple[str, ...] = (),
        **what: Any,
    ) -> Model:
        """The model that was written down: a decoder whose layers are the modules of `blocks`.

        `what` are `width` and `cache` of its shapes, and `vocabulary` and `context`.
        """
        if head:
            architecture = re.sub("(ForCausalLM|LMHeadModel)$", "", architecture) + CLASSIFIER
        shapes = self.shapes(
            architecture=architecture,
            model_type=config.get("model_type", ""),
            ties=self.ties,
            output=self.last,
            blocks=tuple(path for path in self.modules if path.rpartition(".")[0] == blocks),
            width=what["width"],
            cache=what["cache"],
        )
        return Model(
            name,
            shapes,
            tuple(self.ops),
            vocabulary=what["vocabulary"],
            context=what["context"],
            inactive=self.inactive,
            head=head,
        )

    def router(self, path: str, experts: int, width: int) -> None:
        """What chooses experts for a token; a module of its own class, not a linear layer."""
        self.add(path, OTHER, (("weight", (experts, width)),), "TopKRouter")
        self.step(ops.LINEAR, reads=width, gives=experts, path=path, input="mlp")

    def experts(self, path: str, count: int, active: int, inner: int, width: int, how: str) -> None:
        """Gated feed-forwards of which each token passes `active`; stacked in two 3D parameters."""
        stacked = (
            ("gate_up_proj", (count, 2 * inner, width)),
            ("down_proj", (count, width, inner)),
        )
        self.add(path, OTHER, stacked, "Experts")
        self.of_experts.add(path)
        self.inactive += (count - min(active, count)) * 3 * inner * width
        self.step(
            ops.EXPERTS,
            reads=width,
            gives=width,
            path=path,
            how=how,
            input="mlp",
            active=active,
            inner=inner,
        )

    def once(self, path: str, outputs: int, inputs: int) -> None:
        """A linear layer with a bias that reads one token of a row, which takes next to nothing."""
        self.add(path, LINEAR, (("weight", (outputs, inputs)), ("bias", (outputs,))), "Linear")

    def convolution(self, path: str, channels: int, each: int, kernel: int, bias: bool) -> None:
        """A convolution over `kernel` tokens, where each channel reads `each` channels."""
        own: Parameters = (("weight", (channels, each, kernel)),)
        self.add(path, OTHER, own + ((("bias", (channels,)),) if bias else ()), "Conv1d")
        self.step(
            ops.SCAN, reads=channels, gives=channels, path=path, how="conv", size=each * kernel
        )

    def largest(self, *lists: str) -> str:
        """The one of the lists of blocks whose modules have the most parameters."""
        sizes = dict.fromkeys(lists, 0)
        for path, module in self.modules.items():
            for at in lists:
                if path.startswith(f"{at}."):
                    sizes[at] += module.size
        return max(lists, key=lambda at: sizes[at])


def quantised(model: Model, named: list[Any] | None = None) -> list[str]:
    """The paths of the layers that bitsandbytes quantises while loading, in the model's order.

    transformers has it quantise torch's own linear layers and Conv1D: no class of a model's own
    such as Falcon's, no embeddings and no 3D parameters of stacked experts. It leaves whole those
    that a config has `named`; by default the output layer, tied weights and the last module, or of
    a classifier its head and pooler.
    """
    shapes, ends = model.shapes, tuple(map(str, named or ()))
    whole = set(model.head)
    if named is None and not model.head:
        last = [path for path, module in shapes.modules.items() if module.parameters][-1:]
        ties = [name.rpartition(".")[0] for pair in shapes.ties.items() for name in pair]
        whole |= {shapes.output or "", *ties, *last}
    elif named is None:
        whole |= {path for path in shapes.modules if "pooler" in path}
    return [
        path
        for path, module in shapes.modules.items()
        if module.class_name in ("Linear", "Conv1D") and path not in whole
        if not path.endswith(ends) and not any(path.startswith(f"{end}.") for end in ends)
    ]
