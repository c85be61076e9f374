"""Weights in 4 and 8 bits: NF4 with double quantisation, LLM.int8(), and bitsandbytes' optimizers.

Knows how bitsandbytes stores a weight, and imports it on first use. Knows modules and tensors;
knows no file and no adapter.

    NF4      QLoRA, arXiv 2305.14314: ŵ = absmax(block of 64) · code[4 bits]; absmax itself is in
             8 bits: absmax = absmax₂(block of 256) · code₂[8 bits] + offset
    int8     LLM.int8(), arXiv 2208.07339: ŵ = CB · SCB / 127, one SCB for each row
"""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.checks import is_whole
from lora_magic.errors import BaseModelError
from lora_magic.numbers import percent

from . import BITS

#: The share of weights from which the receipt says that they are not quantised.
_MUCH = 0.25


@dataclass(frozen=True)
class Quantised:
    """How a base is stored.

    `kind` is "nf4", "fp4" or "int8"; `bits_per_weight` is that of the quantised layers, measured:
    the bytes of weights, scales and tables, each tensor counted once, over the number of weights.
    `bits_in_all` is the same for all of the base's weights, and `kept` the share of those that are
    not quantised; `experts` is that of stacked experts among them.
    """

    kind: str
    bits: int
    layers: int
    bits_per_weight: float
    bits_in_all: float
    kept: float
    experts: float = 0.0

    @property
    def line(self) -> str:
        """`nf4 (5.21 bits per weight in all)`, and what is not quantised if that is much."""
        parts = [f"{self.bits_in_all:.2f} bits per weight in all"]
        if self.kept > _MUCH:
            parts.append(f"not quantised: {percent(self.kept)} of the weights")
        if self.experts > _MUCH:
            parts.append(f"the experts, {percent(self.experts)}, are 3D parameters")
        return f"{self.kind} ({', '.join(parts)})"


# Loading


def check_bits(bits: Any, device: torch.device) -> None:
    """Raise `BaseModelError` for an unknown width, or a device without quantised weights."""
    if bits is None:
        return
    if not is_whole(bits) or bits not in BITS:
        raise BaseModelError(
            f"--bits {bits}: expected 4 (NF4, double quantised) or 8 (int8); omit --bits for "
            "weights in 16 or 32 bits."
        )
    if device.type not in ("cpu", "cuda"):
        raise BaseModelError(
            f"--bits {bits}: quantised weights need the CPU or a CUDA device, got {device}; "
            "add --device cpu, or omit --bits."
        )


def loading_options(
    name: str, config: Any, loader: Any, bits: int | None, device: torch.device
) -> dict[str, Any]:
    """Arguments for transformers' `loader` that quantise the weights to `bits` while loading.

    A checkpoint that bitsandbytes has quantised is loaded as it is. Raises `BaseModelError` if
    `bits` contradicts the checkpoint.
    """
    stored: Any = getattr(config, "quantization_config", None)
    if device.type == "cuda" and device.index is None:
        # accelerate trains a quantised model only on a device with a number.
        device = torch.device("cuda", torch.cuda.current_device())
    placed = {"device_map": {"": device}}
    if stored is not None:
        found: Mapping[str, Any] = stored if isinstance(stored, dict) else stored.to_dict()
        width = next((bits for bits in BITS if found.get(f"load_in_{bits}bit")), None)
        if bits not in (None, width):
            kind = f"{width} bits" if width else str(found.get("quant_method", "another format"))
            omit = "omit --bits, or " if width else ""
            raise BaseModelError(
                f"{name} is already stored in {kind} and cannot be quantised to {bits} bits: "
                f"{omit}load the original model, which is not quantised."
            )
        return placed if width else {}
    if bits is None:
        return {}
    from transformers import BitsAndBytesConfig

    bitsandbytes()
    made = BitsAndBytesConfig(
        load_in_4bit=bits == 4,
        load_in_8bit=bits == 8,
        llm_int8_skip_modules=_head_of(loader, config),
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
    )
    return {"quantization_config": made, **placed}


