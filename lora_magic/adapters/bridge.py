"""PEFT, and nothing else: wrapping, saving and reading in its format.

The one file that imports peft; its errors come out as `AdapterError`. Knows a base's slots; knows
no session. PEFT changes the tree, attributes, config and hooks of what it wraps: all of it is put
back here, so that a captured adapter leaves no trace on the base.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.errors import AdapterError, BaseModelError, listed, sentence
from lora_magic.interrupts import undisturbed

from .attached import PEFT_NAME
from .slots import Slots
from .spec import AdapterSpec
from .targets import is_conv1d, shortest

# bitsandbytes, which peft imports, warns of an optional CPU kernel: no concern of the cell's.
_noisy = logging.getLogger("bitsandbytes")
_level = _noisy.level
_noisy.setLevel(logging.ERROR)
import peft  # noqa: E402 (the logger is silenced first)
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model  # noqa: E402 (likewise)
from peft.tuners.tuners_utils import BaseTunerLayer  # noqa: E402 (likewise)

_noisy.setLevel(_level)

VERSION: str = peft.__version__

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

#: Initialisations after which the base is another one; such an adapter is wrong on this base.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """PEFT's errors as ours; its warnings stay out of the cell, since each cause is handled."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise AdapterError(f"{doing}: PEFT refuses: {sentence(error)}.") from error


def config_for(spec: AdapterSpec, model: nn.Module, paths: Sequence[str]) -> Any:
    """PEFT's config of a spec. A config is never shared: PEFT writes into it."""
    return LoraConfig(
        r=spec.rank,
        # PEFT calls it an int; it divides it by r all the same.
        lora_alpha=int(spec.alpha) if float(spec.alpha).is_integer() else spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=shortest(model, paths),
        fan_in_fan_out=any(is_conv1d(model.get_submodule(path)) for path in paths),
        task_type="CAUSAL_LM",
    )


