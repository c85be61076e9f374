"""Why a model cannot be a base, from its config or from transformers' error, and what helps.

Knows configs, transformers' tables of architectures and its messages; reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError

from lora_magic.errors import sentence
from lora_magic.paths import quoted

from . import classifier, hub

#: Libraries that transformers asks for one after the other, or names by no package.
_LIBRARIES = {"gptq": "optimum gptqmodel", "hqq": "hqq"}

#: The files that a tokenizer is read from.
TOKENIZER_FILES = frozenset(
    [
        *("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
        *("vocab.json", "vocab.txt", "tokenizer_config.json", "tekken.json"),
    ]
)

_IN_PYTHON = "Load model and tokenizer in Python, then type: %lora use model tokenizer"
_DEMO = "for example: %lora load demo"


def of_json(name: str, config: Mapping[str, Any]) -> str:
    """Why this config.json is not that of a transformers model; "" if transformers knows it."""
    from transformers import CONFIG_MAPPING, __version__

    kind = config.get("model_type")
    if "_diffusers_version" in config:
        return (
            f"{name} is a part of a diffusion pipeline ({config.get('_class_name')}); expected a "
            f"causal language model, {_DEMO}"
        )
    if kind is None and not config.get("auto_map"):
        return (
            f"{name}: config.json has no model_type, so its architecture is unknown; expected a "
            "model saved by transformers. Save or download the model again."
        )
    if kind in CONFIG_MAPPING or config.get("auto_map"):
        return ""
    return (
        f"{name} is a {kind!r} model, which transformers {__version__} does not know; if a newer "
        "one does, type: %pip install -U transformers, then restart the kernel."
    )


def of_config(name: str, config: Any, task: str) -> str:
    """Why a model of this config cannot be loaded for a task; "" if it can be."""
    import transformers as tables

    kind, named = type(config), _architecture(config)
    causal = kind in tables.MODEL_FOR_CAUSAL_LM_MAPPING
    sorts = kind in tables.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    own = getattr(config, "auto_map", None) or {}
    as_classifier = (
        f"; to classify texts with it, type: %lora load {quoted(name)} --task classification "
        "--labels negative,positive"
    )
    if task == "classification":
        if sorts or "AutoModelForSequenceClassification" in own:
            return ""
        remedy = f"type: %lora load {quoted(name)}" if causal else f"expected another, {_DEMO}"
        return f"{name} ({named}): transformers has no classifier of this architecture; {remedy}"
    if "AutoModelForCausalLM" in own or classifier.hint(name, config):
        return ""
    if getattr(config, "is_encoder_decoder", False):
        return (
            f"{name} ({named}) is an encoder-decoder, which is not supported; expected a causal "
            f"language model, {_DEMO}"
        )
    encoder = kind in tables.MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", 0)
    if encoder and not named.endswith(("ForCausalLM", "LMHeadModel")):
        end = as_classifier if sorts else f"; expected a causal language model, {_DEMO}"
        return f"{name} ({named}) is an encoder, which does not continue texts{end}"
    if causal:
        return ""
    if kind in tables.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return f"{name} ({named}) reads images too, so it is not loaded by name. {_in_python(name)}"
    end = as_classifier if sorts else f"; expected one, {_DEMO}"
    return f"{name} ({named}) is not a causal language model{end}"


def _in_python(name: str) -> str:
    return (
        f"In Python: model = transformers.AutoModelForImageTextToText.from_pretrained({name!r}); "
        f"tokenizer = transformers.AutoTokenizer.from_pretrained({name!r}); then type: "
        "%lora use model tokenizer"
    )


def _architecture(config: Any) -> str:
    found = getattr(config, "architectures", None)
    first = found[0] if isinstance(found, list) and found else None
    return first if isinstance(first, str) else str(getattr(config, "model_type", "unknown"))


def of_config_error(name: str, error: Exception, file: str) -> str:
    """The message for a config that transformers cannot read, in this file."""
    if out_of_memory(error) or "gated" in str(error).lower():
        return of_error(name, "causal", error)
    if "trust_remote_code" in str(error):
        return remote_code(name)
    # The name of a field is on the first line, its fault on the second.
    why = sentence(" ".join(str(error).split()) or type(error).__name__)
    return f"{name}: {file} cannot be read ({why}). Correct it, or download the model again."


def stored_format(config: Any) -> str:
    """The name of the format that a checkpoint is quantised in; "" if it is not."""
    stored: Any = getattr(config, "quantization_config", None)
    if stored is None:
        return ""
    found = stored if isinstance(stored, dict) else getattr(stored, "to_dict", dict)()
    method = found.get("quant_method") or "another format"
    return str(getattr(method, "value", method))


def of_error(name: str, task: str, error: Exception, stored: str = "") -> str:
    """The message for an error of transformers' loaders; `stored` is a checkpoint's format."""
    text = str(error)
    if "gated" in text.lower():
        return hub.gated(name)
    if "trust_remote_code" in text:
        return remote_code(name)
    if out_of_memory(error):
        return (
            f"{name} does not fit in memory ({sentence(error)}); add --bits 4, or choose another "
            "--device."
        )
    why = sentence(error)
    if stored:
        return f"{name} is stored in {stored} and cannot be loaded: {why}. {_library(stored, text)}"
    if packages := _packages(text):
        return f"{name} cannot be loaded: {why}. Type: %pip install {packages}"
    kind = "causal language model" if task == "causal" else "classifier"
    if isinstance(error, SafetensorError):
        return f"{name}: its weights cannot be read ({why}). Download them again."
    return f"{name} cannot be loaded as a {kind}: {why}. Correct config.json, or download it again."


def _library(stored: str, text: str) -> str:
    packages = _LIBRARIES.get(stored) or _packages(text)
    load = "load the original model, which is not quantised."
    if not packages:
        return load.capitalize()
    return f"Type: %pip install {packages}, then restart the kernel; or {load}"


def _packages(text: str) -> str:
    """What an error says to install, to type after %pip install; "" if it says nothing."""
    asked = re.search(r"pip install ([^`)]+)", text)
    if not asked:
        return ""
    words = re.sub(r"(-U|--upgrade) |['\"]", "", asked[1]).strip().rstrip(".")
    # A shell would read > as a file to write.
    return f'"{words}"' if re.search("[<>]", words) else words


def out_of_memory(error: BaseException) -> bool:
    """Is this an allocation that failed, on the CPU or on a GPU?"""
    named = type(error).__name__ in ("MemoryError", "OutOfMemoryError")
    return named or (isinstance(error, RuntimeError) and "not enough memory" in str(error))


def remote_code(name: str, code: str = "") -> str:
    """The message for a model with code of its own."""
    return (
        f"{name} contains its own code{code}; if you trust it, type: "
        f"%lora load {quoted(name)} --trust-remote-code"
    )


def of_tokenizer(name: str, error: Exception, has_files: bool) -> str:
    """The message for a tokenizer that cannot be read, or that is missing."""
    if "trust_remote_code" in str(error):
        return remote_code(name)
    if not has_files:
        return (
            f"{name} has no tokenizer (tokenizer.json); add it with "
            f"tokenizer.save_pretrained({name!r}). Without one: {_IN_PYTHON[0].lower()}"
            f"{_IN_PYTHON[1:]}"
        )
    return f"{name}: its tokenizer cannot be read ({sentence(error)}). {_IN_PYTHON}"
