"""An unfinished sweep in the home folder: `sweeps/NAME`, what `--resume` goes on from.

It has each arm's summary and, for the arms that may go on, the snapshot and the weights; of the
rows only a hash. It is replaced in one step after each rung, and removed when the sweep ends. Knows
folders and records; knows no session and no step of a run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lora_magic import reading
from lora_magic.adapters.files import read_tensors
from lora_magic.adapters.replace import leftovers, locked, replace, settle
from lora_magic.errors import AdapterError, CommandError, TrainingError
from lora_magic.training import checkpoint
from lora_magic.training.progress import Snapshot
from lora_magic.training.summary import RunSummary

from .checkpoints import CheckpointWarning

FOLDER = "sweeps"
STATE_FILE, TENSORS_FILE = "sweep.json", "sweep.safetensors"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class KeptArm:
    """What an arm has done: `rung` counts the rungs that it finished.

    An arm that may go on has `weights`, and a `snapshot` unless its run is at its end.
    """

    rung: int = 0
    summary: RunSummary | None = None
    snapshot: Snapshot | None = None
    weights: dict[str, Tensor] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Kept:
    """A sweep so far. `flags` and `data` (a hash) say which sweep it is; `steps` is the length of a
    run that a time limit has chosen, None if none did."""

    flags: dict[str, str]
    data: str
    base: str
    steps: int | None
    seconds: float
    arms: tuple[KeptArm, ...]
    format: int = _FORMAT

    def refuse_another(self, name: str, now: Kept) -> None:
        """Raise `TrainingError` with all that differs in the sweep that is to go on."""
        faults = []
        if self.base != now.base:
            faults.append(f"the base's weights differ ({self.base} was, {now.base} is)")
        if self.data != now.data:
            faults.append(f"the rows differ (sha256 {self.data[:12]} was, {now.data[:12]} is)")
        for flag in sorted(self.flags.keys() | now.flags.keys()):
            was, given = (one.flags.get(flag, "not given")[:60] for one in (self, now))
            if was != given:
                faults.append(f"{flag} was {was}, is {given}")
        if not faults and len(self.arms) != len(now.arms):
            faults.append(f"it had {len(self.arms)} arms, and there are {len(now.arms)}")
        if faults:
            raise TrainingError(
                f"{name}: the sweep differs from that to resume: {'; '.join(faults)}. Type what "
                "was, or run the cell without --resume."
            )


class Store:
    """The folder of one sweep. An error of the disk costs the copy, and is told once."""

    def __init__(self, home: Path, name: str) -> None:
        self.written = False
        self._name, self._folder, self._warned = name, home.absolute() / FOLDER / name, False

    def write(self, kept: Kept) -> None:
        """Replace what is there."""
        self.written = False
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._folder, 0):
                settle(self._folder, _is_whole)
                if self._folder.exists() and not _is_ours(self._folder):
                    raise OSError("it has other files than a sweep's")
                replace(self._folder, lambda new: _fill(new, kept))
            self.written = True
        except (OSError, SafetensorError, MemoryError) as error:
            self._warn(error)

    def read(self) -> Kept:
        """What is there. Raises `CommandError` if nothing is, `TrainingError` if it is damaged."""
        with suppress(OSError, ValueError):
            if leftovers(self._folder):
                with locked(self._folder, 0):
                    settle(self._folder, _is_whole)
        if not (self._folder / STATE_FILE).is_file():
            raise CommandError(
                f"{self._name}: there is no sweep to resume; run the cell without --resume."
            )
        try:
            return _read(self._folder)
        except (OSError, ValueError, AdapterError, RecursionError) as error:
            raise TrainingError(
                f"{self._folder} cannot be resumed ({str(error)[:300].rstrip('.')}); run the cell "
                "without --resume."
            ) from error

    def remove(self) -> None:
        """Remove it, and what a killed process left of one."""
        with suppress(OSError):
            if not self._folder.parent.is_dir():
                return
            with locked(self._folder, 0):
                for leftover in leftovers(self._folder):
                    shutil.rmtree(leftover, ignore_errors=True)
                if self._folder.exists() and _is_ours(self._folder):
                    shutil.rmtree(self._folder)
            self._folder.parent.rmdir()

    def _warn(self, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        with warnings.catch_warnings():
            warnings.simplefilter("always", CheckpointWarning)
            warnings.warn(
                f"{self._name}: what --resume needs could not be written to {self._folder} "
                f"({reason}); the sweep goes on without. Make room, or choose another home: "
                "%lora load MODEL --home DIR",
                CheckpointWarning,
                stacklevel=2,
            )


def _fill(folder: Path, kept: Kept) -> None:
    tensors: dict[str, Tensor] = {}
    values = checkpoint.packed(kept, tensors)
    # Arms may share a tensor's memory, which safetensors refuses to write.
    save_file(
        {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()},
        str(folder / TENSORS_FILE),
    )
    text = json.dumps({"kept": values, "sha256": _sum(folder / TENSORS_FILE)})
    (folder / STATE_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / TENSORS_FILE).chmod((folder / STATE_FILE).stat().st_mode & 0o777)


def _read(folder: Path) -> Kept:
    values = reading.read_json(folder / STATE_FILE)
    if not isinstance(values, dict) or not isinstance(values.get("kept"), dict):
        raise ValueError(f"{STATE_FILE}: expected an object")
    if values["kept"].get("format") != _FORMAT:
        raise ValueError(f"format {values['kept'].get('format')!r:.40}, expected {_FORMAT}")
    if values.get("sha256") != _sum(folder / TENSORS_FILE):
        raise ValueError("its files are not of one sweep")
    tensors: Mapping[str, Tensor] = read_tensors(folder / TENSORS_FILE)
    return checkpoint.record(Kept, values["kept"], tensors)


def _is_whole(folder: Path) -> bool:
    try:
        _read(folder)
    except (OSError, ValueError, AdapterError, RecursionError):
        return False
    return True


def _is_ours(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    return {path.name for path in folder.iterdir()} <= {STATE_FILE, TENSORS_FILE}


def _sum(path: Path) -> str:
    reading.bytes_of(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
