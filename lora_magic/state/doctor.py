"""`doctor`: is this installation sound? Its record, its text for a bug report, and its checks.

Three files: this one asks `doctor_machine` about versions and the machine and `doctor_methods`
about every method, and holds what they find. The notebook's session lends only its lock and the
path of its home: the checks run on sessions of their own, so its base, random generators, threads
and grad mode stay as they are. Knows no notebook: the lines about the front end are given.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lora_magic
from lora_magic.errors import LoraMagicError, sentence
from lora_magic.interrupts import Stop
from lora_magic.numbers import duration
from lora_magic.printable import one_line

if TYPE_CHECKING:
    from pandas import DataFrame

#: The states of a finding. A note limits what can be done, a problem breaks something.
OK, NOTE, PROBLEM, NOT_TRIED = "ok", "note", "problem", "not tried"
#: The parts of an examination, in their order.
VERSIONS, MACHINE, FRONT_END, METHODS = "versions", "machine", "front end", "methods"

COLUMNS = ("part", "check", "state", "found", "advice")
REPORT = "%lora doctor --report"
STOPPED = "stopped by you"
_UNEXPECTED = f"report it with the text of: {REPORT}"


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, its state, what was found, and what to install or type."""

    part: str
    check: str
    state: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Examination:
    """What `doctor` found; true if there is no problem and nobody stopped it.

    With `for_report` it displays `report`, a block of plain text for a bug report.
    """

    findings: tuple[Finding, ...]
    seconds: float
    stopped: bool = False
    for_report: bool = False

    def __bool__(self) -> bool:
        return not self.problems and not self.stopped

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that need something to be done."""
        return tuple(finding for finding in self.findings if finding.state == PROBLEM)

    @property
    def line(self) -> str:
        """The result in one line."""
        count, tried = len(self.problems), sum(f.state != NOT_TRIED for f in self.findings)
        result = f"{count} problem{'s' * (count != 1)}" if count else "no problems"
        end = f"; {STOPPED}" if self.stopped else ""
        return (
            f"lora_magic {lora_magic.__version__}: {result} in {tried} checks, "
            f"{duration(self.seconds)}{end}"
        )

    @property
    def report(self) -> str:
        """Plain text for a bug report, without paths, names of people or of machines.

        Only the text of a problem quotes other software. From it everything is left out that is
        quoted or looks like a path or an e-mail address, the names of the user and of the machine,
        each part of the working and the home folder's paths, and the value of every environment
        variable.
        """
        private = _private() if self.problems else []
        lines = [f"{self.line} | {platform.system()} {platform.machine()}"]
        for f in self.findings:
            found = one_line(f.found)
            found = _cleaned(found, private) if f.state == PROBLEM else found
            lines.append(f"{f.part} | {f.check} | {f.state} | {found}")
        return "\n".join(lines)

    def to_frame(self) -> DataFrame:
        """One row per finding: part, check, state, found, advice."""
        from lora_magic.frames import frame

        return frame(([getattr(f, name) for name in COLUMNS] for f in self.findings), COLUMNS)

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        if self.for_report:
            return {"text/plain": self.report}
        from lora_magic.views import doctor

        return doctor.bundle(self)


def examine(
    home: Path,
    front_end: Callable[[], Sequence[Finding]],
    tell: Callable[[str], None],
    *,
    for_report: bool,
) -> Examination:
    """Check versions, machine, front end and every method, in at most about 20 s.

    An interrupt ends it after the current check, a second one at once; what was not tried says so.
    """
    from . import doctor_machine, doctor_methods

    began = time.perf_counter()
    findings: list[Finding] = []
    with Stop() as stop:
        tell("checking versions and the machine …")
        findings += doctor_machine.versions()
        findings += doctor_machine.machine(home)
        findings += guarded(FRONT_END, "front end", front_end)
        findings += doctor_methods.tried(stop, tell)
    stopped = any(f.state == NOT_TRIED and f.found == STOPPED for f in findings)
    return Examination(tuple(findings), time.perf_counter() - began, stopped, for_report)


def guarded(
    part: str, check: str, run: Callable[[], Finding | Iterable[Finding]]
) -> tuple[Finding, ...]:
    """What a check finds; an error in it is a problem in one line, and stops no other check."""
    try:
        found = run()
        return (found,) if isinstance(found, Finding) else tuple(found)
    except LoraMagicError as error:
        return (Finding(part, check, PROBLEM, str(error), _UNEXPECTED),)
    except ImportError as error:
        return (Finding(part, check, PROBLEM, f"needs {absent(error)}", install(absent(error))),)
    except Exception as error:  # noqa: BLE001  # any error of any library is a finding
        why = f"{type(error).__name__}: {sentence(error)} (in {_place(error)})"
        return (Finding(part, check, PROBLEM, one_line(why), _UNEXPECTED),)


def absent(error: ImportError) -> str:
    """The library that an import did not find."""
    return (error.name or sentence(error)).partition(".")[0]


def install(requirement: str, options: str = "") -> str:
    """What to type to install a library: a name, with bounds if there are any."""
    plain = requirement.replace(".", "").isidentifier()
    wanted = requirement if plain else f'"{requirement}"'
    return f"%pip install {options}{wanted}, then restart the kernel"


def _place(error: BaseException) -> str:
    """Our innermost function in an error's stack, as `lora_magic.adapters.merge, line 55`."""
    stack = list(traceback.walk_tb(error.__traceback__))
    ours = [(f, n) for f, n in stack if str(f.f_globals.get("__name__")).startswith("lora_magic.")]
    frame, number = (ours or stack)[-1]
    return f"{frame.f_globals.get('__name__')}, line {number}"


# The report

#: Paths, and what is written as an e-mail address.
_PATH = re.compile(r"\S*[/\\@]\S*")
#: Where our own code raised an error, which `guarded` writes.
_OURS = re.compile(r" \(in lora_magic\.[\w.]+, line \d+\)$")
_QUOTED = re.compile(r"(?<!\w)(['\"]).*?\1(?!\w)")
#: Shorter values of variables are numbers and switches, and say nothing about a person.
_SHORTEST = 3
_LEFT_OUT = "…"


def _private() -> list[str]:
    """What a report never contains, the longest first: a path before its parts."""
    people = [socket.gethostname(), *_asked(lambda: Path.home().name), *_asked(getpass.getuser)]
    people += [part for name in people for part in re.split(r"[\s.]+", name)]
    places = [sys.prefix, *_asked(tempfile.gettempdir), *_asked(lambda: str(Path.cwd()))]
    places += _asked(lambda: str(Path.home()))
    # A path with a space in it is not found as one: its parts are.
    parts = [part for place in places for part in re.split(r"[/\\]", place)]
    values = {value for value in (*parts, *os.environ.values()) if len(value) >= _SHORTEST}
    return sorted({*values, *places, *filter(None, people)}, key=len, reverse=True)


def _asked(question: Callable[[], str]) -> list[str]:
    """The answer; none in a folder that is gone, or for a user without a name or a home."""
    try:
        return [question()]
    except (OSError, KeyError, ImportError, RuntimeError):
        return []


def _cleaned(text: str, private: Iterable[str]) -> str:
    ours = _OURS.search(text)
    if ours:
        return _cleaned(text[: ours.start()], private) + ours[0]
    for value in private:
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", _LEFT_OUT, text, flags=re.IGNORECASE)
    return _PATH.sub(_LEFT_OUT, _QUOTED.sub(_LEFT_OUT, text))
