"""An adapter and a module to pick: what can be picked is there, and stays picked."""

from __future__ import annotations

import pytest

from lora_magic.errors import StateError
from lora_magic.views.controls.spectrum import ALL, SpectrumControls

MODULES = {"one": ["q", "v", "0.q"], "two": ["q", "up"]}


class Looker:
    """Keeps what it was asked to show."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str | None]] = []

    def __call__(self, adapter: str | None, module: str | None) -> str:
        self.asked.append((adapter, module))
        if adapter == "two":
            raise StateError("two has no <spectrum>")
        return f"<p>{adapter} {module}</p>"


@pytest.fixture
def looker() -> Looker:
    return Looker()


@pytest.fixture
def controls(looker: Looker) -> SpectrumControls:
    return SpectrumControls(MODULES, looker)


def test_nothing_is_looked_at_until_something_is_picked(
    controls: SpectrumControls, looker: Looker
) -> None:
    assert looker.asked == []
    assert controls.page.html == ""
    assert list(controls.adapter.options) == [ALL, "one", "two"]
    assert list(controls.module.options) == [ALL, "q", "v", "0.q", "up"]


def test_each_pick_looks_once(controls: SpectrumControls, looker: Looker) -> None:
    controls.adapter.value = "one"
    assert list(controls.module.options) == [ALL, "q", "v", "0.q"]
    controls.module.value = "v"
    assert looker.asked == [("one", None), ("one", "v")]
    assert controls.page.html == "<p>one v</p>"


def test_a_module_that_another_adapter_lacks_is_no_longer_picked(
    controls: SpectrumControls, looker: Looker
) -> None:
    controls.module.value = "up"
    controls.adapter.value = "one"
    assert controls.module.value == ALL
    assert looker.asked == [(None, "up"), ("one", None)]


def test_a_spectrum_that_is_not_there_is_a_line_and_the_page_stays(
    controls: SpectrumControls,
) -> None:
    controls.adapter.value = "one"
    controls.adapter.value = "two"
    assert "two has no &lt;spectrum&gt;" in controls.page.said
    assert controls.page.html == "<p>one None</p>"


def test_an_adapter_that_comes_or_goes_leaves_the_others_picked(
    controls: SpectrumControls, looker: Looker
) -> None:
    controls.adapter.value = "one"
    controls.module.value = "v"
    looker.asked.clear()
    controls.offer({**MODULES, "three": ["q"]})
    assert list(controls.adapter.options) == [ALL, "one", "two", "three"]
    assert (controls.adapter.value, controls.module.value) == ("one", "v")
    controls.offer({"two": ["q", "up"]})
    assert (controls.adapter.value, controls.module.value) == (ALL, ALL)
    assert looker.asked == []


def test_they_begin_with_an_adapter_if_one_is_named(looker: Looker) -> None:
    assert SpectrumControls(MODULES, looker, "two").adapter.value == "two"
