"""Patches for bitsandbytes' layers, so that a forward pass changes no weight of a quantised base.

Knows the layers of bitsandbytes; knows no base, no file and no adapter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.errors import BaseModelError

from .quantise import quantised_bits, unpacked

#: NF4 weights that share one scale (QLoRA, section 3).
BLOCK = 64


def patch_layers(model: nn.Module) -> Callable[[], None]:
    """Patch a model's quantised layers; returns a function that undoes it.

    On CPUs with AVX512-BF16 bitsandbytes repacks 4-bit weights permanently in the first eval
    forward pass: they are then read incorrectly, and gradients are lost. Both kinds of layers cast
    their bias in place to the dtype of the input. Layers that its CPU kernel misreads use PyTorch's
    multiplication instead. Raises `BaseModelError` for a model that was repacked before.
    """
    layers: list[Any] = [m for m in model.modules() if quantised_bits(m) is not None]
    if any(getattr(_state(layer), "packing_format_for_cpu", False) for layer in layers):
        raise BaseModelError(
            "bitsandbytes repacked this model's 4-bit weights in its first forward pass on this "
            "CPU, permanently; load it again and type %lora use before its first forward pass, "
            "or type: %lora load NAME --bits 4"
        )
    with ExitStack() as undo:
        for layer in layers:
            _patch(layer, undo)
        logger = logging.getLogger("bitsandbytes.autograd._functions")
        if layers:
            logger.addFilter(_is_relevant)
            undo.callback(logger.removeFilter, _is_relevant)
        return undo.pop_all().close


def _patch(layer: Any, undo: ExitStack) -> None:
    if hasattr(layer, "support_avx512bf16_for_cpu"):
        _set(layer, "support_avx512bf16_for_cpu", False, undo)
    bias = layer._parameters.get("bias")
    if quantised_bits(layer) == 8:
        if bias is not None:
            undo.callback(layer.register_forward_pre_hook(_cast_input).remove)
        return
    dtype = getattr(layer, "compute_dtype", None)
    if bias is not None and dtype is not None and bias.dtype != dtype:
        # The first forward pass would cast it, after the fingerprint was taken.
        _set(bias, "data", bias.data.to(dtype), undo)
    if _is_misread(layer):
        layer.forward = _forward_of(layer)
        undo.callback(delattr, layer, "forward")


def _set(target: Any, name: str, value: Any, undo: ExitStack) -> None:
    undo.callback(setattr, target, name, getattr(target, name))
    setattr(target, name, value)


def _state(layer: Any) -> Any:
    return getattr(layer.weight, "quant_state", None)


def _is_misread(layer: Any) -> bool:
    """Whether bitsandbytes reads the wrong scales for this 4-bit layer here, by a test."""
    weight = layer.weight
    whole_blocks = weight.quant_state.shape[-1] % BLOCK == 0
    if whole_blocks or weight.device.type != "cpu" or not hasattr(layer, "in_features"):
        return False
    right, read = (unpacked(weight, torch.float32, flat=flat) for flat in (True, False))
    return not torch.equal(right, read)


def _forward_of(layer: Any) -> Callable[[Tensor], Tensor]:
    def forward(inputs: Tensor) -> Tensor:
        dtype = layer.compute_dtype or inputs.dtype
        bias = None if layer.bias is None else layer.bias.to(dtype)
        weight = unpacked(layer.weight, dtype)
        return nn.functional.linear(inputs.to(dtype), weight, bias).to(inputs.dtype)

    return forward


def _cast_input(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """An 8-bit layer's input in the dtype of its bias, which is then not cast.

    Under autocast the input after a norm is float32, whatever the weights' dtype.
    """
    bias = layer._parameters["bias"]
    if bias is not None and inputs and inputs[0].dtype != bias.dtype:
        return (inputs[0].to(bias.dtype), *inputs[1:])
    return None


def _is_relevant(record: logging.LogRecord) -> bool:
    """False for the message, logged at every 8-bit product, that inputs are cast to float16."""
    return "inputs will be cast" not in record.msg
