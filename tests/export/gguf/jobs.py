"""The embedded model with an adapter that was trained for a few steps, as jobs of `--to gguf`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lora_magic.demo import SUGGESTED_PROMPTS, rows
from lora_magic.export.gguf.format import Gguf
from lora_magic.export.job import Job, Options
from lora_magic.export.receipt import Check
from lora_magic.export.reference import Reference, answered
from lora_magic.state.session import Session


@contextmanager
def trained() -> Iterator[Session]:
    """A session with the adapters "pirate" (rank 4 in q and v) and "formal", 12 steps each."""
    session = Session()
    session.load("demo")
    for name in ("formal", "pirate"):
        session.attach(name, rank=4, targets="q_proj,v_proj")
        session.train(name, rows(name, 32), steps=12)
    try:
        yield session
    finally:
        session.reset(discard=True)


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


def reference(one: Job) -> Reference:
    """The notebook's own answers."""
    assert one.form is not None
    return answered(one.base, one.slots, one.modules, one.form, one.prompts, one.base.context)


def checked(one: Job, folder: Path) -> Check:
    """The check of what was written into a folder."""
    return Gguf().check(one, folder, reference(one))
