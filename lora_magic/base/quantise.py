"""Weights in 4 and 8 bits: NF4 with double quantisation, LLM.int8(), and bitsandbytes' optimizers.

The only file that knows bitsandbytes and how it lays out a weight; imports it at first use. Knows
modules and tensors; knows no name, no file and no adapter.

    NF4      QLoRA, arXiv 2305.14314: ŵ = absmax(block of 64) · code[4 bits]; the absmax are kept in
             8 bits themselves, absmax = absmax₂(block of 256) · code₂[8 bits] + offset
    int8     LLM.int8(), arXiv 2208.07339: ŵ = CB · SCB / 127, one SCB a row
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.checks import is_whole
from lora_magic.errors import BaseModelError

from .options import BITS

#: NF4 weights that share one scale, and scales that share one of theirs (QLoRA, section 3).
BLOCK, NESTED_BLOCK = 64, 256


@dataclass(frozen=True)
class Quantised:
    """How a base's linear layers are stored.

    `kind` is "nf4", "fp4" or "int8"; `bits_a_weight` is measured: every byte of weights, scales
    and tables, each tensor counted once, over the number of weights.
    """

    kind: str
    bits: int
    layers: int
    bits_a_weight: float

    @property
    def words(self) -> str:
        """`nf4 (4.13 bits a weight)`."""
        return f"{self.kind} ({self.bits_a_weight:.2f} bits a weight)"


# Asking for it


def check_bits(bits: Any, device: torch.device) -> None:
    """Raise `BaseModelError` for a width that is not offered, or a device that cannot have it."""
    if bits is None:
        return
    if not is_whole(bits) or bits not in BITS:
        raise BaseModelError(
            f"--bits {bits}: expected 4 (NF4, double quantised) or 8 (int8); "
            "without --bits the weights stay in 16 or 32 bits."
        )
    if device.type not in ("cpu", "cuda"):
        raise BaseModelError(
            f"--bits {bits}: quantised weights need the CPU or a CUDA device, saw {device}; "
            "add --device cpu, or leave --bits away."
        )


def loading_options(
    name: str, config: Any, loader: Any, bits: int | None, device: torch.device
) -> dict[str, Any]:
    """What transformers' `loader` is told so that the weights come in so many bits.

    A checkpoint that is stored in bitsandbytes' bits already is read as it is. Raises
    `BaseModelError` where `bits` and the checkpoint do not go together.
    """
    stored: Any = getattr(config, "quantization_config", None)
    if device.type == "cuda" and device.index is None:
        # accelerate trains a quantised model only on a device that has a number.
        device = torch.device("cuda", torch.cuda.current_device())
    placed = {"device_map": {"": device}}
    if stored is not None:
        told: Mapping[str, Any] = stored if isinstance(stored, dict) else stored.to_dict()
        width = _stored_bits(told)
        if bits is not None and bits != width:
            kind = f"{width} bits" if width else str(told.get("quant_method", "another format"))
            raise BaseModelError(
                f"{name} is stored in {kind} already and cannot be put into {bits}: "
                "leave --bits away, or load the model that it was made from."
            )
        return placed if width else {}
    if bits is None:
        return {}
    from transformers import BitsAndBytesConfig

    _library()
    four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    made = BitsAndBytesConfig(
        load_in_4bit=bits == 4,
        load_in_8bit=bits == 8,
        llm_int8_skip_modules=_head_of(loader, config),
        **four,
    )
    return {"quantization_config": made, **placed}


def _head_of(loader: Any, config: Any) -> list[str] | None:
    """What of a classifier is trained and so not quantised; None for transformers' own choice,
    which leaves the output layer of a language model as it is."""
    if "SequenceClassification" not in loader.__name__:
        return None
    with torch.device("meta"):
        model = loader.from_config(config)
    return [*(n for n, _ in model.named_children() if n != model.base_model_prefix), ".*pooler"]


def _stored_bits(told: Mapping[str, Any]) -> int | None:
    for bits in BITS:
        if told.get(f"load_in_{bits}bit"):
            return bits
    return None


def compute_in(model: nn.Module, dtype: torch.dtype) -> None:
    """Let every 4-bit layer multiply in `dtype`, forward and backward."""
    layers: list[Any] = [module for module in model.modules() if quantised_bits(module) == 4]
    for layer in layers:
        layer.compute_dtype, layer.compute_type_is_set = dtype, True
        # The backward pass dequantises to this type: that of the checkpoint would round once
        # more than the forward pass does.
        layer.weight.quant_state.dtype = dtype
    config: Any = getattr(getattr(model, "config", None), "quantization_config", None)
    if hasattr(config, "bnb_4bit_compute_dtype"):
        config.bnb_4bit_compute_dtype = dtype


# Looking at it


def quantised_bits(module: nn.Module) -> int | None:
    """4 or 8 for a layer whose weight bitsandbytes has quantised, None for any other module."""
    weight: Any = module._parameters.get("weight")
    if weight is None:
        return None
    if getattr(weight, "quant_state", None) is not None:
        return 4
    return 8 if _scales(module) is not None and weight.dtype == torch.int8 else None


def dequantised(module: nn.Module) -> Tensor:
    """The weight that a quantised layer computes with: float32 [d, k], outputs by inputs.

    For 4 bits this is code · absmax, rounded to the type that the layer multiplies in; for 8 bits
    CB · SCB / 127. Raises `ValueError` for a module that is not quantised.
    """
    bits = quantised_bits(module)
    weight: Any = module._parameters.get("weight")
    if bits == 4:
        computed_in = getattr(module, "compute_dtype", None) or weight.quant_state.dtype
        return _unpacked(weight, computed_in).to(torch.float32)
    if bits == 8:
        scales = _scales(module)
        assert scales is not None  # else it has no 8 bits
        rows: Tensor = weight.detach().to(torch.float32)
        return rows * (scales.to(torch.float32) / 127.0)[:, None]
    raise ValueError(f"{type(module).__name__} is not quantised: its weight is what it is.")


def _unpacked(weight: Any, dtype: torch.dtype, flat: bool = True) -> Tensor:
    """A packed weight as numbers, in its true shape.

    Read as one long row: bitsandbytes' kernel for CPUs takes the wrong scales for rows that end
    within a block, as those of width 96 do.
    """
    state = copy.copy(weight.quant_state)
    shape = torch.Size(state.shape)
    state.dtype, state.shape = dtype, torch.Size((1, shape.numel())) if flat else shape
    found: Tensor = _library().functional.dequantize_4bit(weight.detach(), state)
    return found.reshape(shape)


def nf4(weight: Tensor) -> Tensor:
    """q(W): what a weight [d, k] becomes in NF4 with double quantisation, float32."""
    functional = _library().functional
    packed, state = functional.quantize_4bit(
        weight.detach().to(torch.float32).contiguous(),
        blocksize=BLOCK,
        compress_statistics=True,
        quant_type="nf4",
    )
    packed.quant_state = state
    return _unpacked(packed, torch.float32)


def is_flipped(module: nn.Module) -> bool:
    """Was this layer's weight turned round when it was quantised, as those of Conv1D are?"""
    origin = getattr(module, "source_cls", None)
    return quantised_bits(module) is not None and getattr(origin, "__name__", "") == "Conv1D"


