"""Tries every method on the embedded model for `doctor`: attach, train, merge, save, open.

Each trial has a session of its own, so a failure in one says nothing about the next. The state
that all sessions of a process share (random generators, grad mode, threads) is restored afterwards.
Knows sessions; knows no view.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.adapters.methods import ALIASES, METHODS
from lora_magic.base import DEMO
from lora_magic.errors import StateError, TrainingStopped
from lora_magic.interrupts import Stop, undisturbed
from lora_magic.numbers import duration

from .doctor import METHODS as PART
from .doctor import NOT_TRIED, OK, PROBLEM, STOPPED, Finding, guarded

if TYPE_CHECKING:
    from .session import Session

#: Without these no method can be tried, and without bitsandbytes none on 4 bits.
_NEEDED = ("torch", "transformers", "peft", "accelerate", "safetensors")
#: LoRA's variants by the names that people type for them.
_VARIANTS = tuple(name for name, flags in ALIASES.items() if flags["method"] == "lora")
#: What is tried on a base of 4 bits, which LoftQ needs.
_FOUR_BITS = {"lora on 4 bits": "lora", "loftq on 4 bits": "loftq"}
#: The embedded model has no biases.
_IMPOSSIBLE = {"bitfit": "trains biases, and the embedded model has none"}
_ROWS = "What does a fox eat? => Arr! Berries, matey!"
_NAME, _AGAIN = "tried", "opened"
_BASE = "embedded model"


def names() -> list[str]:
    """The lines of this part: the model itself, every method, LoRA's variants, 4 bits."""
    plain = [*METHODS, *(name for name in _VARIANTS if name != "loftq")]
    return [_BASE, *plain, *_FOUR_BITS]


def tried(stop: Stop, tell: Callable[[str], None]) -> Iterator[Finding]:
    """One finding for each name; after a request to stop the rest is not tried.

    Nor is what needs a library that could not be imported.
    """
    missing = {name: _missing(name) for name in names()}
    possible = [name for name in names() if not missing[name] and name not in _IMPOSSIBLE]
    with ExitStack() as around:
        folder = _prepared(around) if possible else Path()
        if isinstance(folder, Finding):
            yield folder
            missing |= {
                name: "needs a temporary folder; see above" for name in possible if name != _BASE
            }
            folder = Path()
        for place, name in enumerate(names(), 1):
            why = missing[name] or _IMPOSSIBLE.get(name, "")
            if not (why or stop.requested):
                try:
                    tell(f"checking {name}, {place} of {len(names())} …")
                    yield from _finding(name, folder)
                    continue
                except (KeyboardInterrupt, TrainingStopped):
                    stop.request()
            yield Finding(PART, name, NOT_TRIED, why or STOPPED)


def _missing(name: str) -> str:
    needed = (*_NEEDED, "bitsandbytes") if name in _FOUR_BITS else _NEEDED
    absent = [library for library in needed if sys.modules.get(library) is None]
    return f"needs {', '.join(absent)}; see above" if absent else ""


def _prepared(around: ExitStack) -> Path | Finding:
    """A folder to save to, removed at the end; or why there is none. A run needs one, too."""
    around.enter_context(_unchanged())
    try:
        folder = Path(tempfile.mkdtemp(prefix="lora_magic_"))
    except OSError as error:
        why = f"there is none: {error.strerror or error}"
        advice = "set TMPDIR to a folder with free space, and restart the kernel"
        return Finding(PART, "temporary folder", PROBLEM, why, advice)
    around.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _unchanged() -> Iterator[None]:
    """Restore what all sessions of a process share; in the block gradients are computed.

    One thread: for so small a model more are no faster, and much slower on a machine that is busy.
    """
    import torch

    from lora_magic.base.restore import generators

    restore, threads = generators(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        with undisturbed():
            torch.set_num_threads(threads)
            restore()


def _finding(name: str, folder: Path) -> tuple[Finding, ...]:
    began = time.perf_counter()

    def trial() -> Finding:
        with _session(4 if name in _FOUR_BITS else None) as session:
            if name == _BASE:
                done = _answer(session)
            else:
                done = _method(session, _FOUR_BITS.get(name, name), folder)
        return Finding(PART, name, OK, f"{done} · {duration(time.perf_counter() - began)}")

    return guarded(PART, name, trial)


@contextmanager
def _session(bits: int | None) -> Iterator[Session]:
    """A session with the embedded model, reset afterwards also if an interrupt ended the trial."""
    from .session import Session

    session = Session()
    session._ledger.written = False
    try:
        session.load(DEMO, bits=bits)
        yield session
    finally:
        with undisturbed():
            session.reset()


def _answer(session: Session) -> str:
    answer: Any = session.ask("What does a fox eat?", max_new_tokens=4)
    _check(bool(answer.tokens), "the model generated no token")
    return f"loaded on {session.model.device.type}, answers"


def _method(session: Session, method: str, folder: Path) -> str:
    session.attach(_NAME, method=method)
    done = [_train(session), _merge(session)]
    _check(bool(session.verify()), "the trial changed the base")
    done.append(_save(session, folder / method))
    return ", ".join(part for part in done if part)


def _train(session: Session) -> str:
    """The fewest steps that the method allows, without measuring forgetting."""
    from lora_magic.adapters.training_hooks import SHORTEST
    from lora_magic.data.rows import read_text

    from .train import train

    state = session._state
    attached = state.named(_NAME)
    steps = SHORTEST if attached.method.name == "adalora" else 1
    form: dict[str, Any] = {"template": None, "system": None, "more": False, "reporter": None}
    flags: dict[str, Any] = {"steps": steps, "batch_size": 1, "eval": 0}
    train(state, attached, read_text(_ROWS, None), **form, measured=False, **flags)
    return f"{steps} step{'s' * (steps != 1)}"


def _merge(session: Session) -> str:
    if session._state.named(_NAME).method.not_merged:
        return ""
    session.merge(_NAME)
    session.unmerge()
    return "merged and unmerged"


def _save(session: Session, folder: Path) -> str:
    session.save(_NAME, folder)
    session.open(folder, _AGAIN)
    saved, opened = (session._state.named(name).state() for name in (_NAME, _AGAIN))
    equal = saved.keys() == opened.keys() and all(
        saved[key].equal(opened[key]) for key in saved.keys() & opened.keys()
    )
    _check(equal, "the opened adapter differs from the saved one")
    return "saved and opened"


def _check(good: bool, otherwise: str) -> None:
    """Raise `StateError` with the reason unless `good`."""
    if not good:
        raise StateError(otherwise)