def capture(
    model: nn.Module, slots: Slots, config: Any, seed: int
) -> tuple[Any, dict[str, nn.Module]]:
    """Wrap the pristine base once and take what PEFT put there: (wrapper, replacements by path).

    A is drawn from `seed` without touching torch's own generator. The base's tree, attributes,
    flags and hooks are what they were, also when PEFT fails half way.
    """
    with slots.held({}):
        try:
            with _nothing_left(model), _seeded(seed), translated("attach"):
                wrapper = get_peft_model(model, config)
        finally:
            found = slots.collect()
    for module in found.values():
        module.eval()
        module.requires_grad_(False)
    return wrapper, found


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _nothing_left(model: nn.Module) -> Iterator[None]:
    """Attributes, config, hooks and flags that PEFT leaves on a model, put back."""
    attributes = dict(vars(model))
    config = getattr(model, "config", None)
    settings = dict(vars(config)) if config is not None else {}
    hooks = [(module, dict(module._forward_hooks)) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        with undisturbed():
            _put_back(model, attributes)
            if config is not None:
                _put_back(config, settings)
            for module, kept in hooks:
                for key in [key for key in module._forward_hooks if key not in kept]:
                    del module._forward_hooks[key]
            for parameter, flag in wanted:
                parameter.requires_grad_(flag)


def _put_back(holder: Any, attributes: dict[str, Any]) -> None:
    for name in [name for name in vars(holder) if name not in attributes]:
        # Through the instance's dict: a module's own __delattr__ looks elsewhere first.
        del vars(holder)[name]
    vars(holder).update(attributes)


def save(wrapper: Any, slots: Slots, replacements: dict[str, nn.Module], folder: Path) -> None:
    """Write PEFT's folder: adapter_config.json, adapter_model.safetensors and its README.

    The replacements must stand while it writes: of a switched-off adapter PEFT saves no tensor,
    silently. The base's embeddings are frozen, so they are never part of it.
    """
    with slots.held(replacements), translated("save"):
        wrapper.save_pretrained(str(folder), save_embedding_layers=False)


def tensors(wrapper: Any, slots: Slots, replacements: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The adapter's tensors under the names that PEFT's file gives them."""
    with slots.held(replacements), translated("read"):
        state = peft.get_peft_model_state_dict(wrapper, save_embedding_layers=False)
    return dict(state)


def set_tensors(
    wrapper: Any, slots: Slots, replacements: dict[str, nn.Module], state: dict[str, Tensor]
) -> None:
    """Write tensors named as in PEFT's file into a captured adapter."""
    with slots.held(replacements), translated("open"):
        peft.set_peft_model_state_dict(wrapper, state)


def read_config(folder: Path) -> Any:
    """The config of a saved LoRA; refuses, with every reason, what would be misread here."""
    kind = _kind_of(folder / CONFIG_FILE)
    if kind != "LORA":
        raise AdapterError(f"{folder} holds a {kind} adapter; this version opens LORA only.")
    with translated(f"open {folder}"):
        config = PeftConfig.from_pretrained(str(folder))
    faults = _foreign_parts(config)
    if faults:
        raise AdapterError(f"{folder}: {'; '.join(faults)}. This version opens plain LoRA only.")
    return own(config)


def _kind_of(path: Path) -> str:
    """The method that a config names; PEFT's own errors for a broken file say little."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} cannot be read as JSON ({error}).") from error
    kind = fields.get("peft_type") if isinstance(fields, dict) else None
    if not isinstance(kind, str):
        raise AdapterError(f'{path} names no method; expected "peft_type": "LORA" in it.')
    return kind


def _foreign_parts(config: Any) -> list[str]:
    start = str(config.init_lora_weights).lower()
    changes_base = any(start.startswith(kind) for kind in _CHANGES_BASE)
    return [
        text
        for found, text in (
            (config.use_dora, "it uses DoRA"),
            (config.modules_to_save, f"it saves whole modules ({config.modules_to_save})"),
            (config.bias != "none", f"it trains biases (bias={config.bias!r})"),
            (config.lora_bias, "it has biases in B (lora_bias)"),
            (getattr(config, "trainable_token_indices", None), "it trains single tokens"),
            (getattr(config, "alora_invocation_tokens", None), "it is an activated LoRA (aLoRA)"),
            (getattr(config, "use_qalora", False), "it uses QALoRA"),
            (getattr(config, "target_parameters", None), "it adapts parameters, not modules"),
            (getattr(config, "layer_replication", None), "it replicates layers"),
            (changes_base, f"it starts from a changed base (init_lora_weights={start!r})"),
        )
        if found
    ]


def spec_of(config: Any, seed: int) -> AdapterSpec:
    """Our spec of PEFT's config."""
    names = config.target_modules
    varies = bool(config.rank_pattern or config.alpha_pattern)
    method = "lora" + " (rsLoRA)" * bool(config.use_rslora) + " (r and α vary)" * varies
    targets = f"re:{names}" if isinstance(names, str) else ",".join(sorted(names or []))
    return AdapterSpec(
        rank=config.r,
        alpha=config.lora_alpha,
        dropout=config.lora_dropout,
        targets=targets,
        seed=seed,
        method=method,
    )


def own(config: Any) -> Any:
    """A copy of a foreign config, ready to be captured with tensors that exist."""
    copied = copy.deepcopy(config)
    copied.inference_mode = False
    copied.init_lora_weights = True
    return copied


def is_wrapper(model: object) -> bool:
    """Is this a PeftModel?"""
    return isinstance(model, PeftModel)


def refuse_injected(model: nn.Module) -> None:
    """Refuse a bare model that already carries adapter layers."""
    layers = [path for path, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    if layers:
        raise BaseModelError(
            f"this model already carries adapter layers ({listed(layers, 2)}); "
            "expected a plain base model or a PeftModel. If another session holds it, reset that "
            "one; if PEFT wrapped it, pass the PeftModel itself."
        )


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """What `unwrap` found: the base, pristine again, and its adapters as (config, tensors).

    `wrap_again` puts PEFT's layers back where they were, with all that they learned; it may be
    called twice.
    """

    base: nn.Module
    adapters: dict[str, tuple[Any, dict[str, Tensor]]]
    wrap_again: Callable[[], None]


def base_of(wrapper: Any) -> nn.Module:
    """The base model inside a PeftModel."""
    base: nn.Module = wrapper.get_base_model()
    return base


def unwrap(wrapper: Any) -> Unwrapped:
    """Take PEFT's layers out of a PeftModel's base; copies of its adapters' tensors are kept.

    Raises `BaseModelError` for a merged or mixed model, whose base is not the base any more.
    """
    layers = [module for module in wrapper.modules() if isinstance(module, BaseTunerLayer)]
    if any(layer.merged for layer in layers):
        raise BaseModelError("this PeftModel is merged; call model.unmerge_adapter() first.")
    others = [name for name, c in wrapper.peft_config.items() if not isinstance(c, LoraConfig)]
    if others:
        raise BaseModelError(
            f"this PeftModel has adapters of other kinds than LoRA ({listed(others)}); "
            "expected LoRA only."
        )
    faults = [f"{n}: {f}" for n, c in wrapper.peft_config.items() for f in _foreign_parts(c)]
    if faults:
        raise BaseModelError("; ".join(faults) + ". This version adopts plain LoRA only.")
    taken = {}
    for name, config in wrapper.peft_config.items():
        state = peft.get_peft_model_state_dict(
            wrapper, adapter_name=name, save_embedding_layers=False
        )
        taken[name] = (config, {key: tensor.detach().clone() for key, tensor in state.items()})
    base = base_of(wrapper)
    return Unwrapped(base, taken, _taken_out(base))


def _taken_out(base: nn.Module) -> Callable[[], None]:
    """Put what each PEFT layer stands around into its place; returns how to undo that."""
    places = [
        (base.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], module)
        for path, module in base.named_modules()
        if isinstance(module, BaseTunerLayer)
    ]
    told = {name: vars(base)[name] for name in ("peft_config",) if name in vars(base)}

    def wrap_again() -> None:
        for parent, child, layer in places:
            parent._modules[child] = layer
        vars(base).update(told)

    for parent, child, layer in places:
        parent._modules[child] = layer.get_base_layer()
    for name in told:
        del vars(base)[name]
    return wrap_again


__all__ = [
    "CONFIG_FILE",
    "PEFT_NAME",
    "VERSION",
    "WEIGHTS_FILE",
    "Unwrapped",
    "base_of",
    "capture",
    "config_for",
    "is_wrapper",
    "own",
    "read_config",
    "refuse_injected",
    "save",
    "set_tensors",
    "spec_of",
    "tensors",
    "unwrap",
]
