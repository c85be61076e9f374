"""Saving an adapter to a folder, and opening one: read → plan → make, each step once.

Opening reads the files (`files`), decides what they describe (`formats.plan_of`), makes a fresh
adapter from that and writes the tensors into it after checking all of them (`attach`). Knows the
order of these steps; knows no session.
"""

from __future__ import annotations

import re
from pathlib import Path

from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError

from . import attach, card, files, formats
from .card import Card
from .live_adapter import LiveAdapter
from .slots import Slots

#: The end of a message for whoever typed a flag of `attach`, not for whoever opens a file.
_FOR_A_FLAG = re.compile(r", for example --\S+ [\d.]*\d")


def save(base: BaseModel, slots: Slots, attached: LiveAdapter, folder: Path) -> int:
    """Write an adapter into `folder`, replacing an adapter that is there; returns its bytes.

    Raises `AdapterError` if the folder has other files than an adapter's.
    """
    config, tensors = formats.written(base, slots, attached)
    contents = files.AdapterFiles(config, card.fields_of(base, attached), tensors)
    written, mark = files.write(contents, card.page_of(base, attached), folder)
    attached.saved_to, attached.saved_as = folder.resolve(), mark
    return written


def is_saved(attached: LiveAdapter) -> bool:
    """Is the adapter's current state still in the folder that it was saved to or opened from?"""
    return is_saved_as(attached.saved_to, attached.saved_as)


def is_saved_as(folder: Path | None, mark: files.Mark | None) -> bool:
    """Are the adapter's files in the folder as they were when it was saved or opened?"""
    return folder is not None and mark is not None and files.is_unchanged(folder, mark)


def read_card(folder: Path) -> Card:
    """The card in a folder; an empty one if there is none."""
    return card.card_of(files.read_card(folder), folder)


def other_adapter_in(folder: Path, attached: LiveAdapter) -> str:
    """The name of another adapter in a folder; empty if this one may be written there.

    It may be written into a folder without an adapter, into the one that it was opened from or
    saved to, and over an adapter of its own name: a notebook that is run again saves to the same
    folder. Raises `AdapterError` for a card that cannot be read.
    """
    files.recover(folder)
    if not files.has_adapter(folder):
        return ""
    if attached.saved_to == folder.resolve() and is_saved(attached):
        return ""
    name = read_card(folder).name
    return "" if name == attached.name else name or "without a name"


def read(
    base: BaseModel, slots: Slots, folder: Path, name: str, *, other_base: bool = False
) -> LiveAdapter:
    """An adapter from a folder, in PEFT's format or ours.

    Raises one `AdapterError` with every fault: a method that cannot be opened, tensors that do not
    fit this base, and another base unless `other_base`.
    """
    contents = files.read(folder)
    own, faults = Card(), [*contents.faults]
    try:
        own = card.card_of(contents.card, folder)
    except AdapterError as error:
        faults.append(str(error))
    mismatch = "" if other_base else own.mismatch(base)
    faults += own.form_faults(base)
    made, plan = None, None
    try:
        plan = formats.plan_of(base, slots, name, contents, own.spec)
        made = formats.make(base, slots, name, plan)
    except AdapterError as error:
        faults.append(str(error))
    if plan is None:
        faults += attach.faults_of_values(contents.tensors)
    told = "; ".join(fault.rstrip(".") for fault in filter(None, [*faults, mismatch]))
    told = _FOR_A_FLAG.sub("", told)
    if told:
        # The base is a cause only if all else was in order.
        made_for = own if own.base else card.of_config(contents.config)
        ends = made_for.remedy(base) if plan is not None and (mismatch or made is None) else ""
        ends += " To open it on this base, add --allow-other-base." if mismatch and made else ""
        raise AdapterError(f"open {folder}: {told}. {ends}".rstrip())
    assert made is not None  # otherwise there is a fault
    made.form = own.form
    made.history = own.history or made.history
    made.run, made.parents = dict(own.run), own.parents
    made.source, made.saved_to, made.saved_as = str(folder), folder.resolve(), contents.mark
    return made
