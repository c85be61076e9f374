"""What a live object must be to become a base, beside its class: plain, whole, and on a device.

Each refusal names what was seen and what to pass instead. Knows modules, and other libraries only
by the attributes that they leave; knows no loader and no session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.errors import BaseModelError, listed

from .task import refuse_encoder_decoder

#: The quantisation whose layers can be adapted.
_BITSANDBYTES = "bitsandbytes"

_LOAD_AGAIN = "load it again whole on one device: AutoModelForCausalLM.from_pretrained(NAME)"


def check_kind(model: Any) -> None:
    """Raise `BaseModelError` for anything but a plain module: a name, a class, a wrapper."""
    if isinstance(model, type):
        raise BaseModelError(
            f"expected a model, got the class {model.__name__}; make one: "
            f"model = {model.__name__}.from_pretrained(NAME)"
        )
    if isinstance(model, str):
        raise BaseModelError(f"expected a model, got text ({model[:60]}); type: %lora load NAME")
    if not isinstance(model, nn.Module):
        parts = all(hasattr(model, part) for part in ("model", "tokenizer"))
        if parts and isinstance(model.model, nn.Module):
            raise BaseModelError(
                f"expected a model, got {type(model).__name__}; pass its parts: "
                "model, tokenizer = pipe.model, pipe.tokenizer (pipe being that object)"
            )
        if hasattr(model, "chat_template"):
            raise BaseModelError(
                f"expected a model, got the tokenizer {type(model).__name__}; the model comes "
                "first: %lora use model tokenizer"
            )
        raise BaseModelError(
            f"expected a model (torch.nn.Module), got {type(model).__name__}; "
            "type: %lora use model tokenizer"
        )
    _refuse_scripted(model)
    _refuse_compiled(model)
    _refuse_wrapper(model)


def check_state(model: nn.Module) -> None:
    """Raise `BaseModelError` for a model that cannot be adapted or trained as it is."""
    config = getattr(model, "config", None)
    refuse_encoder_decoder(config, type(model).__name__)
    _refuse_scripted(model)
    _refuse_compiled(model)
    _refuse_wrapper(model)
    _refuse_offloaded(model)
    _refuse_quantised_elsewhere(model, config)
    inference = _named(model, Tensor.is_inference)
    if inference:
        raise BaseModelError(
            f"{listed(inference, 2)} was made in torch.inference_mode(), so nothing can be trained "
            "through it; load the model again outside that block."
        )


def _named(model: nn.Module, wanted: Callable[[Tensor], bool]) -> list[str]:
    """The parameters and buffers for which `wanted` is true."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    return [name for name, tensor in tensors if wanted(tensor)]


def _refuse_scripted(model: nn.Module) -> None:
    parts = [path for path, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if parts:
        raise BaseModelError(
            f"this model is scripted or traced (torch.jit){_at(parts)}; expected the model from "
            "which that was made."
        )


def _refuse_compiled(model: nn.Module) -> None:
    """A graph that was compiled before keeps the modules that it has seen."""
    if "_orig_mod" in model._modules:
        raise BaseModelError(
            "this model is compiled (torch.compile); pass the one inside: model = model._orig_mod"
        )
    found = [path for path, module in model.named_modules() if _is_compiled(module)]
    if found:
        raise BaseModelError(
            f"this model is compiled (torch.compile){_at(found)}; its graph would not see an "
            "adapter. Load it again and omit the compilation."
        )


def _is_compiled(module: nn.Module) -> bool:
    own = vars(module)
    return (
        "_orig_mod" in module._modules
        or own.get("_compiled_call_impl") is not None
        or hasattr(own.get("forward"), "_torchdynamo_orig_callable")
    )


def _refuse_wrapper(model: nn.Module) -> None:
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    for path, module in model.named_modules():
        kinds = [kind.__name__ for kind in type(module).__mro__]
        if isinstance(module, parallel) or "DistributedDataParallel" in kinds:
            inside = "" if path else "; pass the one inside: model = model.module"
            raise BaseModelError(
                f"this model is wrapped in {type(module).__name__}{_at([path])}{inside}"
            )
        if "FullyShardedDataParallel" in kinds or "FSDPModule" in kinds:
            raise BaseModelError(f"this model is sharded (FSDP){_at([path])}; {_LOAD_AGAIN}")


def _refuse_offloaded(model: nn.Module) -> None:
    offloaded = [
        path for path, module in model.named_modules() if any(map(_offloads, _hooks(module)))
    ]
    if offloaded:
        raise BaseModelError(
            f"accelerate keeps weights of this model elsewhere (offloaded){_at(offloaded)}; "
            f"{_LOAD_AGAIN}"
        )
    empty = _named(model, lambda tensor: tensor.is_meta)
    if empty:
        raise BaseModelError(
            f"this model is on the meta device, without values ({listed(empty, 2)}); to see what "
            f"it will cost, type: %lora plan model; to use it, {_LOAD_AGAIN}"
        )


def _hooks(module: nn.Module) -> Iterator[Any]:
    """Accelerate's hooks of a module; it may chain several."""
    hook = vars(module).get("_hf_hook")
    yield from getattr(hook, "hooks", () if hook is None else (hook,))


def _offloads(hook: Any) -> bool:
    return bool(getattr(hook, "offload", False)) or "CpuOffload" in type(hook).__name__


def _refuse_quantised_elsewhere(model: nn.Module, config: Any) -> None:
    stored: Any = getattr(config, "quantization_config", None)
    found = stored.get("quant_method") if isinstance(stored, dict) else None
    found = found or getattr(stored, "quant_method", None)
    found = getattr(model, "quantization_method", None) or found
    method = str(getattr(found, "value", found or _BITSANDBYTES))
    packed = [
        path
        for path, module in model.named_modules()
        if type(module).__module__.startswith(("torch.ao.nn", "torch.nn.quantized"))
    ]
    # Tensors made of others: torchao's, DTensor.
    packed += _named(model, lambda tensor: hasattr(tensor, "__tensor_flatten__"))
    if packed or _BITSANDBYTES not in method:
        by = "" if _BITSANDBYTES in method else f" ({method})"
        raise BaseModelError(
            f"this model is quantised or sharded by another library{by}{_at(packed)}; expected "
            "plain weights, or 4 or 8 bits by bitsandbytes: %lora load NAME --bits 4"
        )


def _at(paths: list[str]) -> str:
    named = [path for path in paths if path]
    return f" at {listed(named, 2)}" if named else ""
