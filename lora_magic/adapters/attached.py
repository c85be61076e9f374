"""One adapter on one base: its replacement modules, its factors, and what it went through.

Knows how PEFT's LoRA layers name their parts; knows neither PEFT's classes nor the session. The
public face of an adapter is the frozen record `Adapter`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.prompt import PromptForm
from lora_magic.interrupts import undisturbed
from lora_magic.lowrank.factors import LowRank

from .count import ModuleCount
from .spec import AdapterSpec

#: Every adapter is captured in a wrapper of its own, where PEFT calls it so.
PEFT_NAME = "default"

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class History:
    """What training did to an adapter so far; `elsewhere` if it came with a ΔW that is not 0."""

    steps: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    rows: int = 0
    elsewhere: bool = False

    @property
    def words(self) -> str:
        """`60 steps, loss 3.1 → 0.6`, `trained elsewhere`, or `not trained`."""
        if not self.steps:
            return "trained elsewhere" if self.elsewhere else "not trained"
        steps = f"{self.steps} step{'s' * (self.steps != 1)}"
        if self.first_loss is None or self.last_loss is None:
            return steps
        return f"{steps}, loss {self.first_loss:.2f} → {self.last_loss:.2f}"


@dataclass(frozen=True)
class Adapter:
    """An adapter in names and numbers: the record that `attach` and `open` return.

    `formula` is Σ r·(d + k) over its modules, `trainable` the count of its tensors; `differing`
    names the modules where the two do not agree. `checkpoint_bytes` is the size of its tensors.
    """

    name: str
    spec: AdapterSpec
    modules: tuple[str, ...]
    trainable: int
    formula: int
    differing: tuple[str, ...]
    base_parameters: int
    checkpoint_bytes: int
    history: History
    source: str | None = None

    @property
    def ratio(self) -> float:
        """Trainable parameters over the base's."""
        return self.trainable / self.base_parameters

    @property
    def trained(self) -> bool:
        """Has it taken a step, here or elsewhere?"""
        return self.history.steps > 0 or self.history.elsewhere

    @property
    def line(self) -> str:
        """The receipt in one line."""
        count = len(self.modules)
        return (
            f"{self.name}: {self.spec.line} on {count} module{'s' * (count != 1)}, "
            f"{self.trainable:,} of {self.base_parameters:,} parameters ({self.ratio:.2%}), "
            f"{_kilobytes(self.checkpoint_bytes)} checkpoint"
        )

    def __repr__(self) -> str:
        return f"{self.line}; {self.history.words}"

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import receipt

        agree = "the count of the tensors agrees"
        if self.differing:
            agree = f"the tensors differ in {', '.join(self.differing)}"
        return receipt.bundle(
            line=self.line,
            facts=[
                ("modules", ", ".join(self.modules)),
                ("by formula", f"Σ r·(d + k) = {self.formula:,}; {agree}"),
                ("seed", str(self.spec.seed)),
                ("state", self.history.words),
                *([("from", self.source)] if self.source else []),
            ],
        )


def _kilobytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 10**6 else f"{size / 1e3:.0f} kB"


@dataclass(eq=False)
class Attached:
    """An adapter as the session holds it: live modules, never handed out.

    `wrapper` is PEFT's own model around the base, used to save; `start` is the state that a
    training begins from; `form` is the prompt form that it was trained in; `saved_to` is the folder
    that holds it as it is now, None where there is none.
    """

    name: str
    spec: AdapterSpec
    wrapper: Any
    replacements: dict[str, nn.Module]
    form: PromptForm | None
    counts: tuple[ModuleCount, ...]
    base_parameters: int
    start: dict[str, Tensor] = field(default_factory=dict)
    history: History = field(default_factory=History)
    source: str | None = None
    saved_to: Path | None = None

    def tensors(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The adapter's own parameters by `path.part`, without the base's."""
        for path, module in self.replacements.items():
            for part, parameter in module.named_parameters():
                if part.startswith("lora_"):
                    yield f"{path}.{part}", parameter

    def state(self) -> dict[str, Tensor]:
        """A copy of every tensor of the adapter."""
        return {name: parameter.detach().clone() for name, parameter in self.tensors()}

    def set_state(self, state: State) -> None:
        """Write a copy made by `state` back, bit for bit; an interrupt waits for its end."""
        with undisturbed(), torch.no_grad():
            for name, parameter in self.tensors():
                parameter.copy_(state[name])

    def delta(self, path: str) -> LowRank:
        """ΔW of one module, kept as its factors; the scale is read from PEFT's layer."""
        return delta_of(self.replacements[path])

    def deltas(self) -> dict[str, LowRank]:
        """ΔW of every module by path."""
        return {path: self.delta(path) for path in self.replacements}

    @contextmanager
    def trainable(self) -> Iterator[None]:
        """The adapter's parameters want a gradient for the length of a block, and no others."""
        parameters = [parameter for _, parameter in self.tensors()]
        try:
            for parameter in parameters:
                parameter.requires_grad_(True)
            yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(False)
                parameter.grad = None

    def record(self) -> Adapter:
        """This adapter in names and numbers."""
        tensors = [parameter for _, parameter in self.tensors()]
        return Adapter(
            name=self.name,
            spec=self.spec,
            modules=tuple(self.replacements),
            trainable=sum(tensor.numel() for tensor in tensors),
            formula=sum(count.formula for count in self.counts),
            differing=tuple(c.module for c in self.counts if c.formula != c.tensors),
            base_parameters=self.base_parameters,
            checkpoint_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            history=self.history,
            source=self.source,
        )


def delta_of(module: nn.Module) -> LowRank:
    """ΔW = s·B·A of one of PEFT's LoRA layers; for an embedding A is r×tokens, B dimensions×r."""
    layer: Any = module
    scale = float(layer.scaling[PEFT_NAME])
    if PEFT_NAME in layer.lora_A:
        return LowRank(layer.lora_A[PEFT_NAME].weight, layer.lora_B[PEFT_NAME].weight, scale)
    return LowRank(layer.lora_embedding_A[PEFT_NAME], layer.lora_embedding_B[PEFT_NAME], scale)
