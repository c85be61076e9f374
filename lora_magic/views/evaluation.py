"""Base and adapters on the same rows: the verdict, the means, their differences, the worst rows.

Knows the numbers and texts of a record; does not know how they were measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import comparison
from lora_magic.views.html import Markup, joined, tag
from lora_magic.views.style import SMALL, details, frame, heading
from lora_magic.views.style import line as one
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.evaluation.evaluation import EvaluatedRow, Evaluation, Mean, Pair

BASE = "base"
#: Rows that are shown, the worst first; characters of a text in a page, and in plain text; labels
#: of a table of confusions.
ROWS, WIDE, NARROW, LABELS = 5, 240, 48, 12

_SMALL = f"{SMALL};white-space:nowrap"
_MARKS = "✓ the best; * differs from base by more than noise"
_HOW = (
    "Paired bootstrap over the rows (the loss weighted by tokens), 10,000 resamples; 95 % "
    "intervals; p adjusted by Holm over the pairs of each metric, more than noise below 0.05. "
    "Exact match: equal but for white space at the ends; ROUGE-L: F1 of the longest common "
    "subsequence of words; length: tokens; repetition: repeated runs of 4 words."
)
_PAIRS = (
    "Metric",
    "First",
    "Second",
    "Second − first",
    "95 % interval",
    "p",
    "p (Holm)",
    "Verdict",
)


def bundle(found: Evaluation) -> dict[str, object]:
    """An evaluation's MIME bundle."""
    page = frame(
        heading(found.line),
        *(one(line, muted=True) for line in _facts(found)),
        _means(found),
        details("What each metric says", *(one(said) for said in _verdicts(found))),
        _pairs(found),
        _confusions(found),
        _worst(found),
        label="Evaluation",
    )
    return {"text/plain": _plain(found), "text/html": str(page)}


def title(found: Evaluation, metric: str) -> str:
    """A metric's name as a heading; a person's own as it is."""
    name = found.named(metric)
    return name if name == metric and "_" in name else name[:1].upper() + name[1:]


def _facts(found: Evaluation) -> list[str]:
    """Lines below the verdict."""
    rows = len(found.rows)
    own = sum(name != BASE for name in found.adapters)
    said = f"{rows:,} row{'s' * (rows != 1)} under base"
    if own:
        said = f"the same {said} and {own} adapter{'s' * (own != 1)}"
    lines = [" · ".join([said, numbers.duration(found.seconds), *found.notes])]
    remedy = "to measure them too, name them"
    return [*lines, *filter(None, [comparison.left_out(found.left_out, remedy)])]


def _verdicts(found: Evaluation) -> list[str]:
    return [found.verdict(metric) for metric in found.metrics if metric != found.primary]


def _metrics(found: Evaluation) -> list[str]:
    """The metrics that have means, the perplexity too."""
    return list(dict.fromkeys(mean.metric for mean in found.means))


def _means(found: Evaluation) -> Markup:
    metrics = _metrics(found)
    rows = [
        [adapter, *(_mean(found, found.mean(adapter, metric)) for metric in metrics)]
        for adapter in found.adapters
    ]
    caption = "Means over the rows, and the differences from base with their 95 % intervals"
    notes = [one(f"{_MARKS}.", muted=True)] if len(found.adapters) > 1 else []
    return joined(
        [table(caption, ["Adapter", *(title(found, metric) for metric in metrics)], rows), *notes]
    )


def _mean(found: Evaluation, mean: Mean | None) -> Markup:
    if mean is None:
        return Markup(numbers.MISSING)
    lines = [tag("strong", _value(found, mean)) if _is_best(found, mean) else _value(found, mean)]
    pair = _against_base(found, mean)
    if pair is not None and pair.low == pair.high == 0:
        lines.append(tag("span", "the same", style=_SMALL))
    elif pair is not None:
        low, high = _shown(found, pair, pair.low), _shown(found, pair, pair.high)
        lines.append(tag("span", _difference(found, pair), style=_SMALL))
        lines.append(tag("span", f"{low} to {high}", style=_SMALL))
    return joined(part for line in lines for part in (line, tag("br")))


def _value(found: Evaluation, mean: Mean) -> str:
    return found.shown(mean.metric, mean.value) + " ✓" * _is_best(found, mean)


def _difference(found: Evaluation, pair: Pair) -> str:
    return _shown(found, pair, pair.difference) + " *" * pair.real


def _shown(found: Evaluation, pair: Pair, value: float) -> str:
    return found.shown(pair.metric, value, signed=True)


def _is_best(found: Evaluation, mean: Mean) -> bool:
    return mean.adapter in found.leaders(mean.metric)


def _against_base(found: Evaluation, mean: Mean) -> Pair | None:
    return None if mean.adapter == BASE else found.pair(mean.metric, BASE, mean.adapter)


