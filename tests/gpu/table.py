"""The rows of the script for a GPU: their registry, what they share, how they are run and printed.

Knows torch and the clock; knows no session and no row.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch

NEEDS_GPU = "needs a GPU"
_WORKSPACES = 2**27


@dataclass(frozen=True)
class Figure:
    """One line of the table. `ok` is None where there is no limit to keep."""

    name: str
    value: object
    unit: str = ""
    reference: str = ""
    ok: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """The line as text, by column."""
        value = f"{self.value:.4g}" if isinstance(self.value, float) else str(self.value)
        mark = {True: "ok", False: "FAULT", None: "—"}[self.ok]
        return self.name, value, self.unit, self.reference, mark


@dataclass(frozen=True)
class Settings:
    """What every row gets: the device, whether the sizes are small, and an empty folder."""

    device: torch.device
    small: bool
    folder: Path

    @property
    def cuda(self) -> bool:
        """Is it a CUDA device?"""
        return self.device.type == "cuda"

    def size(self, small: int, full: int) -> int:
        """A number by the size of the run."""
        return small if self.small else full

    def wait(self) -> None:
        """Wait until a GPU has finished."""
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object]) -> float:
        """The wall time of a piece of work."""
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def allocated(self) -> int:
        """Bytes that torch has allocated on the GPU; 0 without one."""
        if not self.cuda:
            return 0
        gc.collect()
        return torch.cuda.memory_allocated()

    def left(self, title: str, before: int) -> Figure:
        """Bytes allocated beyond `before`; libraries keep workspaces from their first use on."""
        left = self.allocated() - before
        fits = left <= _WORKSPACES if self.cuda else None
        value = left if self.cuda else NEEDS_GPU
        return Figure(f"{title}: left after reset", value, "bytes", "workspaces, 128 MiB", fits)

    def peak(self) -> float | str:
        """Peak GB on the GPU since `restart_peak`."""
        return torch.cuda.max_memory_allocated() / 1e9 if self.cuda else NEEDS_GPU

    def restart_peak(self) -> None:
        """Forget the peak so far."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()


Row = Callable[[Settings], Iterable[Figure]]

#: Every row by name, in the order in which they run.
ROWS: dict[str, Row] = {}


def row(name: str) -> Callable[[Row], Row]:
    """Register a function that yields the figures of one row."""

    def add(made: Row) -> Row:
        ROWS[name] = made
        return made

    return add


def run(names: Iterable[str], settings: Settings, budget: float) -> Iterator[Figure]:
    """The figures of these rows. No row starts after `budget` seconds; no error ends the others.

    What a row prints goes to stderr.
    """
    began = time.monotonic()
    # Full collections are frequent here, and the libraries' own objects stay anyway.
    gc.freeze()
    for name in names:
        if time.monotonic() - began > budget:
            yield Figure(name, "not run: the time is spent")
            continue
        threads, here, row_began = torch.get_num_threads(), Path.cwd(), time.monotonic()
        room = settings.folder / name
        room.mkdir()
        os.chdir(room)  # sessions write into the working directory
        try:
            with redirect_stdout(sys.stderr):
                yield from ROWS[name](settings)
        except Exception as error:  # noqa: BLE001 - shown; the other rows still run
            first = (str(error).splitlines() or [""])[0]
            yield Figure(name, f"{type(error).__name__}: {first}"[:150], ok=False)
        finally:
            os.chdir(here)
            torch.set_num_threads(threads)
        gc.collect()
        if settings.cuda:
            torch.cuda.empty_cache()
        yield Figure(f"{name}: the whole row", time.monotonic() - row_began, "s")


def printed(figures: Iterable[Figure]) -> str:
    """The table as aligned text."""
    head = ("name", "value", "unit", "limit or reference", "ok")
    lines = [head, *(figure.cells for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
