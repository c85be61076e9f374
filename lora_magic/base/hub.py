"""Checks a model on the hub before it is downloaded, and explains why it cannot be loaded.

Knows huggingface_hub and its errors; loads no weights. The token is that of the hub's own library
(HF_TOKEN, or its login).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from lora_magic import reading
from lora_magic.errors import AdapterError, BaseModelError
from lora_magic.paths import quoted

from . import folder

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_TIMEOUT = 10.0
#: The most that a model's card may hold to be read.
_CARD_BYTES = 1_000_000
_LOGIN = "set HF_TOKEN, or run: from huggingface_hub import login; login()"


def looks_like_hub_id(name: str) -> bool:
    """Whether this is `model` or `organisation/model`, in the hub's letters."""
    return _HUB_ID.fullmatch(name) is not None


def is_cached(model_id: str) -> bool:
    """Whether the hub's local cache has this model's config."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model_id, "config.json"), str)


def check(model_id: str) -> tuple[bool, list[str]]:
    """Whether the hub can be reached, and the model's files; raises for one that cannot be loaded.

    Returns False and no files if only the hub's local cache has the model. Raises
    `BaseModelError` for a model that does not exist, is gated, is not a transformers model, or has
    only pickled weights.
    """
    from huggingface_hub import HfApi, get_token

    try:
        info = HfApi().model_info(model_id, timeout=_TIMEOUT)
    except Exception as error:
        if _is_unreachable(error) and is_cached(model_id):
            return False, []
        if (refusal := _refusal(error, "model", model_id, "%lora load demo")) is None:
            raise
        raise BaseModelError(refusal) from error
    files = [sibling.rfilename for sibling in info.siblings or []]
    refuse_files(model_id, files)
    if info.gated and get_token() is None and not is_cached(model_id):
        raise BaseModelError(gated(model_id))
    return True, files


def small_files(model_id: str, local: bool) -> folder.Contents:
    """The config of a model on the hub, after its JSON files were fetched and checked.

    Raises `BaseModelError` for a file that cannot be used, and for an index that names anything but
    safetensors files.
    """
    from huggingface_hub import snapshot_download

    names = [folder.CONFIG, folder.INDEX, *folder.OBJECTS]
    try:
        found = Path(snapshot_download(model_id, allow_patterns=names, local_files_only=local))
    except Exception as error:
        if (refusal := _refusal(error, "model", model_id, "%lora load demo")) is None:
            raise
        raise BaseModelError(refusal) from error
    if (found / folder.INDEX).exists():
        folder.shards_by_key(model_id, found / folder.INDEX)
    return folder.Contents(folder.checked_config(model_id, found / folder.CONFIG))


def config_file(model_id: str, offline: str) -> Path:
    """config.json of a model on the hub: that of the local cache, else downloaded alone.

    `offline` is the command that works without the hub. Raises `BaseModelError` for a model that
    does not exist, is gated or has no config.json, and if the hub cannot be reached.
    """
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
    )

    try:
        cached = try_to_load_from_cache(model_id, folder.CONFIG)
        if isinstance(cached, str):
            return Path(cached)
        # A download tries again and again if the hub cannot be reached; this asks once.
        HfApi().model_info(model_id, timeout=_TIMEOUT)
        return Path(hf_hub_download(model_id, folder.CONFIG, etag_timeout=_TIMEOUT))
    except Exception as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise BaseModelError(
                f"{model_id} has no config.json; expected a model saved by transformers. By sizes, "
                f"type: {offline}"
            ) from error
        if (refusal := _refusal(error, "model", model_id, offline)) is None:
            raise
        more = f" Without it, type: {offline}" if isinstance(error, GatedRepoError) else ""
        raise BaseModelError(refusal + more) from error


def license_of(source: str) -> dict[str, str]:
    """What a model's card says of its license: `license`, and its name and link if it has any.

    `source` is a folder or a hub id, which is asked for once; {} without a card, without the hub,
    and for a card that cannot be read.
    """
    from huggingface_hub import HfApi, ModelCard

    card: Any = None
    try:
        if Path(source).is_dir():
            text = reading.read_text(Path(source, "README.md"), _CARD_BYTES)
            card = ModelCard(text, ignore_metadata_errors=True).data
        else:
            card = HfApi().model_info(source, timeout=_TIMEOUT).card_data
        values = card.to_dict() if card else {}
    except Exception:  # noqa: BLE001  (a stranger's YAML can fail anywhere; a license is optional)
        return {}
    found = {name: values.get(name) for name in ("license", "license_name", "license_link")}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}


def gated(name: str) -> str:
    """The message for a gated repository."""
    return f"{name} is gated: accept its terms on its hub page, then {_LOGIN}; then try again."


def _is_unreachable(error: Exception) -> bool:
    """Whether the hub could not be asked: httpx and requests have their own base classes."""
    from huggingface_hub.errors import RepositoryNotFoundError

    network = type(error).__module__.startswith(("httpx", "httpcore", "requests"))
    refused = isinstance(error, RepositoryNotFoundError)
    return not refused and (network or isinstance(error, OSError | RuntimeError))


def _refusal(error: Exception, kind: str, name: str, offline: str) -> str | None:
    """The message for an error of the hub's library; None for any other error.

    `kind` is "model" or "adapter"; `offline` is the command that works without the hub.
    """
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return gated(name)
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return (
            f"no {kind} {name!r} on the hub, and no folder of that name; expected a folder or "
            f"organisation/{kind}. If it is private: {_LOGIN}."
        )
    if _is_unreachable(error):
        return (
            f"no folder {name!r} in {os.getcwd()}, and the hub cannot be reached "
            f"({type(error).__name__}). Offline, type: {offline}"
        )
    return None


def refuse_files(name: str, files: list[str]) -> None:
    """Raise `BaseModelError` for files that are not a transformers model in safetensors."""
    tops = {file for file in files if "/" not in file}
    if "model_index.json" in tops:
        raise BaseModelError(
            f"{name} is a diffusion pipeline (model_index.json); expected a causal language model, "
            "for example: %lora load demo"
        )
    if "config.json" not in tops and "adapter_config.json" in tops:
        raise BaseModelError(
            f"{name} is an adapter, not a base model; load its base, then type: %lora open "
            f"{quoted(name)}"
        )
    packed = sorted(file for file in tops if file.endswith(".gguf"))
    if packed and not any(file.endswith(".safetensors") for file in tops):
        raise BaseModelError(
            f"{name} has {packed[0]} and no safetensors: GGUF is a format for inference. Load "
            "the model that it was made from."
        )
    if "config.json" not in tops:
        raise BaseModelError(
            f"{name} has no config.json; expected a model saved by transformers "
            "(model.save_pretrained and tokenizer.save_pretrained). Type: %lora load FOLDER"
        )
    if not any(file.endswith(".safetensors") for file in tops):
        pickles = sorted(f for f in tops if f.endswith((".bin", ".pt", ".pth", ".ckpt")))
        seen = ", ".join(pickles[:2]) or "no weights"
        raise BaseModelError(
            f"{name} has {seen} and no safetensors: a pickle can run code when it is read. "
            "Convert it: model.save_pretrained(folder, safe_serialization=True)"
        )


def fetch_adapter(adapter_id: str, files: list[str]) -> Path:
    """The folder in the hub's cache with these files of an adapter, downloaded if necessary.

    Raises `AdapterError` if it does not exist, is gated, or is neither reachable nor cached.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(adapter_id, allow_patterns=files))
    except Exception as error:
        if (refusal := _refusal(error, "adapter", adapter_id, "%lora open DIR")) is None:
            raise
        raise AdapterError(refusal) from error
