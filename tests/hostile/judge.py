"""Opens, loads or trains on one hostile folder, uses the result, and lists every fault.

A folder must be opened, and then all verbs work or say in one line why not, or be refused in one
line that is safe to show, with the session as it was. Knows sessions; `runner` adds the limits.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import traceback
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import lora_magic
from lora_magic.errors import LoraMagicError
from lora_magic.state.session import Session

from .generate import Made

#: Characters of one message, at most.
LONGEST = 2000
PACKAGE = str(Path(lora_magic.__file__).parent)
_TESTS = str(Path(__file__).parents[1])
#: Where Python and its libraries read; paths of devices are opened before they are refused.
SYSTEM = (
    *(PACKAGE, _TESTS, sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev", "/usr", "/lib"),
    f"{tempfile.gettempdir()}/lora_magic-",
    *("/etc/ld.so", "/etc/mime.types", "/etc/localtime", "/etc/ssl", "/etc/os-release"),
    *(path for path in sysconfig.get_paths().values()),
)
_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}


class Reads:
    """The files that are opened while it is active: by Python, and in `outside` by anything."""

    active: Reads | None = None
    _hooked = False

    def __init__(self, outside: Path, allowed: list[Path]) -> None:
        self.allowed = (*SYSTEM, *(os.path.realpath(path) for path in allowed))
        self.outside: set[str] = set()
        # safetensors and tokenizers read in Rust, which tells Python nothing; inotify sees them.
        self._libc = ctypes.CDLL(None)
        self._watch = self._libc.inotify_init1(os.O_NONBLOCK)
        opened = 0x20
        self._libc.inotify_add_watch(self._watch, os.fsencode(outside), ctypes.c_uint32(opened))

    def __enter__(self) -> Reads:
        if not Reads._hooked:
            sys.addaudithook(_audit)
            Reads._hooked = True
        Reads.active = self
        return self

    def __exit__(self, *_: object) -> None:
        Reads.active = None
        try:
            if os.read(self._watch, 4096):
                self.outside.add("outside/secret.safetensors")
        except BlockingIOError:
            pass
        os.close(self._watch)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    reads = Reads.active
    if event != "open" or reads is None or isinstance(arguments[0], int) or arguments[0] is None:
        return
    Reads.active = None
    path = os.path.realpath(os.fsdecode(arguments[0]))
    if not path.startswith(reads.allowed):
        reads.outside.add(path)
    Reads.active = reads


def unsafe(text: str, lines: bool = False) -> str:
    """What must not be in a text that is shown; with `lines` it may have line breaks and tabs."""
    allowed = "\n\t" if lines else ""
    for character in text:
        bad = unicodedata.category(character) in _CONTROL or ord(character) in _BIDI
        if bad and character not in allowed:
            return f"U+{ord(character):04X}"
    return "" if lines or len(text) <= LONGEST else f"{len(text)} characters"


class Judge:
    """Two sessions that live through many folders, and the faults of the present one."""

    def __init__(self, work: Path) -> None:
        self.work, self.faults, self.refusal = work, list[str](), ""
        self.demo, self.other = Session(), Session()
        for session in (self.demo, self.other):
            session.home = work / "out" / "home"
        self.start()

    def start(self) -> None:
        self.demo.load("demo")
        self.demo.attach("mine", rank=1)
        self.other.load(str(self.work / "good" / "bases" / "llama"))

    def judge(self, made: Made) -> dict[str, Any]:
        self.faults, self.refusal = [], ""
        out = self.work / "out" / str(made.number)
        allowed = [
            made.folder.parent,
            *(self.work / name for name in ("good", "own", "out", "tmp")),
        ]
        verb = {"adapter": self._open, "base": self._load, "data": self._train}[made.place]
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with Reads(self.work / "outside", allowed) as reads:
                verb(made, out)
        own = [w for w in warned if w.filename.startswith(PACKAGE)]
        self.faults += [f"outside: {path} is opened" for path in sorted(reads.outside)]
        self.faults += [f"warning: {w.category.__name__}: {str(w.message)[:80]}" for w in own]
        if (self.work / "canary").exists():
            self.faults.append("payload: code in a file ran")
            (self.work / "canary").rmdir()
        shutil.rmtree(out, ignore_errors=True)
        outcome = "FAULT" if self.faults else "refused" if self.refusal else "opened"
        return {"outcome": outcome, "faults": self.faults, "text": self.refusal}

    def call(self, step: str, function: Callable[[], Any]) -> Any:
        """The result, or None after an error; each error that is not one safe line is a fault."""
        try:
            return function()
        except LoraMagicError as error:
            text = "\n".join(error._render_traceback_())
            self._shown(step, text, lines=False)
            self.refusal = self.refusal or text if step in ("open", "load", "train") else ""
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 (a panic in Rust is a BaseException)
            frames = traceback.extract_tb(error.__traceback__)
            ours = [f for f in frames if f.filename.startswith(PACKAGE)]
            where = f"{ours[-1].filename[len(PACKAGE) + 1 :]}:{ours[-1].lineno}" if ours else "?"
            first = re.sub(r"\s+", " ", ascii(str(error))[1:90])
            self.faults.append(f"raw at {step}, {where}: {type(error).__name__}: {first}")
        return None

    def _shown(self, step: str, text: str, lines: bool) -> None:
        if found := unsafe(text, lines):
            self.faults.append(f"shown at {step}: {found} in {ascii(text)[:150]}")

    def _views(self, step: str, *values: Callable[[], Any]) -> None:
        for make in values:
            value = self.call(step, make)
            bundle = self.call(step, value._repr_mimebundle_) if value is not None else None
            shown = [repr(value), *(v for v in (bundle or {}).values() if isinstance(v, str))]
            for text in self.call(step, lambda s=shown: s) or []:
                self._shown(step, text, lines=True)

    def _state(self, session: Session) -> tuple[Any, ...]:
        return (id(session._state.base), tuple(session.adapters), session.active, session.merged)

    def _unchanged(self, session: Session, before: tuple[Any, ...]) -> None:
        after = self.call("state", lambda: self._state(session))
        if before != after:
            self.faults.append(f"state changed by a refusal: {before[1:]} to {(after or [0])[1:]}")
        if not self.call("verify", session.verify):
            self.faults.append("state: the base changed")

    def _answers(self, session: Session) -> None:
        limit = {} if session._state.base.task.classifies else {"max_new_tokens": 1}
        self._views("ask", lambda: session.ask("What does a fox eat?", **limit))
        self._views("compare", lambda: session.compare("What is it?", **limit))

    def _open(self, made: Made, out: Path) -> None:
        session, before = self.demo, self._state(self.demo)
        if self.call("open", lambda: session.open(made.folder, "x")) is not None:
            self._views("status", session.status, lambda: session.adapters["x"])
            self._answers(session)
            self.call("save", lambda: session.save("x", out))
            self.call("spectrum", lambda: session.spectrum("x"))
            self.call("detach", lambda: session.detach("x"))
            self.call("swap", lambda: session.swap(before[2]))
        self._unchanged(session, before)

    def _load(self, made: Made, _: Path) -> None:
        session, before = self.other, self._state(self.other)
        task = {"task": "classification"} if made.source == "bert" else {}
        load = lambda: session.load(str(made.folder), replace=True, **task)  # noqa: E731
        if (record := self.call("load", load)) is None:
            self._unchanged(session, before)
            return
        self._views("status", session.status, lambda: record)
        self._answers(session)
        if (
            self.call("attach", lambda: session.attach("y", rank=1, targets="all-linear"))
            is not None
        ):
            self._answers(session)
        self.call("verify", session.verify)
        self.call("reset", session.reset)
        session.load(str(self.work / "good" / "bases" / "llama"))

    def _train(self, made: Made, _: Path) -> None:
        session, before = self.demo, self._state(self.demo)
        for file in sorted(made.folder.iterdir()):
            run = self.call("train", lambda f=file: session.train("mine", str(f), steps=1))
            if run is not None:
                self._views("status", session.status, lambda r=run: r)
        self._unchanged(session, before)


def quieted() -> None:
    torch.set_num_threads(1)
