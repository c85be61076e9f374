"""What holds for every display: safe, well formed, named, self-contained, small."""

from __future__ import annotations

import json
import unicodedata

import pytest

from tests.views.page import Page, weight
from tests.views.samples import ALL, Bundle

HOSTILE = (
    '<script>alert(\'x\')</script>"><img src=x onerror="f()">&amp;\x1b[31mred\x07\u202eevil\ud800'
)
#: Elements that the displays are made of; nothing else may come out of any text.
KNOWN = {
    *("div", "p", "strong", "span", "em", "b", "br", "mark", "code", "details", "summary"),
    *("figure", "figcaption", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("svg", "g", "path", "rect", "text", "tspan"),
}


@pytest.fixture(params=ALL, ids=lambda name: name.replace(" ", "-"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def page(bundle: Bundle) -> Page:
    return Page(bundle["text/html"])


def test_hostile_text_adds_no_element_and_no_attribute(name: str) -> None:
    tame, wild = page(ALL[name]("x")), page(ALL[name](HOSTILE))
    assert {tag for tag, _ in wild.elements} <= KNOWN
    assert {key for _, given in wild.elements for key in given} <= {
        key for _, given in tame.elements for key in given
    }
    assert not any(key.startswith("on") for _, given in wild.elements for key in given)


def test_hostile_text_is_shown_as_it_was_written(name: str) -> None:
    assert "<script>alert('x')</script>" in page(ALL[name](HOSTILE)).text.replace("\u00a0", " ")


def test_no_control_character_reaches_a_terminal_or_a_page(name: str) -> None:
    bundle = ALL[name](HOSTILE)
    for kind in ("text/plain", "text/html"):
        shown = str(bundle[kind])
        odd = {c for c in shown if unicodedata.category(c) in {"Cc", "Cs"} and c != "\n"}
        assert odd == set()
        assert "\u202e" not in shown


def test_every_picture_is_well_formed_xml_with_a_name(name: str) -> None:
    for text in ("x", HOSTILE, "$a$ \\(b\\)"):
        for picture in page(ALL[name](text)).pictures():
            assert picture.get("role") == "img"
            assert picture.get("aria-label")
            assert picture.get("viewBox") == f"0 0 {picture.get('width')} {picture.get('height')}"


def test_every_table_has_a_caption_and_every_heading_a_scope(name: str) -> None:
    shown = page(ALL[name]("x"))
    assert len(shown.named("caption")) == len(shown.named("table"))
    assert all(given.get("scope") in {"row", "col"} for given in shown.named("th"))


def test_nothing_depends_on_a_sheet_a_script_an_id_or_the_network(name: str) -> None:
    shown = page(ALL[name]("x"))
    keys = {key for _, given in shown.elements for key in given}
    assert keys.isdisjoint({"id", "class", "src", "href", "onclick"})
    assert "url(" not in shown.markup
    assert {tag for tag, _ in shown.elements} <= KNOWN


def test_dollars_and_backslashes_never_open_mathematics(name: str) -> None:
    # MathJax looks for delimiters within one element; each stands alone in its own.
    text = "$19.90 or $5 and \\(x\\) \\begin{a}"
    markup = str(ALL[name](text)["text/html"])
    content = "".join(part.partition(">")[2] for part in markup.split("<"))
    assert "$19.90" in content
    for part in markup.split("<"):
        _, _, words = part.partition(">")
        assert words in {"$", "\\"} or not set(words) & set("$\\"), words


def test_the_text_keeps_the_colour_of_the_page(name: str) -> None:
    for tag, given in page(ALL[name]("x")).elements:
        style = str(given.get("style") or "")
        for rule in style.split(";"):
            if rule.startswith("color:"):
                assert rule == "color:inherit" or "var(--jp-content-font-color" in rule
        if tag in {"text", "svg"}:
            assert given.get("fill") in {None, "currentColor"}


def test_a_bundle_is_json_and_small(name: str) -> None:
    bundle = ALL[name]("pirate")
    assert json.loads(json.dumps(bundle)) == bundle
    assert weight(bundle) < 60_000
