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
from lora_magic.paths import exists, path_of, quoted

from .architectures import FAMILIES, function_of
from .builder import LABELS, quantised
from .known import CONTEXT, KNOWN, MOST, MOST_EACH, SIZES, from_sizes
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
        *("attn_layer_offset", "expert_layer_offset", "first_k_dense_replace"),
    ]
)

#: Values that are true or false.
_SWITCHES = frozenset(
    [
        *("attention_bias", "mlp_bias", "bias", "use_bias", "use_qkv_bias", "enable_bias"),
        *("tie_word_embeddings", "multi_query", "parallel_attn", "new_decoder_architecture"),
        *("alibi", "use_qk_norm", "qk_layernorm", "use_parallel_residual", "use_sliding_window"),
        *("do_layer_norm_before", "layer_norm_elementwise_affine"),
    ]
)

#: Values that count what is written down one by one.
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
    name, config, source = _found(given)
    code = config.get("auto_map")
    if code and not trust_remote_code:
        named = code.values() if isinstance(code, Mapping) else [code]
        raise BaseModelError(
            f"{name} contains its own code ({listed(map(str, named), 3)}); if you trust it, type: "
            f"%lora plan {quoted(source or 'FOLDER')} --trust-remote-code"
        )
    if task == "classification":
        config = {**config, LABELS: _labels(name, config, labels)}
    return _described(name, config, source)


def _described(name: str, config: Mapping[str, Any], source: str) -> Model:
    """The model of a config's values, by the table of architectures or on the meta device."""
    text, note = _text(config)
    function = function_of(_checked(name, text))
    if function is None or text.get("auto_map") or text.get("add_cross_attention"):
        from . import meta

        model = meta.built(name, text, source)
    else:
        try:
            model = _whole(function(text, name))
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            # The functions of the table know good configs only.
            nulls = [key for key, value in text.items() if value is None and key in _SIZES]
            why = f"null for {listed(nulls)}" if nulls else sentence(error)
            raise BaseModelError(
                f"{name}: config.json cannot be used ({why}). Correct it, or give sizes, {_EXAMPLE}"
            ) from error
    return _as_stored(
        replace(
            model,
            context=text.get(CONTEXT, model.context),
            note="; ".join(filter(None, (note, model.note))),
            stored=_stored(text),
        ),
        text,
    )


def _whole(model: Model) -> Model:
    """The model, if what was written down are whole numbers, shares and names."""
    modules = model.shapes.modules.values()
    sides = {side for module in modules for _, shape in module.parameters for side in shape}
    if odd := [side for side in sides if type(side) is not int or side < 1]:
        raise ValueError(f"a size of {str(odd[0])[:40]}")
    for how, share in {(op.how, op.share) for op in model.ops}:
        if not isinstance(how, str):
            raise ValueError(f"a function called {str(how)[:40]}")
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"a dropout of {str(share)[:40]!r}")
    return model


def _labels(name: str, config: Mapping[str, Any], labels: object) -> int:
    """The number of a classifier's labels: those that are named, else the config's, else 2."""
    from lora_magic.base.task import names_of

    if labels is not None:
        return len(names_of(labels))
    named, count = config.get("id2label"), config.get("num_labels", 2)
    if isinstance(named, Mapping) and named:
        return len(named)
    if expected := _fault("num_labels", count):
        raise BaseModelError(f"{name}: num_labels is {str(count)[:40]!r}, expected {expected}.")
    return int(count)


def _found(given: object) -> tuple[str, Mapping[str, Any], str]:
    """What the model is called, its config, and the folder or hub id that holds its code."""
    if isinstance(given, str | Path):
        name = str(given).strip()
        return name, _by_name(name), name
    if isinstance(given, Mapping):
        kind = given.get("model_type")
        return kind if isinstance(kind, str) else "the config", given, ""
    kind = getattr(given, "model_type", None)
    if isinstance(kind, str) and hasattr(given, "to_dict") and not isinstance(given, type):
        source = str(getattr(given, "name_or_path", ""))
        return source or kind, given.to_dict(), source
    raise BaseModelError(
        f"expected a model, a config, a folder, a hub id or sizes, got {_what(given)}; "
        "for example: %lora plan llama-3-8b"
    )


