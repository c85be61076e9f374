"""One palette and the inline styles that every display uses.

There is no <style> element and no class: GitHub and nbviewer drop them. Text keeps the colour of
the page, so that it is right in every theme; `prefers-color-scheme` would ask the operating
system, not the notebook, and be wrong in a dark JupyterLab on a light desktop. Where JupyterLab
names a colour its variable is used, else the page's own. The palette is for marks and lines only:
no single colour reaches 4.5:1 against white and near-black, all of these reach 3:1 (WCAG 1.4.11).
"""

from __future__ import annotations

from collections.abc import Iterable

from lora_magic.views.html import Markup, joined, tag

# Okabe and Ito's hues, each brought to the lightness that white and near-black share.
BLUE = "#2683C1"
ORANGE = "#C6711A"
GREEN = "#0E946C"
PINK = "#BC6597"
GREY = "#7A7A7A"
SERIES = (BLUE, ORANGE, GREEN, PINK, GREY)
# The ramp from the first layer to the last. Pink in the middle, since orange and blue mix to grey.
LAYERS = (ORANGE, PINK, BLUE)

RULE = "1px solid var(--jp-border-color2, rgba(127,127,127,.4))"
MUTED = "color:var(--jp-content-font-color2, inherit)"
SMALL = "font-size:.875em"
FRAME = "line-height:1.5;text-align:left;max-width:76rem;margin:.25rem 0"
LINE = "margin:0 0 .25rem 0"
CODE = "font-family:var(--jp-code-font-family, monospace);user-select:text;white-space:pre-wrap"
# A line to type: its purpose, and beside it a box that wraps.
_ROW = "display:flex;gap:.5rem;align-items:baseline;margin:.25rem 0"
_WHAT = f"flex:0 0 6.5rem;{SMALL};{MUTED}"
_TYPED = (
    f"{CODE};{SMALL};word-break:normal;overflow-wrap:anywhere;flex:1;min-width:0;border:{RULE};border-radius:3px;"
    "padding:.25rem .5rem;margin:0"
)
FIGURE = "margin:.5rem 0"
# A caption takes the width of its picture and does not widen it.
CAPTION = f"margin:.25rem 0 0 0;width:0;min-width:100%;{SMALL};{MUTED}"
IMAGE = "max-width:100%;height:auto"
PICTURE = f"display:block;{IMAGE}"
# JupyterLab's sanitiser drops variables from `color` and `background`, not from the longer
# `background-color`. Both colours must go or stay: a tint without the page's ink leaves the black
# text of a browser's own <mark> on a dark page.
MARK = (
    "background:var(--lora-magic-mark, rgba(198,113,26,.2));"
    "color:var(--jp-content-font-color1, inherit);padding:0 1px;border-radius:2px;"
    "text-decoration:underline 2px #C6711A;text-underline-offset:3px"
)
# Missing words are not copied with the text that they are shown in.
MISSED = "text-decoration:line-through 2px #7A7A7A;user-select:none;padding:0 1px"
SAME = "border-left:3px solid #0E946C;padding:0 0 0 .5rem;margin:.25rem 0"
NOTE = "border-left:3px solid #C6711A;padding:0 0 0 .5rem;margin:.5rem 0"


def mixed(first: str, last: str, share: float) -> str:
    """The colour at `share` of the way from `first` to `last`, in sRGB."""
    ends = ((int(first[i : i + 2], 16), int(last[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in ends)


def ramp(steps: int) -> list[str]:
    """`steps` colours from the first layer to the last."""
    places = [2 * step / max(1, steps - 1) for step in range(steps)]
    return [
        mixed(LAYERS[part], LAYERS[part + 1], place - part)
        for place in places
        for part in [min(1, int(place))]
    ]


def figure(picture: str, caption: str) -> Markup:
    """A picture and its caption."""
    return tag("figure", picture, tag("figcaption", caption, style=CAPTION), style=FIGURE)


def frame(*children: str, label: str | None = None) -> Markup:
    """The outermost element of a display."""
    group = {"role": "group", "aria_label": label} if label else {}
    return tag("div", *children, style=FRAME, **group)


def heading(title: str) -> Markup:
    """The first line of a display."""
    return tag("p", tag("strong", title), style=LINE)


def line(*children: str, muted: bool = False) -> Markup:
    """One line of text."""
    return tag("p", *children, style=f"{LINE};{SMALL};{MUTED}" if muted else LINE)


def typed(commands: Iterable[tuple[str, str]]) -> Markup:
    """Lines to type or paste, (what it does, the line): each wraps, and is selected as a whole."""
    rows = (
        tag(
            "div", tag("span", f"{what}: ", style=_WHAT), tag("pre", line, style=_TYPED), style=_ROW
        )
        for what, line in commands
    )
    return joined(rows)


def code(command: str) -> Markup:
    """A command that can be selected and copied."""
    return tag("code", command, style=CODE)


def details(summary: str, *children: str, opened: bool = False) -> Markup:
    """Collapsible details; empty if there are none."""
    body = [child for child in children if child]
    if not body:
        return Markup("")
    # High enough to be hit where two follow each other (WCAG 2.5.8: 24 px).
    shown = tag("summary", summary, style=f"cursor:pointer;padding:.25rem 0;{SMALL};{MUTED}")
    unfolded = {"open": "open"} if opened else {}
    return tag("details", shown, *body, style="margin:.25rem 0", **unfolded)
