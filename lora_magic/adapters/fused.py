"""LoRA layers computed by `lowrank.lora`: each in one function, and together where they share x.

A layer keeps PEFT's own forward wherever the function would compute anything else; `Fused.plain`
says why. Which layers share their input is found by behaviour: they are called one after another
with the very same tensor. Knows layers by their attributes; knows neither PEFT's classes, nor a
model's architecture, nor a session.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from lora_magic.base.quantise import quantised_bits
from lora_magic.lowrank.lora import LoraLinear, adapted_together

from .delta import PEFT_NAME, copy_in

#: The class whose formula `lowrank.lora` computes.
_LINEAR = "peft.tuners.lora.layer.Linear"

#: What a layer computed from: tensors, their versions, and what autograd does with them.
_Stamp = tuple[Any, ...]


def parts_of(layer: nn.Module) -> LoraLinear | str:
    """The parts of a LoRA layer that `lowrank.lora` can compute, or why it cannot."""
    if why := _another_kind(layer):
        return why
    part: Any = layer
    base, down, up = part.base_layer, part.lora_A[PEFT_NAME], part.lora_B[PEFT_NAME]
    if why := _another_formula(part) or _changed_outside(part):
        return why
    weight, bias = base._parameters["weight"], base._parameters["bias"]
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        return "its base layer is trained"
    narrow, wide = weight.dtype, down.weight.dtype
    if up.weight.dtype != wide or torch.promote_types(narrow, wide) != wide:
        return f"factors narrower than the weights ({_short(wide)} and {_short(narrow)})"
    return LoraLinear(weight, bias, down.weight, up.weight, part.scaling[PEFT_NAME])


def _another_kind(layer: Any) -> str:
    """Why a layer is not PEFT's LoRA on a plain linear layer, or ""."""
    base, kind = getattr(layer, "base_layer", None), type(layer)
    is_lora = f"{kind.__module__}.{kind.__qualname__}" == _LINEAR
    if is_lora and type(base) is nn.Linear:
        return ""  # the usual case, asked in every pass
    if copy_in(layer) is not None:
        return "it trains parameters of the base"
    if base is not None and (bits := quantised_bits(base)) is not None:
        return f"quantised to {bits} bits"
    if isinstance(base, nn.Embedding):
        return "an embedding"
    if not is_lora:
        return f"not LoRA on a linear layer ({_named(kind)})"
    if getattr(base, "negated", None) is not None:
        return "its initialisation is subtracted from the base"
    if not _is_plain(base):
        return f"its base layer is no plain linear layer ({type(base).__name__})"
    return ""


def _named(kind: type) -> str:
    """Its name with its module's: methods of PEFT share names of layers."""
    *_, package, module = ["", *kind.__module__.split(".")]
    return f"{package if module == 'layer' else module}.{kind.__name__}"


def _another_formula(layer: Any) -> str:
    """Why PEFT's layer computes something else than W·x + b + s·B·A·x, or ""."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if active != [PEFT_NAME]:
        return f"{len(active)} active adapters in PEFT's layer"
    if layer.disable_adapters or layer.merged:
        return "disabled" if layer.disable_adapters else "merged"
    if PEFT_NAME in layer.lora_magnitude_vector:
        return "DoRA"
    if PEFT_NAME in layer.lora_variant:
        return f"a variant of LoRA ({type(layer.lora_variant[PEFT_NAME]).__name__})"
    dropout = layer.lora_dropout[PEFT_NAME]
    if type(dropout) is not nn.Identity:
        return f"dropout {getattr(dropout, 'p', '')}".rstrip()
    down, up = layer.lora_A[PEFT_NAME], layer.lora_B[PEFT_NAME]
    if not _is_plain(down) or not _is_plain(up):
        return "its factors are no plain linear layers"
    if down._parameters["bias"] is not None or up._parameters["bias"] is not None:
        return "lora_bias"
    return "" if layer.cast_input_dtype_enabled else "PEFT's casting of inputs is off"


def _changed_outside(layer: Any) -> str:
    """What other code does inside of the layer, where the function would skip it, or ""."""
    if torch_module._has_any_global_hook():  # type: ignore[no-untyped-call]  # torch's
        return "hooks on every module"
    parts = (layer.base_layer, layer.lora_A[PEFT_NAME], layer.lora_B[PEFT_NAME])
    for part in (*parts, layer.lora_dropout[PEFT_NAME]):
        if (
            part._forward_hooks
            or part._forward_pre_hooks
            or part._backward_hooks
            or part._backward_pre_hooks
        ):
            return "hooks on its parts"
        if "forward" in vars(part):
            return "the forward of a part is replaced"
    return ""


def _is_plain(module: Any) -> bool:
    """Is it a linear layer with torch's own forward and a weight that is a parameter?"""
    own = module._parameters if isinstance(module, nn.Linear) else {}
    return (
        type(module).forward is nn.Linear.forward
        and isinstance(own.get("weight"), Tensor)
        and "bias" in own
    )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True, eq=False)
