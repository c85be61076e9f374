"""Where a plan's model comes from: a name, sizes, a folder, a hub id, a config; read without torch.

Knows config.json and the table of architectures; reads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_magic.base.task import names_of
from lora_magic.errors import BaseModelError, near
from lora_magic.paths import path_of, quoted

from .architectures import function_of
from .builder import LABELS, with_bits
from .known import CONTEXT, DEMO, KNOWN, from_sizes
from .model import Model

#: Values of a config that count something: at least 1.
_SIZES = frozenset(
    [
        *("hidden_size", "n_embd", "n_embed", "d_model", "dim", "embedding_size"),
        *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers"),
        *("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"),
        *("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"),
        *("num_kv_heads", "vocab_size", "intermediate_size", "moe_intermediate_size", "n_inner"),
        *("ffn_dim", "d_ff", "d_kv", "hidden_dim", "ffn_hidden_size", "head_dim", "state_size"),
        *("encoder_ffn_dim", "decoder_ffn_dim", "word_embed_proj_dim", "d_state", "d_conv"),
        *("max_position_embeddings", "n_positions", "num_local_experts", "num_experts"),
        *("num_experts_per_tok", "expand", "conv_kernel", "sliding_window"),
    ]
)

#: Values that count layers: each is written down before anything is known of the whole.
_LAYERS = ("layer", "layers")

#: The most that a config may count, and the most layers.
_MOST, _MOST_LAYERS = 10**9, 10_000

#: Those without which a config says nothing of its model's size.
_ANY = frozenset(
    [
        *("hidden_size", "n_embd", "n_embed", "d_model", "dim"),
        *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers"),
    ]
)

#: Number formats of a checkpoint.
_FORMATS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float64": "fp64"}


def model_of(
    given: object,
    *,
    trust_remote_code: bool = False,
    task: str | None = None,
    labels: object = None,
) -> Model:
    """The model of a name such as "gpt3-175b", sizes, a folder, a hub id, a config or a model.

    With the task "classification" it has a classifier's head with `labels`, as `load` takes them
    (default: as many as its config has). Raises `BaseModelError` for one that is not found, without
    sizes or with nonsense sizes. An architecture that is not in the table is built on torch's meta
    device, and `note` says so.
    """
    if isinstance(given, Model):
        return given
    name, config = _found(given)
    if task == "classification":
        config = {**config, LABELS: _labels(config, labels)}
    return _from_config(name, config)


def _labels(config: Mapping[str, Any], labels: object) -> int:
    """The number of a classifier's labels: those that are named, else the config's."""
    if labels is not None:
        return len(names_of(labels))
    named = config.get("id2label")
    return len(named) if named else int(config.get("num_labels", 2))


def _found(given: object) -> tuple[str, Mapping[str, Any]]:
    """What the model is called, and its config."""
    if isinstance(given, str | Path):
        return str(given), _by_name(str(given))
    if isinstance(given, Mapping):
        return str(given.get("model_type", "this config")), given
    if isinstance(getattr(given, "model_type", None), str) and hasattr(given, "to_dict"):
        return str(getattr(given, "name_or_path", "") or given.model_type), given.to_dict()
    raise BaseModelError(
        f"expected a model, a config, a folder, a hub id or sizes, got {type(given).__name__}; "
        "for example: %lora plan llama-3-8b"
    )


def _by_name(name: str) -> Mapping[str, Any]:
    from lora_magic.base import folder

    if name == DEMO:
        from lora_magic.demo import WEIGHTS

        return folder.checked_config(name, WEIGHTS / folder.CONFIG)
    path = path_of(name, "plan")
    if path.is_dir():
        return folder.checked_config(name, path / folder.CONFIG)
    if name.lower() in KNOWN:
        return KNOWN[name.lower()]
    if "=" in name:
        return from_sizes(name)
    raise BaseModelError(f"no model {name!r}.{near(name, KNOWN)}")


def _from_config(name: str, config: Mapping[str, Any]) -> Model:
    """The model of a config's values."""
    kind = config.get("model_type")
    _check(name, config)
    function = function_of(str(kind))
    if function is None:
        raise BaseModelError(f"{name} is a {kind!r} model, which is not known here.")
    model = function(config, name)
    return replace(
        model,
        stored=_stored(config),
        context=config.get(CONTEXT, model.context),
    )


def _stored(config: Mapping[str, Any]) -> str | None:
    """The number format of the checkpoint."""
    found = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    return _FORMATS.get(found)


def _check(name: str, config: Mapping[str, Any]) -> None:
    """Raise `BaseModelError` for a config without sizes, or with nonsense sizes."""
    if not _ANY.intersection(config):
        raise BaseModelError(
            f"{name}: config.json has no sizes; expected hidden_size, num_hidden_layers and so on. "
            "Give them, for example: %lora plan layers=32,width=4096"
        )
    for key, value in config.items():
        if key not in _SIZES or value is None:
            continue
        most = _MOST_LAYERS if key.endswith(_LAYERS) else _MOST
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= most:
            raise BaseModelError(
                f"{name}: {key} is {str(value)[:40]!r}, expected a whole number from 1 to "
                f"{most:,}. Correct config.json, or give sizes: %lora plan layers=32,width=4096"
            )
