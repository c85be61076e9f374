"""The singular values of ΔW, as a display: heat maps or a chart, tables below, and plain text.

Knows a `Spectrum`'s names and numbers; `panels` says what a chart shows, `spectrum_svg` and
`spectrum_plotly` draw it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.errors import listed
from lora_magic.printable import clean, one_line
from lora_magic.views import panels, spectrum_plotly, spectrum_svg
from lora_magic.views.heat_map import heat_map
from lora_magic.views.html import Markup, joined
from lora_magic.views.modules import by_projection, grid, short_names
from lora_magic.views.panels import Chart
from lora_magic.views.style import details, frame, heading, line
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.lowrank.spectrum import Spectrum

PLOTLY = "application/vnd.plotly.v1+json"
ROWS = 24
#: So many modules have a row each or are one line each; of more, medians are shown.
EACH = 40
LARGEST = 8
#: Heat maps in one output.
MAPS = 4
GROUPS = 14
#: Measures that are at least 1; the others are at least 0.
_FROM_ONE = ("effective_rank", "stable_rank", "energy_90")
_BARS = "▁▂▃▄▅▆▇█"
#: The chart of several modules, as text.
_BELOW = "The last column of the table draws the σ of each module, the largest first."
_HEADER = (
    *("Adapter", "Module", "Rank", "Effective rank", "Stable rank", "90% in", "σ₁", "‖ΔW‖"),
    *("‖ΔW‖/‖W‖", "Intruders"),
)
_SHORT = (
    *("adapter", "module", "rank", "eff. rank", "stable", "90% in", "σ1", "norm", "of W"),
    *("intruders", "σ"),
)
_READING = (
    "Effective rank: exp of the entropy of σ²/Σσ². Stable rank: Σσ²/σ₁². "
    "90% in: how many σ hold 90% of Σσ²."
)
Row = Mapping[str, object]


def bundle(record: Spectrum) -> dict[str, object]:
    """A spectrum's MIME bundle: the page with heat maps, charts and tables.

    The chart of one module is a figure too.
    """
    chart = _chart(record)
    plain = [_plain_words(record, chart), _plain_table(record) if _has_numbers(record) else ""]
    html = str(page(record))
    found: dict[str, object] = {"text/plain": "\n".join(filter(None, plain)), "text/html": html}
    return _with_figure(chart, found) if chart is not None and chart.alone else found


def page(record: Spectrum, live: bool = False) -> Markup:
    """The whole page; `live` heat maps show a cell's value on hover."""
    chart = _chart(record)
    maps = _maps(record, live) if _is_map(record) else []
    drawn = _drawn(chart) if chart is not None else []
    said = _words(record, chart)
    return frame(*said, *maps, *drawn, _tables(record), label="Singular values")


def outputs(record: Spectrum) -> list[dict[str, object]]:
    """The same as outputs: heat maps, the chart, and the tables as HTML below it.

    A front end that draws the figure shows no other part of that output.
    """
    chart = _chart(record)
    said = _words(record, chart)
    found: list[dict[str, object]] = []
    if _is_map(record) or chart is None:
        maps = _maps(record, False) if _is_map(record) else []
        whole = frame(*said, *maps, label="Singular values by layer and module")
        found.append({"text/plain": _plain_words(record, chart), "text/html": str(whole)})
        said = []
    if chart is not None:
        whole = frame(*said, *_drawn(chart), label="Singular values")
        text = _plain_words(record, chart) if said else _BELOW
        found.append(_with_figure(chart, {"text/plain": text, "text/html": str(whole)}))
    tables = _tables(record)
    if tables:
        below = frame(tables, label="Singular values in numbers")
        found.append({"text/plain": _plain_table(record), "text/html": str(below)})
    return found


def _has_numbers(record: Spectrum) -> bool:
    return any(row.sigma > 0 for row in record.rows)


def _is_map(record: Spectrum) -> bool:
    """Are there several modules, and a ΔW?"""
    return len(record.modules) > 1 and _has_numbers(record)


def _chart(record: Spectrum) -> Chart | None:
    """The chart of a module alone, or of few modules; None if there is nothing to draw."""
    if not _has_numbers(record):
        return None
    if len(record.modules) == 1:
        return panels.of_one_module(record)
    return panels.by_layer(record) if panels.few(record.curves()) else None


