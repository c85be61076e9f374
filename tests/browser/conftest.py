"""One JupyterLab and one Chromium for all browser tests of a worker; see lab.py for their use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.lab import CHROMIUM, THEMES, Lab, Theme, chromium, server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is not None:
        return
    skip = pytest.mark.skip(reason="no chromium here")
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(skip)


# For the package, not the session: while Playwright runs, no other event loop can.
@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab over an empty folder."""
    pytest.importorskip("playwright.sync_api")
    folder = tmp_path_factory.mktemp("lab")
    with server(folder) as address, chromium() as browser:
        yield Lab(folder, address, browser)


@pytest.fixture(params=THEMES)
def theme(request: pytest.FixtureRequest) -> Theme:
    """Each of the two themes; where one open page will do, `Book.each_theme`."""
    found: Theme = request.param
    return found
