"""What holds for every display: safe, well formed, named, self-contained, small."""

from __future__ import annotations

import json
import re
import unicodedata
from xml.etree.ElementTree import Element

import pytest

from lora_magic.views.style import GREY
from lora_magic.views.table import COPY, MADE
from tests.views.page import SOURCE, Page, outside, weight
from tests.views.samples import ALL, Bundle

HOSTILE = (
    '<script>alert(\'x\')</script>"><img src=x onerror="f()">&amp;\x1b[31mred\x07\u202eevil\ud800'
)
SVG = "{http://www.w3.org/2000/svg}"
#: Elements that the displays are made of; nothing else may come out of any text.
KNOWN = {
    *(
        "div",
        "p",
        "strong",
        "span",
        "em",
        "b",
        "br",
        "ins",
        "del",
        "mark",
        "code",
        "pre",
        "details",
        "summary",
    ),
    *("figure", "figcaption", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    "img",
}
SHAPES = {"svg", "g", "path", "rect", "text", "tspan"}


@pytest.fixture(params=ALL, ids=lambda name: name.replace(" ", "-"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def page(bundle: Bundle) -> Page:
    return Page(bundle["text/html"])


def shapes(picture: Element) -> list[tuple[str, dict[str, str]]]:
    """The parts of a picture, without the name space that an image declares."""
    return [(part.tag.removeprefix(SVG), dict(part.attrib)) for part in picture.iter()]


def test_hostile_text_adds_no_element_and_no_attribute(name: str) -> None:
    tame, wild = page(ALL[name]("x")), page(ALL[name](HOSTILE))
    assert {tag for tag, _ in wild.elements} <= KNOWN | SHAPES
    assert len(wild.named("img", "svg")) == len(tame.named("img", "svg"))
    assert {key for _, given in wild.elements for key in given} <= {
        key for _, given in tame.elements for key in given
    }
    assert not any(key.startswith("on") for _, given in wild.elements for key in given)
    for held, usual in zip(wild.pictures(), tame.pictures(), strict=True):
        assert {tag for tag, _ in shapes(held)} <= {tag for tag, _ in shapes(usual)} | {"tspan"}
        assert {key for _, given in shapes(held) for key in given} <= {
            key for _, given in shapes(usual) for key in given
        }


def test_hostile_text_is_shown_as_it_was_written(name: str) -> None:
    assert "<script>alert('x')</script>" in page(ALL[name](HOSTILE)).text.replace("\u00a0", " ")


def test_no_control_character_reaches_a_terminal_or_a_page(name: str) -> None:
    bundle = ALL[name](HOSTILE)
    for kind in ("text/plain", "text/html"):
        shown = str(bundle[kind])
        odd = {c for c in shown if unicodedata.category(c) in {"Cc", "Cs"} and c != "\n"}
        assert odd == set()
        assert "\u202e" not in shown
    for picture in page(bundle).pictures():
        text = "".join(picture.itertext())
        assert "\u202e" not in text
        assert not any(unicodedata.category(c) in {"Cc", "Cs"} for c in text)


def test_every_picture_is_well_formed_xml_with_a_name(name: str) -> None:
    for text in ("x", HOSTILE, "$a$ \\(b\\)"):
        shown = page(ALL[name](text))
        for drawing in shown.drawings():
            assert drawing.get("role") == "img"
            assert drawing.get("aria-label")
        for image, held in zip(shown.named("img"), shown.pictures(), strict=True):
            assert image.get("alt")
            assert (image.get("width"), image.get("height")) == (
                held.get("width"),
                held.get("height"),
            )
        for picture in [*shown.drawings(), *shown.pictures()]:
            assert picture.get("viewBox") == f"0 0 {picture.get('width')} {picture.get('height')}"
            assert {tag for tag, _ in shapes(picture)} <= SHAPES


def test_a_display_that_stays_has_no_svg_for_a_sanitiser_to_drop(name: str) -> None:
    inline = page(ALL[name]("x")).drawings()
    assert len(inline) == (2 if name == "progress" else 0)


def test_no_label_leaves_its_image_which_would_cut_it(name: str) -> None:
    for text in ("x", "a.rather.long_name_of_something_else"):
        for picture in page(ALL[name](text)).pictures():
            assert outside(picture) == []


def test_an_image_brings_its_own_colour_since_it_cannot_inherit_one(name: str) -> None:
    shown = page(ALL[name]("x"))
    for held in shown.pictures():
        assert held.tag == f"{SVG}svg"
        assert held.get("color") == GREY
        assert held.get("font-family")
    for drawing in shown.drawings():
        assert drawing.get("color") is None


def test_the_only_script_adds_a_button_that_copies_a_table(name: str) -> None:
    for text in ("x", HOSTILE):
        markup = str(ALL[name](text)["text/html"])
        assert len(page(ALL[name](text)).scripts) == markup.count("<thead>")
        own = markup.count("</table>" + COPY)
        # Nothing in the text to copy ends its attribute or starts a formula.
        own += len(
            re.findall(rf'</table><script data-tsv="[\w% ,:+./~-]*">{re.escape(MADE)}', markup)
        )
        assert markup.count("<script") == own
        assert page(ALL[name](text)).named("button") == []


def test_every_table_has_a_caption_and_every_heading_a_scope(name: str) -> None:
    shown = page(ALL[name]("x"))
    assert len(shown.named("caption")) == len(shown.named("table"))
    assert all(given.get("scope") in {"row", "col"} for given in shown.named("th"))


def test_nothing_depends_on_a_sheet_a_script_an_id_or_the_network(name: str) -> None:
    shown = page(ALL[name]("x"))
    keys = {key for _, given in shown.elements for key in given}
    assert keys.isdisjoint({"id", "class", "href", "onclick"})
    sources = [str(given["src"]) for _, given in shown.elements if "src" in given]
    assert all(source.startswith(SOURCE) for source in sources)
    held = [given for picture in shown.pictures() for _, given in shapes(picture)]
    assert {key for given in held for key in given}.isdisjoint({"id", "class", "href", "style"})
    assert "url(" not in shown.markup
    assert {tag for tag, _ in shown.elements} <= KNOWN | SHAPES


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
    for held in page(ALL[name]("x")).pictures():
        texts = [given for tag, given in shapes(held) if tag in {"text", "svg"}]
        assert all(given.get("fill") in {None, "currentColor"} for given in texts)


def test_a_bundle_is_json_and_small(name: str) -> None:
    bundle = ALL[name]("pirate")
    assert json.loads(json.dumps(bundle)) == bundle
    assert weight(bundle) < 60_000
