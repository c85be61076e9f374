"""A spectrum's interactive chart: one plotly figure, with menus for adapter and module.

It is written as plotly's JSON, without importing plotly. Numbers are lists: plotly 6 writes numpy
arrays as base64, which older renderers (Colab's) cannot read. Knows plotly's schema.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from lora_magic.printable import one_line
from lora_magic.views.panels import Chart, Panel
from lora_magic.views.style import BLUE, GREY
from lora_magic.views.text import shortened

# At 800 px and 150 % zoom an output is about 370 px wide: room for two panels.
COLUMNS = 2
_GAP = 0.14
#: One for each layer, since colour alone must not tell them apart.
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star", "triangle-down")
# Pixels: a panel's three lines of heading, the panel, the labels of its axis; one menu; a line of
# the title, one of the words below it, one of the legend.
_HEAD, _PANEL, _FOOT = 54, 130, 28
_MENU, _TITLE, _WORDS, _LEGEND = 38, 20, 17, 20
# The characters that fit into a line of the title, of the words, and of a panel's heading.
_TITLE_LETTERS, _WORDS_LETTERS, _HEAD_LETTERS, _MENU_LETTERS = 46, 62, 18, 28
# With more panels than this the menu of modules does not list each panel: an output has to stay
# under 60 kB.
_ALONE = 8
# Pixels that a panel is higher if it is the only one.
_MORE = 150
_TRANSPARENT = "rgba(0,0,0,0)"
_DOTTED = {"color": GREY, "dash": "dot"}
_HAIR = "rgba(127,127,127,.25)"
# Few buttons: the bar appears over the title.
_BAR = {"remove": ["pan", "select", "lasso", "zoomin", "zoomout", "autoscale"]}
# The open list covers the panels: opaque, and readable in both themes.
_MENU_LOOK = {
    "x": 0,
    "xanchor": "left",
    "y": 1,
    "yanchor": "bottom",
    "bgcolor": "#FFFFFF",
    "bordercolor": GREY,
    "font": {"color": "#333333"},
}


def figure(chart: Chart) -> dict[str, object]:
    """The figure as plotly's JSON."""
    owners, traces = [], []
    for place, panel in enumerate(chart.panels):
        for trace in _traces(panel):
            owners.append(place)
            traces.append({**trace, "xaxis": _axis("x", place), "yaxis": _axis("y", place)})
    for trace, named in zip(traces, _named(traces, owners, owners), strict=True):
        trace["showlegend"] = named
    return {"data": traces, "layout": _layout(chart, _menus(chart, traces, owners))}


def words(value: str) -> str:
    """Text escaped for plotly, which interprets some HTML, and mathematics between dollar signs."""
    return html.escape(one_line(value), quote=False).replace("$", "&#36;")


def _wrapped(value: str, letters: int) -> list[str]:
    return [words(line) for line in textwrap.wrap(one_line(value), letters)]


def _layout(chart: Chart, menus: list[dict[str, Any]]) -> dict[str, Any]:
    title = _wrapped(chart.title, _TITLE_LETTERS)
    below = [line for text in chart.words for line in _wrapped(text, _WORDS_LETTERS)]
    small = [f"<span style='font-size:12px'>{line}</span>" for line in below]
    top = 28 + _TITLE * len(title) + _WORDS * len(below) + _MENU * len(menus)
    layers = {line.label for panel in chart.panels for line in panel.lines}
    layers |= {"intruder" for panel in chart.panels if panel.marks}
    margin = {"l": 44, "r": 12, "t": top, "b": 16 + _LEGEND * math.ceil(len(layers) / 3)}
    inside = _inside(len(chart.panels))
    layout: dict[str, Any] = {
        "template": _template(chart),
        "title": {
            "text": "<br>".join([*title, *small]),
            "font": {"size": 15},
            **{"x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top"},
            "pad": {"t": 16, "l": 8},
        },
        "margin": margin,
        "height": margin["t"] + margin["b"] + inside + _MORE * chart.alone,
        "showlegend": bool(layers),
        "legend": {"orientation": "h", "x": 0, "y": 0, "yanchor": "top"},
        "annotations": [_heading(place, panel) for place, panel in enumerate(chart.panels)],
        "updatemenus": menus,
    }
    for place, (across, up) in enumerate(_places(len(chart.panels), len(chart.panels))):
        layout[_axis("xaxis", place)] = {"domain": across, "anchor": _axis("y", place)}
        layout[_axis("yaxis", place)] = {"domain": up, "anchor": _axis("x", place)}
    if chart.alone:
        # One line of heading above it.
        layout["yaxis"]["domain"] = [_FOOT / (inside + _MORE), 1 - _TITLE / (inside + _MORE)]
    return layout


