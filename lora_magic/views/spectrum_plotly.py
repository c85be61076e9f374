"""Panels of a spectrum as one plotly figure: the same panels, colours and scales as the SVG.

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
from lora_magic.views.text import one_line

COLUMNS = 4
_ROW_HEIGHT = 190
_TRANSPARENT = "rgba(0,0,0,0)"
# Our own template: without one plotly adds its own, 7 kB with a white background.
_TEMPLATE: dict[str, Any] = {
    "data": {
        "scatter": [
            {"line": {"width": 2}, "hovertemplate": "σ%{x} = %{y:.3g}<br>%{text}<extra></extra>"}
        ]
    },
    "layout": {
        "font": {"color": GREY, "size": 12},
        "paper_bgcolor": _TRANSPARENT,
        "plot_bgcolor": _TRANSPARENT,
        "hoverlabel": {"font": {"color": "#FFFFFF"}, "bgcolor": "#333333"},
        "xaxis": {"showgrid": False, "zeroline": False, "showline": True, "linecolor": GREY},
        # Ticks that are not seen hold the labels off the axis.
        "yaxis": {
            "gridcolor": "rgba(127,127,127,.25)",
            "zeroline": False,
            "ticks": "outside",
            "tickcolor": _TRANSPARENT,
        },
        "modebar": {"bgcolor": _TRANSPARENT, "color": GREY, "activecolor": BLUE},
        "annotationdefaults": {
            "showarrow": False,
            "xanchor": "left",
            "yanchor": "bottom",
            "align": "left",
        },
    },
}


def figure(
    title: str, panels: Sequence[Panel], notes: Mapping[tuple[str, str], str]
) -> dict[str, object]:
    """The figure as plotly's JSON; `notes` are second lines by (adapter, projection)."""
    import plotly.graph_objects as go

    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    low, high = log_range([value for panel in panels for value in panel.values()])
    several = len({panel.adapter for panel in panels}) > 1
    layout: dict[str, Any] = _layout(title, rows)
    traces: list[dict[str, Any]] = []
    for place, panel in enumerate(panels):
        number = "" if place == 0 else str(place + 1)
        column, row = place % columns, place // columns
        across, up = _domain(column, columns), _domain(rows - 1 - row, rows, gap=0.36 / rows)
        layout[f"xaxis{number}"] = _x_axis(across, number, panel)
        layout[f"yaxis{number}"] = _y_axis(up, number, column == 0, (low, high))
        note = notes.get((panel.adapter, panel.projection), "")
        layout["annotations"].append(_heading(name(panel, several), note, across[0], up[1]))
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        traces += [{**trace, **axes} for trace in _traces(panel, first=place == 0)]
    drawn = go.Figure(data=[go.Scatter(trace) for trace in traces], layout=layout)
    plain: dict[str, object] = drawn.to_plotly_json()
    return plain


def words(value: str) -> str:
    """Text for plotly, which reads a little HTML, and mathematics between dollar signs."""
    return html.escape(one_line(value), quote=False).replace("$", "&#36;")


def _layout(title: str, rows: int) -> dict[str, Any]:
    top, bottom = 84, 72
    inside = _ROW_HEIGHT * rows
    return {
        "template": _TEMPLATE,
        "title": {"text": words(title), "x": 0, "xref": "paper", "font": {"size": 15}},
        "height": inside + top + bottom,
        "margin": {"l": 56, "r": 16, "t": top, "b": bottom},
        "legend": {"orientation": "h", "x": 0, "yanchor": "top", "y": -34 / inside},
        "annotations": [],
    }


def _domain(place: int, total: int, gap: float | None = None) -> list[float]:
    """The share of the paper that panel `place` of `total` takes."""
    space = 0.2 / total if gap is None else gap
    size = (1 - space * (total - 1)) / total
    start = place * (size + space)
    return [round(start, 4), round(start + size, 4)]


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
                **_trace(words(curve.module), curve.indices, curve.sigmas, colour),
                "name": words(f"layer {curve.layer}" if curve.layer else curve.module),
                "legendgroup": words(curve.layer or curve.module),
                "showlegend": first,
            }
            for curve, colour in zip(panel.curves, ramp(len(panel.curves)), strict=True)
        ]
    band = panel.band
    edge = {"line": {"width": 0, "color": BLUE}, "showlegend": False}
    fill = {"fill": "tonexty", "fillcolor": "rgba(38,131,193,.22)"}
    return [
        {**_trace("smallest", band.indices, band.low, BLUE), **edge},
        {**_trace("largest", band.indices, band.high, BLUE), **edge, **fill},
        {**_trace("median over layers", band.indices, band.middle, BLUE), "showlegend": False},
    ]


def _trace(
    label: str, indices: Sequence[int], sigmas: Sequence[float], colour: str
) -> dict[str, Any]:
    return {
        "x": list(indices),
        "y": [float(f"{s:.5g}") if s > 0 else None for s in sigmas],
        "mode": "lines" if len(indices) > 1 else "markers",
        "line": {"color": colour},
        "text": label,
    }
