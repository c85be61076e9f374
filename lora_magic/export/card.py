"""The card of an export: lora_magic.json and README.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lora_magic.adapters.files import CARD_FILE

from .folder import EXPORT, entry
from .job import Job
from .receipt import Check


def write(job: Job, folder: Path, check: Check | None, notes: Sequence[str]) -> None:
    """Write the card into a complete export, as its last file."""
    card = {
        EXPORT: entry(job.format, job.name, folder),
        "check": None if check is None else asdict(check),
        "notes": list(notes),
    }
    text = json.dumps(card, indent=2, ensure_ascii=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")
