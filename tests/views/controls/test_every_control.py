"""What holds for every control: it has a name, and text that is not ours stays text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import ipywidgets
import pytest

from lora_magic.views.controls import widgets
from lora_magic.views.controls.board import BoardControls
from lora_magic.views.controls.compare import CompareControls, Request
from lora_magic.views.controls.outputs import MIME, StopButton, outputs
from lora_magic.views.controls.ratio import Choices, Plan, RatioControls
from lora_magic.views.controls.spectrum import SpectrumControls
from lora_magic.views.controls.votes import VoteControls
from lora_magic.views.controls.widgets import PanelControls
from lora_magic.views.votes import ballot_html

HOSTILE = "<script>alert('x')</script>\x1b[31m\u202e"


def ratio(text: str) -> Any:
    sets = {text: [text]}
    choices = Choices([text], 8, [text, "k"], sets, text, 4, text)
    return RatioControls(choices, lambda *_: Plan("", [text], frozenset())).widget


def compare(text: str) -> Any:
    return CompareControls([text, "two"], lambda *_: "", Request(text, (text,))).widget


def panel(text: str) -> Any:
    made = PanelControls()
    made.show("<p>status</p>", {"Ratio": ratio(text), "Compare": compare(text)})
    return made.widget


def board(text: str) -> Any:
    return BoardControls([text, "rank"], {text}, lambda *_: "", text).widget


def spectrum(text: str) -> Any:
    controls = SpectrumControls(lambda *_: "", text)
    controls.offer([text, "norm"], [text, "layers.0.q"], None)
    return controls.widget


def stop(text: str) -> Any:
    return StopButton(lambda: None).widget


def votes(text: str) -> Any:
    return VoteControls(
        ["left"], lambda _: None, lambda: ballot_html(text, text, text, text)
    ).widget


ALL: dict[str, Callable[[str], Any]] = {
    "votes": votes,
    "ratio": ratio,
    "compare": compare,
    "board": board,
    "spectrum": spectrum,
    "panel": panel,
    "stop": stop,
}


def inside(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append(tag)


@pytest.fixture(params=ALL)
def make(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    return ALL[str(request.param)]


def test_every_control_has_a_name(make: Callable[[str], Any]) -> None:
    containers = (ipywidgets.Box, ipywidgets.HTML, ipywidgets.Tab)
    controls = [part for part in inside(make("x")) if not isinstance(part, containers)]
    assert controls
    assert all(control.description.strip() for control in controls)


def test_only_core_widgets_are_used(make: Callable[[str], Any]) -> None:
    for part in inside(make("x")):
        assert type(part).__module__.startswith("ipywidgets.")


def test_names_that_are_not_ours_stay_text_in_old_and_new_widgets(
    make: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # ipywidgets 7 reads a description as HTML; 8 as text, unless it is told otherwise.
    monkeypatch.setattr(widgets, "_READS_HTML", True)
    for part in inside(make(HOSTILE)):
        description = getattr(part, "description", "")
        assert Elements(description).found == []
        assert not set(description) & {"\x1b", "\u202e"}
        assert not getattr(part, "description_allow_html", False)


def test_what_is_said_is_text() -> None:
    page = widgets.Page()
    page.say(HOSTILE)
    assert Elements(page.message).found == ["div"]
    assert "&lt;script&gt;" in page.message


def test_a_control_is_a_line_that_stays_and_a_view_that_leaves_no_words() -> None:
    control = ipywidgets.IntSlider()
    line, view = outputs(control, "Try other ranks.")
    assert MIME not in line
    assert "Try other ranks." in line["text/html"]
    assert "run this cell again" in line["text/html"]
    assert "run this cell again" in line["text/plain"]
    assert view[MIME]["model_id"] == control.model_id
    assert (view["text/html"], view["text/plain"]) == ("", "")
    assert json.loads(json.dumps([line, view])) == [line, view]


def test_a_record_is_kept_for_when_the_control_is_gone() -> None:
    record = {"text/html": "<p>loaded</p>", "text/plain": "loaded"}
    line, _ = outputs(ipywidgets.IntSlider(), "Panel.", record)
    assert "<p>loaded</p>" in line["text/html"]
    assert line["text/plain"].startswith("loaded\n")


def test_a_stop_button_says_that_it_was_heard() -> None:
    heard: list[bool] = []
    made = StopButton(lambda: heard.append(True))
    made.button.click()
    assert heard == [True]
    assert made.button.disabled
    words = made.widget.children[1]
    assert "stopping after this step" in words.value
    made.close()
    made.close()


def test_tabs_that_are_there_stay_as_they_are() -> None:
    made = PanelControls()
    made.show("<p>nothing loaded</p>", {})
    assert len(made.widget.children) == 1
    one, two = ipywidgets.Box(), ipywidgets.Box()
    made.show("<p>a</p>", {"One": one, "Two": two})
    assert made.tabs.children == (one, two)
    assert [made.tabs.get_title(place) for place in (0, 1)] == ["One", "Two"]
    made.tabs.selected_index = 1
    made.show("<p>b</p>", {"One": one, "Two": two})
    assert made.tabs.selected_index == 1
    assert "<p>b</p>" in made.top.html
    made.show("<p>c</p>", {})
    assert len(made.widget.children) == 1
