"""Converts our specs to PEFT's configs, and back.

Knows specs and module trees; wraps nothing and reads no file.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from torch import nn

from lora_magic.adapters import fields
from lora_magic.adapters.delta import PEFT_NAME
from lora_magic.adapters.prefix import Prefix, VirtualTokens
from lora_magic.adapters.shapes import CONV1D, Shapes
from lora_magic.adapters.spec import AdapterSpec, first_rank
from lora_magic.adapters.targets import is_attention, shortest
from lora_magic.errors import AdapterError, listed, sentence

from .library import peft, translated
from .patterns import patterns_of

#: Initialisations that change the base; such an adapter is wrong on an unchanged base.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")

#: What to do with an adapter that only PEFT can read, if it changes nothing but weights.
MERGE = (
    "With PEFT, merge it into its base (PeftModel.from_pretrained(model, DIR).merge_and_unload()"
    ".save_pretrained(OUT)), save the tokenizer to OUT, then type: %lora load OUT"
)

#: The same for one that cannot be merged.
_ONLY_PEFT = "It cannot be merged into a base, so use it with PEFT: PeftModel.from_pretrained"

#: PEFT's methods that change more than weights.
_UNMERGEABLE = frozenset(
    ["P_TUNING", "MULTITASK_PROMPT_TUNING", "CPT", "CARTRIDGE", "ADAPTION_PROMPT", "XLORA", "POLY"]
)
_UNMERGEABLE_PARTS = ("alora_invocation_tokens", "prefix_projection")

#: Types that PEFT does not declare, or declares otherwise than it writes them.
_WRITTEN: dict[str, Any] = {
    "lora_alpha": float,
    "init_lora_weights": bool | str | None,
    "target_modules": list[str] | str | None,
    "rank_pattern": dict[str, int] | None,
    "alpha_pattern": dict[str, float] | None,
    "trainable_token_indices": list[int] | dict[str, list[int]] | None,
    "loftq_config": dict | None,
}

#: Settings of an initialisation or of one run, which say nothing about a trained adapter.
_OF_A_RUN = ("runtime_config", "eva_config", "corda_config", "lora_ga_config", "loftq_config")

#: Fields of a config that would be misread here if they are set.
_UNREADABLE = {
    "lora_bias": "it has biases in B (lora_bias)",
    "trainable_token_indices": "it trains single tokens",
    "alora_invocation_tokens": "it is an activated LoRA (aLoRA)",
    "use_qalora": "it uses QALoRA",
    "use_bdlora": "it is block-diagonal (BD-LoRA)",
    "target_parameters": "it adapts parameters, not modules",
    "layer_replication": "it replicates layers",
    "megatron_config": "it is sharded for Megatron",
    "prefix_projection": "its prefix goes through a projection",
}

#: The settings named `use_…` and `…_config` that are read here; another one is a method of its own.
_VARIANTS_READ = ("use_dora", "use_rslora", *_OF_A_RUN)

_SAVE_AGAIN = "Download or save it again with PEFT: model.save_pretrained(DIR)"

#: The attribute of a config with the fields that `capturable` resolved, as they were in the file.
_AS_WRITTEN = "lora_magic_as_written"

#: How PEFT converts an initialisation that changes the base, while its start is still known.
CONVERT = (
    "; with PEFT, save_pretrained(…, path_initial_model_for_weight_conversion=…) converts it to a "
    "plain LoRA"
)

#: PEFT's methods that can be opened, and their names here.
KINDS = {
    "LORA": "lora",
    "ADALORA": "adalora",
    "IA3": "ia3",
    "PREFIX_TUNING": "prefix",
    "PROMPT_TUNING": "prompt",
}


def config_for(
    spec: AdapterSpec, shapes: Shapes, paths: Sequence[str], task_type: str | None = "CAUSAL_LM"
) -> Any:
    """PEFT's config of a spec. It is never shared, since PEFT writes into it.

    Biases, norms and heads are not in it: trainable copies take care of them.
    """
    common: dict[str, Any] = {
        "target_modules": shortest(shapes, paths),
        "fan_in_fan_out": any(shapes.modules[path].kind == CONV1D for path in paths),
        "task_type": task_type,
    }
    if spec.method == "ia3":
        inner = [path for path in paths if not is_attention(path)]
        return peft.IA3Config(
            **{**common, "target_modules": list(paths)}, feedforward_modules=inner
        )
    common |= {"lora_alpha": _whole(spec.alpha), "lora_dropout": spec.dropout}
    if spec.method == "adalora":
        # The schedule is set at the beginning of a run; PEFT needs a length here.
        return peft.AdaLoraConfig(
            **common, target_r=spec.rank, init_r=first_rank(spec.rank), total_step=10**6
        )
    return peft.LoraConfig(
        **common,
        r=spec.rank,
        use_rslora=spec.rslora,
        use_dora=spec.dora,
        init_lora_weights="gaussian" if spec.init == "gaussian" else True,
        rank_pattern={name: int(rank) for name, rank in spec.rank_pattern},
        alpha_pattern={name: _whole(alpha) for name, alpha in spec.alpha_pattern},
    )


def _whole(alpha: float) -> float:
    """PEFT declares α as an int, and only divides it by r."""
    return int(alpha) if float(alpha).is_integer() else alpha


def usual_targets(model: nn.Module) -> list[str]:
    """The modules that (IA)³ scales in this architecture, by PEFT's table; empty if it has none.

    Keys, values and the feed-forward's inner output, as in the paper.
    """
    kind = getattr(getattr(model, "config", None), "model_type", "")
    return list(
        peft.utils.constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind, ())
    )


def refused(model: nn.Module, names: Sequence[str]) -> dict[str, str]:
    """Those of the names of linear layers that PEFT does not adapt in this architecture, and why.

    PEFT refuses some layers of Mamba, whose kernels bypass them; and since transformers 5 it reads
    names such as `down_proj` as parameters of the experts.
    """
    return {name: why for name in names if (why := _refusal(model, name))}


def _refusal(model: nn.Module, name: str) -> str:
    config = peft.LoraConfig(target_modules=[name])
    check = getattr(peft.tuners.tuners_utils, "_check_lora_target_modules_mamba", None)
    conversion: Any = getattr(peft.utils, "transformers_weight_conversion", None)
    try:
        if check is not None:
            check(config, model, name)
        if hasattr(conversion, "convert_peft_config_for_transformers"):
            conversion.convert_peft_config_for_transformers(config, model, None)
    except ValueError as error:
        return f"PEFT cannot adapt {name!r} in this architecture ({sentence(error)})"
    if name in config.target_modules:
        return ""
    return f"PEFT reads {name!r} as a parameter of the experts in this architecture"


def name_base(wrapper: Any, name: str) -> None:
    """Write the base's name into the config of a captured adapter."""
    wrapper.peft_config[PEFT_NAME].base_model_name_or_path = name


