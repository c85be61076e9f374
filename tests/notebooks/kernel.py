"""A real ipykernel for tests: run cells, press ■, see what a notebook would see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager

PATIENCE = 180.0


@dataclass
class Ran:
    """What one cell came to: its reply's status, and its outputs as they stand at the end."""

    status: str
    printed: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join([self.printed, *(d.get("text/plain", "") for d in self.displays)])


class Kernel:
    """One running kernel and its client."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self._statuses: dict[str, str] = {}

    def run(self, code: str) -> Ran:
        """Run a cell to its end; older kernels go on aborting for a moment after an error."""
        end = time.monotonic() + PATIENCE
        ran = self.finish(self.start(code))
        while ran.status == "aborted" and time.monotonic() < end:
            ran = self.finish(self.start(code))
        return ran

    def start(self, code: str) -> str:
        """Send a cell, as Run All does, and go on."""
        sent: str = self.client.execute(code, stop_on_error=True)
        return sent

    def finish(self, sent: str) -> Ran:
        """Wait for a cell that was sent and gather what it showed."""
        ran = Ran("?")
        marks: dict[str, int] = {}
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self._next()
            if message is None or message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            _gather(ran, marks, kind, content)
        ran.status = self.status(sent)
        return ran

    def wait_for(self, sent: str, text: str) -> None:
        """Wait until a cell has shown some text."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self._next()
            if message is not None and text in str(message["content"]):
                return
        raise AssertionError(f"never saw {text!r}")

    def stop(self) -> None:
        """Press ■."""
        self.manager.interrupt_kernel()

    def _next(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.client.get_iopub_msg(timeout=1)
        except Empty:
            return None
        return found

    def status(self, sent: str) -> str:
        """How a cell that was sent ended: ok, error or aborted."""
        while sent not in self._statuses:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            answered = reply["parent_header"].get("msg_id")
            self._statuses[answered] = str(reply["content"]["status"])
        return self._statuses[sent]


def _gather(ran: Ran, marks: dict[str, int], kind: str, content: dict[str, Any]) -> None:
    if kind == "stream":
        ran.printed += content["text"]
    elif kind == "error":
        ran.errors.append("\n".join(content["traceback"]))
    elif kind in ("display_data", "execute_result", "update_display_data"):
        mark = content.get("transient", {}).get("display_id")
        if mark in marks:
            ran.displays[marks[mark]] = content["data"]
            return
        if mark is not None:
            marks[mark] = len(ran.displays)
        ran.displays.append(content["data"])


@contextmanager
def kernel(folder: str) -> Iterator[Kernel]:
    """A kernel in `folder`, gone afterwards."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=folder)
    made = Kernel(manager)
    try:
        yield made
    finally:
        made.client.stop_channels()
        manager.shutdown_kernel(now=True)
