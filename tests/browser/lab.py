"""A real JupyterLab in a real Chromium, and what a person does there.

    lab.write("one.ipynb", "1 + 1")                 a notebook of these cells
    lab.add(path)                                   a copy of a file; lab.trust(name) signs it
    book = lab.open_notebook("one.ipynb", theme="dark", kernel=True)

    book.run_all()                                  wait=False goes on at once
    book.run_cell(0)                                likewise; cells count from 0, all kinds
    book.cell(0), book.output_of(0)                 Playwright locators
    book.wait_idle()                                nothing runs and nothing waits to run
    book.interrupt()                                ■ in the toolbar
    book.save()
    again = book.shut_down_kernel_and_reopen()      saved, kernel gone, opened with "No Kernel"
    book.screenshot("panel"), (…, book.output_of(0))   → screenshots/panel-dark-running.png
    book.violations(book.output_of(0))              what axe finds inside these elements alone
    for _ in book.each_theme():                     the page as it is, light and dark
    book.refused                                    requests beyond this machine: there are none

`book.page` is Playwright's page for everything else. Knows JupyterLab; knows nothing of ours.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nbformat
from nbformat.sign import NotebookNotary

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = Path(__file__).parent / "screenshots"
PATIENCE = 120_000
SIZE = {"width": 1280, "height": 900}

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
#: A cell by its place among all cells, or its locator.
Cell = Any

_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false"},
    # All cells stand in the page, whether they are scrolled to or not.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
#: RowErrors of others that cannot be mended from Python, by axe's rule and what the element holds.
EXCUSED = {
    # The handle of ipywidgets' sliders has a role and no name, whatever the description.
    "aria-input-field-name": 'class="noUi-handle',
    # The picture that plotly shows of a chart until somebody looks at it; its words are a title,
    # a table and axes of their own once it is drawn.
    "image-alt": 'class="plot-img',
}
# Axe looks at what is inside our outputs; these rules are about a page as a whole.
_AXE = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# JupyterLab's body has no height and hides what overflows: axe takes all inside for unseen.
_LOOK = """async (nodes, rules) => {
    const before = document.body.style.height;
    document.body.style.height = '100vh';
    try { return await axe.run({include: nodes}, rules); }
    finally { document.body.style.height = before; }
}"""
_NO_KERNEL = """() => {
    const factory = window.jupyterapp.docRegistry.getWidgetFactory('Notebook');
    Object.defineProperty(factory, 'preferKernel', {value: false});
}"""
_OPEN = """async path => {
    const app = window.jupyterapp;
    const panel = await app.commands.execute('docmanager:open', {path, factory: 'Notebook'});
    app.shell.activateById(panel.id);
    await panel.context.ready;
    await panel.revealed;
    await panel.sessionContext.ready;
}"""
_KERNEL_READY = """() => {
    const session = window.jupyterapp.shell.currentWidget.sessionContext.session;
    const kernel = session && session.kernel;
    return kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
_IDLE = """() => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
    return kernel.status === 'idle' && !prompts.some(p => p.textContent.includes('*'));
}"""
_WHOLE = """() => {
    document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0;
    const cells = [...document.querySelectorAll('.jp-Notebook .jp-Cell')];
    return Math.ceil(cells.reduce((sum, cell) => sum + cell.offsetHeight + 4, 0));
}"""
_THEME = """async theme => {
    await window.jupyterapp.commands.execute('apputils:change-theme', {theme});
}"""
_RUN = """([command, place]) => {
    const app = window.jupyterapp;
    if (place !== null) {
        app.shell.currentWidget.content.deselectAll();
        app.shell.currentWidget.content.activeCellIndex = place;
    }
    return app.commands.execute(command);
}"""


@dataclass
class Lab:
    """A running server over one folder, and a browser."""

    folder: Path
    address: str
    browser: Any
    _opened: int = 0

    def write(self, name: str, *cells: str | nbformat.NotebookNode) -> Path:
        """A notebook of these cells: sources, or whole cells with their outputs."""
        notebook = nbformat.v4.new_notebook()
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        notebook.cells = [
            nbformat.v4.new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells
        ]
        path = self.folder / name
        nbformat.write(notebook, path)
        return path

    def add(self, *paths: Path) -> None:
        """Copy files beside each other into the folder."""
        for path in paths:
            shutil.copy(path, self.folder / path.name)

    def trust(self, name: str) -> None:
        """Sign a notebook, as JupyterLab does with one that was run here."""
        notebook = nbformat.read(self.folder / name, as_version=4)
        notary = NotebookNotary(data_dir=str(self.folder / ".places" / "data"))
        try:
            notary.sign(notebook)
        finally:
            notary.store.close()

    def open_notebook(self, name: str, *, theme: Theme = "light", kernel: bool = True) -> Book:
        """A notebook in a page of its own; without a kernel as when "No Kernel" was chosen."""
        _set(self.folder, "apputils-extension/themes", {"theme": f"JupyterLab {theme.title()}"})
        self._opened += 1
        page = self.browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE)
        book = Book(self, name, page, theme, "running" if kernel else "reopened")
        page.on("console", lambda message: book.console.append(message.text))
        page.route("**", lambda route: _allow(route, book.refused))
        # A workspace of its own: else the notebooks of earlier tests are opened beside it.
        page.goto(f"{self.address}/lab/workspaces/w{self._opened}?reset")
        page.wait_for_function("() => window.jupyterapp && window.jupyterapp.restored")
        page.evaluate("() => window.jupyterapp.restored")
        if not kernel:
            page.evaluate(_NO_KERNEL)
        page.evaluate(_OPEN, name)
        page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        if kernel:
            page.wait_for_function(_KERNEL_READY)
        return book