def _pairs(found: Evaluation) -> Markup:
    rows = [
        [
            title(found, pair.metric),
            pair.first,
            pair.second,
            _shown(found, pair, pair.difference),
            f"{_shown(found, pair, pair.low)} to {_shown(found, pair, pair.high)}",
            numbers.figures(pair.p, 2),
            numbers.figures(pair.holm, 2),
            "more than noise" if pair.real else "perhaps only noise",
        ]
        for pair in found.pairs
    ]
    if not rows:
        return Markup("")
    shown = table("Pairwise differences", _PAIRS, rows, left=3)
    return details("Pairwise differences, and how they are tested", shown, one(_HOW, muted=True))


def _confusions(found: Evaluation) -> Markup:
    """For a classifier: a table for each adapter, of true labels by predicted ones."""
    parts = [_confusion(found, adapter) for adapter in found.adapters if found.labels]
    return details("Which labels are confused", *parts, opened=True)


def _confusion(found: Evaluation, adapter: str) -> Markup:
    counts = found.counts(adapter)
    # The labels with most errors, if there are too many.
    errors = {label: sum(row.values()) - row[label] for label, row in counts.items()}
    labels = list(counts)
    if len(labels) > LABELS:
        labels = sorted(labels, key=lambda label: -errors[label])[:LABELS]
        more = f"; the {LABELS} of {len(counts)} labels with most errors"
    else:
        more = ""
    rows = []
    for label in labels:
        total = sum(counts[label].values())
        share = numbers.percent(counts[label][label] / total) if total else numbers.MISSING
        given = [numbers.count(counts[label][other]) for other in labels]
        rows.append([shortened(one_line(label), NARROW), *given, numbers.count(total), share])
    header = ["True label", *(f"as {shortened(one_line(label), NARROW)}" for label in labels)]
    return table(f"{adapter}: true labels by given ones{more}", [*header, "Rows", "Accuracy"], rows)


def _worst(found: Evaluation) -> Markup:
    rows, header = _lines(found, WIDE, lambda prompt: tag("strong", prompt))
    more = len(found.rows) - ROWS
    rest = f"{more:,} more row{'s' * (more != 1)} in .to_frame()" if more > 0 else ""
    shown = table(_worst_caption(found), header, rows, left=3)
    return details("Answers beside references", shown, one(rest, muted=True), opened=True)


def _worst_caption(found: Evaluation) -> str:
    whose = "their" if found.adapters == (BASE,) else "the adapters' mean"
    return f"The worst rows first, by {whose} {found.named(found.primary)}"


def _lines(
    found: Evaluation, limit: int, bold: Callable[[str], str] = str
) -> tuple[list[list[str]], list[str]]:
    """The worst rows, each as lines for prompt, reference and answers; and the header."""
    metrics = [metric for metric in found.metrics if metric not in ("length", "repetition")]
    lines = [
        line for row in found.worst()[:ROWS] for line in _row(found, row, metrics, limit, bold)
    ]
    return lines, ["Row", "Source", "Text", *(title(found, metric) for metric in metrics)]


def _row(
    found: Evaluation,
    row: EvaluatedRow,
    metrics: list[str],
    limit: int,
    bold: Callable[[str], str],
) -> list[list[str]]:
    def cut(text: str) -> str:
        return shortened(one_line(text), limit)

    number, none = str(row.number), [""] * len(metrics)
    lines = [[number, "prompt", bold(cut(row.prompt)), *none]] if row.prompt else []
    if row.reference is not None:
        lines.append([number, "reference" if row.prompt else "text", cut(row.reference), *none])
    for at, adapter in enumerate(found.adapters):
        values = [row.values.get(metric, ())[at : at + 1] for metric in metrics]
        cells = [
            found.shown(metric, value[0]) if value else numbers.MISSING
            for metric, value in zip(metrics, values, strict=True)
        ]
        answer = row.answers[at]
        said = "" if answer is None else cut(answer) or "(an empty answer)"
        lines.append([number, adapter, said, *cells])
    return lines


def _plain(found: Evaluation) -> str:
    metrics = _metrics(found)
    rows = []
    for adapter in found.adapters:
        cells = []
        for metric in metrics:
            mean = found.mean(adapter, metric)
            pair = mean and _against_base(found, mean)
            value = _value(found, mean) if mean else numbers.MISSING
            cells.append(f"{value} ({_difference(found, pair)})" if pair else value)
        rows.append([adapter, *cells])
    lines, header = _lines(found, NARROW)
    marks = [_MARKS] if len(found.adapters) > 1 else []
    parts = [
        one_line(found.line),
        *map(one_line, _facts(found)),
        plain_table(["Adapter", *(title(found, metric) for metric in metrics)], rows),
        *marks,
        *map(one_line, _verdicts(found)),
        "",
        _worst_caption(found),
        plain_table(header, lines, left=3),
    ]
    return "\n".join(parts)
