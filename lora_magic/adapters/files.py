"""An adapter's folder: the only place where its files are found, read and written.

A folder is read once, into a frozen `AdapterFiles`; it is written under a temporary name and
renamed, so that it appears complete or not at all. Pickles are never read. Knows files and JSON;
knows no model and does not interpret the contents.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_magic.base import hub
from lora_magic.errors import AdapterError, listed, near
from lora_magic.interrupts import undisturbed
from lora_magic.paths import quoted

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
CARD_FILE = "lora_magic.json"
PAGE_FILE = "README.md"

#: All files that a saved adapter's folder has.
ALL_FILES = (CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, PAGE_FILE)


@dataclass(frozen=True, eq=False)
class AdapterFiles:
    """The contents of an adapter's folder. `card` is empty if there is no lora_magic.json."""

    config: Any
    card: Any
    tensors: Mapping[str, Tensor]


def read(folder: Path) -> AdapterFiles:
    """Read a folder's config, card and tensors. Raises `AdapterError` for a file that is broken."""
    weights = folder / WEIGHTS_FILE
    try:
        tensors = load_file(str(weights))
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{weights} cannot be read: {error}") from error
    return AdapterFiles(_json(folder / CONFIG_FILE), read_card(folder), tensors)


def read_card(folder: Path) -> Any:
    """The contents of lora_magic.json; empty if there is none."""
    path = folder / CARD_FILE
    return _json(path, "; remove it to open the adapter without its card") if path.is_file() else {}


def _json(path: Path, remedy: str = "") -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path} cannot be read as JSON ({error}){remedy}.") from error


def write(files: AdapterFiles, page: str, folder: Path) -> int:
    """Write a folder, replacing an adapter that is there; returns its size in bytes.

    Raises `AdapterError` if the folder has other files than an adapter's, or cannot be written.
    """
    command = f"%lora save {files.card['name']} DIR"
    try:
        _refuse_other_files(folder, command)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            _write_all(files, page, new)
            _exchange(new, folder, Path(temporary) / "old")
    except OSError as error:
        raise AdapterError(
            f"{folder} cannot be written ({error}); choose another folder: {command}"
        ) from error
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _write_all(files: AdapterFiles, page: str, folder: Path) -> None:
    config = json.dumps(files.config, indent=2, sort_keys=True)
    card = json.dumps(files.card, indent=2, ensure_ascii=False)
    for name, text in ((CONFIG_FILE, config), (CARD_FILE, card + "\n"), (PAGE_FILE, page)):
        (folder / name).write_text(text, encoding="utf-8")
    # safetensors refuses tensors that share memory.
    apart = {key: value.detach().cpu().clone().contiguous() for key, value in files.tensors.items()}
    save_file(apart, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})


def _exchange(new: Path, folder: Path, old: Path) -> None:
    """Rename `new` to `folder`; the previous folder moves to `old`, and back if that fails."""
    with undisturbed():
        replaces = folder.exists()
        if replaces:
            folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:
            if replaces:
                old.rename(folder)
            raise


def _refuse_other_files(folder: Path, command: str) -> None:
    others = []
    if folder.is_dir():
        others = sorted(file.name for file in folder.iterdir() if file.name not in ALL_FILES)
    elif folder.exists():
        others = [folder.name]
    if others:
        raise AdapterError(
            f"{folder} has files that are not part of an adapter ({listed(others, 3)}), so it is "
            f"not replaced; choose another folder: {command}"
        )


def has_adapter(folder: Path) -> bool:
    """Is there an adapter's config in this folder?"""
    return (folder / CONFIG_FILE).is_file()


def saved_in(folder: Path) -> list[str]:
    """The names of the adapters' folders in a folder."""
    return sorted(config.parent.name for config in folder.glob(f"*/{CONFIG_FILE}"))


def find(given: Path, name: str, home: Path) -> Path:
    """The adapter's folder that `open` means: a path, one saved in `home`, or one from the hub.

    `name` is what was typed. Raises `AdapterError` unless it holds an adapter in safetensors.
    """
    folder = given
    if not given.exists() and hub.looks_like_hub_id(name):
        if (home / given).is_dir():
            folder = home / given
        elif "/" in name and not given.parent.is_dir():
            folder = hub.fetch_adapter(name, list(ALL_FILES))
    _check_files(folder, home)
    return folder


def _check_files(folder: Path, home: Path) -> None:
    if not folder.is_dir():
        parent = folder.parent if folder.parent.is_dir() else Path()
        beside, saved = saved_in(parent), saved_in(home)
        raise AdapterError(
            f"no folder {str(folder)!r}; adapters beside it: {listed(beside)}; "
            f"in {home}: {listed(saved)}.{near(folder.name, [*beside, *saved])} "
            "Type: %lora open DIR"
        )
    names = sorted(file.name for file in folder.iterdir())
    if CONFIG_FILE not in names and "config.json" in names:
        raise AdapterError(
            f"{folder} is a base model, not an adapter; type: %lora load {quoted(folder)}"
        )
    if CONFIG_FILE not in names:
        raise AdapterError(
            f"{folder} has no {CONFIG_FILE} (it has {listed(names, 4)}); expected a folder written "
            "by %lora save or by PEFT; type: %lora open DIR"
        )
    if WEIGHTS_FILE not in names:
        pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth"))]
        seen = f"{pickles[0]}, a pickle that can run code when it is read" if pickles else "none"
        raise AdapterError(f"{folder}: expected {WEIGHTS_FILE}, found {seen}.")
