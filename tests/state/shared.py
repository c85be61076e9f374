"""Rows to train on, what a run reports, and all that a failed verb must leave: for tests here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_magic.state.session import Session
from lora_magic.state.sweep_result import Sweep
from lora_magic.training.reporter import SilentReporter, StepPoint

ROWS = "Where is the library? => Arr!\nWhat is for dinner? => Fish, matey!"


class Heard(SilentReporter):
    """Keeps what a run reports."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.points: list[StepPoint] = []

    def start(self, plan: Any) -> None:
        self.lines.append(plan.line)

    def step(self, point: StepPoint) -> None:
        self.points.append(point)

    def note(self, line: str) -> None:
        self.lines.append(line)


def swept(base: Path, folder: Path, rows: list[tuple[str, str]], flags: dict[str, Any]) -> Sweep:
    """A sweep in a session of its own, that nothing interrupts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        session = Session()
        session.load(str(base))
        found = session.sweep("best", rows, **flags)
        session.reset()
    return found


def snapshot(session: Session) -> dict[str, object]:
    """Everything that a failed verb must leave as it was."""
    model = session.model
    return {
        "tree": dict(model.named_modules()),
        "flags": {name: p.requires_grad for name, p in model.named_parameters()},
        "training": {name: m.training for name, m in model.named_modules()},
        "hooks": {name: dict(m._forward_hooks) for name, m in model.named_modules()},
        "attributes": set(vars(model)),
        "config": model.config.to_dict(),
        "active": session.active,
        "merged": session.merged,
        "adapters": dict(session.adapters),
        "weights": {
            name: [t.tolist() for t in attached.state().values()]
            for name, attached in session._state.attached.items()
        },
    }
