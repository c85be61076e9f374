"""Parameters of the base trained themselves: BitFit, full fine-tuning, norms, a classifier's head.

Knows modules and their own parameters; knows no PEFT, no adapter and no session.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lora_magic.errors import AdapterError

_NORM = re.compile(r"norm|^ln(_|\d|$)", re.IGNORECASE)


class TrainableCopy(nn.Module):
    """A module of the base with some of its own parameters replaced by trained ones: θ for θ0.

    θ begins as a copy of θ0 in float32 (or float64) and is cast to θ0's number format where it is
    used, so that a step too small for bfloat16 is not lost and the first output is the base's, bit
    for bit. ΔW = θ − θ0. The base's module is never written: `shell`, a shallow copy, takes θ.

    `values` are θ by the parameter's name within the module.
    """

    def __init__(self, original: nn.Module, values: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.shell = shell(original)
        self.values = nn.ParameterDict(dict(values))
        self.training = original.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module answers with θ in the place of θ0."""
        return functional_call(self.shell, self.current(), args, kwargs)

    def moved(self) -> bool:
        """Does any θ differ from its θ0?"""
        start = self.shell._parameters
        return any(not torch.equal(v, start[k].to(v.dtype)) for k, v in self.values.items())  # type: ignore[union-attr]  # they exist

    def current(self) -> dict[str, Tensor]:
        """θ by name, in the base's number format."""
        start = self.shell._parameters
        return {
            name: value.to(start[name].dtype)  # type: ignore[union-attr]  # only names that exist
            for name, value in self.values.items()
        }

    def __getattr__(self, name: str) -> Any:
        # Models and other layers read `weight`, `bias` and settings of what stands in a slot.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in ("shell", "values"):
                raise
        if name in self.values:
            return self.current()[name]
        return getattr(self.shell, name)


def shell(original: nn.Module) -> nn.Module:
    """A shallow copy whose table of parameters is its own: its tensors are the original's."""
    module = copy.copy(original)
    module._parameters = dict(original._parameters)
    return module


def tune(model: nn.Module, names: Mapping[str, Iterable[str]]) -> dict[str, TrainableCopy]:
    """Modules with trained parameters by path, for parameters given by module path.

    What is tied in the base stays tied: one θ stands wherever the one θ0 stood.
    """
    made: dict[int, nn.Parameter] = {}
    tuned = {}
    for path, wanted in names.items():
        original = model.get_submodule(path)
        values = {}
        for name in wanted:
            start = original._parameters[name]
            assert start is not None  # the caller has looked
            if id(start) not in made:
                made[id(start)] = nn.Parameter(_wide(start), requires_grad=False)
            values[name] = made[id(start)]
        tuned[path] = TrainableCopy(original, values)
    return tuned


def _wide(start: Tensor) -> Tensor:
    dtype = torch.float64 if start.dtype == torch.float64 else torch.float32
    return start.detach().to(dtype, copy=True)


def _owned(model: nn.Module) -> Iterator[tuple[str, nn.Module, list[str]]]:
    """Modules that own parameters: path, module, the parameters' names."""
    for path, module in model.named_modules():
        own = [name for name, value in module._parameters.items() if value is not None]
        if own and path:
            yield path, module, own


def biases(model: nn.Module, spare: Iterable[str] = ()) -> dict[str, list[str]]:
    """Every bias by module path, but of the modules in `spare`.

    Raises `AdapterError` for a model that has none.
    """
    found = every_bias(model, spare)
    if not found:
        raise AdapterError(
            f"{type(model).__name__} has no biases (as Llama and most models since), so BitFit and "
            "--bias have nothing to train; leave --bias away, or use another method: %lora attach "
            "NAME --method ia3"
        )
    return found


def every_bias(model: nn.Module, spare: Iterable[str] = ()) -> dict[str, list[str]]:
    """The same, empty for a model that has none."""
    left = set(spare)
    found = {
        path: [name for name in own if name == "bias" or name.endswith("_bias")]
        for path, _, own in _owned(model)
        if path not in left
    }
    return {path: names for path, names in found.items() if names}


def norms(model: nn.Module) -> dict[str, list[str]]:
    """Every parameter of every norm by module path; raises `AdapterError` where there is none."""
    found = every_norm(model)
    if not found:
        raise AdapterError(f"--norms: {type(model).__name__} has no norm with parameters.")
    return found


def every_norm(model: nn.Module) -> dict[str, list[str]]:
    """The same, empty for a model that has none."""
    return {path: own for path, module, own in _owned(model) if _is_norm(path, module)}


def everything(model: nn.Module) -> dict[str, list[str]]:
    """Every parameter by module path. Raises `AdapterError` for a quantised model."""
    found: dict[str, list[str]] = {}
    for path, module, own in _owned(model):
        frozen = [name for name in own if not module._parameters[name].is_floating_point()]  # type: ignore[union-attr]  # they exist
        if frozen:
            raise AdapterError(
                f"{path} is quantised ({type(module).__name__}), so it takes no gradient; load the "
                "base without --bits for --method full, or use --method lora."
            )
        found[path] = own
    return found


def _is_norm(path: str, module: nn.Module) -> bool:
    return bool(_NORM.search(type(module).__name__) or _NORM.search(path.rpartition(".")[2]))
