"""Reads the HTML of a display as a browser would: elements, text, and whether they nest."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

SOURCE = "data:image/svg+xml;base64,"
VOID = {"br", "hr", "img", "wbr", "col"}


class Page(HTMLParser):
    """The elements with their attributes, and the text without markup."""

    def __init__(self, markup: object) -> None:
        super().__init__(convert_charrefs=True)
        assert isinstance(markup, str)
        self.markup = markup
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(markup)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "br":
            self.text += "\n"
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    def drawings(self) -> list[ElementTree.Element]:
        """The inline <svg> elements."""
        found = re.findall(r"<svg.*?</svg>", self.markup, flags=re.DOTALL)
        return [ElementTree.fromstring(drawing) for drawing in found]

    def pictures(self) -> list[ElementTree.Element]:
        """What the <img> elements hold."""
        sources = [str(given.get("src")) for given in self.named("img")]
        assert all(source.startswith(SOURCE) for source in sources)
        held = [base64.b64decode(s.removeprefix(SOURCE), validate=True) for s in sources]
        return [ElementTree.fromstring(picture) for picture in held]


def weight(bundle: dict[str, object]) -> int:
    """Bytes that the bundle takes in a notebook."""
    return len(json.dumps(bundle, ensure_ascii=False).encode())
