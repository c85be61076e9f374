"""The singular values of ΔW, as a display: a chart, tables below it, and plain text.

Knows a `Spectrum`'s names and numbers; `panels` says what the chart shows, `spectrum_svg` and
`spectrum_plotly` draw it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import clean, one_line
from lora_magic.views import panels, spectrum_plotly, spectrum_svg
from lora_magic.views.html import Markup, joined
from lora_magic.views.panels import PANELS, Chart, by_projection, short_names
from lora_magic.views.style import details, frame, heading, line
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.lowrank.spectrum import Spectrum

PLOTLY = "application/vnd.plotly.v1+json"
ROWS = 24
LARGEST = 8
_BARS = "▁▂▃▄▅▆▇█"
_HEADER = ("Adapter", "Module", "Rank", "Effective rank", "Stable rank", "90% in", "σ₁", "‖ΔW‖")
_SHORT = ("adapter", "module", "rank", "eff. rank", "stable", "90% in", "σ1", "norm", "σ")
_READING = (
    "Effective rank: exp of the entropy of σ²/Σσ². Stable rank: Σσ²/σ₁². "
    "90% in: how many σ hold 90% of Σσ²."
)
Row = Mapping[str, object]


def bundle(record: Spectrum) -> dict[str, object]:
    """A spectrum's MIME bundle: the figure, and the page with chart and tables.

    More than eight modules of one projection, or very many σ, are shown as median and range.
    """
    chart = panels.chart(record.adapters, record.curves(), record.measures())
    tables = _tables(record.measures(), chart)
    plain = [_plain_words(chart), _plain_table(record) if chart.panels else ""]
    page = frame(*_drawn(chart), tables, label="Singular values")
    return _with_figure(chart, "\n".join(filter(None, plain)), page)


def outputs(record: Spectrum) -> list[dict[str, object]]:
    """The same as two outputs: the chart, and the tables as HTML below it.

    A front end that draws the figure shows no other part of that output.
    """
    chart = panels.chart(record.adapters, record.curves(), record.measures())
    tables = _tables(record.measures(), chart)
    drawn = _with_figure(chart, _plain_words(chart), frame(*_drawn(chart), label="Singular values"))
    if not tables:
        return [drawn]
    below = frame(tables, label="Singular values in numbers")
    return [drawn, {"text/plain": _plain_table(record), "text/html": str(below)}]


def _drawn(chart: Chart) -> list[Markup]:
    said = [line(sentence, muted=True) for sentence in chart.words]
    pictures = [spectrum_svg.drawing(chart)] if chart.panels else []
    return [heading(chart.title), *said, *pictures]


def _with_figure(chart: Chart, plain: str, page: Markup) -> dict[str, object]:
    found: dict[str, object] = {"text/plain": plain, "text/html": str(page)}
    return {**found, PLOTLY: spectrum_plotly.figure(chart)} if chart.panels else found


def _plain_words(chart: Chart) -> str:
    return "\n".join([one_line(chart.title), *map(one_line, chart.words)])


def _tables(summary: Sequence[Row], chart: Chart) -> Markup:
    """Each module's measures; for many modules, medians by projection and the largest ΔW."""
    if not chart.panels:
        return Markup("")
    if chart.panels[0].band:
        return joined([_by_projection(summary), _largest(summary)])
    rows = _rows(summary, summary[:ROWS])
    rest = len(summary) - len(rows)
    caption = f"The first {ROWS} of {len(summary)} modules" if rest else "Each module"
    tail = line(f"and {rest} more: .summary() has every row", muted=True) if rest else ""
    whole = table(f"{caption}. {_READING}", _HEADER, rows, left=2)
    modules = "1 module" if len(summary) == 1 else f"{len(summary)} modules"
    return details(f"Table: {modules}", whole, tail, opened=True)


def _by_projection(summary: Sequence[Row]) -> Markup:
    groups = by_projection(summary)
    rows = [_group(*key, members) for key, members in list(groups.items())[:PANELS]]
    rest = len(groups) - len(rows)
    tail = line(f"and {rest} more projections", muted=True) if rest else ""
    header = ("Adapter", "Projection", "Modules", *_HEADER[3:])
    caption = f"Median over layers (smallest to largest). {_READING}"
    whole = table(caption, header, rows, left=2)
    return details("Table by projection", whole, tail, opened=True)


def _largest(summary: Sequence[Row]) -> Markup:
    ordered = sorted(summary, key=lambda row: numbers.number(row["norm"]), reverse=True)
    rows = _rows(summary, ordered[:LARGEST])
    caption = f"The {len(rows)} of {len(summary)} modules with the largest ‖ΔW‖"
    tail = line("The others: .summary() has every row", muted=True)
    return details(caption, table(caption, _HEADER, rows, left=2), tail)


def _rows(summary: Sequence[Row], shown: Sequence[Row]) -> list[list[str]]:
    """The cells of the rows `shown`; short names of the modules, unique within `summary`."""
    names = short_names([str(row["module"]) for row in summary])
    return [[str(row["adapter"]), names[str(row["module"])], *_measures(row)] for row in shown]


def _measures(row: Row) -> list[str]:
    return [
        numbers.count(row["rank"]),
        *(numbers.figures(row[key]) for key in ("effective_rank", "stable_rank")),
        numbers.count(row["energy_90"]),
        *(numbers.figures(row[key]) for key in ("sigma_1", "norm")),
    ]


def _group(adapter: str, projection: str, rows: Sequence[Row]) -> list[str]:
    keys = ("effective_rank", "stable_rank", "energy_90", "sigma_1", "norm")
    spreads = [numbers.spread([row[key] for row in rows]) for key in keys]
    return [adapter, projection, str(len(rows)), *spreads]


def _plain_table(record: Spectrum) -> str:
    sigmas = {(adapter, path): values for adapter, path, values in record.curves()}
    summary = record.measures()
    rows = []
    for row, (adapter, module, *rest) in zip(summary, _rows(summary, summary[:ROWS]), strict=False):
        bars = _bars(sigmas[adapter, str(row["module"])])
        rows.append([clean(adapter), shortened(module, 44), *rest, bars])
    rest_line = [f"and {len(summary) - ROWS} more"] if len(summary) > ROWS else []
    return "\n".join([plain_table(_SHORT, rows, left=2), *rest_line])


def _bars(sigmas: Sequence[float]) -> str:
    """σ as eight heights on a logarithmic scale over two decades, at most 16 of them."""
    top = max(sigmas, default=0.0)
    if not 0 < top < math.inf:
        return ""
    heights = (2 + math.log10(max(sigma / top, 1e-2)) for sigma in sigmas[:16])
    return "".join(_BARS[min(7, int(height / 2 * 8))] for height in heights)
