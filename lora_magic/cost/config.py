"""Where a plan's model comes from: a name, sizes, a folder, a hub id, a config, a model.

Reads config.json, checks its sizes and asks the table of architectures; torch is imported only for
a model, and for an architecture that is not in the table. Reads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_magic.base import DEMO
from lora_magic.errors import BaseModelError, listed, near, sentence
from lora_magic.paths import path_of, quoted

from .architectures import function_of
from .builder import LABELS, left_whole, with_bits
from .known import CONTEXT, KNOWN, SIZES, from_sizes
from .model import Model

#: Values of a config that count something: at least 1.
_SIZES = frozenset(
    [
        *("hidden_size", "n_embd", "n_embed", "d_model", "dim", "embedding_size", "head_dim"),
        *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers"),
        *("encoder_layers", "decoder_layers", "num_attention_heads", "n_head", "n_heads"),
        *("num_heads", "encoder_attention_heads", "decoder_attention_heads", "num_kv_heads"),
        *("num_key_value_heads", "vocab_size", "intermediate_size", "moe_intermediate_size"),
        *("n_inner", "ffn_dim", "d_ff", "d_kv", "hidden_dim", "ffn_hidden_size", "state_size"),
        *("encoder_ffn_dim", "decoder_ffn_dim", "word_embed_proj_dim", "max_position_embeddings"),
        *("n_positions", "num_experts_per_tok", "expand", "conv_kernel", "num_labels"),
    ]
)

#: Values that may also be 0.
_COUNTS = frozenset(
    [
        *("num_local_experts", "num_experts", "n_routed_experts", "n_shared_experts"),
        *("sliding_window", "max_window_layers", "type_vocab_size", "rotary_dim"),
    ]
)

#: The ends of the names of what is True or False, a number up to 1, or the name of a function.
_SWITCHES = ("bias", "tie_word_embeddings", "multi_query", "_norm", "layernorm", "_residual")
_SHARES = ("dropout", "pdrop")
_NAMES = ("hidden_act", "activation_function", "hidden_activation", "activation")

#: The most that a config may count, and the most layers, heads and experts: each is written down.
_MOST, _MOST_EACH = 10**9, 10_000
_EACH = ("layer", "layers", "heads", "head", "experts")

#: Without all of these a config says nothing of its model's size.
_ANY = frozenset(
    [
        *("hidden_size", "n_embd", "n_embed", "d_model", "dim"),
        *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers"),
    ]
)

#: Number formats of a checkpoint.
_FORMATS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float64": "fp64"}

#: The type of the text model inside one of texts and images, where its config does not say it.
_TEXT = {"gemma3": "gemma3_text", "llava": "llama", "mistral3": "mistral"}

_EXAMPLE = "for example: %lora plan layers=32,width=4096"


def model_of(
    given: object,
    *,
    trust_remote_code: bool = False,
    task: str | None = None,
    labels: object = None,
) -> Model:
    """The model of a name such as "gpt3-175b", sizes, a folder, a hub id, a config or a model.

    With the task "classification" it has a classifier's head with `labels`, as `load` takes them
    (default: as many as its config has); a model is what it is. Raises `BaseModelError` for one
    that is not found, contains code of its own without `trust_remote_code`, or has no sizes or
    nonsense sizes. An architecture that is not in the table is built on torch's meta device, and
    `note` says so.
    """
    if isinstance(given, Model):
        return given
    if hasattr(given, "named_modules"):
        from . import meta

        return meta.of_model(given)
    name, config = _found(given)
    if config.get("auto_map") and not trust_remote_code:
        raise BaseModelError(
            f"{name} contains its own code ({listed(map(str, _values(config['auto_map'])), 3)}); "
            f"if you trust it, type: %lora plan {quoted(name)} --trust-remote-code"
        )
    if task == "classification":
        config = {**config, LABELS: _labels(name, config, labels)}
    return described(name, config)


def described(name: str, config: Mapping[str, Any]) -> Model:
    """The model of a config's values, by the table of architectures or on the meta device."""
    text, note = _text(config)
    check(name, text)
    function = function_of(str(text.get("model_type")))
    if function is None or text.get("auto_map") or text.get("add_cross_attention"):
        from . import meta

        model = meta.built(name, text)
    else:
        try:
            model = function(text, name)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            # A value that no size, switch or name is; a family's file knows only good configs.
            raise BaseModelError(
                f"{name}: config.json cannot be used ({sentence(error)}). Correct it, or give "
                f"sizes, {_EXAMPLE}"
            ) from error
    context = text.get(CONTEXT, model.context)
    notes = "; ".join(filter(None, (note, model.note)))
    model = replace(model, context=context, note=notes, stored=model.stored or _stored(text))
    return _as_stored(model, text)


