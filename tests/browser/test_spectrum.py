"""The spectrum as a person uses it: heat maps, an overlay, pickers, both themes, no kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.lab import SCREENSHOTS, SIZE, Book, Lab

#: Two adapters on all 28 matrices, of which one is trained further, without the time to train them.
MOVED = """
import torch
lora = lora_magic.session()
for name, rank, size in (("pirate", 8, 0.02), ("formal", 4, 0.2)):
    lora.attach(name, rank=rank, targets="all-linear")
    for key, tensor in lora._state.attached[name].tensors():
        if "lora_B" in key:
            scales = torch.linspace(1, 0.1, tensor.shape[1])
            tensor.data = torch.randn(tensor.shape, generator=torch.manual_seed(0)) * size * scales
"""
LOAD, MOVE, MAPS, OVERLAY = range(4)
CELLS = (
    "import lora_magic\n%load_ext lora_magic\n%lora load demo",
    MOVED,
    "%lora spectrum pirate,formal --intruders",
    "%lora spectrum pirate,formal --module 0.v_proj",
)
NARROW = {"width": 800, "height": 900}


@pytest.fixture(scope="module")
def book(lab: Lab) -> Iterator[Book]:
    """The notebook, run to its end."""
    lab.write("spectrum.ipynb", *CELLS)
    opened = lab.open_notebook("spectrum.ipynb")
    opened.run_all()
    yield opened
    opened.close()


def shows(controls: Any, name: str) -> None:
    """Wait for a picture whose name begins so."""
    controls.locator(f"[role=img][aria-label^='{name}'], img[alt^='{name}']").first.wait_for()


def test_the_heat_maps_of_two_adapters_are_on_one_page(book: Book) -> None:
    record = book.output_of(MAPS).first
    for name in ("pirate", "formal"):
        assert record.locator(f"img[alt^='{name}: effective rank of ΔW']").count() == 1
    assert record.get_by_text("Intruder dimensions:").count() == 1


def test_pickers_show_another_measure_and_a_module_with_the_keyboard_alone(book: Book) -> None:
    controls = book.output_of(MAPS).last
    measure = controls.get_by_label("Measure")
    measure.focus()
    measure.press("n")  # the only one with this letter: norm
    shows(controls, "pirate: ‖ΔW‖: heat map")
    # A value shows on hover.
    assert controls.locator("svg title").first.text_content().startswith("q_proj, 0: ")
    for _ in book.each_theme():
        book.screenshot("spectrum-maps", book.cell(MAPS))
        assert book.violations(book.output_of(MAPS)) == []
    measure.press("Tab")
    module = controls.get_by_label("Module")
    assert module.evaluate("it => it === document.activeElement")
    module.select_option("0.q_proj")
    shows(controls, "Singular values of model.layers.0.self_attn.q_proj")
    assert measure.is_disabled()
    module.select_option("all")
    measure.select_option("relative_norm")
    shows(controls, "pirate: ‖ΔW‖ in percent of ‖W‖")


def test_several_adapters_are_overlaid_beside_w(book: Book) -> None:
    chart = book.cell(OVERLAY).locator(".js-plotly-plot")
    chart.locator(".main-svg").first.wait_for()
    legend = chart.locator(".legendtext").all_text_contents()
    assert legend[:3] == ["pirate", "formal", "W (all 192)"]
    for _ in book.each_theme():
        book.screenshot("spectrum-overlay", book.cell(OVERLAY))
        assert book.violations(book.output_of(OVERLAY)) == []


def test_both_fit_into_a_window_of_800_pixels(book: Book) -> None:
    book.page.set_viewport_size(NARROW)
    try:
        for theme in book.each_theme():
            for name, cell in (("maps", MAPS), ("overlay", OVERLAY)):
                place = SCREENSHOTS / f"spectrum-{name}-narrow-{theme}-{book.state}.png"
                book.cell(cell).screenshot(path=place)
            record = book.output_of(MAPS).first
            assert record.evaluate("it => it.scrollWidth <= it.clientWidth")
    finally:
        book.page.set_viewport_size(SIZE)


def test_a_spectrum_outlives_its_kernel_without_its_pickers(book: Book) -> None:
    again = book.shut_down_kernel_and_reopen()
    try:
        record = again.output_of(MAPS).first
        assert record.locator("img[alt^='formal: effective rank of ΔW']").count() == 1
        assert again.output_of(MAPS).get_by_label("Measure").count() == 0
        again.cell(OVERLAY).locator(".main-svg:visible, .plot-img:visible").first.wait_for()
        for _ in again.each_theme():
            again.screenshot("spectrum-maps", again.cell(MAPS))
            again.screenshot("spectrum-overlay", again.cell(OVERLAY))
            assert again.violations(record) == []
        again.page.set_viewport_size(NARROW)
        picture = again.page.locator(".plot-img:visible").first
        assert picture.evaluate("it => it.offsetWidth <= it.parentElement.clientWidth")
    finally:
        again.close()
