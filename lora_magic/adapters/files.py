"""An adapter's folder: the only place where its files are found, read and written.

A folder is read into a frozen `AdapterFiles`, and read again if somebody replaced it meanwhile; it
is written whole or not at all (`replace`). Pickles are never read, only regular files are, and only
what fits in memory. Knows files and JSON; knows no model and does not interpret the contents.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_magic import reading
from lora_magic.base import hub
from lora_magic.errors import AdapterError, listed, near
from lora_magic.numbers import size
from lora_magic.paths import quoted

from .replace import BusyError, complete, leftovers, locked, name_of, parents, replace, settle

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
CARD_FILE = "lora_magic.json"
PAGE_FILE = "README.md"

#: All files that a saved adapter's folder has.
ALL_FILES = (CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, PAGE_FILE)

#: The card's field with the sha256 of the files that were written with it.
SUMS = "sha256"

#: The files that make an adapter; README.md is for people, who may edit it.
_PARTS = (CARD_FILE, CONFIG_FILE, WEIGHTS_FILE)

#: The most that the list of tensors in a safetensors file may take: 100,000 tensors take 15 MB.
_HEADER_BYTES = 32_000_000

_TRIES = 3


@dataclass(frozen=True)
class Mark:
    """How a folder's files were at one moment: (name, inode, bytes, ns), and their sha256."""

    stats: tuple[tuple[str, int, int, int], ...]
    sums: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class AdapterFiles:
    """The contents of an adapter's folder. `card` is empty if there is no lora_magic.json.

    `faults` are those of files that do not belong together; `mark` is None before it is written.
    """

    config: Any
    card: Any
    tensors: Mapping[str, Tensor]
    faults: tuple[str, ...] = ()
    mark: Mark | None = None


# Reading


def read(folder: Path) -> AdapterFiles:
    """Read a folder's config, card and tensors, all of one save.

    Raises `AdapterError` for a file that is broken, is not a regular file or does not fit in
    memory, and for a folder that another process keeps replacing.
    """
    for _ in range(_TRIES):
        before = _stats(folder)
        try:
            found = _read(folder, before)
        except AdapterError:
            if _stats(folder) == before:
                raise
            continue
        if _stats(folder) == before:
            return found
    raise AdapterError(
        f"{folder} is being written by another process; try again when it has finished: "
        f"%lora open {quoted(folder)}"
    )


def _read(folder: Path, stats: tuple[tuple[str, int, int, int], ...]) -> AdapterFiles:
    config, card = _json(folder / CONFIG_FILE), read_card(folder)
    tensors = read_tensors(folder / WEIGHTS_FILE)
    mark = Mark(stats, _sums(folder))
    recorded = card.get(SUMS) if isinstance(card, dict) else None
    expected = recorded.get(WEIGHTS_FILE) if isinstance(recorded, dict) else None
    faults: tuple[str, ...] = ()
    if expected not in (None, mark.sums[_PARTS.index(WEIGHTS_FILE)]):
        faults = (
            f"its {WEIGHTS_FILE} is not the file that was saved with its {CARD_FILE} (half a copy, "
            f"or edited); copy the folder again, or remove {CARD_FILE} to open it without its card",
        )
    return AdapterFiles(config, card, tensors, faults, mark)


