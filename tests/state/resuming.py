"""One run for the tests of checkpoints, in this process or in one that is killed.

`python -m tests.state.resuming FOLDER` trains, or resumes if there is a checkpoint, and prints the
sha256 of the final weights and the seconds.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_magic.adapters.live_adapter import Record
from lora_magic.state.session import Session
from lora_magic.training.reporter import SilentReporter

STEPS = 12
ROWS = [(f"Where is number {n}?", f"Here, {n}." * (1 + n % 3)) for n in range(8)]
CHECKPOINT = Path(".lora_magic") / "checkpoints" / "one"
#: A dropout, so that the generators matter, several passes, and measurements on the way.
FLAGS: dict[str, Any] = {"steps": STEPS, "batch_size": 4, "eval": 2}
ATTACH: dict[str, Any] = {"rank": 2, "dropout": 0.2}


class StopAt(SilentReporter):
    """Stops a run after a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.stop, self._at = threading.Event(), step

    def step(self, point: Any) -> None:
        if point.step == self._at:
            self.stop.set()


def weights(session: Session) -> dict[str, Tensor]:
    return session._state.attached["one"].state()


def recorded(session: Session) -> Record:
    """What is recorded of the adapter, without the clock's times."""
    found = session._state.attached["one"].recorded()
    timeless = {key: found.run[key] for key in found.run if key not in ("seconds", "when")}
    return replace(found, run=timeless)


def digest(session: Session) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(weights(session).items()):
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def run(base: str, resume: bool, every: float = 1e-6, **flags: Any) -> Session:
    """The run in a new session, as the cells of a notebook."""
    session = Session()
    session.load(base)
    if not resume:
        session.attach("one", **ATTACH)
    session.train("one", ROWS, resume=resume, checkpoint_every=every, **{**FLAGS, **flags})
    return session


def forked(work: Callable[[], object]) -> int:
    """The exit status of a copy of this process that does the work, as `os.waitpid` gives it."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        work()
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = Session()
    made.load(sys.argv[1])
    again = CHECKPOINT.exists()
    if not again:
        made.attach("one", **ATTACH)
    flags = {**FLAGS, "steps": int(sys.argv[2])}
    summary = made.train("one", ROWS, resume=again, checkpoint_every=1e-6, **flags)
    print(digest(made), summary.seconds, flush=True)
