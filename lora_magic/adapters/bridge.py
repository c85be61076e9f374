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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lora_magic.errors import AdapterError, BaseModelError, listed, sentence
from lora_magic.interrupts import undisturbed

from .effect import PEFT_NAME
from .prefix import Prefix, VirtualTokens
from .slots import Slots
from .spec import AdapterSpec
from .targets import is_attention, is_conv1d, shortest

# bitsandbytes, which peft imports, warns of an optional CPU kernel: no concern of the cell's.
_noisy = logging.getLogger("bitsandbytes")
_level = _noisy.level
_noisy.setLevel(logging.ERROR)
import peft  # noqa: E402 (the logger is silenced first)
from peft import (  # noqa: E402 (likewise)
    AdaLoraConfig,
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_eva_state_dict,
    get_peft_model,
)
from peft.tuners.adalora.layer import RankAllocator  # noqa: E402 (likewise)
from peft.tuners.lora import EvaConfig  # noqa: E402 (likewise)
from peft.tuners.tuners_utils import BaseTunerLayer  # noqa: E402 (likewise)
from peft.utils.constants import (  # noqa: E402 (likewise)
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
)

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


def config_for(
    spec: AdapterSpec, model: nn.Module, paths: Sequence[str], task_type: str | None = "CAUSAL_LM"
) -> Any:
    """PEFT's config of a spec for the layers that PEFT has. It is never shared: PEFT writes in it.

    Biases, norms and heads are not in it: they are trained beside PEFT's layers.
    """
    common: dict[str, Any] = {
        "target_modules": shortest(model, paths),
        "fan_in_fan_out": any(is_conv1d(model.get_submodule(path)) for path in paths),
        "task_type": task_type,
    }
    if spec.method == "ia3":
        inner = [path for path in paths if not is_attention(path)]
        return IA3Config(**{**common, "target_modules": list(paths)}, feedforward_modules=inner)
    common |= {"lora_alpha": _whole(spec.alpha), "lora_dropout": spec.dropout}
    if spec.method == "adalora":
        # The schedule belongs to a run and is set there; PEFT only wants a length.
        return AdaLoraConfig(
            **common, target_r=spec.rank, init_r=first_rank(spec.rank), total_step=10**6
        )
    return LoraConfig(
        **common,
        r=spec.rank,
        use_rslora=spec.rslora,
        use_dora=spec.dora,
        init_lora_weights="gaussian" if spec.init == "gaussian" else True,
        rank_pattern={name: int(rank) for name, rank in spec.rank_pattern},
        alpha_pattern={name: _whole(alpha) for name, alpha in spec.alpha_pattern},
    )


def _whole(alpha: float) -> float:
    """PEFT calls α an int; it divides it by r all the same."""
    return int(alpha) if float(alpha).is_integer() else alpha