def _template(chart: Chart) -> dict[str, Any]:
    """What all traces, axes and headings share.

    Without a template plotly adds its own, with a white background.
    """
    usual = {
        "mode": "lines+markers",
        "line": {"width": 2, "color": BLUE},
        "hovertemplate": "σ%{x} = %{y:.3g}<br>%{text}<extra></extra>",
    }
    ends = [1 - 0.02 * chart.last, 1.02 * chart.last]
    if chart.alone:
        ends = [-0.04, round(math.log10(chart.last) + 0.04, 4)]
    indices = {
        "type": "log" if chart.alone else "linear",
        "range": ends,
        "tickvals": chart.index_ticks,
        **{"showgrid": False, "zeroline": False, "showline": True, "linecolor": GREY},
    }
    sigmas = {
        "type": "log",
        "range": [round(math.log10(end), 4) for end in chart.sigma_range],
        "tickvals": [value for value, _ in chart.sigma_ticks],
        "ticktext": [label for _, label in chart.sigma_ticks],
        **{"gridcolor": _HAIR, "zeroline": False},
    }
    corner = {"xanchor": "left", "yanchor": "bottom", "align": "left"}
    return {
        "data": {"scatter": [usual]},
        "layout": {
            "font": {"color": GREY, "size": 12},
            "paper_bgcolor": _TRANSPARENT,
            "plot_bgcolor": _TRANSPARENT,
            "hoverlabel": {"font": {"color": "#FFFFFF"}, "bgcolor": "#333333"},
            "xaxis": indices,
            "yaxis": sigmas,
            "modebar": {**_BAR, "bgcolor": _TRANSPARENT, "color": GREY, "activecolor": BLUE},
            "annotationdefaults": {"showarrow": False, "borderpad": 0, "x": 0, "y": 1, **corner},
        },
    }


def _axis(kind: str, place: int) -> str:
    return f"{kind}{place + 1 if place else ''}"


def _inside(panels: int) -> int:
    """The height of this many panels inside the margins, in pixels."""
    return (_HEAD + _PANEL + _FOOT) * math.ceil(panels / COLUMNS)


def _places(shown: int, panels: int) -> list[tuple[list[float], list[float]]]:
    """The horizontal and vertical domain of each of the `shown` panels, in a figure of `panels`."""
    columns, inside = min(COLUMNS, shown), _inside(panels)
    width = (1 - _GAP * (columns - 1)) / columns
    high = inside / math.ceil(shown / columns)
    found = []
    for place in range(shown):
        row, column = divmod(place, columns)
        left = column * (width + _GAP)
        ends = (row + 1) * high - _FOOT, row * high + _HEAD
        up = [round(1 - end / inside, 4) for end in ends]
        found.append(([round(left, 4), round(left + width, 4)], up))
    return found


def _heading(place: int, panel: Panel) -> dict[str, str]:
    letters = _HEAD_LETTERS if panel.note else _TITLE_LETTERS
    names = (words(shortened(name, letters)) for name in panel.names)
    note = words(panel.note.replace("effective", "eff."))
    return {
        "text": f"<b>{'<br>'.join(names)}</b><br><span style='font-size:11px'>{note}</span>",
        "xref": f"{_axis('x', place)} domain",
        "yref": f"{_axis('y', place)} domain",
    }


