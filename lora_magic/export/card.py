"""What an export's folder says of itself: lora_magic.json for programs, README.md for people.

Both may be published: they name no folder of this computer, and have no prompt and no row. A
receipt keeps how many prompts were asked and how far their answers differ; their texts are only in
the record that the notebook shows. Knows an export and its folder; knows no session and no hub.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lora_magic.adapters import card as adapter_card
from lora_magic.adapters.files import CARD_FILE, PAGE_FILE, SUMS, sha256
from lora_magic.base import DEMO, hub
from lora_magic.base.model import BaseModel

from .folder import EXPORT, entry, files_of
from .job import Job
from .page import page_of
from .receipt import Check

#: Where a command names the export's folder, which differs from computer to computer.
FOLDER = "FOLDER"

#: A whole path, up to its last part.
_PATH = re.compile(r"""(?<![\w/:.~\\])(?:~?/|[A-Za-z]:\\)(?:[^\s'"/\\]+[/\\])*([^\s'"/\\]+)""")


def write(
    job: Job,
    folder: Path,
    check: Check | None,
    notes: Sequence[str] = (),
    commands: Sequence[tuple[str, str]] = (),
) -> None:
    """Write lora_magic.json and README.md into a folder that has all of its other files.

    `check` is None for an export that was not read back. `commands` may name the folder, or one
    beside it.
    """
    values = _without_paths(fields_of(job, check, notes), job.base)
    values[EXPORT] |= entry(job.format, job.name, folder)
    # While it is written, the folder is in a temporary one; a base's export will be beside it.
    typed = [
        (what, line.replace(str(folder), FOLDER).replace(f"{folder.parent}{os.sep}", ""))
        for what, line in commands
    ]
    base = hub_id_of(job.base)
    known = hub.license_of(job.base.source) if job.base.source and not is_demo(job.base) else {}
    page = page_of(values, base, known, _without_paths(typed, job.base))
    (folder / PAGE_FILE).write_text(page, encoding="utf-8")
    values[SUMS] = {name: sha256(folder / name) for name, _ in files_of(folder)}
    text = json.dumps(values, indent=2, ensure_ascii=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


# What is said


def fields_of(job: Job, check: Check | None, notes: Sequence[str]) -> dict[str, Any]:
    """The contents of lora_magic.json, but for the files' sha256.

    The layout is that of an adapter's card, so that `open` reads prompt form and history. What was
    attached is under `settings`, not `spec`: the written factors can have another rank and scale,
    which PEFT's own config gives.
    """
    base, attached = job.base, job.attached
    named = {**adapter_card.base_fields(base), "name": public_name(base), "hub": hub_id_of(base)}
    values: dict[str, Any] = {"name": job.name, "base": named}
    if attached is not None:
        values["settings"] = asdict(attached.spec)
        values["history"] = asdict(attached.history)
        values["run"] = attached.run
        values["parents"] = list(attached.parents)
    values["prompt_form"] = None if job.form is None else asdict(job.form)
    values["versions"] = adapter_card.versions()
    values[EXPORT] = {
        "format": job.format,
        **asdict(job.options),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "notes": list(notes),
        "receipt": None if check is None else receipt_of(check),
    }
    return values


def receipt_of(check: Check) -> dict[str, Any]:
    """What reading it back gave, without the prompts' texts; `differs` counts prompts from 1."""
    differs = [
        {"prompt": number, "same": one.same, "token": one.differs_at, "why": one.why}
        for number, one in enumerate(check.prompts, 1)
        if one.why or not one.same
    ]
    return {
        "reader": check.reader,
        "measure": check.measure,
        "prompts": len(check.prompts),
        "same": check.same,
        "tokens": sum(one.tokens for one in check.prompts),
        "difference": check.difference,
        "worst": check.worst,
        "limit": check.limit,
        "differs": differs,
        "notes": list(check.notes),
    }


# What is not said


def is_demo(base: BaseModel) -> bool:
    """Is it the embedded model?"""
    return base.name == DEMO


def hub_id_of(base: BaseModel) -> str:
    """The base's id on the hub; "" for a folder, the embedded model and an unnamed live model.

    For live objects it is the name that transformers keeps in their config, as in PEFT's files.
    """
    name = base.source or base.name
    live = base.source is None and "/" not in name
    if is_demo(base) or live or not hub.looks_like_hub_id(name) or Path(name).exists():
        return ""
    return name


def public_name(base: BaseModel) -> str:
    """A base's name without the folder that it is in."""
    return hub_id_of(base) or re.split(r"[/\\]", base.name.rstrip("/\\"))[-1] or base.name


def places(base: BaseModel) -> tuple[tuple[str, str], ...]:
    """Folders of this computer that text could name, and what may be said instead."""
    folder = base.source if base.source and Path(base.source).is_dir() else None
    found = [(str(Path(folder).resolve()), public_name(base))] if folder else []
    found += [(str(Path.cwd()), "."), (str(Path.home()), "~")]
    return tuple((place, name) for place, name in found if len(place) > 1)


def _without_paths(values: Any, base: BaseModel) -> Any:
    """The same JSON values with the last part of every whole path, but for the prompt form's."""
    if isinstance(values, Mapping):
        return {
            key: value if key == "prompt_form" else _without_paths(value, base)
            for key, value in values.items()
        }
    if isinstance(values, list | tuple):
        return type(values)(_without_paths(value, base) for value in values)
    if not isinstance(values, str):
        return values
    # First the places that may have a space in them, which would end a path.
    for place, name in places(base):
        values = values.replace(place, name)
    return _PATH.sub(lambda found: found[1], values)