def _head_of(loader: Any, config: Any) -> list[str] | None:
    """A classifier's trained modules, which are not quantised; None for transformers' default,
    which does not quantise the output layer of a language model."""
    if "SequenceClassification" not in loader.__name__:
        return None
    with torch.device("meta"):
        model = loader.from_config(config)
    return [*(n for n, _ in model.named_children() if n != model.base_model_prefix), ".*pooler"]


def set_compute_dtype(model: nn.Module, dtype: torch.dtype) -> None:
    """Let every 4-bit layer multiply in `dtype`, forward and backward."""
    layers: list[Any] = [module for module in model.modules() if quantised_bits(module) == 4]
    for layer in layers:
        layer.compute_dtype, layer.compute_type_is_set = dtype, True
        # The backward pass dequantises to this dtype; the checkpoint's would round once more than
        # the forward pass.
        layer.weight.quant_state.dtype = dtype
    config: Any = getattr(getattr(model, "config", None), "quantization_config", None)
    if hasattr(config, "bnb_4bit_compute_dtype"):
        config.bnb_4bit_compute_dtype = dtype


# Reading


def quantised_bits(module: nn.Module) -> int | None:
    """4 or 8 for a layer that bitsandbytes has quantised, None for any other module."""
    weight: Any = module._parameters.get("weight")
    if weight is None:
        return None
    if is_packed(weight):
        return 4
    return 8 if _row_scales(module) is not None and weight.dtype == torch.int8 else None


def dequantised(module: nn.Module) -> Tensor:
    """The weight that a quantised layer computes with: float32 [d, k], outputs by inputs.

    For 4 bits this is code · absmax, rounded to the layer's compute dtype; for 8 bits CB · SCB /
    127. Raises `ValueError` for a module that is not quantised.
    """
    bits = quantised_bits(module)
    weight: Any = module._parameters.get("weight")
    if bits == 4:
        dtype = getattr(module, "compute_dtype", None) or weight.quant_state.dtype
        return unpacked(weight, dtype).to(torch.float32)
    scales = _row_scales(module) if bits == 8 else None
    if scales is None:
        raise ValueError(f"{type(module).__name__} is not quantised.")
    rows: Tensor = weight.detach().to(torch.float32)
    return rows * (scales.to(torch.float32) / 127.0)[:, None]


def unpacked(weight: Any, dtype: torch.dtype, flat: bool = True) -> Tensor:
    """A 4-bit weight as numbers, in its original shape.

    Read as one long row if `flat`: bitsandbytes' CPU kernel reads the wrong scales for rows
    that end within a block, such as those of width 96.
    """
    state = copy.copy(weight.quant_state)
    shape = torch.Size(state.shape)
    state.dtype, state.shape = dtype, torch.Size((1, shape.numel())) if flat else shape
    found: Tensor = bitsandbytes().functional.dequantize_4bit(weight.detach(), state)
    return found.reshape(shape)


def is_transposed(module: nn.Module) -> bool:
    """Whether quantisation transposed this layer's weight, as it does for Conv1D."""
    origin = getattr(module, "source_cls", None)
    return quantised_bits(module) is not None and getattr(origin, "__name__", "") == "Conv1D"


def is_packed(parameter: Tensor) -> bool:
    """Whether this parameter holds the bytes of a 4-bit weight."""
    return getattr(parameter, "quant_state", None) is not None


def dtype_of(model: nn.Module) -> torch.dtype:
    """The number format of the weights that are not quantised: the first one's."""
    plain = (p for p in model.parameters() if p.is_floating_point() and not is_packed(p))
    first = next(plain, None)
    return torch.get_default_dtype() if first is None else first.dtype


def count(parameter: Tensor) -> int:
    """The number of weights in a parameter; for a 4-bit one, before packing."""
    state: Any = getattr(parameter, "quant_state", None)
    shape = getattr(state, "shape", None)
    return int(torch.Size(shape).numel()) if shape is not None else parameter.numel()


