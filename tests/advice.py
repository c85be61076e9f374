"""Types every line that an error suggests, in the state in which the error arose.

Every `LoraMagicError` that a verb of a `Session`, or a magic, raises in any test is noted with the
session, its state and the line of code that raised it. When the test's own code has ended, and the
session is still in that state, a forked process types each suggested line in a real IPython shell
on that session: a second error fails the test. The fork keeps the tests independent: nothing that
a suggestion does to a session, even one that other tests share, reaches them. Each suggestion of
each line of code is typed once in a run, by the worker that comes to it first.

Flags are typed too: "add --replace" repeats the call that failed with that flag. `%pip`, shell and
Python lines in a message are compiled, not run.

Not typed, and why, in `NOT_TYPED`.
"""

from __future__ import annotations

import ast
import functools
import gc
import hashlib
import inspect
import io
import json
import os
import re
import select
import shlex
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import InvalidRequirement, Requirement

from lora_magic.errors import Interrupted, LoraMagicError, TrainingStopped
from lora_magic.magics import router
from lora_magic.magics.shell import KEPT_AS
from lora_magic.state.session import Session
from tests.export.shared import read_here

#: What is not typed: a pattern of the message, and the reason.
NOT_TYPED = {
    r"%lora load \S*/\S+": "a hub id: the tests use no network",
    r"owner/": "an example with somebody's hub id",
    r"%lora plan model\b": "only the person knows which variables hold a model",
    r"%lora use ": "only the person knows which variables hold a model",
    r"%lora open (?!FOLDER|DIR)\S*/": "the folder that an example names, which is not here",
    r" there$": "to be typed in another session",
    r"%lora load base$": "a folder that the lines before it write",
    r"%lora load (OUT|VERSION)": "a folder that only the person can make or find",
    r"…": "the rest of a line that only the person knows",
}
#: Seconds that one suggestion may take.
PATIENCE = 60
ROWS = "Where is the library? => Arr!\nWhat is for dinner? => Fish, matey!"
PROMPT = "What does a fox eat?"

_LINE = re.compile(r"%%?lora(?:_train)?\b.*")
#: Where a suggested line ends in its sentence: a mark, or a word that belongs to no line.
_MARKS = r"[);␊]|, (?:or|and|then|in|for) | or (?=%|add |--|type )|: (?!\w+=)| \("
_SENTENCE = r"\.$|\. (?=[A-Z%])|\.(?= \()"
_WORDS = r" (?:for|to|and|until|undoes|makes|with rows|replaces|shows|lists|first) "
_END = re.compile(f"{_MARKS}|{_SENTENCE}|{_WORDS}")
_FLAG = re.compile(
    r"(add|type:?|use|for example|as in|omit) (--[a-z][a-z-]*)"
    r"(?: (?![a-z]+ )([\w./-]*\w))?(?=[\s.,;)]|$)"
)
_PLACEHOLDER = re.compile(r"\b(?:NAME|NEW|DIR|FOLDER|MODEL|PROMPT|VAR|PATH|WEIGHTS)\b")


@dataclass
class Raised:
    """An error of a verb: its message, who raised it, and the session's state at that time."""

    message: str
    site: str
    session: Any
    state: object
    repeat: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None
    variables: dict[str, Any] = field(default_factory=dict)


_raised: list[Raised] = []
_typed: set[tuple[str, str]] = set()
_shared: Path | None = None


def share(folder: Path) -> None:
    """Keep an empty file for each line that was typed in a folder that all workers see."""
    global _shared
    folder.mkdir(exist_ok=True)
    _shared = folder


def _first(key: tuple[str, str]) -> bool:
    """Is this line typed for the first time?"""
    if key in _typed:
        return False
    _typed.add(key)
    if _shared is not None:
        try:
            Path(_shared, hashlib.sha256(repr(key).encode()).hexdigest()).touch(exist_ok=False)
        except FileExistsError:
            return False
    return True


def watch() -> None:
    """Note the errors of every verb and magic from now on."""
    for name, verb in list(vars(Session).items()):
        if inspect.isfunction(verb) and not name.startswith("_"):
            setattr(Session, name, _noting(verb))
    run = router.run

    @functools.wraps(run)
    def noting(shell: Any, marked: str, cell: str | None, local: Any) -> Any:
        try:
            return run(shell, marked, cell, local)
        except LoraMagicError as error:
            _note(error, getattr(shell, KEPT_AS, None), None, dict(shell.user_ns))
            raise

    router.run = noting


