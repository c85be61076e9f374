"""The sha256 of every file of the embedded model: written by the factory, verified before loading.

Knows files; does not import torch, so that a damaged file is found before torch loads.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from lora_magic.errors import BaseModelError

NAME = "SHA256SUMS"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_checksums(folder: Path) -> None:
    """Write `SHA256SUMS` over all other files of `folder`, in the format of `sha256sum`."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != NAME)
    lines = [f"{_digest(path)}  {path.name}\n" for path in files]
    (folder / NAME).write_text("".join(lines))


def verify_checksums(folder: Path) -> None:
    """Raise `BaseModelError` naming every file that is missing or differs from `SHA256SUMS`."""
    listing = folder / NAME
    if not listing.is_file():
        raise BaseModelError(
            f"the embedded model is not in {folder}: {NAME} is missing. "
            "Reinstall; in a clone, type: pip install --force-reinstall --no-deps ."
        )
    faults = []
    for line in listing.read_text().splitlines():
        expected, name = line.split(maxsplit=1)
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif (seen := _digest(path)) != expected:
            faults.append(f"{name} has sha256 {seen[:12]}…, expected {expected[:12]}…")
    if faults:
        raise BaseModelError(
            f"the embedded model in {folder} is damaged: {'; '.join(faults)}. "
            "Reinstall; in a clone, type: pip install --force-reinstall --no-deps ."
        )
