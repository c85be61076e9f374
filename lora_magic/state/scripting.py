"""Writes the script that makes an adapter: checks, file names, and the files, all or none.

Knows the session's state and files; the export room knows what is in a script.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.errors import ExportError
from lora_magic.export.script.made import parts
from lora_magic.export.script.notebook import notebook
from lora_magic.export.script.script import Script, heading, notes, program
from lora_magic.export.script.source import About
from lora_magic.paths import path_of, quoted

from .session_state import SessionState

_PROGRAM, _NOTEBOOK = ".py", ".ipynb"


def script(
    state: SessionState,
    name: str | None,
    file: str | Path | None,
    *,
    cells: bool,
    replace: bool,
) -> Script:
    """Write the script of an adapter into `file`, with `cells` as a notebook.

    Raises `StateError` while something is merged or several adapters are active, `ExportError` for
    an adapter that no plain script can make, and for a file that is there, unless `replace`.
    """
    _refuse_a_file(state, name)
    attached = state.named_or_active(name, "script")
    state.refuse_while_merged("script")
    _refuse_untrained(attached)
    path = _file(attached.name, file, cells)
    about = About(state.base, state.slots.shapes, path.stem, path.parent)
    _ = about.source
    found = parts(about, attached.name, attached.steps)
    first = heading(about, attached.name, attached.steps)
    text = program(first, found)
    files = {path.name: notebook(first, found) if path.suffix == _NOTEBOOK else text}
    for part in found:
        files |= part.files
    _write(path.parent, files, replace)
    sizes = tuple((one, len(content.encode())) for one, content in files.items())
    told = notes(about, attached.steps)
    return Script(attached.name, path, sizes, found, text, told)


def _refuse_a_file(state: SessionState, name: str | None) -> None:
    if isinstance(name, str) and name.endswith((_PROGRAM, _NOTEBOOK)) and not state.empty:
        known = next((n for n in (Path(name).stem, state.active) if n in state.attached), "NAME")
        raise ExportError(
            f"script: {name} is the name of a file, and the adapter's comes first; type: "
            f"%lora script {known} {quoted(name)}"
        )


def _refuse_untrained(attached: LiveAdapter) -> None:
    if attached.steps:
        return
    name = attached.name
    if attached.history.ready:
        raise ExportError(
            f"script: how {name} was made is not known in this session; save it, and open that: "
            f"%lora save {name}"
        )
    raise ExportError(
        f"script: {name} is not trained, so there is nothing to write; type: %%lora_train {name}"
    )


def _file(name: str, file: str | Path | None, cells: bool) -> Path:
    """The file to write; raises `ExportError` for one that cannot be."""
    path = path_of(f"{name}{_NOTEBOOK if cells else _PROGRAM}" if file is None else file, "script")
    wanted = _NOTEBOOK if cells or path.suffix == _NOTEBOOK else _PROGRAM
    if path.suffix != wanted:
        raise ExportError(
            f"script: {path}: expected a file that ends in {wanted}, for example "
            f"%lora script {name} {quoted(path.with_suffix(wanted))}{' --notebook' * cells}"
        )
    if not path.parent.is_dir():
        raise ExportError(f"script: {path}: there is no folder {path.parent}; make it first")
    if wanted == _PROGRAM and _is_library(path):
        other = path.with_name(f"train_{path.name}")
        raise ExportError(
            f"script: {path} would be imported in place of the library {path.stem}; name another "
            f"file: %lora script {name} {quoted(other)}"
        )
    return path


def _is_library(file: Path) -> bool:
    """Would programs in the file's folder import it in place of a library?"""
    own = {Path().resolve(), file.parent.resolve()}
    spec = PathFinder.find_spec(file.stem, [p for p in sys.path if Path(p).resolve() not in own])
    # A folder without __init__.py has no origin, and gives way to the file anyway.
    return file.stem in sys.stdlib_module_names or (spec is not None and spec.origin is not None)


def _write(folder: Path, files: Mapping[str, str], replace: bool) -> None:
    """Write all files or none; raises `ExportError`."""
    there = [name for name in files if os.path.lexists(folder / name)]
    if there and not replace:
        raise ExportError(
            f"script: {folder / there[0]} is there already; add --replace to overwrite it, or name "
            "another file"
        )
    if odd := next((name for name in there if not (folder / name).is_file()), None):
        raise ExportError(f"script: {folder / odd} is no file; name another one")
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".lora_magic-") as made:
            work = Path(made)
            for name, content in files.items():
                (work / name).write_text(content, encoding="utf-8", newline="\n")
            # The program last: what it reads is there then.
            for name in reversed(list(files)):
                os.replace(work / name, folder / name)
    except OSError as error:
        raise ExportError(
            f"script: {folder} cannot be written ({error.strerror or error}); name a file in "
            "another folder"
        ) from error
