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
    """The elements with their attributes, and the text without markup; scripts apart."""

    def __init__(self, markup: object) -> None:
        super().__init__(convert_charrefs=True)
        assert isinstance(markup, str)
        self.markup = markup
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(markup)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "script":
            self.elements.append((tag, dict(attrs)))
        if tag == "br":
            self.text += "\n"
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
        else:
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


#: The letters of the button that a script adds to a table.
BUTTON = "Copytable"


def letters(text: str) -> str:
    """A text without its blanks and line breaks: two pages that say the same agree in this."""
    return "".join(text.split())


def outside(picture: ElementTree.Element, anchor: str = "start") -> list[str]:
    """The labels that leave the picture, with letters as wide as those of a wide font."""
    wide = float(picture.get("width", "0"))
    found = []
    for part in picture:
        own = part.get("text-anchor", anchor)
        if part.tag.endswith("}g"):
            part.set("width", str(wide))
            found += outside(part, own)
        elif part.tag.endswith("}text"):
            text = "".join(part.itertext())
            em = 0.68 if part.get("font-weight") else 0.6
            letters = sum(0.65 if c in "⁰¹²³⁴⁵⁶⁷⁸⁹⁻" else 1 for c in text)
            length = em * float(part.get("font-size", "11")) * letters
            x = float(part.get("x", "nan"))
            left = {"end": x - length, "middle": x - length / 2}.get(own, x)
            if not (left >= -1 and left + length <= wide + 1):
                found.append(text)
    return found


def weight(bundle: dict[str, object]) -> int:
    """Bytes that the bundle takes in a notebook."""
    return len(json.dumps(bundle, ensure_ascii=False).encode())
