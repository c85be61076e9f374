"""Panels of a spectrum as one plotly figure: the same panels, colours and scales as the SVG.

The table stands below the panels: a page that knows plotly shows the figure and nothing else.

The only place that knows plotly, imported when first needed. Numbers are lists: plotly 6 and
later write numpy arrays as base64, which older renderers (Colab's) cannot read.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lora_magic.views.axis import log_range, log_ticks
from lora_magic.views.panels import Panel
from lora_magic.views.spectrum_svg import name
from lora_magic.views.style import BLUE, GREY, ramp
from lora_magic.views.text import one_line, shortened, width

COLUMNS = 4
#: One for each layer that has a line of its own.
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star", "triangle-down")
# Pixels. The foot of the panels holds the labels of their axes and the air above the table.
_ROW_HEIGHT, _TOP, _FOOT, _BOTTOM = 190, 84, 52, 12
_HEAD, _LINE = 28, 24
# A line below the title, and the title itself: from the top, however many lines follow it.
_SAID = 20
_HIGH = {"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 24}}
# A head that wraps in a narrow page takes a second line, else the table would scroll.
_SPARE = 20
# The longest text of a cell: as the titles of the panels.
_LETTERS = 34
_TRANSPARENT = "rgba(0,0,0,0)"
_HAIR = "rgba(127,127,127,.25)"
# Lighter, since each line of a table is drawn by both of its cells.
_CELL_HAIR = "rgba(127,127,127,.15)"
# Our own template: without one plotly adds its own, 7 kB with a white background.
_TEMPLATE: dict[str, Any] = {
    "data": {
        "scatter": [
            {
                "line": {"width": 2, "color": BLUE},
                "fillcolor": "rgba(38,131,193,.22)",
                "hovertemplate": "σ%{x} = %{y:.3g}<br>%{text}<extra></extra>",
            }
        ]
    },
    "layout": {
        "font": {"color": GREY, "size": 12},
        "colorway": [BLUE],
        "paper_bgcolor": _TRANSPARENT,
        "plot_bgcolor": _TRANSPARENT,
        "hoverlabel": {"font": {"color": "#FFFFFF"}, "bgcolor": "#333333"},
        "xaxis": {"showgrid": False, "zeroline": False, "showline": True, "linecolor": GREY},
        # Ticks that are not seen hold the labels off the axis.
        "yaxis": {
            "gridcolor": _HAIR,
            "zeroline": False,
            "ticks": "outside",
            "tickcolor": _TRANSPARENT,
        },
        "modebar": {"bgcolor": _TRANSPARENT, "color": GREY, "activecolor": BLUE},
        "annotationdefaults": {
            "showarrow": False,
            "borderpad": 0,
            "xanchor": "left",
            "yanchor": "bottom",
            "align": "left",
        },
    },
}


def figure(
    title: str,
    panels: Sequence[Panel],
    notes: Mapping[tuple[str, str], str],
    header: Sequence[str] = (),
    cells: Sequence[Sequence[str]] = (),
    left: int = 1,
    *,
    said: Sequence[str] = (),
) -> dict[str, object]:
    """The figure as plotly's JSON.

    `notes`: second lines by (adapter, projection). `header`, `cells`: the table, by rows, without
    which there is none; its first `left` columns stand to the left. `said`: lines below the title.
    """
    import plotly.graph_objects as go

    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    low, high = log_range([value for panel in panels for value in panel.values()])
    several = len({panel.adapter for panel in panels}) > 1
    inside, below = _heights(rows, len(cells))
    layout = _layout(title, said, inside)
    layout["showlegend"] = not panels[0].band
    traces: list[dict[str, Any]] = []
    for place, panel in enumerate(panels):
        number = "" if place == 0 else str(place + 1)
        column, row = place % columns, place // columns
        across = _domain(column, columns)
        up = _domain(rows - 1 - row, rows, 0.36 / rows, from_=below / inside)
        layout[f"xaxis{number}"] = _x_axis(across, number, panel)
        layout[f"yaxis{number}"] = _y_axis(up, number, column == 0, (low, high))
        note = notes.get((panel.adapter, panel.projection), "")
        layout["annotations"].append(_heading(name(panel, several), note, across[0], up[1]))
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        traces += [{**trace, **axes} for trace in _traces(panel, first=place == 0)]
    data: list[Any] = [go.Scatter(trace) for trace in traces]
    if cells:
        share = (below - _FOOT) / inside
        data.append(go.Table(_table(header, cells, left, share)))
    plain: dict[str, object] = go.Figure(data=data, layout=layout).to_plotly_json()
    return plain


def words(value: str) -> str:
    """Text for plotly, which reads a little HTML, and mathematics between dollar signs."""
    return html.escape(one_line(value), quote=False).replace("$", "&#36;")


def _heights(rows: int, lines: int) -> tuple[int, int]:
    """Pixels inside the margins, and how many of them lie below the panels."""
    below = _FOOT + _HEAD + _LINE * lines + _SPARE if lines else _FOOT // 2
    return _ROW_HEIGHT * rows + below, below


def _layout(title: str, said: Sequence[str], inside: int) -> dict[str, Any]:
    lines = [words(title), *(f"<span style='font-size:12px'>{words(one)}</span>" for one in said)]
    top = _TOP + _SAID * len(said)
    return {
        "template": _TEMPLATE,
        "title": {
            "text": "<br>".join(lines),
            "x": 0,
            "xref": "paper",
            "font": {"size": 15},
            **_HIGH,
        },
        "height": inside + top + _BOTTOM,
        "margin": {"l": 56, "r": 16, "t": top, "b": _BOTTOM},
        # At the right, where no width of the page lets it touch the table.
        "legend": {"x": 1.01, "xanchor": "left", "y": 1, "yanchor": "top", "tracegroupgap": 0},
        "annotations": [],
    }


def _table(
    header: Sequence[str], cells: Sequence[Sequence[str]], left: int, share: float
) -> dict[str, Any]:
    """The rows as plotly's columns, in the lowest `share` of the paper."""
    rows = [[shortened(one_line(cell), _LETTERS) for cell in row] for row in cells]
    columns = list(zip(*rows, strict=True))
    longest = [max(map(width, column)) for column in zip(header, *rows, strict=True)]
    look = {
        "align": ["left" if place < left else "right" for place in range(len(header))],
        "fill": {"color": _TRANSPARENT},
        "line": {"color": _CELL_HAIR, "width": 1},
        "font": {"color": GREY, "size": 12},
    }
    return {
        "domain": {"x": [0, 1], "y": [0, round(share, 4)]},
        "columnwidth": [letters + 5 for letters in longest],
        "header": {**look, "values": [f"<b>{words(name)}</b>" for name in header], "height": _HEAD},
        "cells": {
            **look,
            # A cell that broke its line would make its row higher than there is room for.
            "values": [
                [words(cell).replace(" ", "\u00a0") for cell in column] for column in columns
            ],
            "height": _LINE,
        },
    }


