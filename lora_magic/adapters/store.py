"""Adapters on disk: PEFT's folder for PEFT's methods, the same folder with our type for the rest.

A folder appears whole or not at all: it is written under a temporary name and renamed. Pickles
are never read. Knows folders; knows no session.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lora_magic.base import hub
from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError, listed, near
from lora_magic.interrupts import undisturbed
from lora_magic.paths import quoted

from . import bridge, card, formats
from .card import CARD_FILE, Card
from .live_adapter import LiveAdapter
from .slots import Slots
from .spec import seed_of

#: All that a saved adapter's folder holds.
_OURS = (CARD_FILE, bridge.CONFIG_FILE, bridge.WEIGHTS_FILE, "README.md")


def save(base: BaseModel, slots: Slots, attached: LiveAdapter, folder: Path) -> int:
    """Write an adapter into `folder`, replacing an adapter that is there; returns its bytes.

    Raises `AdapterError` when something else than an adapter is there.
    """
    try:
        strangers = _strangers(folder)
    except OSError as error:
        raise AdapterError(f"{folder} cannot be written ({error}); choose another.") from error
    if strangers:
        raise AdapterError(
            f"{folder} holds what is no part of an adapter ({listed(strangers, 3)}), so it is left "
            f"alone; choose another: %lora save {attached.name} DIR"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as room:
            written = Path(room) / "new"
            written.mkdir()
            formats.write(base, slots, attached, written)
            card.write(base, attached, written)
            _exchange(written, folder, Path(room) / "old")
    except OSError as error:
        raise AdapterError(
            f"{folder} cannot be written ({error}); choose another folder."
        ) from error
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _exchange(new: Path, folder: Path, old: Path) -> None:
    """Rename `new` to `folder`; what was there goes to `old`, and comes back if that fails."""
    with undisturbed():
        there = folder.exists()
        if there:
            folder.rename(old)
        try:
            new.rename(folder)
        except BaseException:
            if there:
                old.rename(folder)
            raise


def _strangers(folder: Path) -> list[str]:
    """What in a folder is not ours to replace: anything but the files that `save` writes."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        return [folder.name]
    return sorted(file.name for file in folder.iterdir() if file.name not in _OURS)


def another_in(folder: Path, attached: LiveAdapter) -> str:
    """What another adapter in a folder is called; empty where this one may be written there.

    It may where there is none, where it came from or was written to, and over an adapter of its own
    name: a notebook that is run again saves where it saved. Raises `AdapterError` for a card that
    cannot be read.
    """
    if attached.saved_to == folder.resolve() or not (folder / bridge.CONFIG_FILE).is_file():
        return ""
    name = card.read(folder).name
    return "" if name == attached.name else name or "an adapter"


def saved_in(room: Path) -> list[str]:
    """The names of the adapters' folders in a folder."""
    return sorted(config.parent.name for config in room.glob(f"*/{bridge.CONFIG_FILE}"))


def read(
    base: BaseModel, slots: Slots, folder: Path, name: str, *, other_base: bool = False
) -> LiveAdapter:
    """An adapter from a folder, ours or anybody's in PEFT's format.

    Raises `AdapterError`, with all that is wrong in one, for a method that cannot be opened, for
    tensors that do not fit this base, and for one that was made for another base, unless
    `other_base`.
    """
    try:
        state = load_file(str(folder / bridge.WEIGHTS_FILE))
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{folder / bridge.WEIGHTS_FILE} cannot be read: {error}") from error
    told = card.read(folder)
    strange = "" if other_base else told.strangeness(base)
    try:
        attached = _built(base, slots, folder, name, told, state)
    except AdapterError as error:
        faults = f"{str(error).rstrip('.')}; {strange}" if strange else str(error).rstrip(".")
        way_out = told.way_out(base) if told.base else _peft_way_out(base, folder)
        raise AdapterError(f"open {folder}: {faults}. {way_out}") from error
    if strange:
        raise AdapterError(
            f"open {folder}: {strange}. {told.way_out(base)} To open it all the same, add "
            "--allow-other-base."
        )
    attached.form = told.form
    attached.history = told.history or attached.history
    attached.run, attached.parents = dict(told.run), told.parents
    attached.source = str(folder)
    attached.saved_to = folder.resolve()
    return attached


def _built(
    base: BaseModel,
    slots: Slots,
    folder: Path,
    name: str,
    told: Card,
    state: Mapping[str, Tensor],
) -> LiveAdapter:
    seed = seed_of(name) if told.spec is None else told.spec.seed
    attached = formats.read(base, slots, folder, name, told.spec, seed, state)
    if told.spec is not None and told.spec.targets:
        attached.spec = replace(attached.spec, targets=told.spec.targets)
    return attached


def _peft_way_out(base: BaseModel, folder: Path) -> str:
    """The base that PEFT's own config names, for a folder without a card of ours."""
    try:
        fields: Any = json.loads((folder / bridge.CONFIG_FILE).read_text(encoding="utf-8"))
        made_for = str(fields.get("base_model_name_or_path") or "")
    except (OSError, ValueError, AttributeError):
        made_for = ""
    return Card(base=made_for).way_out(base)


def folder_of(given: Path, name: str, home: Path) -> Path:
    """The folder that `open` means: a path, one saved at home, or one fetched from the hub."""
    if given.exists() or not hub.looks_like_hub_id(name):
        return given
    if (home / given).is_dir():
        return home / given
    if "/" in name and not given.parent.is_dir():
        return hub.fetch_adapter(name, list(_OURS))
    return given


def check_folder(folder: Path, home: Path) -> None:
    """Raise `AdapterError` unless the folder holds an adapter without pickles.

    `home` is where adapters are saved by default, for the message to name what is there.
    """
    if not folder.is_dir():
        parent = folder.parent if folder.parent.is_dir() else Path()
        beside, saved = saved_in(parent), saved_in(home)
        raise AdapterError(
            f"no folder {str(folder)!r}; adapters beside it: {listed(beside)}; "
            f"in {home}: {listed(saved)}.{near(folder.name, [*beside, *saved])} "
            "Type: %lora open DIR"
        )
    files = sorted(file.name for file in folder.iterdir())
    if bridge.CONFIG_FILE not in files:
        if "config.json" in files:
            raise AdapterError(
                f"{folder} holds a base model, no adapter; type: %lora load {quoted(folder)}"
            )
        raise AdapterError(
            f"{folder} holds no adapter (no {bridge.CONFIG_FILE}; seen: {listed(files, 4)}). Type: "
            "%lora open DIR with a folder that %lora save, or PEFT, has written"
        )
    if bridge.WEIGHTS_FILE not in files:
        pickles = [file for file in files if file.endswith((".bin", ".pt", ".pth"))]
        seen = f"{pickles[0]}, a pickle that can run code when it is read" if pickles else "none"
        raise AdapterError(f"{folder}: expected {bridge.WEIGHTS_FILE}, saw {seen}.")
