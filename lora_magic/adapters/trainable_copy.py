"""Trained parameters of the base itself: BitFit, full fine-tuning, norms, a classifier's head.

Knows modules and their own parameters; knows no PEFT, no adapter and no session.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lora_magic.errors import AdapterError


class TrainableCopy(nn.Module):
    """A module of the base with some of its own parameters replaced by trained ones: θ for θ0.

    θ begins as a copy of θ0 in float32 (or float64) and is cast to θ0's number format where it is
    used, so that a step too small for bfloat16 is not lost and the first output is the base's, bit
    for bit. ΔW = θ − θ0. The base's module is never written: θ goes
    into `copied`, a shallow copy of it.

    `values` are θ by the parameter's name within the module.
    """

    def __init__(self, original: nn.Module, values: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.copied = shallow_copy(original)
        self.values = nn.ParameterDict(dict(values))
        self.training = original.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output with θ instead of θ0."""
        return functional_call(self.copied, self.current(), args, kwargs)

    def moved(self) -> bool:
        """Does any θ differ from its θ0?"""
        return any(self.differs(name, value) for name, value in self.values.items())

    def differs(self, name: str, value: Tensor) -> bool:
        """Does a value of the θ of that name differ from θ0?"""
        start = self.copied._parameters[name]
        return not torch.equal(value, start.to(value.dtype))  # type: ignore[union-attr]  # it exists

    def current(self) -> dict[str, Tensor]:
        """θ by name, in the base's number format."""
        start = self.copied._parameters
        return {
            name: value.to(start[name].dtype)  # type: ignore[union-attr]  # only names that exist
            for name, value in self.values.items()
        }

    def __getattr__(self, name: str) -> Any:
        # Models and other layers read `weight`, `bias` and settings of the module in a slot.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("copied", "values"):
                raise
        if name in self.values:
            return self.current()[name]
        return getattr(self.copied, name)


def shallow_copy(original: nn.Module) -> nn.Module:
    """A copy with its own table of parameters, over the tensors of the original."""
    module = copy.copy(original)
    module._parameters = dict(original._parameters)
    return module


def trainable_copies(
    model: nn.Module, names: Mapping[str, Iterable[str]]
) -> dict[str, TrainableCopy]:
    """Trainable copies by path, for parameters given by module path.

    Parameters that are tied in the base stay tied: one θ replaces one θ0 everywhere. Raises
    `AdapterError` for parameters that are not floating-point numbers.
    """
    made: dict[int, nn.Parameter] = {}
    copies = {}
    for path, own in names.items():
        original = model.get_submodule(path)
        values = {}
        for name in own:
            start = original.get_parameter(name)
            if not start.is_floating_point():
                raise AdapterError(
                    f"{path}.{name} holds whole numbers ({start.dtype}), which have no gradient; "
                    "use --method lora."
                )
            if id(start) not in made:
                dtype = torch.float64 if start.dtype == torch.float64 else torch.float32
                wide = start.detach().to(dtype, copy=True)
                made[id(start)] = nn.Parameter(wide, requires_grad=False)
            values[name] = made[id(start)]
        copies[path] = TrainableCopy(original, values)
    return copies