@dataclass
class Book:
    """One notebook that is open."""

    lab: Lab
    name: str
    page: Any
    theme: Theme
    state: str
    console: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def cell(self, which: Cell) -> Any:
        """A cell by its place, or the first code cell that holds a text."""
        if isinstance(which, int):
            return self.page.locator(".jp-Notebook .jp-Cell").nth(which)
        if isinstance(which, str):
            return self.page.locator(".jp-CodeCell").filter(has_text=which).first
        return which

    def output_of(self, which: Cell) -> Any:
        """All outputs of a cell."""
        return self.cell(which).locator(".jp-OutputArea-output")

    @property
    def outputs(self) -> Any:
        """All outputs of the notebook."""
        return self.page.locator(".jp-Notebook .jp-OutputArea-output")

    def run_all(self, *, wait: bool = True) -> None:
        self._run("notebook:run-all-cells", None, wait)

    def run_cell(self, place: int, *, wait: bool = True) -> None:
        self._run("notebook:run-cell", place, wait)

    def _run(self, command: str, place: int | None, wait: bool) -> None:
        # Without `return` the promise is left alone, and Playwright does not wait for it.
        how = "await" if wait else "void"
        self.page.evaluate(f"async given => {{ {how} ({_RUN})(given); }}", [command, place])
        if wait:
            self.wait_idle()

    def wait_idle(self) -> None:
        self.page.wait_for_function(_IDLE)

    def interrupt(self) -> None:
        """Press ■."""
        self.page.locator("[data-jp-item-name=interrupt] jp-button").first.click()

    def save(self) -> None:
        self._command("docmanager:save")

    def shut_down_kernel_and_reopen(self) -> Book:
        """Save, end the kernel, close the page, and open the file again without a kernel."""
        self.save()
        self._command("notebook:shutdown-kernel")
        self.page.close()
        return self.lab.open_notebook(self.name, theme=self.theme, kernel=False)

    def reopen(self, *, kernel: bool = True) -> Book:
        """The saved file in a new page, on its running kernel or without one."""
        self.page.close()
        return self.lab.open_notebook(self.name, theme=self.theme, kernel=kernel)

    def close(self) -> None:
        """End the kernel and the page; may be called twice."""
        if not self.page.is_closed():
            if self.state == "running":
                self._command("notebook:shutdown-kernel")
            self.page.close()

    def each_theme(self) -> Iterator[Theme]:
        """Give the open page one theme after the other; it ends in the one that it had."""
        for theme in sorted(THEMES, key=lambda theme: theme == self.theme):
            self.page.evaluate(_THEME, f"JupyterLab {theme.title()}")
            light = str(theme == "light").lower()
            self.page.wait_for_function(
                "light => document.body.dataset.jpThemeLight === light", arg=light
            )
            self.theme = theme
            yield theme

    def screenshot(self, name: str, element: Any = None) -> Path:
        """A picture of an element, or of the whole notebook however long."""
        SCREENSHOTS.mkdir(exist_ok=True)
        path = SCREENSHOTS / f"{name}-{self.theme}-{self.state}.png"
        with self._whole():
            (self.page if element is None else element).screenshot(path=path)
        return path

    def violations(self, elements: Any) -> list[str]:
        """What axe finds inside the elements: a line for each, empty where all is well."""
        # Axe takes what is scrolled away for hidden, and says nothing about its contrast.
        with self._whole():
            return violations(self.page, elements)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """The window as high as the notebook."""
        # Twice, since some outputs are laid out anew when there is more room.
        for _ in range(2):
            height = self.page.evaluate(_WHOLE)
            self.page.set_viewport_size({**SIZE, "height": height + 160})
            self.page.wait_for_timeout(300)
        try:
            yield
        finally:
            self.page.set_viewport_size(SIZE)

    def _command(self, command: str) -> None:
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", command)