def _values(code: object) -> Mapping[str, object] | list[object]:
    return list(code.values()) if isinstance(code, Mapping) else [code]


def _labels(name: str, config: Mapping[str, Any], labels: object) -> int:
    """The number of a classifier's labels: those that are named, else the config's, else 2."""
    from lora_magic.base.task import names_of

    if labels is not None:
        return len(names_of(labels))
    named, count = config.get("id2label"), config.get("num_labels", 2)
    check(name, {**dict.fromkeys(_ANY, 1), "num_labels": count})
    return len(named) if isinstance(named, Mapping) and named else int(count)


def _found(given: object) -> tuple[str, Mapping[str, Any]]:
    """What the model is called, and its config."""
    if isinstance(given, str | Path):
        return str(given), _by_name(str(given).strip())
    if isinstance(given, Mapping):
        return str(given.get("_name_or_path") or given.get("model_type") or "the config"), given
    kind = getattr(given, "model_type", None)
    if isinstance(kind, str) and hasattr(given, "to_dict") and not isinstance(given, type):
        return str(getattr(given, "name_or_path", "") or kind), given.to_dict()
    raise BaseModelError(
        f"expected a model, a config, a folder, a hub id or sizes, got {_what(given)}; "
        "for example: %lora plan llama-3-8b"
    )


def _what(given: object) -> str:
    return f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__


def _by_name(name: str) -> Mapping[str, Any]:
    """The config of a model by name: the first of those in the docstring of `model_of`."""
    if name != DEMO and name.lower() in KNOWN and not Path(name).is_dir():
        return KNOWN[name.lower()]
    if "=" in name and not Path(name).is_dir():
        return from_sizes(name)
    from lora_magic.base import folder

    if name == DEMO:
        from lora_magic.demo import WEIGHTS

        return folder.checked_config(name, WEIGHTS / folder.CONFIG)
    path = path_of(name, "plan")
    if path.is_dir():
        return _of_folder(name, path)
    if path.exists():
        if path.suffix == ".json":
            return folder.checked_config(name, path)
        raise BaseModelError(f"{name} is a file; expected the folder with config.json.")
    return _of_hub(name)


def _of_folder(name: str, path: Path) -> Mapping[str, Any]:
    from lora_magic.base import folder, hub

    if not (path / folder.CONFIG).exists():
        # Says what the folder holds instead: an adapter, a pipeline, GGUF.
        hub.refuse_files(name, [file.name for file in path.iterdir() if not file.is_dir()])
    return folder.checked_config(name, path / folder.CONFIG)


def _of_hub(name: str) -> Mapping[str, Any]:
    from lora_magic.base import folder, hub

    hint = near(name.rpartition("/")[2], [DEMO, *KNOWN])
    if not hub.looks_like_hub_id(name) or (hint and "/" not in name):
        raise BaseModelError(
            f"no model {name!r}: expected a known one ({listed(KNOWN, 4)}), a folder, a hub id, or "
            f"sizes ({', '.join(SIZES)}, tied), {_EXAMPLE}.{hint}"
        )
    closest = hint.partition("'")[2].rpartition("'")[0] or "llama-3-8b"
    return folder.checked_config(name, hub.config_file(name, f"%lora plan {closest}"))