def _traces(panel: Panel) -> list[dict[str, Any]]:
    lines = [
        {
            **_trace(line.indices, line.sigmas),
            "text": words(line.text),
            "line": {"color": line.colour},
            "marker": {"symbol": SYMBOLS[line.place % len(SYMBOLS)], "size": 7},
            "name": words(shortened(line.label, 24)),
            "legendgroup": words(line.label),
            **({"mode": "lines", "line": _DOTTED} if line.place < 0 else {}),
        }
        for line in panel.lines
    ]
    marks = [
        {
            **_trace((mark.index,), (mark.sigma,)),
            "text": words(mark.text),
            "marker": {"symbol": "x", "size": 11, "color": mark.colour},
            "name": "intruder in W + ΔW",
            "legendgroup": "intruder",
        }
        for mark in panel.marks
    ]
    return [*lines, *marks]


def _trace(indices: Sequence[int], sigmas: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": list(indices),
        "y": [float(f"{sigma:.5g}") for sigma in sigmas],
        **({"mode": "markers"} if len(indices) == 1 else {}),
    }


def _named(
    traces: Sequence[Mapping[str, Any]], owners: Sequence[int], shown: Sequence[int]
) -> list[bool]:
    """Which traces the legend names: the first visible one of each layer."""
    seen: set[object] = {None}
    named = []
    for trace, owner in zip(traces, owners, strict=True):
        group = trace.get("legendgroup") if owner in shown else None
        named.append(group not in seen)
        seen.add(group)
    return named


def _menus(
    chart: Chart, traces: Sequence[Mapping[str, Any]], owners: Sequence[int]
) -> list[dict[str, Any]]:
    """A menu of adapters and one of modules, each only if there are several.

    A pick in one sets the other to "all", since plotly cannot combine two picks.
    """
    choices = _choices(chart)
    menus = []
    for number, picks in enumerate(choices):
        others = {f"updatemenus[{n}].active": 0 for n in range(len(choices)) if n != number}
        buttons = [
            {
                "label": words(shortened(one_line(label), _MENU_LETTERS)),
                "method": "update",
                "args": [_seen(traces, owners, shown), _moved(chart, shown) | others],
            }
            for label, shown in picks.items()
        ]
        pad = {"b": 8 + _MENU * (len(choices) - 1 - number), "t": 0}
        menus.append({**_MENU_LOOK, "pad": pad, "active": 0, "buttons": buttons})
    return menus


def _choices(chart: Chart) -> list[dict[str, list[int]]]:
    """For each menu its labels, each with the places of the panels that it shows."""
    adapters: dict[str, list[int]] = {}
    kinds: dict[str, list[int]] = {}
    for place, panel in enumerate(chart.panels):
        adapters.setdefault(panel.names[0], []).append(place)
        kinds.setdefault(panel.names[-1], []).append(place)
    every = list(range(len(chart.panels)))
    if len(adapters) > 1 and len(kinds) > 1 and len(every) <= _ALONE:
        kinds |= {p.title(_MENU_LETTERS): [place] for place, p in enumerate(chart.panels)}
    named = (("all adapters", adapters), ("all modules", kinds))
    return [{name: every, **picks} for name, picks in named if len(picks) > 1]


def _seen(
    traces: Sequence[Mapping[str, Any]], owners: Sequence[int], shown: Sequence[int]
) -> dict[str, Any]:
    """The changes to the traces that show only these panels."""
    whole = set(shown) == set(owners)
    changes: dict[str, Any] = {"visible": whole or [owner in shown for owner in owners]}
    if "showlegend" in traces[0]:
        changes["showlegend"] = _named(traces, owners, shown)
    return changes


def _moved(chart: Chart, shown: Sequence[int]) -> dict[str, Any]:
    """The changes to the layout that let these panels fill the figure."""
    changes: dict[str, Any] = {}
    for place, (across, up) in zip(shown, _places(len(shown), len(chart.panels)), strict=True):
        changes[f"{_axis('xaxis', place)}.domain"] = across
        changes[f"{_axis('yaxis', place)}.domain"] = up
    for place in range(len(chart.panels)):
        parts = (_axis("xaxis", place), _axis("yaxis", place), f"annotations[{place}]")
        changes |= {f"{part}.visible": place in shown for part in parts}
    return changes