def _noting(verb: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(verb)
    def noting(self: Session, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return verb(self, *args, **kwargs)
        except LoraMagicError as error:
            _note(error, self, (verb.__name__, args, kwargs), {})
            raise

    return noting


def _note(
    error: LoraMagicError,
    session: Any,
    repeat: tuple[str, tuple[Any, ...], dict[str, Any]] | None,
    variables: dict[str, Any],
) -> None:
    asked = isinstance(error, Interrupted | TrainingStopped)
    if asked or getattr(error, "_noted", False) or session is None:
        return
    error._noted = True  # type: ignore[attr-defined]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code if trace else None
    site = f"{Path(code.co_filename).name}:{trace.tb_lineno}" if code and trace else "?"
    _raised.append(Raised(str(error), site, session, state_of(session), repeat, variables))


def state_of(session: Any) -> object:
    """What decides whether a suggestion still applies."""
    if not isinstance(session, Session):
        return None
    state = session.__dict__.get("_state")
    if state is None:
        return "new"
    names = list(state.attached)
    return state.key, names, state.active, state.merged, state.unsaved()


def forget() -> None:
    """Forget the errors that were noted so far."""
    _raised.clear()


def waiting() -> bool:
    """Is there an error whose suggestions may have to be typed?"""
    return any("%lora" in raised.message or "--" in raised.message for raised in _raised)


def faults() -> list[str]:
    """What is wrong with the suggestions of the errors that were noted; forgets them."""
    noted, found = list(_raised), []
    forget()
    for raised in noted:
        found += [f"{raised.site} says:  {raised.message}\n  {why}" for why in _no_code(raised)]
        session = raised.session
        if state_of(session) != raised.state:
            continue
        for line in suggestions(raised.message):
            words = line.split()
            kept = [w for i, w in enumerate(words) if i < 2 or w[0] == "-" or w.isupper()]
            if not _first((raised.site, " ".join(kept))):
                continue
            problem = _in_a_fork(functools.partial(_problem, raised, session, line))
            if problem:
                found.append(
                    f"{raised.site} says:  {raised.message}\n  typed:  {line}\n  then:   {problem}"
                )
    return found


def suggestions(message: str) -> Iterator[str]:
    """The lines, and the flags to add, that a message suggests."""
    # At the beginning it is the line that failed: "%lora swap: NAME is missing".
    starts = [found.start() for found in re.finditer(r"%%?lora", message) if found.start()]
    for start, following in zip(starts, [*starts[1:], len(message)], strict=False):
        line = _LINE.match(message[start:following])
        if line is None:
            continue
        text = line[0].rstrip()
        if re.search(r"%%lora \w+(?:,| do\b)", text):
            continue  # a list of the verbs that take a cell's text
        end = _END.search(text)
        text = (text[: end.start()] if end else text).rstrip(" .,;:'\"")
        if any(re.search(pattern, text) for pattern in NOT_TYPED) or text in ("%lora", "%%lora"):
            continue
        yield text
    flags = ", ".join(found[0].strip() for found in _flags(message))
    if flags:
        yield f"the same call: {flags}"


def _no_code(raised: Raised) -> Iterator[str]:
    """What is wrong with the calls and the `%pip` lines in a message; they are read, not run."""
    for call in re.findall(r"\b[a-z_]\w*(?:\.\w+)+\([^()]*\)", raised.message):
        try:
            ast.parse(call.replace("…", "..."))
        except SyntaxError as error:
            yield f"{call} is not Python: {error.msg}"
    for line in re.findall(r"%pip install (.+?)(?:[,;)]|$)", raised.message):
        for word in shlex.split(line):
            try:
                _ = word.startswith("-") or Requirement(word)
            except InvalidRequirement as error:
                yield f"%pip install {word}: {error}"


def _flags(message: str) -> Iterator[re.Match[str]]:
    """Flags for the call that failed, to add or to omit: those that belong to no suggested line."""
    for flag in _FLAG.finditer(message):
        sentence = re.split(r"; |\. |\) ", message[: flag.start()])[-1]
        if "%lora" not in sentence:
            yield flag


def _problem(raised: Raised, session: Any, line: str) -> str:
    """The second error, or "". Runs in a fork."""
    # A line that exports is checked, too; tests/export starts the reader's own process.
    read_here(pytest.MonkeyPatch())
    if line.startswith("the same call"):
        return _repeated(raised, session)
    cell = filled(line, session)
    return "" if cell is None else _type(session, cell, raised.variables)


def _repeated(raised: Raised, session: Any) -> str:
    """Repeat the call that failed, with the flags that its message suggests."""
    if raised.repeat is None:
        return ""  # a line that could not be parsed
    verb, args, kwargs = raised.repeat
    known = inspect.signature(getattr(Session, verb)).parameters
    for how, flag, value in (found.groups() for found in _flags(raised.message)):
        plain = flag.removeprefix("--").replace("-", "_")
        key = f"{plain}_" if f"{plain}_" in known else plain
        if key not in known:
            return f"{verb} has no {flag}"
        if how == "omit":
            kwargs = {name: given for name, given in kwargs.items() if name != key}
        elif value is not None:
            kwargs = {**kwargs, key: _number(value)}
        elif isinstance(known[key].default, bool):
            kwargs = {**kwargs, key: True}
        else:
            return ""  # a flag without a value, such as `--data`, leaves the value to the person
    try:
        getattr(session, verb)(*args, **kwargs)
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    return ""


def _number(value: str) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def filled(line: str, session: Any) -> str | None:
    """The cell to run for a suggested line, its placeholders filled in; None if that is impossible.

    NAME is an adapter that is attached, where the verb makes one a new name; FOLDER is a new one to
    save to, or one with a saved adapter to open.
    """
    verb = line.removeprefix("%%lora_train").removeprefix("%lora").split()
    word = "train" if line.startswith("%%lora_train") else (verb[0] if verb else "")
    names = list(session.adapters)
    attached = session.active if session.active in names else next(iter(names), None)
    makes = word in ("attach", "open")
    rows = Path(tempfile.mkdtemp()) / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    values: dict[str, str | None] = {
        "NAME": "fresh" if makes else attached,
        "NEW": "fresh_one",
        "DIR": tempfile.mkdtemp() + "/new",
        "FOLDER": tempfile.mkdtemp() + "/new",
        "MODEL": "demo" if word == "load" else None,
        "PROMPT": PROMPT,
        "VAR": "rows",
        "PATH": str(rows),
        "WEIGHTS": f"{attached}=1" if attached else None,
    }
    if word == "open":
        if attached is None:
            return None
        session.save(attached, values["FOLDER"])
        values["DIR"] = values["FOLDER"]
    if word == "load" and session.__dict__.get("_state") is not None and session._state.unsaved():
        return None  # the advice is for after a save; `--replace` is another suggestion
    parts = []
    for part in re.split(rf"({_PLACEHOLDER.pattern})", line):
        value = values.get(part, part)
        if value is None:
            return None
        parts.append(value)
    text = _weights("".join(parts), names)
    if text is None:
        return None
    return f"{text}\n{_rows(session)}" if text.startswith("%%lora") else text


def _weights(line: str, names: list[str]) -> str | None:
    """`a=0.7 b=0.3` in an example, with adapters that are attached; None if there are too few."""
    if re.search(r"\ba=[\d.]+[ ,]b=", line) and not {"a", "b"} <= set(names):
        if len(names) < 2:
            return None
        line = re.sub(r"\ba=", f"{names[0]}=", line)
        line = re.sub(r"\bb=", f"{names[1]}=", line)
    return line


def _rows(session: Any) -> str:
    state = session.__dict__.get("_state")
    labels = () if state is None or state.empty else state.base.task.labels
    return "\n".join(f"The {label} => {label}" for label in labels) if labels else ROWS


def _type(session: Any, cell: str, variables: dict[str, Any]) -> str:
    """Run a cell in a shell that has this session; returns its error, or ""."""
    shell = _shell()
    shell.user_ns.update(variables)
    shell.user_ns["rows"] = [{"prompt": "a", "completion": "b"}]
    setattr(shell, KEPT_AS, session)
    ran = shell.run_cell(cell)
    error = ran.error_before_exec or ran.error_in_exec
    return "" if error is None else f"{type(error).__name__}: {error}"


def _shell() -> Any:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    InteractiveShell.clear_instance()
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("load_ext", "lora_magic")
    return shell


def _in_a_fork(work: Callable[[], str]) -> str:
    """What `work` returns, run in a copy of this process; an error or a hang is a text, too."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns about other threads: they hold no lock
        child = os.fork()
    if child == 0:
        _report(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        found = pipe.read() if select.select([pipe], [], [], PATIENCE)[0] else None
    if found is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if found is None:
        return f"no end within {PATIENCE} s"
    code = os.waitstatus_to_exitcode(status)
    return found.decode() if code == 0 else f"the process ended with status {code}"


def _report(work: Callable[[], str], writing: int) -> None:
    """In the fork: send what `work` returns, and end without any clean-up."""
    status = 1
    try:
        gc.freeze()
        os.environ["IPYTHONDIR"] = tempfile.mkdtemp()
        torch.set_num_threads(1)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            try:
                found = work()
            except BaseException as error:  # noqa: BLE001
                found = f"{type(error).__name__}: {error}"
        os.write(writing, found.encode("utf-8", "replace")[:60_000])
        status = 0
    finally:
        os._exit(status)
