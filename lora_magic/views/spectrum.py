"""The singular values of ΔW, as a display: small multiples, a table, and plain text.

One panel a projection, all on the same axes. Knows rows and numbers; `panels` gathers them,
`spectrum_svg` and `spectrum_plotly` draw them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lora_magic.views import numbers, spectrum_plotly, spectrum_svg
from lora_magic.views.html import Markup, joined
from lora_magic.views.panels import (
    PANELS,
    Panel,
    Series,
    by_projection,
    gather,
    short_names,
    zero_modules,
)
from lora_magic.views.style import details, frame, heading, line
from lora_magic.views.table import table
from lora_magic.views.text import clean, one_line, plain_table, shortened

ROWS = 24
CHART_ROWS = 16
LARGEST = 8
_BARS = "▁▂▃▄▅▆▇█"
_HEADER = ("Adapter", "Module", "Rank", "Effective rank", "Stable rank", "90 % in", "σ₁", "‖ΔW‖")
_SHORT = ("adapter", "module", "rank", "eff. rank", "stable", "90 % in", "σ1", "norm", "σ")
_READING = (
    "Effective rank: exp of the entropy of σ²/Σσ². Stable rank: Σσ²/σ₁². "
    "90 % in: how many σ hold 90 % of Σσ²."
)


def bundle(
    *, title: str, series: Sequence[Series], summary: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """A spectrum's MIME bundle.

    `series`: (adapter, module path, σ descending). `summary`: rows with adapter, module, rank,
    effective_rank, stable_rank, energy_90, sigma_1, norm. More than eight modules of one
    projection, or very many σ, are shown as median and range.
    """
    panels = gather(series)
    shown = panels[:PANELS]
    words = _words(series, panels)
    page = frame(
        heading(title),
        *(line(sentence, muted=True) for sentence in words),
        spectrum_svg.drawing(shown) if shown else Markup(""),
        _tables(summary, aggregated=bool(shown[0].band)) if shown else "",
        label="Singular values",
    )
    plain = "\n".join([one_line(title), *words, *(_plain(series, summary) if shown else [])])
    result: dict[str, object] = {"text/plain": plain, "text/html": str(page)}
    if shown:
        notes = {key: _note(rows) for key, rows in by_projection(summary).items()}
        below = _below(summary, aggregated=bool(shown[0].band))
        result["application/vnd.plotly.v1+json"] = spectrum_plotly.figure(
            title, shown, notes, *below, said=_beside(series, panels)
        )
    return result


def _beside(series: Sequence[Series], panels: Sequence[Panel]) -> list[str]:
    """What the figure does not say by itself: what a band is, and what is not drawn.

    A front end that draws the figure does not show the page, and no line of it may be long.
    """
    words = ["Line: median over layers; band: smallest to largest."] if panels[0].band else []
    if len(panels) > PANELS:
        words.append(_first(panels))
    if zero := zero_modules(series):
        names = list(dict.fromkeys(shortened(one_line(name), 24) for name, _ in zero))
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        count = "1 module" if len(zero) == 1 else f"{len(zero)} modules"
        words.append(f"ΔW is zero, and not drawn, in {count} of {', '.join(names[:2])}{more}.")
    return words


def _first(panels: Sequence[Panel]) -> str:
    return f"The first {PANELS} of {len(panels)} panels are drawn; name fewer adapters."


def _words(series: Sequence[Series], panels: Sequence[Panel]) -> list[str]:
    """What is shown, and what is not, in sentences."""
    if not series:
        return ["No modules to show."]
    zero = zero_modules(series)
    if len(zero) == len(series):
        return ["Every ΔW is zero: not trained yet (B = 0), so there is nothing to draw."]
    words = []
    if panels[0].band:
        total = sum(len(panel.modules) for panel in panels)
        words.append(
            f"{total} modules: for each projection the median over layers (line) and the range "
            "(band). σ over its index, the same logarithmic scale in every panel."
        )
    else:
        words.append("σ over its index, one line a layer, the same logarithmic scale throughout.")
    if len(panels) > PANELS:
        words.append(_first(panels))
    if zero:
        names = ", ".join(one_line(f"{path} ({name})") for name, path in zero[:3])
        more = f" and {len(zero) - 3} more" if len(zero) > 3 else ""
        words.append(f"ΔW is zero, and not drawn, in {names}{more}.")
    return words


def _tables(summary: Sequence[Mapping[str, object]], aggregated: bool) -> Markup:
    if not summary:
        return Markup("")
    if aggregated:
        return joined([_by_projection(summary), _largest(summary)])
    rows = _rows(summary, summary[:ROWS])
    rest = len(summary) - len(rows)
    caption = f"The first {ROWS} of {len(summary)} modules" if rest else "Each module"
    tail = line(f"and {rest} more: .summary() has every row", muted=True) if rest else ""
    whole = table(f"{caption}. {_READING}", _HEADER, rows, left=2)
    modules = "1 module" if len(summary) == 1 else f"{len(summary)} modules"
    return details(f"Table: {modules}", whole, tail)


def _below(
    summary: Sequence[Mapping[str, object]], aggregated: bool
) -> tuple[list[str], list[list[str]], int]:
    """Header, rows and left columns of the table below the chart: what _tables has, shorter."""
    if aggregated:
        rows = [_group(*key, members) for key, members in by_projection(summary).items()]
        header = [_HEADER[0], "Projection", "Modules"]
    else:
        rows = _rows(summary, summary)
        header = list(_HEADER[:3])
    header += ["Effective rank", "Stable rank", "90 % of energy in", "σ₁"]
    # The adapter where there are several, and no norm: σ₁ tells the size.
    skip = 0 if len({row[0] for row in rows}) > 1 else 1
    shown = [row[skip : len(header)] for row in rows[:CHART_ROWS]]
    header = header[skip:]
    if rest := len(rows) - len(shown):
        shown.append([f"and {rest} more", *[""] * (len(header) - 1)])
    return header, shown, 2 - skip


def _by_projection(summary: Sequence[Mapping[str, object]]) -> Markup:
    groups = by_projection(summary)
    rows = [_group(*key, members) for key, members in list(groups.items())[:PANELS]]
    rest = len(groups) - len(rows)
    tail = line(f"and {rest} more projections", muted=True) if rest else ""
    header = ("Adapter", "Projection", "Modules", *_HEADER[3:])
    caption = f"Median over layers (smallest to largest). {_READING}"
    return details("Table by projection", table(caption, header, rows, left=2), tail)


def _largest(summary: Sequence[Mapping[str, object]]) -> Markup:
    ordered = sorted(summary, key=lambda row: numbers.number(row["norm"]), reverse=True)
    rows = _rows(summary, ordered[:LARGEST])
    caption = f"The {len(rows)} of {len(summary)} modules with the largest ‖ΔW‖"
    tail = line("The others: .summary() has every row", muted=True)
    return details(caption, table(caption, _HEADER, rows, left=2), tail)


def _rows(
    summary: Sequence[Mapping[str, object]], shown: Sequence[Mapping[str, object]]
) -> list[list[str]]:
    """The cells of the rows `shown`; the modules' names are short, and told apart in `summary`."""
    names = short_names([str(row["module"]) for row in summary])
    return [[str(row["adapter"]), names[str(row["module"])], *_measures(row)] for row in shown]


