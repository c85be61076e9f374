"""Adapters on disk: PEFT's folder, readable by plain PEFT, with a card of our own beside it.

A folder appears whole or not at all: it is written under a temporary name and renamed. Pickles
are never read. Knows folders; knows no session.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from lora_magic.base.model import LIVE, BaseModel
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import AdapterError, listed, near
from lora_magic.interrupts import undisturbed
from lora_magic.paths import quoted

from . import attach, bridge
from .attached import Attached, History
from .slots import Slots
from .spec import seed_of

CARD_FILE = "lora_magic.json"

#: All that a saved adapter's folder holds.
_OURS = (CARD_FILE, bridge.CONFIG_FILE, bridge.WEIGHTS_FILE, "README.md")


def save(base: BaseModel, slots: Slots, attached: Attached, folder: Path) -> int:
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
            bridge.save(attached.wrapper, slots, attached.replacements, written)
            card = json.dumps(_card(base, attached), indent=2, ensure_ascii=False)
            (written / CARD_FILE).write_text(card + "\n", encoding="utf-8")
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


def _card(base: BaseModel, attached: Attached) -> dict[str, Any]:
    return {
        "base": {"name": base.name, "fingerprint": base.fingerprint.digest},
        "spec": asdict(attached.spec),
        "prompt_form": asdict(attached.form) if attached.form else None,
        "history": asdict(attached.history),
        "peft": bridge.VERSION,
    }


def saved_in(room: Path) -> list[str]:
    """The names of the adapters' folders in a folder."""
    return sorted(config.parent.name for config in room.glob(f"*/{bridge.CONFIG_FILE}"))


def read(base: BaseModel, slots: Slots, folder: Path, name: str) -> Attached:
    """An adapter from PEFT's folder, ours or anybody's.

    Raises `AdapterError` for a pickle, another method than plain LoRA, and tensors that do not
    fit this base.
    """
    config = bridge.read_config(folder)
    try:
        state = load_file(str(folder / bridge.WEIGHTS_FILE))
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{folder / bridge.WEIGHTS_FILE} cannot be read: {error}") from error
    card = _read_card(folder)
    seed = seed_of(name) if card.seed is None else card.seed
    made_for = card.base or str(getattr(config, "base_model_name_or_path", None) or "")
    try:
        attached = attach.restore(base, slots, name, config, state, seed)
    except AdapterError as error:
        same = card.fingerprint == base.fingerprint.digest
        raise AdapterError(f"open {folder}: {error} {_whose(base, made_for, same)}") from error
    attached.form = card.form
    attached.history = card.history or attached.history
    if card.targets:
        attached.spec = replace(attached.spec, targets=card.targets)
    attached.source = str(folder)
    attached.saved_to = folder.resolve()
    return attached


def _whose(base: BaseModel, made_for: str, same: bool) -> str:
    if same:
        return "It was made for this base, so its config and its weights disagree: save it again."
    if made_for == LIVE:
        return "It was made for a live model: use that one first."
    if made_for and made_for != base.name:
        return f"It was made for {made_for}; type: %lora load {quoted(made_for)}"
    return "Load the base that it was trained on."


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
            f"{folder} holds no adapter (no {bridge.CONFIG_FILE}; seen: {listed(files, 4)})."
        )
    if bridge.WEIGHTS_FILE not in files:
        pickles = [file for file in files if file.endswith((".bin", ".pt", ".pth"))]
        seen = f"{pickles[0]}, a pickle that can run code when it is read" if pickles else "none"
        raise AdapterError(f"{folder}: expected {bridge.WEIGHTS_FILE}, saw {seen}.")


@dataclass(frozen=True)
class _Card:
    """What `lora_magic.json` says beside PEFT's files; empty where there is none."""

    base: str = ""
    fingerprint: str = ""
    seed: int | None = None
    targets: str = ""
    form: PromptForm | None = None
    history: History | None = None


def _read_card(folder: Path) -> _Card:
    path = folder / CARD_FILE
    if not path.is_file():
        return _Card()
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        base, spec = fields.get("base") or {}, fields.get("spec") or {}
        form, history = fields.get("prompt_form"), fields.get("history")
        return _Card(
            base=str(base.get("name", "")),
            fingerprint=str(base.get("fingerprint", "")),
            seed=int(spec["seed"]) if "seed" in spec else None,
            targets=str(spec.get("targets", "")),
            form=PromptForm(**{**form, "stop_ids": tuple(form["stop_ids"])}) if form else None,
            history=History(**history) if history else None,
        )
    # A card written by another hand can be wrong in every way; all of them mean the same.
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AdapterError(f"{path} cannot be read ({error}); remove it to go on.") from error
