"""The architectures that a plan knows without their code: model type → function of a config.

Each function takes a config's values as a mapping and gives the `Model`; defaults are those of
transformers' own config classes. Imports a family's file when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from lora_magic.cost.model import Model
from lora_magic.errors import BaseModelError

#: Model type → its family's file here, whose `FUNCTIONS` maps model types to functions.
FAMILIES: dict[str, str] = {
    **dict.fromkeys(["bloom", "falcon", "gpt2", "gpt_bigcode", "gpt_neox", "gptj", "opt"], "gpt"),
    **dict.fromkeys(
        [
            *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo2"),
            *("granite", "smollm3", "cohere", "stablelm", "phi", "phi3", "starcoder2"),
        ],
        "llama",
    ),
    **dict.fromkeys(["bert", "distilbert", "electra", "roberta", "xlm-roberta"], "bert"),
    "deberta-v2": "deberta",
    "bart": "bart",
    "t5": "t5",
    **dict.fromkeys(["deepseek_v3", "mixtral", "olmoe", "qwen2_moe", "qwen3_moe"], "experts"),
    **dict.fromkeys(["falcon_mamba", "mamba", "mamba2"], "mamba"),
    **dict.fromkeys(["bamba", "falcon_h1", "jamba"], "hybrid"),
}


def filled(
    config: Mapping[str, Any], defaults: Mapping[str, Any], names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A config's values, with `defaults` for those that are missing.

    `names` are second names of values, as in a config class's `attribute_map`; null beside a value
    of its own name says nothing.
    """
    found = {**defaults, **config}
    for name, own in (names or {}).items():
        if name in config and (config[name] is not None or own not in config):
            found[own] = config[name]
    return found


def sizes(
    layers: int, width: int, heads: int, kv: int | None, inner: int, words: int, context: int
) -> dict[str, int | None]:
    """The sizes of most decoders, by their names in a config."""
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": context,
    }


def head_size(name: str, width: int, heads: int) -> int:
    """The width of one of `heads`. Raises `BaseModelError` if they do not divide the width."""
    if width % heads:
        raise BaseModelError(
            f"{name}: a width of {width:,} is not a multiple of {heads} heads; expected, for "
            f"example, a width of {width - width % heads or heads:,}. Correct its sizes."
        )
    return width // heads


def counted(**values: object) -> None:
    """Raise `ValueError` for values that are no whole numbers from 1."""
    for name, value in values.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}, expected a whole number from 1")


def function_of(model_type: str) -> Callable[[Mapping[str, Any], str], Model] | None:
    """The function of a model type, called with a config's values and a name; None if unknown."""
    family = FAMILIES.get(model_type)
    if family is None:
        return None
    found: Callable[[Mapping[str, Any], str], Model] = importlib.import_module(
        f"{__name__}.{family}"
    ).FUNCTIONS[model_type]
    return found