def file_config(config: Any, **changed: Any) -> dict[str, Any]:
    """The contents of adapter_config.json for a config, with these fields changed."""
    copied = copy.deepcopy(config)
    for key, value in {"inference_mode": True, **changed}.items():
        setattr(copied, key, value)
    values = {**copied.to_dict(), **getattr(config, _AS_WRITTEN, {}), **changed}
    return {key: sorted(v) if isinstance(v, set) else v for key, v in values.items()}


def changed(config: Any) -> dict[str, Any]:
    """The fields of a config that are not its class's defaults, as a person would write them."""
    own = dataclasses.fields(config)
    made = {f.name: f.default_factory() for f in own if callable(f.default_factory)}
    usual = {f.name: f.default for f in own} | made
    values = config.to_dict()
    return {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in values.items()
        if name in usual and name not in ("peft_type", "peft_version") and value != usual[name]
    }


def wrapper_config(wrapper: Any) -> Any:
    """The config of a captured adapter."""
    return wrapper.peft_config[PEFT_NAME]


def read_config(values: dict[str, Any]) -> Any:
    """PEFT's config from the contents of adapter_config.json.

    Raises `AdapterError`, with every reason, for values of a wrong type and for a config that would
    be misread here.
    """
    kind = values["peft_type"]
    if kind not in KINDS:
        merges = _ONLY_PEFT if kind in _UNMERGEABLE else MERGE
        remedy = merges if kind in peft.PEFT_TYPE_TO_CONFIG_MAPPING else _SAVE_AGAIN
        raise AdapterError(
            f"the method is {kind}; expected one of {listed(sorted(KINDS))}. {remedy}"
        )
    faults = _wrong_types(peft.PEFT_TYPE_TO_CONFIG_MAPPING[kind], values)
    if faults:
        raise AdapterError(f"adapter_config.json: {listed(faults, 6)}. {_SAVE_AGAIN}")
    parts = foreign_parts(SimpleNamespace(**values))
    unknown = _unknown(peft.PEFT_TYPE_TO_CONFIG_MAPPING[kind], values)
    if unknown and not parts:
        raise AdapterError(
            f"adapter_config.json sets {listed(unknown, 3)}, which peft {peft.__version__} does "
            "not know; if a newer one does, type: %pip install -U peft, then restart the kernel"
        )
    if parts:
        rare = any(values.get(name) for name in _UNMERGEABLE_PARTS)
        raise AdapterError(
            f"{'; '.join(parts)}, which cannot be opened here. {_ONLY_PEFT if rare else MERGE}"
        )
    with translated("adapter_config.json"):
        # As PEFT's own from_pretrained does.
        known = {key: value for key, value in values.items() if key not in _OF_A_RUN}
        # PEFT reads the names in both, so null is its default.
        for name in ("rank_pattern", "alpha_pattern"):
            if known.get(name, 0) is None:
                del known[name]
        return peft.PeftConfig.from_peft_type(**known)