class _Call:
    """A call of a layer: its input, which is not kept alive, and the state that it was made in."""

    member: _Member
    input: weakref.ref[Tensor]
    state: tuple[Any, ...]

    @classmethod
    def of(cls, member: _Member, x: Tensor) -> _Call:
        return cls(member, weakref.ref(x), (x._version, x.requires_grad, torch.is_grad_enabled()))

    def shares(self, other: _Call) -> bool:
        """Has another call the very same input, unchanged, and the same state?"""
        return self.input() is other.input() is not None and self.state == other.state


@dataclass(eq=False)
class _Ahead:
    """Outputs that are computed before their layers are called: what they were computed from."""

    call: _Call
    x: Tensor
    outputs: dict[_Member, tuple[_Stamp, Tensor]] = field(default_factory=dict)

    def take(self, call: _Call, parts: LoraLinear) -> Tensor | None:
        """The output for a call, which is then removed; None if it would be another one now."""
        if call.member not in self.outputs or not self.call.shares(call):
            return None
        stamp, y = self.outputs[call.member]
        if stamp != _stamp(parts):
            return None
        del self.outputs[call.member]
        return y


class _Member:
    """One layer: its forward, and the layers that are computed with it when it is called."""

    def __init__(self, fused: Fused, path: str, layer: Any) -> None:
        self.path, self.layer = path, layer
        #: Was it once computed ahead and then not called with that input?
        self.apart = False
        self._fused = fused
        self._followers: list[_Member] = []

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output [..., d] for inputs x [..., k]."""
        y = None if args or kwargs else self._fused._output(self, x)
        if y is None:
            # Not a method kept from `install`: a copy of the model must call its own layer.
            y = type(self.layer).forward(self.layer, x, *args, **kwargs)
        return y

    def obstacle(self, model: nn.Module) -> str:
        """Why the layer cannot have this forward, or ""."""
        parts = parts_of(self.layer)
        if isinstance(parts, str):
            return parts
        if "forward" in vars(self.layer):
            return "its forward is replaced"
        try:
            inside = model.get_submodule(self.path) is self.layer
        except AttributeError:
            inside = False
        return "" if inside else "it is not in the model"

    def parts(self, x: Tensor) -> LoraLinear | str:
        """The layer's parts for an input, or why they do not do."""
        if type(x) not in (Tensor, nn.Parameter):
            return f"inputs of type {type(x).__name__}"
        if torch.is_autocast_enabled(x.device.type):
            return "autocast"
        found = parts_of(self.layer)
        if isinstance(found, str) or x.dtype == found.weight.dtype:
            return found
        return f"inputs in {_short(x.dtype)} for weights in {_short(found.weight.dtype)}"

    def follow(self, other: _Member) -> None:
        """Compute it from now on when the other is called."""
        if not self.apart and self is not other and self not in other._followers:
            other._followers.append(self)

    def group(self, x: Tensor, parts: LoraLinear) -> Iterator[tuple[_Member, LoraLinear]]:
        """The layers that are computed with this one, and their parts."""
        self._followers = [follower for follower in self._followers if not follower.apart]
        for follower in self._followers:
            own = follower.parts(x)
            if isinstance(own, LoraLinear) and own.down.dtype == parts.down.dtype:
                yield follower, own


