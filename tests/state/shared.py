"""What the tests of a session share: rows to train on, and all that a failed verb must leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_magic.state.session import Session
from lora_magic.state.sweep_result import Sweep

ROWS = "Where is the library? => Arr!\nWhat is for dinner? => Fish, matey!"


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