def _words(record: Spectrum, chart: Chart | None) -> list[Markup]:
    """The heading, and what is shown and what is not, in sentences."""
    title, *said = _sentences(record, chart)
    return [heading(title), *(line(sentence, muted=True) for sentence in said)]


def _plain_words(record: Spectrum, chart: Chart | None) -> str:
    return "\n".join(map(one_line, _sentences(record, chart, drawn=False)))


def _sentences(record: Spectrum, chart: Chart | None, drawn: bool = True) -> list[str]:
    """The same as text; without the words about a heat map where none is `drawn`."""
    found = [panels.titled(record)]
    if not record.rows:
        return [*found, "No modules to show."]
    if not _has_numbers(record):
        return [*found, "Not trained yet: ΔW = 0 in every module."]
    alone = chart if chart is not None and chart.alone else None
    if alone is not None:
        found += alone.words
    else:
        found += panels.merged_words(record) + _map_words(record, drawn)
    if record.stacked:
        found.append(
            "Left out, several matrices in one tensor, such as experts: "
            f"{listed(record.stacked, 2)}."
        )
    zero = [(name, path) for name, path, sigmas in record.curves() if not sigmas]
    if zero:
        names = ", ".join(f"{path} ({name})" for name, path in zero[:3])
        more = f" and {len(zero) - 3} more" if len(zero) > 3 else ""
        found.append(f"n/a, since ΔW = 0: {names}{more}.")
    return [*found, *([] if alone is not None else panels.intruder_words(record))]


def _map_words(record: Spectrum, drawn: bool) -> list[str]:
    """What a heat map is of, what is left out, and how to see one module."""
    _, _, places = grid(record.modules)
    adapters = record.adapters
    module = one_line(record.modules[0])
    way = f"One module beside W: %lora spectrum {one_line(adapters[0])} --module {module}"
    if not drawn:
        return [f"{len(record.modules)} modules. {way}"]
    said = [f"{len(record.modules)} modules. Rows are modules, columns are layers. {way}"]
    if len(set(places.values())) < len(places):
        said.append("A cell of several modules, such as experts, is their median.")
    if len(record.cells()) < len(record.modules) * len(adapters):
        said.append("A blank cell is a module that this adapter does not adapt.")
    if len(adapters) > MAPS:
        said.append(f"The first {MAPS} of {len(adapters)} adapters are drawn: name fewer.")
    return said


def _maps(record: Spectrum, live: bool) -> list[Markup]:
    """A heat map for each adapter, all on one scale."""
    rows, columns, places = grid(record.modules)
    cells = record.cells()
    values = {
        name: _matrix(cells, name, places, (len(rows), len(columns)))
        for name in record.adapters[:MAPS]
    }
    numbers_of = (one for matrix in values.values() for row in matrix for one in row)
    finite = [one for one in numbers_of if one is not None and not math.isnan(one)]
    low = 1.0 if record.measure in _FROM_ONE else 0.0
    high = max([low, float(record.measure == "intruders"), *finite])
    title, unit = record.measured, 1.0
    if 0 < high < 0.1:
        # Digits after zeros have no room in a cell.
        exponent = math.floor(math.log10(high))
        title, unit = f"{title} (×{numbers.power(exponent)})", 10.0**exponent
    intruding = {(one.adapter, places[one.module]) for one in record.intruders if one.found}
    return [
        heat_map(
            [[None if one is None else one / unit for one in row] for row in matrix],
            rows,
            columns,
            f"{name}: {title}",
            low / unit,
            high / unit,
            live=live,
            marks=[place for owner, place in intruding if owner == name],
            marked="has intruder dimensions",
        )
        for name, matrix in values.items()
    ]


def _matrix(
    cells: Mapping[tuple[str, str], float | None],
    adapter: str,
    places: Mapping[str, tuple[int, int]],
    size: tuple[int, int],
) -> list[list[float | None]]:
    """The measure of one adapter by kind and layer: NaN without a module, None without a value."""
    members: dict[tuple[int, int], list[float | None]] = {}
    for (owner, path), value in cells.items():
        if owner == adapter:
            members.setdefault(places[path], []).append(value)

    def cell(place: tuple[int, int]) -> float | None:
        found = [value for value in members.get(place, []) if value is not None]
        if place not in members:
            return math.nan
        return float(median(found)) if found else None

    return [[cell((i, j)) for j in range(size[1])] for i in range(size[0])]


