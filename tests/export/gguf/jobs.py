"""The embedded model with two adapters, as jobs of `--to gguf`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lora_magic.demo import SUGGESTED_PROMPTS
from lora_magic.export.gguf.format import Gguf
from lora_magic.export.job import Job, Options
from lora_magic.export.receipt import Check
from lora_magic.export.reference import Reference, answered
from lora_magic.state.session import Session


@contextmanager
def adapted() -> Iterator[Session]:
    """A session with adapters of rank 4 in q and v, "formal" and "pirate", their B at random."""
    session = Session()
    session.load("demo")
    draws = torch.Generator().manual_seed(0)
    for name in ("formal", "pirate"):
        session.attach(name, rank=4, targets="q_proj,v_proj")
        for layer in session._state.attached[name].replacements.values():
            for part, values in layer.named_parameters():
                if "lora_B" in part:
                    values.data.normal_(0, 0.05, generator=draws)
    try:
        yield session
    finally:
        session.reset()


def job(session: Session, name: str = "pirate", prompts: int = 10, **options: object) -> Job:
    """An export of one adapter, or of the base, checked on the first suggested prompts."""
    state = session._state
    return Job(
        name,
        state.base,
        state.slots,
        state.attached.get(name),
        state.form_of(name),
        SUGGESTED_PROMPTS[:prompts],
        Options(**options),  # type: ignore[arg-type]  # flags by name
        lambda line: None,
        "gguf",
    )


#: The notebook's own answers, by adapter and number of prompts: every session here has the same.
_ANSWERS: dict[tuple[str, int], Reference] = {}


def reference(one: Job) -> Reference:
    """The notebook's own answers."""
    assert one.form is not None
    return answered(one.base, one.slots, one.modules, one.form, one.prompts, one.base.context)


def checked(one: Job, folder: Path, notebook: Reference | None = None) -> Check:
    """The check of what was written into a folder; adapters that were changed need `notebook`."""
    key = one.name, len(one.prompts)
    if notebook is None and key not in _ANSWERS:
        _ANSWERS[key] = reference(one)
    return Gguf().check(one, folder, notebook or _ANSWERS[key])