def _domain(place: int, total: int, gap: float | None = None, from_: float = 0.0) -> list[float]:
    """The share of the paper, above `from_`, that panel `place` of `total` takes."""
    space = 0.2 / total if gap is None else gap
    size = (1 - space * (total - 1)) / total
    start = place * (size + space)
    return [round(from_ + (1 - from_) * end, 4) for end in (start, start + size)]


def _x_axis(domain: list[float], number: str, panel: Panel) -> dict[str, Any]:
    indices = panel.band.indices if panel.band else panel.curves[0].indices
    last = max(indices)
    return {
        "domain": domain,
        "anchor": f"y{number}",
        "tickvals": sorted({1, math.ceil(last / 2), last}),
        "matches": "x" if number else None,
    }


def _y_axis(
    domain: list[float], number: str, labelled: bool, ends: tuple[float, float]
) -> dict[str, Any]:
    ticks = log_ticks(*ends)
    axis: dict[str, Any] = {
        "domain": domain,
        "anchor": f"x{number}",
        "type": "log",
        "range": [round(math.log10(end), 4) for end in ends],
        "tickvals": [value for value, _ in ticks],
        "matches": "y" if number else None,
    }
    if labelled:
        return {**axis, "ticktext": [label for _, label in ticks], "title": {"text": "σ"}}
    return {**axis, "showticklabels": False}


def _heading(title: str, note: str, x: float, y: float) -> dict[str, Any]:
    second = f"<br><span style='font-size:11px'>{words(note)}</span>" if note else ""
    return {
        "text": f"<b>{words(title)}</b>{second}",
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
    }


def _traces(panel: Panel, first: bool) -> list[dict[str, Any]]:
    if panel.band is None:
        return [
            {
                **_trace(words(curve.module), curve.indices, curve.sigmas),
                "line": {"color": colour},
                # Layers are told apart by shape, too.
                "mode": "lines+markers" if len(curve.indices) > 1 else "markers",
                "marker": {"symbol": SYMBOLS[place % len(SYMBOLS)], "size": 7},
                "name": words(
                    shortened(f"layer {curve.layer}" if curve.layer else curve.module, 24)
                ),
                "legendgroup": words(curve.layer or curve.module),
                "showlegend": first,
            }
            for place, (curve, colour) in enumerate(
                zip(panel.curves, ramp(len(panel.curves)), strict=True)
            )
        ]
    band = panel.band
    edge = {"line": {"width": 0}}
    return [
        {**_trace("smallest", band.indices, band.low), **edge},
        {**_trace("largest", band.indices, band.high), **edge, "fill": "tonexty"},
        _trace("median over layers", band.indices, band.middle),
    ]


def _trace(label: str, indices: Sequence[int], sigmas: Sequence[float]) -> dict[str, Any]:
    return {
        "x": list(indices),
        "y": [float(f"{s:.5g}") if s > 0 else None for s in sigmas],
        "mode": "lines" if len(indices) > 1 else "markers",
        "text": label,
    }
