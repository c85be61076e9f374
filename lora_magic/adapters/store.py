"""Saving an adapter to a folder, and opening one: read → plan → make, each step once.

Opening reads the files (`files`), decides what they describe (`formats.plan_of`), makes a fresh
adapter from that and writes the tensors into it after checking all of them (`attach`). Knows the
order of these steps; knows no session.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError

from . import card, files, formats
from .card import Card
from .live_adapter import LiveAdapter
from .slots import Slots


def save(base: BaseModel, slots: Slots, attached: LiveAdapter, folder: Path) -> int:
    """Write an adapter into `folder`, replacing an adapter that is there; returns its bytes.

    Raises `AdapterError` if the folder has other files than an adapter's.
    """
    config, tensors = formats.written(base, slots, attached)
    contents = files.AdapterFiles(config, card.fields_of(base, attached), tensors)
    return files.write(contents, card.page_of(base, attached), folder)


def read_card(folder: Path) -> Card:
    """The card in a folder; an empty one if there is none."""
    return card.card_of(files.read_card(folder), folder)


def other_adapter_in(folder: Path, attached: LiveAdapter) -> str:
    """The name of another adapter in a folder; empty if this one may be written there.

    It may be written into a folder without an adapter, into the one that it was opened from or
    saved to, and over an adapter of its own name: a notebook that is run again saves to the same
    folder. Raises `AdapterError` for a card that cannot be read.
    """
    if attached.saved_to == folder.resolve() or not files.has_adapter(folder):
        return ""
    name = read_card(folder).name
    return "" if name == attached.name else name or "an adapter"


def _card_of_config(config: Any) -> Card:
    """The base that PEFT's own config names, for a folder without a card."""
    named = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return Card(base=str(named or ""))


def read(
    base: BaseModel, slots: Slots, folder: Path, name: str, *, other_base: bool = False
) -> LiveAdapter:
    """An adapter from a folder, in PEFT's format or ours.

    Raises one `AdapterError` with every fault: a method that cannot be opened, tensors that do not
    fit this base, and another base unless `other_base`.
    """
    contents = files.read(folder)
    own = card.card_of(contents.card, folder)
    mismatch = "" if other_base else own.mismatch(base)
    try:
        attached = formats.make(
            base, slots, name, formats.plan_of(base, slots, name, contents, own.spec)
        )
    except AdapterError as error:
        faults = "; ".join(filter(None, (str(error).rstrip("."), mismatch)))
        made_for = own if own.base else _card_of_config(contents.config)
        raise AdapterError(f"open {folder}: {faults}. {made_for.remedy(base)}") from error
    if mismatch:
        raise AdapterError(
            f"open {folder}: {mismatch}. {own.remedy(base)} To open it on this base, add "
            "--allow-other-base."
        )
    attached.form = own.form
    attached.history = own.history or attached.history
    attached.run, attached.parents = dict(own.run), own.parents
    attached.source, attached.saved_to = str(folder), folder.resolve()
    return attached