def _unknown(kind: type, values: Mapping[str, Any]) -> list[str]:
    """The fields that switch on what PEFT's class does not have; it would ignore them.

    Numbers and texts are left to it: newer versions write the defaults of what is off.
    """
    known = {field.name for field in dataclasses.fields(kind)}
    return [
        key
        for key, value in values.items()
        if key not in known and (value is True or (value and isinstance(value, dict | list)))
    ]


def _wrong_types(kind: type, values: Mapping[str, Any]) -> list[str]:
    """The values that PEFT's class cannot have; a default is always allowed."""
    hints = {**fields.hints_of(kind), **_WRITTEN}
    if kind is peft.AdaLoraConfig:
        hints["rank_pattern"] = dict[str, list[bool]] | None
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    given = {
        key: value
        for key, value in values.items()
        if key in defaults and value is not defaults[key] and key not in _OF_A_RUN
    }
    for name, hint in hints.items():
        if hint is bool and given.get(name, False) is None:
            del given[name]  # as PEFT, for which null is false
    return fields.faults(hints, given)


def virtual_config(root: VirtualTokens, model: Any, name: str) -> Any:
    """PEFT's config of a prefix or a prompt; `name` is the base's."""
    sizes = model.config.get_text_config()
    common: dict[str, Any] = {
        "num_virtual_tokens": root.count,
        "base_model_name_or_path": name,
        "num_transformer_submodules": 1,
        "num_layers": int(sizes.num_hidden_layers),
    }
    width = int(sizes.hidden_size)
    if isinstance(root, Prefix):
        return peft.PrefixTuningConfig(
            **common,
            num_attention_heads=root.heads,
            token_dim=root.embedding.shape[1] // (2 * root.layers),
            encoder_hidden_size=width,
            prefix_projection=False,
        )
    heads = int(sizes.num_attention_heads)
    return peft.PromptTuningConfig(**common, token_dim=width, num_attention_heads=heads)


def foreign_parts(config: Any, convert: str = "") -> list[str]:
    """What in a config would be misread here; `convert` says how to convert an initialisation."""
    start = str(getattr(config, "init_lora_weights", None)).lower()
    faults = [text for name, text in _UNREADABLE.items() if getattr(config, name, None)]
    faults += [
        f"it uses {name}"
        for name, value in vars(config).items()
        if value and name.startswith("use_") | name.endswith("_config")
        if name not in (*_UNREADABLE, *_VARIANTS_READ)
    ]
    if start.startswith(_CHANGES_BASE):
        faults.append(f"it starts from a changed base (init_lora_weights={start!r}{convert})")
    return faults


def spec_of(config: Any, seed: int) -> AdapterSpec:
    """Our spec of PEFT's config."""
    method = KINDS[config.peft_type.value]
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


def capturable(config: Any, model: nn.Module | None = None) -> Any:
    """A copy of a config, ready to be captured; `model` is the one that a file's config is for.

    Biases and modules saved in full are trainable copies here, so they are removed from it. PEFT
    runs patterns without a time limit, so none that a stranger wrote is left in it. `file_config`
    writes them back.
    """
    copied = copy.deepcopy(config)
    resolved = {} if model is None else patterns_of(config, model)
    setattr(copied, _AS_WRITTEN, {key: getattr(config, key) for key in resolved})
    vars(copied).update(resolved)
    copied.inference_mode = False
    if hasattr(copied, "init_lora_weights"):
        copied.init_lora_weights = True
    if hasattr(copied, "bias"):
        copied.bias = "none"
    copied.modules_to_save = None
    if copied.task_type == "SEQ_CLS":
        copied.task_type = None  # PEFT would wrap the head.
    return copied
