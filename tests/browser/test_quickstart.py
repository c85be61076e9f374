"""The committed quickstart in a real JupyterLab: reopened without a run, and run live."""

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
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PATIENCE = 120_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="module", params=["JupyterLab Light", "JupyterLab Dark"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab over a copy of the notebooks, in one of its two themes."""
    room = tmp_path_factory.mktemp("lab")
    shutil.copytree(NOTEBOOKS, room / "notebooks")
    settings = {
        "apputils-extension/themes": {"theme": request.param},
        "apputils-extension/notification": {"fetchNews": "false"},
        # All cells stand in the page, whether they are scrolled to or not.
        "notebook-extension/tracker": {"windowingMode": "none"},
    }
    for name, values in settings.items():
        path = room / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--IdentityProvider.token=", "--ServerApp.root_dir=."]
    places = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    environment = {**os.environ, **{name: str(room / place) for name, place in places.items()}}
    with (room / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=room, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/api")
            yield f"http://127.0.0.1:{port}/lab/tree/notebooks/quickstart.ipynb?reset"
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_for(address: str) -> None:
    end = time.monotonic() + PATIENCE / 1000
    while True:
        try:
            urllib.request.urlopen(address)
        except OSError:
            assert time.monotonic() < end, f"{address} does not answer"
            time.sleep(0.3)
        else:
            return


@pytest.fixture(scope="module")
def page(lab: str) -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = browser.new_page(viewport={"width": 1280, "height": 900})
        found.set_default_timeout(PATIENCE)
        found.goto(lab)
        found.wait_for_selector(".jp-Notebook .jp-Cell")
        found.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        yield found
        browser.close()


def cell(page: Any, source: str) -> Any:
    return page.locator(".jp-CodeCell").filter(has_text=source).first


def assert_panes(page: Any) -> None:
    output = cell(page, "%%lora compare").locator(".jp-OutputArea-output")
    output.get_by_text("grumpy", exact=True).last.wait_for()
    for name in ("base", "cheerful", "grumpy"):
        assert output.get_by_text(name, exact=True).count() == 3
    marked = output.locator("mark, b").filter(has_text="How wonderful that you ask!")
    assert marked.count() > 0
    text = output.first
    ink, paper = (contrast_of(text, kind) for kind in ("color", "backgroundColor"))
    assert abs(ink - paper) > 0.5, "the text is not to be told from the page"


def contrast_of(element: Any, kind: str) -> float:
    """How bright a colour is, 0 to 1; a transparent background is that of what lies behind."""
    channels = element.evaluate(
        """(node, kind) => {
            let colour = getComputedStyle(node)[kind];
            while (node.parentElement && colour.replace(/ /g, '') === 'rgba(0,0,0,0)') {
                node = node.parentElement;
                colour = getComputedStyle(node)[kind];
            }
            return colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
        }""",
        kind,
    )
    return sum(map(float, channels)) / 765


def test_reopened_without_a_run_everything_is_to_be_seen(page: Any) -> None:
    assert_panes(page)
    # A picture beside the notebook is fetched after the page is shown; plotly keeps one hidden.
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.jp-Notebook img:not(.plot-img)')];"
        " return all.length > 3 && all.every(image => image.complete && image.naturalWidth); }"
    )
    assert page.locator(".jp-OutputArea-output[data-mime-type*=error]").count() == 0


def test_run_live_the_training_is_seen_and_its_curve_stays(page: Any) -> None:
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).click()
    cell(page, "%%lora_train cheerful").get_by_text("press ■ to stop").wait_for()
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];"
        " return all.length && all.every(p => /^\\[[0-9]+\\]:?$/.test(p.textContent.trim())); }"
    )
    trained = cell(page, "%%lora_train cheerful")
    assert trained.get_by_text("60 steps in").count() == 1
    assert trained.get_by_text("press ■ to stop").count() == 0
    assert cell(page, "%lora spectrum").locator(".js-plotly-plot .main-svg").count() > 0
    assert_panes(page)
    assert page.get_by_text("0 bits changed").count() > 0
