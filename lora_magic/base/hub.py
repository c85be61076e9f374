"""Looks at a model on the hub before anything is downloaded, and says what stands in the way.

Knows huggingface_hub and its errors; loads no weights. The token is the one that the hub's own
library finds (HF_TOKEN, or its login).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from lora_magic.errors import AdapterError, BaseModelError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_TIMEOUT = 10.0
_LOGIN = "set HF_TOKEN, or run: from huggingface_hub import login; login()"


def looks_like_hub_id(name: str) -> bool:
    """Is this `model` or `organisation/model`, in the hub's letters?"""
    return _HUB_ID.fullmatch(name) is not None


def is_cached(model_id: str) -> bool:
    """Does the hub's cache on this machine hold this model's config?"""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model_id, "config.json"), str)


def check(model_id: str) -> bool:
    """Whether the hub can be asked for this model; refuses what could not be loaded.

    Returns False when the hub is out of reach but its cache here holds the model. Raises
    `BaseModelError` for a model that is not there, is gated, is no transformers model, or has
    weights as pickles only.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
    )

    try:
        info = HfApi().model_info(model_id, timeout=_TIMEOUT)
    except GatedRepoError as error:
        raise BaseModelError(_gated(model_id)) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BaseModelError(
            f"no model {model_id!r} on the hub, and no folder of that name; "
            f"expected demo, a folder or organisation/model. If it is private: {_LOGIN}."
        ) from error
    except (OSError, RuntimeError) as error:
        return _unreached(model_id, error)
    # httpx and requests, whichever the hub's library uses, keep their own trees of errors.
    except Exception as error:
        if not type(error).__module__.startswith(("httpx", "httpcore", "requests")):
            raise
        return _unreached(model_id, error)
    _refuse_unloadable(model_id, info)
    return True


def _unreached(model_id: str, error: Exception) -> bool:
    if is_cached(model_id):
        return False
    raise BaseModelError(
        f"{model_id!r} is neither demo nor a folder in {os.getcwd()}, and the hub cannot be "
        f"reached ({type(error).__name__}); offline, type: %lora load demo."
    ) from error


def _gated(model_id: str) -> str:
    return (
        f"{model_id} is gated: accept its terms at its page on the hub, then {_LOGIN}, "
        f"and type %lora load {model_id} again."
    )


def _refuse_unloadable(model_id: str, info: Any) -> None:
    from huggingface_hub import get_token

    files = [sibling.rfilename for sibling in info.siblings or []]
    refuse_files(model_id, files)
    if info.gated and get_token() is None and not is_cached(model_id):
        raise BaseModelError(_gated(model_id))


def refuse_files(name: str, files: list[str]) -> None:
    """Refuse a list of files that is no transformers model in safetensors."""
    tops = {file for file in files if "/" not in file}
    if "model_index.json" in tops:
        raise BaseModelError(
            f"{name} is a diffusion pipeline (model_index.json); expected a causal language model, "
            "for example: %lora load demo."
        )
    if "config.json" not in tops and "adapter_config.json" in tops:
        raise BaseModelError(
            f"{name} is an adapter, not a base model; load its base, then type: %lora open {name}"
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
            "Convert it: model.save_pretrained(folder, safe_serialization=True)."
        )


def fetch_adapter(adapter_id: str, files: list[str]) -> Path:
    """A folder of the hub's cache with the files of an adapter; weights as safetensors only.

    Raises `AdapterError` for one that is not there, is gated, or cannot be reached and is not in
    the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(adapter_id, allow_patterns=files))
    except GatedRepoError as error:
        raise AdapterError(
            f"{adapter_id} is gated: accept its terms at its page on the hub, then {_LOGIN}."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise AdapterError(
            f"no adapter {adapter_id!r} on the hub, and no folder of that name. "
            f"If it is private: {_LOGIN}."
        ) from error
    except (LocalEntryNotFoundError, OSError, RuntimeError) as error:
        raise AdapterError(
            f"{adapter_id!r} is no folder in {os.getcwd()}, and the hub cannot be reached "
            f"({type(error).__name__}); type: %lora open DIR"
        ) from error