def read_tensors(path: Path, most: int | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file of at most `most` bytes (default: the free memory).

    Raises `AdapterError` for a file that is broken, larger, or not a regular file.
    """
    try:
        total, free = reading.bytes_of(path), reading.free_memory()
        if most is not None and total > most:
            raise reading.UnreadableError(f"it has {size(total)}, expected at most {size(most)}")
        if free is not None and total > free:
            raise reading.UnreadableError(f"it has {size(total)}, and {size(free)} is free")
        with open(path, "rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(_HEADER_BYTES, total - 8):
            raise reading.UnreadableError(
                f"its list of tensors has {header:,} bytes, expected at most "
                f"{max(0, min(_HEADER_BYTES, total - 8)):,}"
            )
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        # safetensors raises RuntimeError for a file that is gone.
        raise AdapterError(f"{path} cannot be read: {error}") from error


def read_card(folder: Path) -> Any:
    """The contents of lora_magic.json; empty if there is none."""
    path = folder / CARD_FILE
    if not os.path.lexists(path):
        return {}
    return _json(path, "; remove it to open the adapter without its card")


def _json(path: Path, remedy: str = "") -> Any:
    try:
        return reading.read_json(path)
    except reading.UnreadableError as error:
        raise AdapterError(f"{path} cannot be read as JSON ({error}){remedy}.") from error


# What a folder holds


def _stats(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    found = []
    for name in _PARTS:
        try:
            seen = (folder / name).stat()
        except (OSError, ValueError):
            continue
        found.append((name, seen.st_ino, seen.st_size, seen.st_mtime_ns))
    return tuple(found)


def _sums(folder: Path) -> tuple[str, ...]:
    return tuple(sha256(folder / name) for name in _PARTS)


def sha256(path: Path) -> str:
    """The sha256 of a regular file; empty if there is none."""
    try:
        reading.bytes_of(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def is_unchanged(folder: Path, mark: Mark) -> bool:
    """Does a folder still hold what it held at that moment?

    Only if its files were touched, their contents are read: a copy or a drive can change times.
    """
    stats = _stats(folder)
    if stats == mark.stats:
        return True
    sizes = [(name, count) for name, _, count, _ in stats]
    same = sizes == [(name, count) for name, _, count, _ in mark.stats]
    return same and _sums(folder) == mark.sums


def is_whole(folder: Path) -> bool:
    """Did a save to this folder finish? Its card, written last, has the weights' sha256."""
    try:
        recorded = read_card(folder)[SUMS][WEIGHTS_FILE]
    except (AdapterError, KeyError, TypeError):
        return False
    return bool(recorded) and sha256(folder / WEIGHTS_FILE) == recorded


# Writing


def write(files: AdapterFiles, page: str, folder: Path) -> tuple[int, Mark]:
    """Write a folder, replacing an adapter that is there; returns its size in bytes and its mark.

    A symbolic link is followed. Raises `AdapterError` if the folder has anything but an adapter
    that %lora save or PEFT wrote, or cannot be written.
    """
    command = f"%lora save {files.card['name']} DIR"
    with _told(folder, "written", f"choose another folder: {command}"):
        target = folder.resolve()
        with parents(target, command, AdapterError), locked(target):
            settle(target, is_whole)
            _refuse_other_files(target, command)
            replace(target, lambda new: _write_all(files, page, new))
            mark = Mark(_stats(target), _sums(target))
        return sum((target / name).stat().st_size for name in ALL_FILES), mark


@contextmanager
def _told(folder: Path, what: str, remedy: str) -> Iterator[None]:
    """Every error of the file system as one line."""
    try:
        yield
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        # Not the paths of the error, which are those of temporary files.
        reason = getattr(error, "strerror", None) or error
        remedy = f"; {remedy}" if not isinstance(error, BusyError) else ""
        raise AdapterError(f"{folder} cannot be {what} ({reason}){remedy}") from error


def _write_all(files: AdapterFiles, page: str, folder: Path) -> None:
    write_parts(files.config, files.tensors, folder)
    (folder / PAGE_FILE).write_text(page, encoding="utf-8")
    sums = {name: sha256(folder / name) for name in (CONFIG_FILE, WEIGHTS_FILE, PAGE_FILE)}
    card = json.dumps({**files.card, SUMS: sums}, indent=2, ensure_ascii=False)
    (folder / CARD_FILE).write_text(card + "\n", encoding="utf-8")


def write_parts(config: Any, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write an adapter's config and weights, and nothing else, into a folder."""
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    # safetensors refuses tensors that share memory.
    apart = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    save_file(apart, str(folder / WEIGHTS_FILE), metadata={"format": "pt"})
    # safetensors creates files for their owner alone; these are files like any other.
    (folder / WEIGHTS_FILE).chmod((folder / CONFIG_FILE).stat().st_mode & 0o777)


def _refuse_other_files(folder: Path, command: str) -> None:
    """Raise `AdapterError` unless the folder is empty or has an adapter, and nothing else."""
    names = []
    if folder.is_dir():
        names = sorted(file.name for file in folder.iterdir())
    elif os.path.lexists(folder):
        raise AdapterError(f"{folder} is a file, not a folder; choose another folder: {command}")
    others = [name for name in names if name not in ALL_FILES]
    if others:
        raise AdapterError(
            f"{folder} has files that are not part of an adapter ({listed(others, 3)}), so it is "
            f"not replaced; choose another folder: {command}"
        )
    foreign = _foreign(folder, names) if names else ""
    if foreign:
        raise AdapterError(
            f"{folder} has {foreign}, so it is not replaced; move it, or choose another folder: "
            f"{command}"
        )


def _foreign(folder: Path, names: list[str]) -> str:
    """What in a folder nobody's save wrote, in words; empty for an adapter of ours or of PEFT's."""
    try:
        config = _json(folder / CONFIG_FILE)
        kind = config.get("peft_type") if isinstance(config, dict) else None
        if not isinstance(kind, str) or WEIGHTS_FILE not in names:
            raise AdapterError("no adapter")
        # The list of tensors is read, not the tensors.
        reading.bytes_of(folder / WEIGHTS_FILE)
    except (AdapterError, reading.UnreadableError):
        return f"{listed(names)} and no complete adapter"
    try:
        card = read_card(folder)
    except AdapterError:
        card = None
    if isinstance(card, dict) and "export" in card:
        return "an export for other programs"
    if CARD_FILE in names and not (isinstance(card, dict) and "spec" in card):
        return f"a {CARD_FILE} that %lora save did not write"
    if PAGE_FILE in names and not _is_generated(folder / PAGE_FILE, card or {}):
        return f"a {PAGE_FILE} that somebody wrote or edited"
    return ""


def _is_generated(page: Path, card: dict[str, Any]) -> bool:
    """Is a README.md exactly what %lora save or PEFT wrote?"""
    try:
        text = reading.read_text(page)
    except reading.UnreadableError:
        return False
    sums = card.get(SUMS)
    if isinstance(sums, dict) and PAGE_FILE in sums:
        return bool(sums[PAGE_FILE] == sha256(page))
    if "- lora_magic\n" in text.partition("\n---")[0]:
        return True  # of a version that recorded no sha256
    from huggingface_hub import ModelCard, ModelCardData

    body = text.partition("\n---\n")[2].partition("### Framework versions")[0]
    template: str = ModelCard.from_template(ModelCardData()).text
    return body.split() == template.split()


# Finding


def has_adapter(folder: Path) -> bool:
    """Is there an adapter's config in this folder?"""
    return os.path.isfile(folder / CONFIG_FILE)


def saved_in(folder: Path) -> list[str]:
    """The names of the adapters' folders in a folder, with those that a killed save left whole."""
    here = {config.parent.name for config in folder.glob(f"[!.]*/{CONFIG_FILE}")}
    left = {
        name_of(found.parent)
        for found in folder.glob(".*-????????/*")
        if found.name in ("new", "old") and complete(found.parent, is_whole)
    }
    return sorted(here | left)


def recover(folder: Path) -> None:
    """Put back what a killed save left beside a folder that is not there, or remove it.

    Raises `AdapterError` if it cannot be put back; the line to type opens it where it is.
    """
    try:
        if not leftovers(folder):
            return
        if folder.exists():
            # Tidying up: not worth a wait or an error.
            with locked(folder.resolve(), 0):
                settle(folder.resolve(), is_whole)
            return
    except (OSError, ValueError):
        return
    found = [complete(leftover, is_whole) for leftover in leftovers(folder)]
    there = next((path for path in found if path is not None), None)
    remedy = f"a save of it was interrupted; type: %lora open {quoted(there)} {folder.name}"
    with _told(folder, "put back", remedy if there else "save it again: %lora save NAME DIR"):
        target = folder.resolve()
        with locked(target):
            settle(target, is_whole)


def find(given: Path, name: str, home: Path) -> Path:
    """The adapter's folder that `open` means: a path, one saved in `home`, or one from the hub.

    `name` is what was typed. Raises `AdapterError` unless it holds an adapter in safetensors.
    """
    with _told(given, "opened", "type: %lora open DIR"):
        folder = given
        recover(given)
        if not given.exists() and hub.looks_like_hub_id(name):
            recover(home / given)
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
