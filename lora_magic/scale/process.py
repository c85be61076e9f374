"""Child processes of this package: a request to each, what they say, and how they end.

A frame is the eight bytes of its length, then a pickle; an empty one to a child asks it to stop.
What a child prints is kept in memory, for the one line that says why it ended: nothing is written
to a disk. Knows processes, pipes and frames; `child` is the other end of the pipes.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from lora_magic.errors import LoraMagicError, WorkerError, sentence
from lora_magic.interrupts import undisturbed

#: Seconds between two looks at the children, in which an interrupt is noticed.
_PAUSE = 0.1

#: Seconds in which the worker that was lost is heard, after another one has missed it.
_PATIENCE = 2.0

#: Bytes of what a child printed last that are kept.
_LOG = 4096

#: SIGKILL, which not every system has.
_KILLED = 9

#: The frame that asks a child to stop.
STOP = b""

#: How a request is called in an error.
WORK = "what the workers need"

#: What names the temporary folder that is removed after the children.
FOLDER = "LORA_MAGIC_WORKERS_FOLDER"

#: The kinds of what a child says: an event of its work; the work's result, or its error, a class
#: and a message.
EVENT, RESULT, ERROR = "event", "result", "error"

#: The child has the kernel's modules, and this package is the very one that the kernel runs. A file
#: in a notebook's folder may have the name of a library that the kernel has imported before, from
#: elsewhere: so that folder is looked in last.
_START = """
import importlib, importlib.util, json, sys
_, init, module, sys.path[:] = [*sys.argv[:3], json.loads(sys.argv[3])]
spec = importlib.util.spec_from_file_location("lora_magic", init)
package = sys.modules["lora_magic"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
importlib.import_module(module).main()
"""

_LENGTH = struct.Struct(">Q")


class PeerLostError(WorkerError):
    """Another worker is gone, which a collective call noticed; its own end says why."""


def write(stream: IO[bytes], frame: bytes) -> None:
    """Write one frame."""
    stream.write(_LENGTH.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def read(stream: IO[bytes]) -> bytes | None:
    """The next frame; None at the end of the stream, also in the middle of a frame."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    length = _LENGTH.unpack(head)[0]
    frame = stream.read(length)
    return frame if len(frame) == length else None


class Process:
    """One child, whose frames come to `inbox` with this object, and None after the last one."""

    def __init__(
        self,
        name: str,
        module: str,
        environment: Mapping[str, str],
        inbox: SimpleQueue[tuple[Process, bytes | None]],
    ) -> None:
        """Start `module.main()` in a child; `name` is its name in errors ("worker 1").

        Raises `OSError` if no process can be started.
        """
        self.name = name
        self._log = b""
        package = Path(__file__).parent.parent / "__init__.py"
        # -P: a file in the current folder must not replace one of Python's own.
        command = [sys.executable, "-P", "-c", _START, str(package), module, json.dumps(_path())]
        pipe = subprocess.PIPE
        # A session of its own: ■ interrupts a kernel's whole group of processes.
        self._process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        targets: list[tuple[Callable[..., None], tuple[object, ...]]] = [
            (self._hear, (self._process.stdout, inbox)),
            (self._keep, (self._process.stderr,)),
        ]
        self._threads = [
            threading.Thread(target=target, args=arguments, daemon=True)
            for target, arguments in targets
        ]
        for thread in self._threads:
            thread.start()

    def send(self, frame: bytes) -> None:
        """Write a frame to the child; one that has ended is heard of as such.

        Raises `WorkerError` after `close`, when nothing is heard any more.
        """
        if self._stdin.closed:
            raise WorkerError(f"{self.name} was ended before")
        with suppress(OSError):
            write(self._stdin, frame)

    def why(self) -> str:
        """How the child ended, after its last frame."""
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return f"{self.name} closed its output"
        if status == -_KILLED:
            memory = "which is how the system ends a process when memory runs out"
            return f"{self.name} was ended by signal {-status}, {memory}"
        if status < 0:
            return f"{self.name} was ended by signal {-status}"
        self._threads[1].join(_PATIENCE)
        lines = self._log.decode(errors="replace").strip().splitlines()
        said = f": {lines[-1].strip()}" if lines else ""
        return f"{self.name} ended with exit status {status}{said}"

    def kill(self) -> None:
        """End the child at once."""
        self._process.kill()

    def close(self) -> None:
        """Wait for the end of a child that was ended, and let go of it; may be called twice."""
        self._process.wait()
        with suppress(OSError):
            self._stdin.close()
        for thread in self._threads:
            thread.join(_PATIENCE)

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None  # a pipe
        return self._process.stdin

    def _hear(self, stream: IO[bytes], inbox: SimpleQueue[tuple[Process, bytes | None]]) -> None:
        with stream:
            while (frame := read(stream)) is not None:
                inbox.put((self, frame))
        inbox.put((self, None))

    def _keep(self, stream: IO[bytes]) -> None:
        with stream:
            while said := os.read(stream.fileno(), _LOG):
                self._log = (self._log + said)[-_LOG:]


class Processes:
    """Children that do one work together, or one child."""

    def __init__(self) -> None:
        self._inbox: SimpleQueue[tuple[Process, bytes | None]] = SimpleQueue()
        self._all: list[Process] = []

    def start(self, name: str, module: str, environment: Mapping[str, str]) -> None:
        """Start one more. Raises `WorkerError`."""
        try:
            # An interrupt must not lose a process that was just started.
            with undisturbed():
                self._all.append(Process(name, module, environment, self._inbox))
        except OSError as error:
            raise WorkerError(f"{name} cannot be started: {error.strerror or error}") from None

    def ask(
        self,
        request: object,
        listen: Callable[[object], None],
        stop: Callable[[], bool],
    ) -> Any:
        """Send the request to all; the first one's result, when all have theirs.

        `listen` gets their events, in this thread. When `stop()` becomes true, all are asked to
        stop, once. Raises a child's `LoraMagicError`, and `WorkerError` for one that ended.
        """
        self._send(packed(request, WORK))
        results: dict[Process, Any] = {}
        asked, missed = False, None
        until = float("inf")
        while len(results) < len(self._all):
            if not asked and stop():
                asked = True
                self._send(STOP)
            if missed is not None and time.monotonic() > until:
                raise WorkerError(str(missed))
            try:
                process, frame = self._inbox.get(timeout=_PAUSE)
            except Empty:
                continue
            try:
                kind, value = unpacked(process, frame)
            except PeerLostError as error:
                missed, until = missed or error, min(until, time.monotonic() + _PATIENCE)
                continue
            if kind == EVENT:
                listen(value)
            else:
                results[process] = value
        return results[self._all[0]]

    def close(self) -> None:
        """End all at once; may be called twice."""
        for process in self._all:
            process.kill()
        for process in self._all:
            process.close()

    def _send(self, frame: bytes) -> None:
        for process in self._all:
            process.send(frame)


@contextmanager
def processes() -> Iterator[Processes]:
    """Children for the block; none is left after it, however it ends."""
    started = Processes()
    try:
        yield started
    finally:
        with undisturbed():
            started.close()


def packed(value: object, what: str) -> bytes:
    """A value as a frame. Raises `WorkerError`, which begins with `what`, if it cannot be sent."""
    try:
        return pickle.dumps(value)
    except Exception as error:  # noqa: BLE001  # any object's own error
        raise unsendable(what, error) from None


def unsendable(what: str, error: Exception) -> WorkerError:
    """The error for a value that pickle does not take."""
    return WorkerError(
        f"{what} cannot be sent: {sentence(error)}; expected what can be pickled, with classes and "
        "functions of a module, not of a cell"
    )


def unpacked(process: Process, frame: bytes | None) -> tuple[str, Any]:
    """What a child said: a kind and a value. Raises what it raised, `WorkerError` if it ended."""
    if frame is None:
        raise WorkerError(process.why())
    try:
        kind, value = pickle.loads(frame)
    except Exception as error:  # noqa: BLE001  # any object's own error
        why = f"what {process.name} sent cannot be read: {sentence(error)}"
        raise WorkerError(why) from None
    if kind == ERROR:
        raised: type[LoraMagicError] = value[0]
        raise raised(value[1])
    return kind, value


def _path() -> list[str]:
    """Where this process finds its modules; "", a notebook's own folder, comes last."""
    return sorted((path for path in sys.path if isinstance(path, str)), key="".__eq__)