def _what(given: object) -> str:
    return f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__


def _by_name(name: str) -> Mapping[str, Any]:
    """The config of a model by name: the first of those in the docstring of `model_of`."""
    path = Path(name)
    if name == DEMO:
        # It brings hashlib, which a plan of another model does without.
        from lora_magic.demo import WEIGHTS

        path = WEIGHTS
    if not name:
        raise BaseModelError("an empty name; expected a model, for example: %lora plan llama-3-8b")
    there = exists(path)
    if not there and name.lower() in KNOWN:
        return KNOWN[name.lower()]
    if not there and "=" in name:
        return from_sizes(name)
    path = path_of(path, "plan")
    return _of_path(name, path) if path.exists() else _of_hub(name)


def _of_path(name: str, path: Path) -> Mapping[str, Any]:
    from lora_magic.base import folder, hub

    if not path.is_dir():
        if path.suffix == ".json":
            return folder.checked_config(name, path)
        raise BaseModelError(f"{name} is a file; expected the folder with config.json.")
    if not (path / folder.CONFIG).exists():
        # Says what the folder holds instead: an adapter, a pipeline, GGUF.
        hub.refuse_files(name, [file.name for file in path.iterdir() if not file.is_dir()])
    return folder.checked_config(name, path / folder.CONFIG)


def _of_hub(name: str) -> Mapping[str, Any]:
    from lora_magic.base import folder, hub

    hint = near(name.rpartition("/")[2], [DEMO, *KNOWN])
    if not hub.looks_like_hub_id(name) or (hint and "/" not in name):
        raise BaseModelError(
            f"no model {name!r}: expected a name such as gpt3-175b, a folder, a hub id, or sizes "
            f"({', '.join(SIZES)}, tied), {_EXAMPLE}.{hint}"
        )
    closest = hint.partition("'")[2].rpartition("'")[0] or "layers=32,width=4096"
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
    modules = dict(model.shapes.modules)
    for path in quantised(model, named if isinstance(named, list) else None):
        modules[path] = modules[path]._replace(bits=bits)
    return replace(model, shapes=replace(model.shapes, modules=modules))


def _checked(name: str, config: Mapping[str, Any]) -> str:
    """The model type of a config.

    Raises `BaseModelError` for one without a type, without sizes or with nonsense sizes.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise BaseModelError(
            f"{name}: config.json has no model_type, so its architecture is unknown; expected a "
            "model saved by transformers. Save or download the model again."
        )
    if not _ANY.intersection(config):
        raise BaseModelError(
            f"{name}: config.json has no sizes; expected hidden_size, num_hidden_layers and the "
            f"like. Give them, {_EXAMPLE}"
        )
    by_layer = list if kind not in FAMILIES else ()  # the sizes of others may differ by layer
    for key, value in config.items():
        if value is None or isinstance(value, by_layer):
            continue
        if expected := _fault(key, value):
            raise BaseModelError(
                f"{name}: {key} is {str(value)[:40]!r}, expected {expected}. Correct config.json, "
                f"or give sizes, {_EXAMPLE}"
            )
    heads, kept = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if heads and kept and heads % kept:
        raise BaseModelError(
            f"{name}: {heads} heads of queries cannot share {kept} of keys and values; expected a "
            "number that divides them. Correct num_key_value_heads."
        )
    layers, types = config.get("num_hidden_layers"), config.get("layer_types")
    if types is not None and (not isinstance(types, list) or len(types) != (layers or len(types))):
        raise BaseModelError(
            f"{name}: layer_types is not a list of {layers} names, one for each layer. Correct it."
        )
    return kind


def _fault(key: object, value: object) -> str:
    """What is expected of a value instead; "" if it is as it should be."""
    if key in _SWITCHES:
        return "" if isinstance(value, bool) else "true or false"
    if key not in _SIZES and key not in _COUNTS:
        return ""
    least = 0 if key in _COUNTS else 1
    most = MOST_EACH if str(key).endswith(_EACH) else MOST
    whole = isinstance(value, int) and not isinstance(value, bool)
    return "" if whole and least <= value <= most else f"a whole number from {least} to {most:,}"  # type: ignore[operator]  # an int