def violations(page: Any, elements: Any) -> list[str]:
    """What axe finds inside `elements` of a page: a line for each."""
    from axe_playwright_python.base import AXE_SCRIPT

    if page.evaluate("() => typeof axe === 'undefined'"):
        page.evaluate(AXE_SCRIPT)
    found = elements.evaluate_all(_LOOK, _AXE)
    asked = {rule["id"] for kind in ("passes", "violations") for rule in found[kind]}
    assert "color-contrast" in asked, "axe saw no text: is it scrolled away, or folded?"
    return [
        f"{fault['id']}: {node['failureSummary']} in {node['html'][:300]}"
        for fault in found["violations"]
        for node in fault["nodes"]
        if EXCUSED.get(fault["id"], "\0") not in node["html"]
    ]


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab over `folder`, with settings and signatures of its own."""
    for name, values in _SETTINGS.items():
        _set(folder, name, values)
    places = folder / ".places"
    environment = {
        **os.environ,
        "JUPYTERLAB_SETTINGS_DIR": str(places / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(places / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(places / "config"),
        "JUPYTER_DATA_DIR": str(places / "data"),
        "JUPYTER_RUNTIME_DIR": str(places / "runtime"),
    }
    port = free_port()
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    options += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.root_dir=."]
    options += ["--LabApp.expose_app_in_browser=True"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with (places / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/api", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                # Its kernels see that it is gone, and end.
                process.kill()
                process.wait()


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE / 1000
    while True:
        try:
            urllib.request.urlopen(address, timeout=5)
        except OSError:
            assert process.poll() is None, "the server ended; see its log"
            assert time.monotonic() < end, f"{address} does not answer"
            time.sleep(0.2)
        else:
            return


def _set(folder: Path, name: str, values: dict[str, str]) -> None:
    path = folder / ".places" / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def _allow(route: Any, refused: list[str]) -> None:
    """Let a request to this machine through; note and refuse any other."""
    address = route.request.url
    if address.startswith(("http://127.0.0.1:", "data:", "blob:")):
        route.continue_()
    else:
        refused.append(address)
        route.abort()