def is_packed(parameter: Tensor) -> bool:
    """Are these bytes that hold the 4-bit weights of a layer?"""
    return getattr(parameter, "quant_state", None) is not None


def dtype_of(model: nn.Module) -> torch.dtype:
    """The number format of the weights that are not quantised: the first one's."""
    plain = (p for p in model.parameters() if p.is_floating_point() and not is_packed(p))
    first = next(plain, None)
    return torch.get_default_dtype() if first is None else first.dtype


def count(parameter: Tensor) -> int:
    """The numbers that a parameter stands for: of a packed one, those before packing."""
    state: Any = getattr(parameter, "quant_state", None)
    shape = getattr(state, "shape", None)
    return int(torch.Size(shape).numel()) if shape is not None else parameter.numel()


def count_all(model: nn.Module) -> int:
    """The parameters of a model, each counted once, packed ones at what they stand for."""
    return sum(count(parameter) for parameter in model.parameters())


def state_tensors(module: nn.Module, key: str) -> dict[str, Tensor]:
    """The tensors that the parameter `key` of a module needs beside itself to be read, by name.

    bitsandbytes moves those of an 8-bit layer from the weight to the layer in its first forward
    pass; they are found in either place.
    """
    weight: Any = module._parameters.get(key)
    if weight is None:
        return {}
    state: Any = getattr(weight, "quant_state", None)
    found: list[tuple[str, Any]] = []
    if state is not None:
        inner: Any = getattr(state, "state2", None)
        found = [(name, getattr(state, name, None)) for name in ("absmax", "code", "offset")]
        found += [(f"state2.{name}", getattr(inner, name, None)) for name in ("absmax", "code")]
    elif key == "weight" and _scales(module) is not None:
        found = [(name, _either(module, name)) for name in ("CB", "SCB")]
    return {name: tensor for name, tensor in found if isinstance(tensor, Tensor)}


