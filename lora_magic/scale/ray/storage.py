"""The folder that Ray Train writes about a run; those of runs whose kernel was killed are removed.

A run locks a file beside its folder, and the system frees the lock when the kernel ends in any way.
Knows folders and locks; does not import ray, nor filelock before a run begins.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

#: Seconds after which the folder of a killed run is removed: Ray's processes have long ended.
_DAY = 24 * 3600.0


class Storage:
    """A folder with a new name, since Ray Train would resume the run of one that is there.

    `path` is made by Ray in the `shared` folder's part for Ray, or without one in the temporary
    folder of each node.
    """

    def __init__(self, shared: str) -> None:
        self._parent = Path(shared, "ray") if shared else Path(tempfile.gettempdir())
        self.path = self._parent / f"lora_magic-{uuid4().hex[:12]}"
        self._shared = bool(shared)
        self._held = ExitStack()

    def hold(self) -> None:
        """Before a run: lock it, and remove those of killed runs. Warns of one that stays."""
        if not self._shared:
            return
        # Without a lock, as on a drive that has none, no other run will take it for a killed one's.
        with suppress(OSError, NotImplementedError):
            self._parent.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(_locked(_lock_of(self.path)))
        _tidy(self._parent)

    def close(self) -> None:
        """Remove it; may be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._held.close()
        if self._shared:
            with suppress(OSError):  # another run's folder is in it
                self._parent.rmdir()


@contextmanager
def storage(shared: str) -> Iterator[Storage]:
    """A folder for the block."""
    made = Storage(shared)
    try:
        yield made
    finally:
        made.close()


def _lock_of(folder: Path) -> Path:
    """The file that says whose folder it is: a network drive may not share locks."""
    return folder.with_name(f"{folder.name}.{socket.gethostname()}.lock")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a file for the block, and remove it after it. Raises `Timeout` if it is locked."""
    from filelock import FileLock

    path.touch()  # where no file can be made, filelock would wait for one
    with FileLock(path, timeout=0, thread_local=False):
        yield
    path.unlink(missing_ok=True)


def _tidy(parent: Path) -> None:
    """Remove the folders of this machine's runs that began a day ago and have no process."""
    from filelock import Timeout

    name = re.compile(r"(lora_magic-[0-9a-f]{12})\..+")
    for lock in parent.glob("lora_magic-*.lock"):
        found = name.fullmatch(lock.name)
        folder = found and lock.with_name(found[1])
        if folder is None or lock != _lock_of(folder) or lock.is_symlink():
            continue
        try:
            if time.time() - lock.stat().st_mtime > _DAY:
                with _locked(lock):
                    if folder.exists():
                        shutil.rmtree(folder)
        except (Timeout, FileNotFoundError):
            continue  # its run goes on, or another one has removed it
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or error
            warnings.warn(
                f"{folder}, which a killed run has left, cannot be removed ({why}); remove it and "
                f"{lock.name}",
                RuntimeWarning,
                stacklevel=2,
            )
