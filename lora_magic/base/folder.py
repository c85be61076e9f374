"""A base's folder is checked before transformers reads it: kinds of files, JSON, shards, sizes.

transformers would wait at a named pipe, open a pickle that an index names, and allocate whatever
sizes a config claims. Knows folders, JSON and safetensors' headers; loads no weights.

A symbolic link is followed, since people link weights and the hub's cache is made of links. A shard
that an index names must be a plain name in the folder itself.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lora_magic import reading
from lora_magic.errors import BaseModelError, listed, sentence
from lora_magic.numbers import size
from lora_magic.paths import exists, quoted

CONFIG = "config.json"
ANSWERS = "generation_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

#: The JSON objects that transformers reads beside the config, where they exist.
OBJECTS = (
    ANSWERS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "processor_config.json",
    "preprocessor_config.json",
    "chat_template.json",
)

#: The largest number that counts layers or labels: a config lists each before anything is built.
_MOST = 10_000

_COUNTS = ("layer", "layers", "depth", "num_labels")

_AGAIN = "Save or download the model again."


@dataclass(frozen=True)
class Contents:
    """What a folder's files say: the config as JSON, and how many tensors and weights they hold.

    `weights` is 0 where it is not known.
    """

    config: Mapping[str, Any]
    tensors: int = 0
    weights: int = 0


def check(name: str, folder: Path) -> Contents:
    """Check every file that transformers may read. Raises `BaseModelError` for the first fault."""
    for file in sorted([*folder.iterdir(), *folder.glob("additional_chat_templates/*")]):
        _refuse_special(name, file)
    config = checked_config(name, folder / CONFIG)
    for part in OBJECTS:
        if (folder / part).exists():
            _object(name, folder / part)
    _refuse_outside(name, folder)
    tensors = weights = 0
    for file in weight_files(name, folder, config.get("transformers_weights")):
        _refuse_pointer(name, file)
        for count in _sizes(name, file):
            tensors, weights = tensors + 1, weights + count
    return Contents(config, tensors, weights)


def checked_config(name: str, path: Path) -> Mapping[str, Any]:
    """The config as JSON. Raises `BaseModelError` if it is none that transformers can be given."""
    config = _object(name, path)
    code = config.get("auto_map") or {}
    if not isinstance(code, dict):
        raise _wrong(name, "auto_map", code, "an object that names classes")
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key, value in part.items():
            if isinstance(value, int) and key.lower().endswith(_COUNTS) and value > _MOST:
                raise _wrong(name, key, value, f"at most {_MOST:,}")
    named = config.get("transformers_weights")
    if named is not None and not _is_plain(named, ".safetensors", ".safetensors.index.json"):
        raise _wrong(name, "transformers_weights", named, "a safetensors file in the folder")
    kind = config.get("model_type")
    if kind is not None and not isinstance(kind, str):
        raise _wrong(name, "model_type", kind, "text")
    return config


def kernels(config: Mapping[str, Any]) -> list[str]:
    """The repositories on the hub from which a config takes code for its layers.

    transformers would download them, and needs no permission for that.
    """
    found: list[str] = []
    for key, value in config.items():
        inner = value.values() if isinstance(value, dict) else [value]
        if key.endswith("_implementation"):
            found += [text for text in inner if isinstance(text, str) and "/" in text]
        elif isinstance(value, dict):
            found += kernels(value)
    return found


def _wrong(name: str, key: str, value: object, expected: str) -> BaseModelError:
    return BaseModelError(
        f"{name}: config.json has {key} {str(value)[:40]!r}, expected {expected}. Correct it, or "
        "download the model again."
    )


def weight_files(name: str, folder: Path, named: str | None = None) -> list[Path]:
    """The safetensors files that transformers would read, each once; a config may have `named` one.

    Raises `BaseModelError` for an index that names anything else than a file in the folder.
    """
    first = next((f for f in (named, WEIGHTS, INDEX) if f and (folder / f).exists()), None)
    if first is None:
        return []
    if not first.endswith(".json"):
        return [folder / first]
    shards = sorted(set(shards_by_key(name, folder / first).values()))
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise BaseModelError(
            f"{name}: {first} names {listed(missing, 2)}, which is not in the folder. Download the "
            "missing files, or save the model again."
        )
    return [folder / shard for shard in shards]


def shards_by_key(name: str, index: Path) -> dict[str, str]:
    """The file of each tensor, by an index.

    Raises `BaseModelError` for anything but a plain name of a safetensors file.
    """
    entries = _object(name, index).get("weight_map")
    if not isinstance(entries, dict) or not entries:
        raise BaseModelError(
            f"{name}: {index.name} has no weight_map; expected a file for each tensor. {_AGAIN}"
        )
    odd = [shard for shard in entries.values() if not _is_plain(shard, ".safetensors")]
    if odd:
        raise BaseModelError(
            f"{name}: {index.name} names {str(odd[0])[:60]!r}; expected *.safetensors files inside "
            f"the folder only. {_AGAIN}"
        )
    return entries


def _is_plain(named: object, *endings: str) -> bool:
    """Is this the name of a file with one of these endings, without a folder?"""
    text = isinstance(named, str) and not {"/", "\\", "\0", ":"} & set(named)
    return text and str(named).endswith(endings)


def _refuse_outside(name: str, folder: Path) -> None:
    """Raise `BaseModelError` if tokenizer_config.json names a file elsewhere, which is then read.

    One that does not exist is left: old files name those of the machine that wrote them.
    """
    path = folder / "tokenizer_config.json"
    named = _object(name, path) if path.exists() else {}
    for key, value in named.items():
        path_like = key.endswith("_file") and isinstance(value, str) and not _is_plain(value, "")
        if path_like and exists(folder / value):
            raise BaseModelError(
                f"{name}: tokenizer_config.json has {key} {value!r}, expected a file in the "
                "folder. Remove that entry, or save the tokenizer again."
            )


def _refuse_special(name: str, file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except OSError:
        return  # A link to nothing is a missing file for transformers as well.
    if stat.S_ISDIR(mode):
        if file.suffix in (".json", ".safetensors"):
            raise BaseModelError(f"{name}: {file.name} is a folder, expected a file. {_AGAIN}")
        return
    try:
        found = reading.bytes_of(file)
    except reading.UnreadableError as error:
        raise BaseModelError(f"{name}: {file.name} is not read: {error}. {_AGAIN}") from error
    if file.suffix in (".json", ".jinja", ".txt", ".model") and found > reading.JSON_BYTES:
        raise BaseModelError(
            f"{name}: {file.name} has {size(found)}, expected at most {size(reading.JSON_BYTES)}. "
            f"{_AGAIN}"
        )


def _refuse_pointer(name: str, file: Path) -> None:
    """Raise `BaseModelError` for a git-lfs pointer in place of the weights."""
    with file.open("rb") as opened:
        if opened.read(20).startswith(b"version https://git"):
            raise BaseModelError(
                f"{name}: {file.name} is a git-lfs pointer, not the weights; in that folder "
                "type: git lfs pull"
            )


def _object(name: str, path: Path) -> dict[str, Any]:
    try:
        # Mamba's configs contain Infinity.
        found = reading.read_json(path, finite=False)
    except reading.UnreadableError as error:
        raise BaseModelError(f"{name}: {path.name} cannot be read ({error}). {_AGAIN}") from error
    if not isinstance(found, dict):
        raise BaseModelError(
            f"{name}: {path.name} holds {_kind(found)}, expected a JSON object. {_AGAIN}"
        )
    return found


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a single value")


def _sizes(name: str, file: Path) -> list[int]:
    """The number of weights in each tensor of a safetensors file, from its header."""
    try:
        with safe_open(file, framework="pt") as opened:
            found = []
            for key in opened.keys():  # noqa: SIM118 - it is no dict
                count = 1
                for side in opened.get_slice(key).get_shape():
                    count *= side
                found.append(count)
            return found
    except (SafetensorError, OSError) as error:
        raise BaseModelError(
            f"{name}: {file.name} cannot be read ({sentence(error)}). Download it again, or save "
            "the model again."
        ) from error


def adapter_beside(files: list[str], name: str) -> str:
    """A remark on an adapter beside the model, which is not loaded; or ""."""
    if "adapter_config.json" not in files:
        return ""
    if "adapter_model.safetensors" not in files:
        return "an adapter without safetensors lies beside it and is not loaded"
    return f"an adapter lies beside it and is not loaded; to open it: %lora open {quoted(name)}"