def first_rank(rank: int) -> int:
    """The rank that AdaLoRA begins with, 1.5 times what it ends with (section 4 of its paper)."""
    return max(rank + 1, -(-3 * rank // 2))


def usual_targets(model: nn.Module) -> list[str]:
    """The modules that (IA)³ scales in this architecture, by PEFT's table; empty where it has none.

    Keys, values and the feed-forward's inner output, as in the paper.
    """
    kind = getattr(getattr(model, "config", None), "model_type", "")
    return list(TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind, ()))


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


def forget(model: nn.Module) -> None:
    """Take PEFT's mark off a base that carries none of its layers, should it have been left."""
    vars(model).pop("peft_config", None)


def _put_back(holder: Any, attributes: dict[str, Any]) -> None:
    for name in [name for name in vars(holder) if name not in attributes]:
        # Through the instance's dict: a module's own __delattr__ looks elsewhere first.
        del vars(holder)[name]
    vars(holder).update(attributes)


def name_base(wrapper: Any, name: str) -> None:
    """Write the base's name into the config of a captured adapter."""
    wrapper.peft_config[PEFT_NAME].base_model_name_or_path = name


def written_config(wrapper: Any, *, task_type: str, **changed: Any) -> Any:
    """A copy of a captured adapter's config as its folder is to hold it."""
    config = copy.deepcopy(wrapper.peft_config[PEFT_NAME])
    config.task_type, config.inference_mode = task_type, True
    for key, value in changed.items():
        setattr(config, key, value)
    return config


def virtual_config(root: VirtualTokens, model: nn.Module, name: str, *, task_type: str) -> Any:
    """PEFT's config of a prefix or a prompt."""
    width = int(model.config.get_text_config().hidden_size)  # type: ignore[union-attr, operator]  # transformers' own
    layers = int(model.config.get_text_config().num_hidden_layers)  # type: ignore[union-attr, operator]  # likewise
    common: dict[str, Any] = {
        "num_virtual_tokens": root.count,
        "task_type": task_type,
        "base_model_name_or_path": name,
        "inference_mode": True,
        "num_transformer_submodules": 1,
        "num_layers": layers,
    }
    if isinstance(root, Prefix):
        size = root.embedding.shape[1] // (2 * root.layers)
        return PrefixTuningConfig(
            **common,
            num_attention_heads=root.heads,
            token_dim=size,
            encoder_hidden_size=width,
            prefix_projection=False,
        )
    heads = int(model.config.get_text_config().num_attention_heads)  # type: ignore[union-attr, operator]  # likewise
    return PromptTuningConfig(**common, token_dim=width, num_attention_heads=heads)


def write(config: Any, state: dict[str, Tensor], folder: Path) -> None:
    """Write PEFT's folder: adapter_config.json and adapter_model.safetensors."""
    with translated("save"):
        config.save_pretrained(str(folder))
    write_tensors(state, folder)


def write_tensors(state: Mapping[str, Tensor], folder: Path) -> None:
    """Write adapter_model.safetensors; tied or sliced tensors are written whole."""
    whole = {key: tensor.detach().cpu().clone().contiguous() for key, tensor in state.items()}
    save_file(whole, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})


def saved_whole(folder: Path) -> list[str]:
    """The modules that PEFT's config says are saved whole."""
    fields = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    return list(fields.get("modules_to_save") or [])


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


def kind_of(folder: Path) -> str:
    """The method that a folder's config names; PEFT's own errors for a broken file say little."""
    path = folder / CONFIG_FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} cannot be read as JSON ({error}).") from error
    kind = fields.get("peft_type") if isinstance(fields, dict) else None
    if not isinstance(kind, str):
        raise AdapterError(f'{path} names no method; expected "peft_type": "LORA" in it.')
    return kind


def read_config(folder: Path) -> Any:
    """The config in PEFT's folder as it is; refuses, with every reason, what would be misread."""
    kind = kind_of(folder)
    if kind not in _KINDS:
        raise AdapterError(
            f"{folder} holds a {kind} adapter; expected one of {listed(sorted(_KINDS))}."
        )
    with translated(f"open {folder}"):
        config = PeftConfig.from_pretrained(str(folder))
    faults = _foreign_parts(config)
    if faults:
        raise AdapterError(f"{folder}: {'; '.join(faults)}, which cannot be opened here.")
    return config


class Allocator:
    """AdaLoRA's allocation of ranks over one run, by PEFT.

    `first` steps with all ranks, `last` with the final ones, an allocation every `every` steps.
    """

    def __init__(
        self, model: nn.Module, wrapper: Any, first: int, last: int, every: int, steps: int
    ) -> None:
        config = copy.copy(wrapper.peft_config[PEFT_NAME])
        config.tinit, config.tfinal, config.deltaT = first, last, every
        config.total_step = steps
        self._model, self._fixed_at = model, steps - last
        self._inner = RankAllocator(model, config, PEFT_NAME)
        self._left: Any = None

    def allocate(self, step: int) -> None:
        """After the optimizer's step `step`, from 1, with its gradients still there."""
        if step <= self._fixed_at:
            now = step == self._fixed_at
            _, left = self._inner.update_and_allocate(self._model, step, force_mask=now)
            self._left = left or self._left
        elif self._left is not None:
            self._inner.mask_using_rank_pattern(self._model, self._left)


