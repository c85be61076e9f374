"""What runs in a child process: a request is read, its function called, its result sent back.

The other end of `process`. Imports no torch before the request is read. Knows pipes and one worker
of this machine; knows no work.
"""

from __future__ import annotations

import os
import pickle
import shutil
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import IO, Any

from lora_magic.errors import LoraMagicError, WorkerError, sentence

from .process import (
    ERROR,
    EVENT,
    FOLDER,
    RESULT,
    STOP,
    WORK,
    packed,
    read,
    unsendable,
    write,
)
from .work import Seat, Work

#: Does a request; the event is set when the person asks to stop, and the function sends an event.
Act = Callable[[Any, threading.Event, Callable[[object], None]], Any]


def main() -> None:
    """A worker of this machine; its number is in RANK."""
    rank = int(os.environ["RANK"])

    def act(request: Any, stop: threading.Event, tell: Callable[[object], None]) -> Any:
        work: Work
        work, cuda = request
        from .collective import joined

        world, device = joined(cuda)
        result = work.done(Seat(world, device, stop, tell if rank == 0 else dropped))
        return result if rank == 0 else None

    serve(act, f"worker {rank}: ", os.environ.get(FOLDER))


def serve(act: Act, prefix: str = "", folder: str | None = None) -> None:
    """Do requests until the kernel is gone; the messages of their errors begin with `prefix`.

    The kernel removes the workers' temporary `folder`; if it was killed, they do.
    """
    replies, commands = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    # What the work prints is no frame, and what it reads no command.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    requests: SimpleQueue[tuple[bytes, threading.Event]] = SimpleQueue()
    threading.Thread(target=_obey, args=(commands, requests, folder), daemon=True).start()
    lock = threading.Lock()

    def send(kind: str, value: object) -> None:
        frame = packed((kind, value), f"the {kind} of the work")
        with lock:
            write(replies, frame)

    while True:
        request: Any
        request, stop = requests.get()
        try:
            # Its bytes are let go: they may be many, and the work may take hours.
            request = _read(request)
            send(RESULT, act(request, stop, lambda event: send(EVENT, event)))
        except BaseException as error:  # noqa: BLE001  # the kernel raises it
            send(ERROR, told(error, prefix))


def _obey(
    commands: IO[bytes],
    requests: SimpleQueue[tuple[bytes, threading.Event]],
    folder: str | None,
) -> None:
    """Pass requests on, each with the event that a later `STOP` sets; end with the kernel."""
    stop = threading.Event()
    while (frame := read(commands)) is not None:
        if frame == STOP:
            stop.set()
        else:
            stop = threading.Event()
            requests.put((frame, stop))
            frame = STOP  # not kept while the next one is awaited
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    # At once: the main thread may wait for another worker, and nobody hears this one any more.
    os._exit(1)


def _read(request: bytes) -> Any:
    try:
        return pickle.loads(request)
    except Exception as error:  # noqa: BLE001  # any object's own error
        # Such as of a class or a function that was defined in a cell.
        raise unsendable(WORK, error) from None


def told(error: BaseException, prefix: str) -> tuple[type[LoraMagicError], str]:
    """The class and the message that the kernel raises."""
    if isinstance(error, LoraMagicError):
        return type(error), f"{prefix}{error}"
    name, why = type(error).__name__, sentence(error)
    return WorkerError, f"{prefix}{name}" if why == name else f"{prefix}{name}: {why}"


def dropped(event: object) -> None:
    """What the other workers tell: worker 0 speaks for the group."""