def count_all(model: nn.Module) -> int:
    """The parameters of a model, each counted once, 4-bit ones before packing."""
    return sum(count(parameter) for parameter in model.parameters())


def state_tensors(module: nn.Module, key: str) -> dict[str, Tensor]:
    """The scales and tables that belong to the parameter `key` of a quantised module, by name.

    bitsandbytes moves those of an 8-bit layer from the weight to the layer in its first forward
    pass; they are found in either place.
    """
    weight: Any = module._parameters.get(key)
    state: Any = getattr(weight, "quant_state", None)
    found: dict[str, Any] = {}
    if state is not None:
        inner: Any = getattr(state, "state2", None)
        found = {name: getattr(state, name, None) for name in ("absmax", "code", "offset")}
        found |= {f"state2.{name}": getattr(inner, name, None) for name in ("absmax", "code")}
    elif key == "weight" and weight is not None and _row_scales(module) is not None:
        found = {name: _eight_bit(module, name) for name in ("CB", "SCB")}
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def quantised(model: nn.Module) -> Quantised | None:
    """How a model's layers are quantised; None if none is."""
    layers: list[tuple[Any, int]] = [
        (m, bits) for m in model.modules() if (bits := quantised_bits(m)) is not None
    ]
    if not layers:
        return None
    tensors = [t for m, _ in layers for t in (m.weight, *state_tensors(m, "weight").values())]
    size, weights = _bytes(tensors), sum(count(m.weight) for m, _ in layers)
    everything, total = _bytes([*tensors, *model.parameters()]), count_all(model)
    experts = sum(p.numel() for p in model.parameters() if p.dim() == 3)
    first, bits = layers[0]
    kind = str(getattr(first.weight, "quant_type", "nf4")) if bits == 4 else "int8"
    return Quantised(
        kind,
        bits,
        len(layers),
        bits_per_weight=8 * size / weights,
        bits_in_all=8 * everything / total,
        kept=1 - weights / total,
        experts=experts / total,
    )


def _bytes(tensors: Iterable[Tensor]) -> int:
    """The bytes of tensors, each counted once."""
    unique = {(t.device, t.data_ptr(), t.numel()): t for t in tensors}
    return sum(tensor.numel() * tensor.element_size() for tensor in unique.values())


def _eight_bit(module: nn.Module, name: str) -> Any:
    """An 8-bit layer's tensor, wherever bitsandbytes stores it now."""
    moved = getattr(getattr(module, "state", None), name, None)
    return moved if moved is not None else getattr(module._parameters["weight"], name, None)


def _row_scales(module: nn.Module) -> Tensor | None:
    found = _eight_bit(module, "SCB")
    return found if isinstance(found, Tensor) else None


# bitsandbytes


def paged_adamw(groups: list[dict[str, Any]], rate: float, bits: int) -> torch.optim.Optimizer:
    """AdamW without weight decay; its moments, in 32 or 8 bits, may move out of a full GPU."""
    optim = bitsandbytes().optim
    made = optim.PagedAdamW32bit if bits == 32 else optim.PagedAdamW8bit
    found: torch.optim.Optimizer = made(groups, lr=rate, weight_decay=0.0)
    return found


def bitsandbytes() -> Any:
    """bitsandbytes, imported on first use and without its notices."""
    if sys.modules.get("bitsandbytes") is not None:
        return sys.modules["bitsandbytes"]
    try:
        with without_notices():
            import bitsandbytes
    except ImportError as error:
        raise BaseModelError(
            f"quantised weights need bitsandbytes, which cannot be imported ({error}); "
            "type: %pip install bitsandbytes"
        ) from error
    return bitsandbytes


@contextmanager
def without_notices() -> Iterator[None]:
    """Drop what bitsandbytes logs and warns of while it is imported, by us or by peft: an optional
    kernel that is missing, a device that it does not use. Its errors pass, and its logger is as
    before after the block."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"bitsandbytes(\.|$)")
            yield
    finally:
        logger.setLevel(level)
