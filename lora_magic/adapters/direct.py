"""PEFT's LoRA layers without its dispatch, while no gradient is recorded.

    y = W·x + b;  y += s·(B·(A·x))

The same operations on the same tensors, so the same bits, in about half of the time that the layer
adds to one token. A layer keeps PEFT's own forward wherever that would compute anything else, which
is checked in every call. Knows layers by their attributes; knows no session.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.modules import module as torch_module

from .delta import PEFT_NAME
from .fused import parts_of

#: Is a layer LoRA on a plain linear layer? What cannot change later is checked once.
_plain: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def install(layers: Iterable[nn.Module]) -> None:
    """Give LoRA layers this forward, as an attribute of each; other layers keep theirs."""
    for layer in layers:
        if layer not in _plain:
            _plain[layer] = not isinstance(parts_of(layer), str)
        if _plain[layer] and "forward" not in vars(layer):
            layer.__dict__["forward"] = Direct(layer).forward


def remove(layers: Iterable[nn.Module]) -> None:
    """Give the layers their own forward again; may be called twice."""
    for layer in layers:
        if is_installed(layer):
            del layer.__dict__["forward"]


def is_installed(layer: nn.Module) -> bool:
    """Has a layer this forward?"""
    return isinstance(getattr(vars(layer).get("forward"), "__self__", None), Direct)


class Direct:
    """The forward of one layer."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output [..., d] for inputs x [..., k]."""
        y = None if args or kwargs or torch.is_grad_enabled() else _output(self.layer, x)
        return type(self.layer).forward(self.layer, x, *args, **kwargs) if y is None else y


def _output(layer: Any, x: Tensor) -> Tensor | None:
    """The output, or None where PEFT's own forward has to compute it."""
    own: dict[str, Any] = layer._modules
    try:
        base, dropout = own["base_layer"], own["lora_dropout"]._modules[PEFT_NAME]
        down, up = own["lora_A"]._modules[PEFT_NAME], own["lora_B"]._modules[PEFT_NAME]
        weight: Any = base._parameters["weight"]
        a: Any = down._parameters["weight"]
        b: Any = up._parameters["weight"]
    except KeyError:
        return None  # the adapter was deleted, or a hook computes a weight, as for a pruned one
    dtype = x.dtype
    if (
        (type(base) is not nn.Linear or type(down) is not nn.Linear or type(up) is not nn.Linear)
        or (weight.dtype is not dtype or a.dtype is not dtype or b.dtype is not dtype)
        or type(x) is not Tensor
        # Another type, or what `functional_call` puts there, may not take a sum in place.
        or not (type(weight) is type(a) is type(b) is nn.Parameter)
        or (down._parameters["bias"] is not None or up._parameters["bias"] is not None)
        or type(dropout) is not nn.Identity
        or (layer.disable_adapters or layer.merged or layer.active_adapters != [PEFT_NAME])
        or layer.lora_variant
        # One by one: a loop over the parts takes as long as a small product.
        or (_touched(base) or _touched(down) or _touched(up) or _touched(dropout))
        or torch.is_autocast_enabled(x.device.type)
        or torch_module._has_any_global_hook()  # type: ignore[no-untyped-call]  # torch's
    ):
        return None
    y = linear(x, weight, base._parameters["bias"])
    return y.add_(linear(linear(x, a), b).mul_(layer.scaling[PEFT_NAME]))


def _touched(part: nn.Module) -> bool:
    """Has someone hooks on a part, or another forward in it?"""
    own = part.__dict__
    return bool(own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own)