def quantised(model: nn.Module) -> Quantised | None:
    """How a model's layers are quantised; None for one that has none that are."""
    layers = [(m, bits) for m in model.modules() if (bits := quantised_bits(m)) is not None]
    if not layers:
        return None
    weights = sum(count(module.weight) for module, _ in layers if isinstance(module.weight, Tensor))
    stored = {_place(tensor): tensor for module, _ in layers for tensor in _stored(module)}
    size = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    first, bits = layers[0]
    kind = str(getattr(first.weight, "quant_type", "nf4")) if bits == 4 else "int8"
    return Quantised(kind, bits, len(layers), 8 * size / weights)


def _stored(module: nn.Module) -> Iterator[Tensor]:
    weight = module._parameters["weight"]
    assert weight is not None  # it is quantised
    yield weight
    yield from state_tensors(module, "weight").values()


def _place(tensor: Tensor) -> tuple[torch.device, int, int]:
    return tensor.device, tensor.data_ptr(), tensor.numel()


def _either(module: nn.Module, name: str) -> Any:
    """An 8-bit layer's tensor, wherever bitsandbytes keeps it just now."""
    there = getattr(getattr(module, "state", None), name, None)
    return there if there is not None else getattr(module._parameters["weight"], name, None)


def _scales(module: nn.Module) -> Tensor | None:
    found = _either(module, "SCB")
    return found if isinstance(found, Tensor) else None


# Holding it still


def hold_still(model: nn.Module) -> Callable[[], None]:
    """Keep bitsandbytes from changing a quantised base in a forward pass; returns the undoing.

    On CPUs with AVX512-BF16 it repacks 4-bit weights for good in the first eval forward: what is
    read from them afterwards is wrong, and gradients are dropped. And both kinds cast their bias,
    in place, to the type of whatever comes in. Layers that its kernel for CPUs misreads multiply
    here instead. Raises `BaseModelError` for a model that has been
    repacked already.
    """
    layers = [module for module in model.modules() if quantised_bits(module) is not None]
    if any(_repacked(module) for module in layers):
        raise BaseModelError(
            "this model's 4-bit weights were repacked for speed when it answered on this CPU, "
            "which cannot be undone; load it again and give it to %lora use before it answers, "
            "or type: %lora load NAME --bits 4"
        )
    undo = [_spare(layer) for layer in layers if hasattr(layer, "support_avx512bf16_for_cpu")]
    undo += [_bias_as_computed(layer) for layer in layers if quantised_bits(layer) == 4]
    undo += [_multiply_here(layer) for layer in layers if _is_misread(layer)]
    undo += [
        layer.register_forward_pre_hook(_in_the_type_of_the_bias).remove
        for layer in layers
        if quantised_bits(layer) == 8 and layer._parameters.get("bias") is not None
    ]
    noisy = logging.getLogger("bitsandbytes.autograd._functions")
    if layers:
        noisy.addFilter(_is_news)

    def release() -> None:
        while undo:
            undo.pop()()
        noisy.removeFilter(_is_news)

    return release