def eva(
    model: nn.Module, wrapper: Any, batches: Callable[[], Iterable[dict[str, Tensor]]]
) -> dict[str, Tensor]:
    """A [r, k] of each target by path: the main directions of its inputs over the batches."""
    config = copy.copy(wrapper.peft_config[PEFT_NAME])
    config.eva_config = EvaConfig(rho=1.0)
    with translated("--init eva"), torch.no_grad():
        found = get_eva_state_dict(
            model, list(batches()), peft_config=config, show_progress_bar=False
        )
    return dict(found)


#: PEFT's methods that can be opened, and ours.
_KINDS = {
    "LORA": "lora",
    "ADALORA": "adalora",
    "IA3": "ia3",
    "PREFIX_TUNING": "prefix",
    "PROMPT_TUNING": "prompt",
}


def _foreign_parts(config: Any) -> list[str]:
    """What of a config would be misread here."""

    def told(name: str) -> Any:
        return getattr(config, name, None)

    begins = str(told("init_lora_weights")).lower()
    changes_base = any(begins.startswith(kind) for kind in _CHANGES_BASE)
    return [
        text
        for found, text in (
            (told("lora_bias"), "it has biases in B (lora_bias)"),
            (told("trainable_token_indices"), "it trains single tokens"),
            (told("alora_invocation_tokens"), "it is an activated LoRA (aLoRA)"),
            (told("use_qalora"), "it uses QALoRA"),
            (told("use_bdlora"), "it is block-diagonal (BD-LoRA)"),
            (told("target_parameters"), "it adapts parameters, not modules"),
            (told("layer_replication"), "it replicates layers"),
            (told("megatron_config"), "it is cut for Megatron"),
            (told("prefix_projection"), "its prefix goes through a projection"),
            (
                changes_base,
                f"it starts from a changed base (init_lora_weights={begins!r}; with PEFT, "
                "save_pretrained(…, path_initial_model_for_weight_conversion=…) makes a plain "
                "LoRA of it)",
            ),
        )
        if found
    ]


def spec_of(config: Any, seed: int) -> AdapterSpec:
    """Our spec of PEFT's config."""
    method = _KINDS[config.peft_type.value]
    if method in ("prefix", "prompt"):
        return AdapterSpec(method=method, virtual_tokens=config.num_virtual_tokens, seed=seed)
    names = config.target_modules
    targets = f"re:{names}" if isinstance(names, str) else ",".join(sorted(names or []))
    if method == "ia3":
        return AdapterSpec(method=method, targets=targets, seed=seed)
    common = {"alpha": config.lora_alpha, "dropout": config.lora_dropout, "targets": targets}
    if method == "adalora":
        return AdapterSpec(method=method, rank=config.target_r, seed=seed, **common)
    return AdapterSpec(
        rank=config.r,
        seed=seed,
        rslora=bool(config.use_rslora),
        dora=bool(config.use_dora),
        bias=config.bias,
        rank_pattern=tuple((config.rank_pattern or {}).items()),
        alpha_pattern=tuple((config.alpha_pattern or {}).items()),
        **common,
    )


def own(config: Any) -> Any:
    """A copy of a foreign config, ready to be captured with tensors that exist.

    Biases and modules saved whole are trained beside PEFT's layers, so they are not in it.
    """
    copied = copy.deepcopy(config)
    copied.inference_mode = False
    if hasattr(copied, "init_lora_weights"):
        copied.init_lora_weights = True
    if hasattr(copied, "bias"):
        copied.bias = "none"
    copied.modules_to_save = None
    if copied.task_type == "SEQ_CLS":
        copied.task_type = None  # PEFT would wrap the head.
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


_OPEN_INSTEAD = (
    "Such an adapter is opened from its folder: model.save_pretrained(DIR), then give %lora use "
    "the plain base and type: %lora open DIR"
)


def _not_adopted(config: Any) -> list[str]:
    """What of a live adapter lies in the base itself, or would be misread."""
    parts = _foreign_parts(config)
    if config.modules_to_save:
        parts.append(f"it saves whole modules ({listed(config.modules_to_save)})")
    if config.bias != "none":
        parts.append(f"it trains the base's own biases (bias={config.bias!r})")
    return parts


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
    faults = [f"{n}: {f}" for n, c in wrapper.peft_config.items() for f in _not_adopted(c)]
    if faults:
        raise BaseModelError("; ".join(faults) + f". {_OPEN_INSTEAD}")
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
