"""A run on worker processes, each with a GPU of its own, against the same run in this process."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lora_magic.state.session import Session

from . import bases
from .speed import Times
from .table import NEEDS_GPU, Figure, Settings, row

LIMIT = 1e-3


@row("workers")
def workers(settings: Settings) -> Iterator[Figure]:
    """One worker; with a GPU also a split base, and with two GPUs two workers of each kind."""
    folder = bases.saved("tiny" if settings.small else "30M", settings)
    gpus = torch.cuda.device_count()
    alone, expected = _trained(settings, folder)
    for count, fsdp in ((1, False), (1, True), (2, False), (2, True)):
        title = f"workers: {count}{', split base' * fsdp}"
        if count > max(1, gpus) or (fsdp and not settings.cuda):
            yield Figure(title, NEEDS_GPU if count == 1 else "needs two GPUs")
            continue
        times, found = _trained(settings, folder, count, fsdp)
        error = float((found - expected).norm() / expected.norm())
        yield Figure(f"{title}, difference", error, "of the change", f"{LIMIT}", error <= LIMIT)
        yield Figure(f"{title}, one step / alone", times.seconds / alone.seconds, "×")


def _trained(
    settings: Settings, folder: str, count: int | None = None, fsdp: bool = False
) -> tuple[Times, Tensor]:
    """A short run in float32, and how it changed the adapter."""
    session, times = Session(), Times()
    # A base that is split may be larger than a GPU, so the session has it on the CPU.
    device = "cpu" if fsdp else str(settings.device)
    session.load(folder, dtype="fp32", device=device)
    session.attach("one", targets="all-linear")
    adapter = session._state.attached["one"]
    rows, steps = bases.rows(settings.size(12, 512)), settings.size(3, 12)
    session.train("one", rows, steps=steps, reporter=times, workers=count, fsdp=fsdp)
    changes = [value - adapter.start[key] for key, value in adapter.state().items()]
    session.reset()
    return times, torch.cat([change.double().cpu().flatten() for change in changes])