def _text(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The config of the text model, and a note of what is left out of one of texts and images."""
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        return config, ""
    outer = ("dtype", "torch_dtype", "quantization_config", "tie_word_embeddings", LABELS)
    above = {key: config[key] for key in outer if key in config and key not in inner}
    kind = inner.get("model_type") or _TEXT.get(str(config.get("model_type")))
    others = [
        key.removesuffix("_config")
        for key, value in config.items()
        if key.endswith("_config") and isinstance(value, Mapping)
        if key not in ("text_config", "quantization_config", "generation_config")
    ]
    note = f"the text model alone, without {listed(others)}" if others else ""
    return {**inner, **above, "model_type": kind}, note


def _stored(config: Mapping[str, Any]) -> str | None:
    """The number format of the checkpoint."""
    found = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    return _FORMATS.get(found)


def _as_stored(model: Model, config: Mapping[str, Any]) -> Model:
    """The model with the layers that its checkpoint holds in 4 or 8 bits."""
    how = config.get("quantization_config")
    if not isinstance(how, Mapping):
        return model
    bits = next((width for width in (4, 8) if how.get(f"load_in_{width}bit") is True), None)
    if bits is None:
        method = str(how.get("quant_method", "another format"))[:40]
        note = f"stored in {method}, counted as if it were not"
        return replace(model, note="; ".join(filter(None, (model.note, note))))
    named = how.get("llm_int8_skip_modules")
    skipped = left_whole(model, named if isinstance(named, list) else None)
    return replace(model, shapes=with_bits(model.shapes, bits, skipped))


def check(name: str, config: Mapping[str, Any]) -> None:
    """Raise `BaseModelError` for a config without sizes, or with nonsense values."""
    if not _ANY.intersection(config):
        raise BaseModelError(
            f"{name}: config.json has no sizes; expected hidden_size, num_hidden_layers and the "
            f"like. Give them, {_EXAMPLE}"
        )
    for key, value in config.items():
        if value is not None and isinstance(key, str) and (expected := _fault(key, value)):
            raise BaseModelError(
                f"{name}: {key} is {str(value)[:40]!r}, expected {expected}. Correct config.json, "
                f"or give sizes, {_EXAMPLE}"
            )
    missing = [key for key in ("hidden_size", "num_hidden_layers", "vocab_size") if key in config]
    if missing := [key for key in missing if config[key] is None]:
        raise BaseModelError(
            f"{name}: {missing[0]} is null, expected a whole number. Give sizes, {_EXAMPLE}"
        )
    _check_lists(name, config)


def _fault(key: str, value: object) -> str:
    """What is expected of a value instead; "" if it is as it should be."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _SIZES or key in _COUNTS:
        least = 0 if key in _COUNTS else 1
        most = _MOST_EACH if key.endswith(_EACH) else _MOST
        if number and isinstance(value, int) and least <= value <= most:
            return ""
        return f"a whole number from {least} to {most:,}"
    if key.endswith(_SHARES) and not (number and 0 <= value <= 1):  # type: ignore[operator]  # a number
        return "a number from 0 to 1"
    if key.endswith(_SWITCHES) and not isinstance(value, bool):
        return "true or false"
    return "the name of a function" if key in _NAMES and not isinstance(value, str) else ""


def _check_lists(name: str, config: Mapping[str, Any]) -> None:
    """Raise `BaseModelError` for heads that do not divide, and for a list that is not by layer."""
    heads, kept = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if heads and kept and heads % kept:
        raise BaseModelError(
            f"{name}: {heads} heads cannot share {kept} of keys and values; expected a "
            "num_key_value_heads that divides num_attention_heads. Correct config.json."
        )
    layers, types = config.get("num_hidden_layers"), config.get("layer_types")
    if types is not None and (not isinstance(types, list) or len(types) != (layers or len(types))):
        raise BaseModelError(
            f"{name}: layer_types is not a list of {layers} layers. Correct config.json."
        )
