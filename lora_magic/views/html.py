"""HTML elements, escaped by construction: all but `Markup` is text, and is escaped.

Knows how a page is kept safe; does not know what it looks like.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from lora_magic.printable import clean

_VOID = frozenset({"br", "hr", "img", "wbr", "col"})
# Elements of SVG that close themselves.
_SHAPES = frozenset({"path", "rect", "line"})
# JupyterLab renders $…$, \(…\) and \begin{…} in an HTML output as mathematics. A delimiter alone
# in its element starts no formula, so that "$19.90 or $5" stays what the model wrote.
_MATHS = re.compile(r"[$\\]")


class Markup(str):
    """Text that is HTML already. Formatting it gives a plain string, which is escaped again."""

    __slots__ = ()


def attribute(value: object) -> str:
    """`value` for the inside of a quoted attribute."""
    return html.escape(clean(str(value)), quote=True)


def escaped(value: str, guard: str = "span") -> Markup:
    """`value` as text of an element, its mathematical delimiters each inside a `guard` element."""
    if isinstance(value, Markup):
        return value
    safe = html.escape(clean(value), quote=True)
    return Markup(_MATHS.sub(lambda found: f"<{guard}>{found[0]}</{guard}>", safe))


def joined(parts: Iterable[str]) -> Markup:
    """The parts, concatenated."""
    return Markup("".join(escaped(part) for part in parts))


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """One element; `aria_label` becomes aria-label, `for_` becomes for, None is omitted."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{pairs}>")
    if name in _SHAPES:
        return Markup(f"<{name}{pairs}/>")
    return Markup(f"<{name}{pairs}>{joined(children)}</{name}>")


def paragraphs(value: str) -> Markup:
    """Text with its newlines as <br>, which survive a sanitiser that drops `white-space`."""
    return Markup("<br>".join(escaped(line) for line in clean(value).split("\n")))