def _drawn(chart: Chart) -> list[Markup]:
    above = [] if chart.alone else [line(sentence, muted=True) for sentence in chart.words]
    return [*above, spectrum_svg.drawing(chart)]


def _with_figure(chart: Chart, found: dict[str, object]) -> dict[str, object]:
    return {**found, PLOTLY: spectrum_plotly.figure(chart)}


def _tables(record: Spectrum) -> Markup:
    """Each module's measures; for many modules, medians by projection and the largest ΔW."""
    summary = record.measures()
    if not _has_numbers(record):
        return Markup("")
    if len(summary) > EACH:
        return joined([_by_projection(record), _largest(record)])
    rows = _rows(summary, summary[:ROWS])
    rest = len(summary) - len(rows)
    caption = f"The first {ROWS} of {len(summary)} rows" if rest else "Each module"
    tail = line(f"and {rest} more: .summary() has every row", muted=True) if rest else ""
    whole = _table(f"{caption}. {_READING}", _HEADER, rows, record)
    count = len(record.modules)
    modules = "1 module" if count == 1 else f"{count} modules"
    return details(f"Table: {modules}", whole, tail, opened=True)


def _table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], record: Spectrum
) -> Markup:
    """The table, without the last column if no intruders were looked for."""
    end = len(header) if record.intruders else len(header) - 1
    return table(caption, header[:end], [row[:end] for row in rows], left=2)


def _by_projection(record: Spectrum) -> Markup:
    groups = by_projection(record.measures())
    rows = [_group(*key, members) for key, members in list(groups.items())[:GROUPS]]
    rest = len(groups) - len(rows)
    tail = line(f"and {rest} more projections", muted=True) if rest else ""
    header = ("Adapter", "Projection", "Modules", *_HEADER[3:])
    caption = f"Median over layers (smallest to largest). {_READING}"
    whole = _table(caption, header, rows, record)
    return details("Table by projection", whole, tail, opened=True)


def _largest(record: Spectrum) -> Markup:
    summary = record.measures()
    ordered = sorted(summary, key=lambda row: numbers.number(row["norm"]), reverse=True)
    rows = _rows(summary, ordered[:LARGEST])
    caption = f"The {len(rows)} of {len(summary)} modules with the largest ‖ΔW‖"
    tail = line("The others: .summary() has every row", muted=True)
    return details(caption, _table(caption, _HEADER, rows, record), tail)


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
        numbers.percent(row["relative_norm"]),
        numbers.count(row["intruders"]),
    ]


def _group(adapter: str, projection: str, rows: Sequence[Row]) -> list[str]:
    keys = ("effective_rank", "stable_rank", "energy_90", "sigma_1", "norm")
    spreads = [numbers.spread([row[key] for row in rows]) for key in keys]
    relative = numbers.percent(median(numbers.number(row["relative_norm"]) for row in rows))
    found = [numbers.number(row["intruders"]) for row in rows]
    return [adapter, projection, str(len(rows)), *spreads, relative, numbers.count(sum(found))]


def _plain_table(record: Spectrum) -> str:
    sigmas = {(adapter, path): values for adapter, path, values in record.curves()}
    summary = record.measures()
    rows = []
    for row, (adapter, module, *rest) in zip(summary, _rows(summary, summary[:ROWS]), strict=False):
        bars = _bars(sigmas[adapter, str(row["module"])])
        rows.append([clean(adapter), shortened(module, 44), *rest, bars])
    rest_line = [f"and {len(summary) - ROWS} more"] if len(summary) > ROWS else []
    header = list(_SHORT)
    if not record.intruders:
        for cells in (header, *rows):
            del cells[-2]
    return "\n".join([plain_table(header, rows, left=2), *rest_line])


def _bars(sigmas: Sequence[float]) -> str:
    """σ as eight heights on a logarithmic scale over two decades, at most 16 of them."""
    top = max(sigmas, default=0.0)
    if not 0 < top < math.inf:
        return ""
    heights = (2 + math.log10(max(sigma / top, 1e-2)) for sigma in sigmas[:16])
    return "".join(_BARS[min(7, int(height / 2 * 8))] for height in heights)