def _measures(row: Mapping[str, object]) -> list[str]:
    return [
        numbers.count(row["rank"]),
        *(numbers.figures(row[key]) for key in ("effective_rank", "stable_rank")),
        numbers.count(row["energy_90"]),
        *(numbers.figures(row[key]) for key in ("sigma_1", "norm")),
    ]


def _group(adapter: str, projection: str, rows: Sequence[Mapping[str, object]]) -> list[str]:
    keys = ("effective_rank", "stable_rank", "energy_90", "sigma_1", "norm")
    spreads = [numbers.spread([row[key] for row in rows]) for key in keys]
    return [adapter, projection, str(len(rows)), *spreads]


def _note(rows: Sequence[Mapping[str, object]]) -> str:
    """A panel's second line: the effective rank out of the rank."""
    ranks = sorted({numbers.count(row["rank"]) for row in rows})
    rank = ranks[0] if len(ranks) == 1 else f"{ranks[0]}–{ranks[-1]}"
    middle = numbers.spread([row["effective_rank"] for row in rows])
    return f"effective rank {middle} of {rank}"


def _plain(series: Sequence[Series], summary: Sequence[Mapping[str, object]]) -> list[str]:
    sigmas = {(adapter, path): values for adapter, path, values in series}
    rows = []
    for row, (adapter, module, *rest) in zip(summary, _rows(summary, summary[:ROWS]), strict=False):
        bars = _bars(sigmas.get((adapter, str(row["module"])), ()))
        rows.append([clean(adapter), shortened(module, 44), *rest, bars])
    if not rows:
        return []
    rest_line = [f"and {len(summary) - ROWS} more"] if len(summary) > ROWS else []
    return [plain_table(_SHORT, rows, left=2), *rest_line]


def _bars(sigmas: Sequence[float]) -> str:
    """σ as eight heights on a logarithmic scale over two decades, at most 16 of them."""
    top = max(sigmas, default=0.0)
    if not 0 < top < math.inf:
        return ""
    heights = (2 + math.log10(max(sigma / top, 1e-2)) for sigma in sigmas[:16])
    return "".join(_BARS[min(7, int(height / 2 * 8))] for height in heights)