def _stamp(parts: LoraLinear) -> _Stamp:
    """What an output depends on besides its input."""
    tensors = [
        (id(tensor), 0 if tensor.is_inference() else tensor._version, tensor.requires_grad)
        for tensor in parts[:4]
        if tensor is not None
    ]
    return (*tensors, parts.scale)


def _saved_elsewhere() -> bool:
    """Are there hooks on what autograd saves, as in a part of the model that is checkpointed?"""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


class Fused:
    """The LoRA layers of one adapter, with `lowrank.lora` for their forward.

    `replacements` are the adapter's layers by path. `plain` has, by path, why a layer keeps PEFT's
    own forward: after `install`, and kept current in every pass, since hooks or autocast may come
    later.

    After `install`, layers that were called one after another with the same tensor form a group: at
    the first call of the next pass all of them are computed, and the others return theirs when they
    are called with that tensor, unchanged. What does not happen so is computed alone: a member that
    is not called, or with another input, is in no group from then on. Under hooks on saved tensors
    (gradient checkpointing) every layer is computed alone, since each pass must then save the same
    tensors in the same order.
    """

    def __init__(self, replacements: Mapping[str, nn.Module]) -> None:
        self._members = [_Member(self, path, layer) for path, layer in replacements.items()]
        self.plain: dict[str, str] = {}
        self._installed: list[_Member] = []
        self._last: _Call | None = None
        self._ahead: _Ahead | None = None

    @property
    def fused(self) -> int:
        """How many layers have the function."""
        return sum(member.path not in self.plain for member in self._installed)

    def install(self, model: nn.Module) -> Fused:
        """Give the layers that are in the model the forward, as an attribute of each.

        It may be called twice. A layer whose forward was already replaced keeps it.
        """
        self.remove()
        self.plain = {}
        for member in self._members:
            if why := member.obstacle(model):
                self.plain[member.path] = why
            else:
                member.layer.forward = member.forward
                self._installed.append(member)
        return self

    def remove(self) -> None:
        """Give the layers PEFT's own forward again; may be called twice."""
        for member in self._installed:
            if vars(member.layer).get("forward") == member.forward:
                del member.layer.forward
        self._installed = []
        self._last = self._ahead = None

    def _output(self, member: _Member, x: Tensor) -> Tensor | None:
        """A layer's output, or None if PEFT's own forward has to compute it."""
        parts = member.parts(x)
        ahead, self._ahead = self._ahead, None
        if isinstance(parts, str):
            self.plain[member.path] = parts
            return None
        self.plain.pop(member.path, None)
        if _saved_elsewhere() or x.is_inference():
            return adapted_together(x, [parts])[0]
        call = _Call.of(member, x)
        if ahead is not None:
            if (y := ahead.take(call, parts)) is not None:
                self._ahead = ahead if ahead.outputs else None
                return y
            for missed in ahead.outputs:
                missed.apart = True
        return self._computed(call, x, parts)

    def _computed(self, call: _Call, x: Tensor, parts: LoraLinear) -> Tensor:
        """The output of a layer that is not computed yet, and those of its group."""
        member = call.member
        if self._last is not None and self._last.shares(call):
            member.follow(self._last.member)
            call = self._last
        self._last = call
        group = dict(member.group(x, parts))
        y, *others = adapted_together(x, [parts, *group.values()])
        if group:
            stamps = map(_stamp, group.values())
            pairs = zip(stamps, others, strict=True)
            self._ahead = _Ahead(call, x, dict(zip(group, pairs, strict=True)))
        return y
