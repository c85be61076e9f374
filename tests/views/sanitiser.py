"""What GitHub leaves of an HTML output, by the rules that it published.

The lists are those of `html-pipeline`, GitHub's own filter (gjtorikian/html-pipeline,
sanitization_filter.rb). Of a notebook it is known to drop style sheets with what they hold, the
`style`, `class` and `id` attributes and scripts (jupyter/nbviewer#450, ipyplot#3). nbviewer drops
nothing (jupyter/nbviewer#613): it shows what `nbconvert --to html` writes.
"""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser

from tests.views.page import VOID


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


ELEMENTS = _names(
    "h1 h2 h3 h4 h5 h6 br b i strong em a pre code img tt div ins del sup sub p ol ul table thead "
    "tbody tfoot blockquote dl dt dd kbd q samp var hr ruby rt rp li tr td th s strike summary "
    "details caption figure figcaption abbr bdo cite dfn mark small span time wbr"
)
#: Those that the first published list lacks: an element outside the list leaves its words behind.
LATER = _names("caption figure figcaption mark span small time wbr abbr bdo cite dfn")
ATTRIBUTES = _names(
    "abbr align alt aria-hidden aria-label axis border cellpadding cellspacing clear cols colspan "
    "color compact datetime dir headers height hspace itemprop label lang name nowrap open role "
    "rows rowspan rules scope size span start summary tabindex title type valign value vspace "
    "width src href"
)
#: Dropped with all that they hold.
EMPTIED = frozenset({"script", "style"})
SCHEMES = ("http:", "https:")


class _GitHub(HTMLParser):
    def __init__(self, elements: frozenset[str], pictures: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.elements, self.pictures = elements, pictures
        self.kept: list[str] = []
        self.loose: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        if tag in self.elements:
            given = "".join(
                f' {key}="{escape(value or "")}"'
                for key, value in attrs
                if key in ATTRIBUTES and self._passes(key, value or "")
            )
            self.kept.append(f"<{tag}{given}>")

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()
        if tag in self.elements:
            self.kept.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if EMPTIED.isdisjoint(self._open):
            self.kept.append(escape(data))
            if not set(self._open) <= self.elements and data.strip():
                self.loose.append(data)

    def _passes(self, key: str, value: str) -> bool:
        allowed = value.startswith(SCHEMES) or (self.pictures and value.startswith("data:image/"))
        return key not in {"src", "href"} or ":" not in value or allowed


def github(
    markup: str, *, elements: frozenset[str] = ELEMENTS, pictures: bool = False
) -> tuple[str, list[str]]:
    """What is left of `markup`, and the words that lost an element around them.

    `pictures`: whether a picture that the page holds itself passes; the published rules let only
    those of the web pass.
    """
    parser = _GitHub(elements, pictures)
    parser.feed(markup)
    parser.close()
    return "".join(parser.kept), parser.loose
