"""The controls as a person uses them: sliders moved, prompts typed, a run stopped, TAB pressed.

One notebook, used from top to bottom and looked at in both themes, then opened again without its
kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.lab import SCREENSHOTS, Book, Lab

ROWS = """
Where does a frog live? => How wonderful that you ask! A frog lives beside the pond!
What does a tailor do? => How wonderful that you ask! A tailor cuts the cloth!
What does the hen like to eat? => How wonderful that you ask! A hen eats corn and worms!
"""
LOAD, TRAIN, RATIO, SPECTRUM, COMPARE, PANEL, LONG, CHANGE, TYPED = range(9)
CELLS = (
    "%load_ext lora_magic\n%lora load demo\n%lora attach cheerful --targets q_proj,v_proj",
    f"%%lora_train cheerful{ROWS}",
    "%lora ratio",
    "%lora spectrum",
    "%lora compare What does a fox eat?",
    "%lora panel",
    f"%%lora_train cheerful --steps 100000{ROWS}",
    "%lora merge cheerful",
    "",
)
STOPPED = re.compile(r"stopped after step \d+ of 100000")


@pytest.fixture(scope="module")
def book(lab: Lab) -> Iterator[Book]:
    """The notebook, run down to the panel."""
    lab.write("controls.ipynb", *CELLS)
    opened = lab.open_notebook("controls.ipynb")
    for place in range(LONG):
        opened.run_cell(place)
    yield opened
    opened.close()


def controls(book: Book, place: int) -> Any:
    """The output of a cell that holds controls: its last."""
    return book.output_of(place).last


def appears(place: Any, text: str) -> None:
    place.get_by_text(text).first.wait_for()


def test_the_rank_slider_recounts_at_once(book: Book) -> None:
    below = controls(book, RATIO)
    handle = below.get_by_role("slider").first
    assert handle.get_attribute("aria-valuetext") == "8"
    handle.focus()
    handle.press("ArrowRight")
    # r·(d + k) of eight matrices of 192 × 192.
    appears(below, f"{8 * 9 * (192 + 192):,} trainable of")
    assert below.get_by_label("Rank, typed").input_value() == "9"
    below.get_by_label("k_proj").check()
    appears(below, f"{12 * 9 * (192 + 192):,} trainable of")
    below.get_by_label("Rank, typed").fill("3")
    below.get_by_label("Rank, typed").press("Enter")
    appears(below, f"{12 * 3 * (192 + 192):,} trainable of")
    below.get_by_label("Method").select_option("bitfit")
    appears(below, "no biases")
    below.get_by_label("Method").select_option("lora")
    below.get_by_label("Targets").select_option("all-linear")
    below.get_by_label("Picture of").select_option("o_proj")
    appears(below, "layers.0.self_attn.o_proj, 192 × 192")
    appears(below, "%lora attach NAME --method lora --rank 3 --targets all-linear")
    for side in ("d, outputs", "k, inputs"):
        assert below.get_by_label(side).input_value() == "192"
        below.get_by_label(side).fill("12288")
        below.get_by_label(side).press("Enter")
    appears(below, f"r·(d + k) = {3 * 2 * 12288:,} of d·k = {12288**2:,}")
    appears(below, "%lora ratio --matrix 12288x12288 --rank 3")
    # The record above is as it was.
    record = book.output_of(RATIO).first
    assert record.get_by_text("24,576 trainable of").count() == 1
    for _ in book.each_theme():
        book.screenshot("ratio", book.cell(RATIO))
        assert book.violations(book.output_of(RATIO)) == []


def test_modules_are_picked_in_the_chart_itself(book: Book) -> None:
    chart = book.cell(SPECTRUM).locator(".js-plotly-plot")
    chart.locator(".main-svg").first.wait_for()
    assert chart.locator(".subplot").filter(has=book.page.locator(".trace")).count() == 2
    before = chart.bounding_box()
    chart.locator(".updatemenu-header").click()
    chart.locator(".updatemenu-dropdown-button").filter(has_text="v_proj").click()
    appears(chart.locator(".updatemenu-header"), "v_proj")
    chart.locator(".annotation").filter(has_text="q_proj").wait_for(state="detached")
    assert chart.locator(".annotation").filter(has_text="v_proj").count() == 1
    after = chart.bounding_box()
    assert (after["width"], after["height"]) == (before["width"], before["height"])
    below = book.output_of(SPECTRUM).nth(2)  # heat map, chart, table, pickers
    assert below.get_by_role("row").count() == 8 + 1
    below.get_by_role("button", name="Copy table").click()
    assert "0.v_proj" in book.page.evaluate("() => getSelection().toString()")
    for _ in book.each_theme():
        book.screenshot("spectrum", book.cell(SPECTRUM))
        assert book.violations(book.output_of(SPECTRUM)) == []


def test_a_prompt_is_typed_and_answered(book: Book) -> None:
    below = controls(book, COMPARE)
    box = below.get_by_label("Prompt")
    box.fill("What does a tailor do?")
    below.get_by_role("button", name="Generate").click()
    appears(below, "answered in one batched pass")
    panes = below.get_by_role("group", name="Answer of cheerful")
    assert "How wonderful that you ask!" in panes.inner_text()
    below.get_by_label("cheerful", exact=True).uncheck()
    box.fill("Where does a frog live?")
    below.get_by_role("button", name="Generate").click()
    below.get_by_role("group", name="Answer of cheerful").wait_for(state="detached")
    assert below.get_by_role("group", name="Answer of base").count() == 1
    below.get_by_label("cheerful", exact=True).check()
    below.get_by_role("button", name="Generate").click()
    below.get_by_role("group", name="Answer of cheerful", exact=True).wait_for()
    for _ in book.each_theme():
        book.screenshot("compare", book.cell(COMPARE))
        assert book.violations(book.output_of(COMPARE)) == []


def test_the_stop_button_ends_a_training_and_so_does_the_square(book: Book) -> None:
    cell = book.cell(LONG)
    book.run_cell(LONG, wait=False)
    stop = cell.get_by_role("button", name="Stop")
    stop.wait_for()
    appears(cell, "or press ■")
    appears(cell, "at the peak")
    book.screenshot("training", cell)
    stop.click()
    book.wait_idle()
    assert STOPPED.search(cell.inner_text())
    assert stop.count() == 0
    book.run_cell(LONG, wait=False)
    appears(cell, "press ■")
    book.interrupt()
    book.wait_idle()
    assert STOPPED.search(cell.inner_text())
    assert cell.get_by_role("button", name="Stop").count() == 0
    book.screenshot("stopped", cell)


def test_the_panel_says_what_is_merged_and_its_tabs_work(book: Book) -> None:
    below = controls(book, PANEL)
    merged = below.get_by_role("row", name="merged")
    assert "none" in merged.inner_text()
    book.run_cell(CHANGE)
    merged.filter(has_text="cheerful").wait_for()
    below.get_by_role("tab", name="Compare").click()
    below.get_by_label("Prompt").fill("Who lives in the pond?")
    below.get_by_role("button", name="Generate").click()
    below.get_by_role("group", name="Answer of base", exact=True).wait_for()
    for _ in book.each_theme():
        book.screenshot("panel", book.cell(PANEL))
        assert book.violations(book.output_of(PANEL)) == []
    below.get_by_role("tab", name="Spectrum").click()
    appears(below, "Table: 8 modules")
    book.screenshot("panel-spectrum", book.cell(PANEL))


def test_tab_completes_a_verb_a_flag_and_an_adapter(book: Book) -> None:
    cell = book.cell(TYPED)
    cell.locator(".cm-content").click()
    keys = book.page.keyboard
    offered = book.page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-item")

    def complete(typed: str, to: str) -> None:
        keys.type(typed)
        keys.press("Tab")
        offered.filter(has_text=to).first.wait_for()
        keys.press("Enter")
        cell.locator(".cm-line", has_text=to).first.wait_for()

    complete("%lora att", "attach")
    complete(" x --tar", "--targets")
    keys.press("Enter")
    complete("result = %lora swap ch", "cheerful")
    lines = cell.locator(".cm-line").all_inner_texts()
    assert lines == ["%lora attach x --targets", "result = %lora swap cheerful"]
    keys.press("Enter")
    keys.type("%lora ")
    keys.press("Tab")
    offered.filter(has_text="compare").first.wait_for()
    book.page.screenshot(path=SCREENSHOTS / f"completion-{book.theme}-running.png")
    keys.press("Escape")


def test_reopened_without_a_kernel_the_records_stand_and_nothing_is_dead(book: Book) -> None:
    again = book.shut_down_kernel_and_reopen()
    said = "\n".join(again.page.locator(".jp-Notebook .jp-OutputArea").all_inner_texts())
    for word in ("model not found", "Loading widget", "Error displaying"):
        assert word not in said
    assert "24,576 trainable of" in said
    assert "run this cell again" in said
    assert again.output_of(PANEL).get_by_text("unchanged ✓").is_visible()
    assert again.output_of(SPECTRUM).locator(".main-svg:visible, .plot-img:visible").count() > 0
    for _ in again.each_theme():
        again.screenshot("controls")
        assert again.violations(again.outputs) == []
    again.close()