def _repacked(module: nn.Module) -> bool:
    state: Any = getattr(module.weight, "quant_state", None)
    return bool(getattr(state, "packing_format_for_cpu", False))


def _is_misread(module: Any) -> bool:
    """Does bitsandbytes read this layer's scales wrongly here? It is asked, not assumed."""
    odd = quantised_bits(module) == 4 and module.weight.quant_state.shape[-1] % BLOCK != 0
    if not odd or module.weight.device.type != "cpu" or not hasattr(module, "in_features"):
        return False
    dtype = torch.float32
    return not torch.equal(
        _unpacked(module.weight, dtype), _unpacked(module.weight, dtype, flat=False)
    )


def _multiply_here(module: Any) -> Callable[[], None]:
    def product(inputs: Tensor) -> Tensor:
        dtype = module.compute_dtype or inputs.dtype
        bias = None if module.bias is None else module.bias.to(dtype)
        weight = _unpacked(module.weight, dtype)
        return nn.functional.linear(inputs.to(dtype), weight, bias).to(inputs.dtype)

    module.forward = product

    def restore() -> None:
        del module.forward

    return restore


def _spare(module: Any) -> Callable[[], None]:
    before = module.support_avx512bf16_for_cpu
    module.support_avx512bf16_for_cpu = False

    def restore() -> None:
        module.support_avx512bf16_for_cpu = before

    return restore


def _bias_as_computed(module: Any) -> Callable[[], None]:
    """A 4-bit layer's bias in the type that its first forward pass would cast it to."""
    bias, dtype = module._parameters.get("bias"), getattr(module, "compute_dtype", None)
    if bias is None or dtype is None or bias.dtype == dtype:
        return lambda: None
    before = bias.data
    bias.data = before.to(dtype)

    def restore() -> None:
        bias.data = before

    return restore


def _in_the_type_of_the_bias(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What comes into an 8-bit layer, in the type that leaves its bias as it is.

    Under autocast it is float32 behind a norm, whatever the weights are in.
    """
    bias = module._parameters["bias"]
    if bias is not None and inputs and inputs[0].dtype != bias.dtype:
        return (inputs[0].to(bias.dtype), *inputs[1:])
    return None


def _is_news(record: logging.LogRecord) -> bool:
    """Not that an 8-bit product rounds its input to float16, said on each of them."""
    return "inputs will be cast" not in record.msg


# bitsandbytes itself


def paged_adamw(groups: list[dict[str, Any]], rate: float, bits: int) -> torch.optim.Optimizer:
    """AdamW without weight decay whose moments, kept in 32 or 8 bits, may leave a full GPU."""
    optim = _library().optim
    made = optim.PagedAdamW32bit if bits == 32 else optim.PagedAdamW8bit
    found: torch.optim.Optimizer = made(groups, lr=rate, weight_decay=0.0)
    return found


def _library() -> Any:
    """bitsandbytes, imported without its line about an optional kernel for CPUs."""
    if "bitsandbytes" in sys.modules:
        return sys.modules["bitsandbytes"]
    noisy = logging.getLogger("bitsandbytes")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        import bitsandbytes
    except ImportError as error:
        raise BaseModelError(
            f"quantised weights need bitsandbytes, which cannot be imported ({error}); "
            "type: %pip install bitsandbytes"
        ) from error
    finally:
        noisy.setLevel(level)
    return bitsandbytes
