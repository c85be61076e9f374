"""Adapters on disk: PEFT's folder, readable by plain PEFT, with a card of our own beside it.

A folder appears whole or not at all: it is written under a temporary name and renamed. Pickles
are never read. Knows folders; knows no session.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from lora_magic.base.model import BaseModel
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import AdapterError, listed, near

from . import attach, bridge
from .attached import Attached, History
from .slots import Slots
from .spec import seed_of

CARD_FILE = "lora_magic.json"


def save(base: BaseModel, slots: Slots, attached: Attached, folder: Path) -> int:
    """Write an adapter into `folder`, replacing an adapter that is there; returns its bytes.

    Raises `AdapterError` when something else than an adapter is there.
    """
    if folder.exists() and not _replaceable(folder):
        raise AdapterError(
            f"{folder} exists and is no adapter's folder, so it is left alone; "
            f"choose another: %lora save {attached.name} DIR"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as room:
            written = Path(room) / "new"
            bridge.save(attached.wrapper, slots, attached.replacements, written)
            card = json.dumps(_card(base, attached), indent=2, ensure_ascii=False)
            (written / CARD_FILE).write_text(card + "\n", encoding="utf-8")
            if folder.exists():
                folder.rename(Path(room) / "old")
            written.rename(folder)
    except OSError as error:
        raise AdapterError(
            f"{folder} cannot be written ({error}); choose another folder."
        ) from error
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and (
        (folder / bridge.CONFIG_FILE).is_file() or not any(folder.iterdir())
    )


def _card(base: BaseModel, attached: Attached) -> dict[str, Any]:
    return {
        "base": {"name": base.name, "fingerprint": base.fingerprint.digest},
        "spec": asdict(attached.spec),
        "prompt_form": asdict(attached.form) if attached.form else None,
        "history": asdict(attached.history),
        "peft": bridge.VERSION,
    }


def read(base: BaseModel, slots: Slots, folder: Path, name: str) -> Attached:
    """An adapter from PEFT's folder, ours or anybody's.

    Raises `AdapterError` for a missing folder, a pickle, another method than plain LoRA, and
    tensors that do not fit this base.
    """
    _refuse_folder(folder)
    config = bridge.read_config(folder)
    try:
        state = load_file(str(folder / bridge.WEIGHTS_FILE))
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{folder / bridge.WEIGHTS_FILE} cannot be read: {error}") from error
    card = _read_card(folder)
    seed = int(card.get("spec", {}).get("seed", seed_of(name)))
    attached = attach.restore(base, slots, name, config, state, seed)
    attached.form = _form(card.get("prompt_form"))
    attached.history = History(**card["history"]) if card.get("history") else History()
    if targets := card.get("spec", {}).get("targets"):
        attached.spec = _with_targets(attached, str(targets))
    attached.source = str(folder)
    attached.saved = True
    return attached


def _with_targets(attached: Attached, targets: str) -> Any:
    from dataclasses import replace

    return replace(attached.spec, targets=targets)


def _refuse_folder(folder: Path) -> None:
    if not folder.is_dir():
        parent = folder.parent if folder.parent.is_dir() else Path()
        here = sorted(p.parent.name for p in parent.glob(f"*/{bridge.CONFIG_FILE}"))
        raise AdapterError(
            f"no folder {str(folder)!r}; adapters beside it: {listed(here)}."
            f"{near(folder.name, here)} Type: %lora open DIR"
        )
    files = sorted(file.name for file in folder.iterdir())
    if bridge.CONFIG_FILE not in files:
        what = "a base model: %lora load" if "config.json" in files else "no adapter"
        raise AdapterError(
            f"{folder} holds {what} (no {bridge.CONFIG_FILE}; seen: {listed(files, 4)})."
        )
    if bridge.WEIGHTS_FILE not in files:
        pickles = [file for file in files if file.endswith((".bin", ".pt", ".pth"))]
        seen = f"{pickles[0]}, a pickle that can run code when it is read" if pickles else "none"
        raise AdapterError(f"{folder}: expected {bridge.WEIGHTS_FILE}, saw {seen}.")


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD_FILE
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AdapterError(f"{path} cannot be read ({error}); remove it to go on.") from error
    return card if isinstance(card, dict) else {}


def _form(fields: Mapping[str, Any] | None) -> PromptForm | None:
    if not fields:
        return None
    return PromptForm(**{**fields, "stop_ids": tuple(fields["stop_ids"])})
