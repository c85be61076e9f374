"""A real ipykernel for tests: run cells, press ■ and buttons, see what a notebook would see.

Speaks Jupyter's messages as JupyterLab does; knows no lora_magic.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
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
    """One running kernel and its client.

    `widgets` holds what a front end knows of ipywidgets: comm id → the widget's state, as far as
    `run`, `finish` or `wait_for` have read what the kernel sent.
    """

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self.widgets: dict[str, dict[str, Any]] = {}
        info = self.client.kernel_info(reply=True, timeout=PATIENCE)["content"]
        self.has_subshells = "kernel subshells" in info.get("supported_features", [])
        self._subshell: str | None = None
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
            # The cell's own code comes back as well, as an `execute_input`.
            if message is None or message["msg_type"] == "execute_input":
                continue
            if message["parent_header"].get("msg_id") == sent and text in str(message["content"]):
                return
        raise AssertionError(f"never saw {text!r}")

    def stop(self) -> None:
        """Press ■."""
        self.manager.interrupt_kernel()

    def widget(self, model: str, **state: object) -> str:
        """The comm id of the newest widget of that model, `ButtonModel` say, with that state."""
        wanted = {"_model_name": model, **state}
        for comm_id, found in reversed(self.widgets.items()):
            if wanted.items() <= {key: found.get(key) for key in wanted}.items():
                return comm_id
        models = [found["_model_name"] for found in self.widgets.values()]
        raise AssertionError(f"no {wanted} among {models}")

    def wait_for_widget(self, text: str) -> None:
        """Wait until the value of some widget holds a text."""
        end = time.monotonic() + PATIENCE
        while not any(text in str(state.get("value")) for state in self.widgets.values()):
            assert time.monotonic() < end, f"no widget ever said {text!r}"
            self._next()

    def press(self, comm_id: str) -> None:
        """Press a button: heard at once where the kernel has subshells, else after the cell."""
        self._tell(comm_id, {"method": "custom", "content": {"event": "click"}})

    def move(self, comm_id: str, **state: object) -> None:
        """Move a slider, type into a box, tick a box: whatever sets a widget's state."""
        self._tell(comm_id, {"method": "update", "state": state, "buffer_paths": []})

    def _tell(self, comm_id: str, data: dict[str, Any]) -> None:
        # JupyterLab 4.4 and later send what widgets hear over one subshell for all of them.
        message = self.client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
        if self.has_subshells:
            message["header"]["subshell_id"] = self._subshell_of_widgets()
        self.client.shell_channel.send(message)

    def _subshell_of_widgets(self) -> str:
        if self._subshell is None:
            self.client.control_channel.send(self.client.session.msg("create_subshell_request"))
            reply = self.client.get_control_msg(timeout=PATIENCE)["content"]
            assert reply["status"] == "ok", reply
            self._subshell = reply["subshell_id"]
        return self._subshell

    def _next(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.client.get_iopub_msg(timeout=1)
        except Empty:
            return None
        _follow(self.widgets, found["msg_type"], found["content"])
        if self.widgets and self.has_subshells:
            # As a front end does when it first sees a widget.
            self._subshell_of_widgets()
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


def _follow(widgets: dict[str, dict[str, Any]], kind: str, content: dict[str, Any]) -> None:
    """Keep the widgets' states as the kernel tells them."""
    if kind == "comm_open" and content["target_name"] == "jupyter.widget":
        widgets[content["comm_id"]] = dict(content["data"]["state"])
    elif kind == "comm_msg" and content["comm_id"] in widgets:
        widgets[content["comm_id"]] |= content["data"].get("state", {})
    elif kind == "comm_close":
        widgets.pop(content["comm_id"], None)


@contextmanager
def kernel(folder: str, *, libraries: Path | None = None) -> Iterator[Kernel]:
    """A kernel in `folder`, gone afterwards; what `libraries` holds goes before what is installed.

    `pip install --no-deps --target LIBRARIES ipykernel==6.31.*` makes such a folder.
    """
    found_first = [str(libraries)] if libraries else []
    path = os.pathsep.join([*found_first, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **({"PYTHONPATH": path} if path else {})}
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=folder, env=environment)
    made = Kernel(manager)
    try:
        yield made
    finally:
        made.client.stop_channels()
        manager.shutdown_kernel(now=True)
