"""PEFT's folder: adapter_config.json and adapter_model.safetensors.

Knows files and configs; knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from lora_magic.errors import AdapterError, listed

from .configs import KINDS, foreign_parts
from .library import peft, translated

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


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
    if kind not in KINDS:
        raise AdapterError(
            f"{folder} holds a {kind} adapter; expected one of {listed(sorted(KINDS))}."
        )
    with translated(f"open {folder}"):
        config = peft.PeftConfig.from_pretrained(str(folder))
    faults = foreign_parts(config)
    if faults:
        raise AdapterError(f"{folder}: {'; '.join(faults)}, which cannot be opened here.")
    return config
