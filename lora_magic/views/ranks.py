"""Which rank the evidence supports: the verdict, loss and excess by rank, and what to type.

Knows the numbers of a record; does not know how they were measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import svg
from lora_magic.views.axis import Scale, log_range, log_ticks, ticks
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import BLUE, GREEN, GREY, ORANGE, code, details, figure, frame, heading
from lora_magic.views.style import line as one
from lora_magic.views.table import table
from lora_magic.views.text import plain_table

if TYPE_CHECKING:
    from lora_magic.evaluation.ranks import RankEvidence, RankLoss

#: Modules in the table of the shared budget.
MODULES = 60
_HEADER = (
    *("Rank", "Parameters", "ΔW lost", "Loss", "Excess (of the gain)", "At most (95 %)"),
    *("Same answers", "Enough"),
)
_WIDTH, _HEIGHT = 360.0, 214.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 340.0, 26.0, 178.0
#: The smallest share of the gain that is drawn, in percent.
_LEAST = 0.01
_SIDE = "display:flex;flex-wrap:wrap;gap:.5rem 2rem;align-items:flex-start"
#: Ranks up to this are evenly spaced, more of them by their logarithm.
_EVEN = 16

_HOW = (
    "Excess: the loss above that of the whole adapter, as a share of its gain over the base. "
    "Paired bootstrap over the rows, 10,000 resamples; an excess is below “at most” with 95 % "
    "probability. Enough: at most 1 % of the gain. Same answers: greedy ones equal to the "
    "whole adapter's, up to the length of the longest completion."
)
_NOT_TRAINING = (
    "Truncating keeps the best directions of this run. It is not training at that rank, which can "
    "end better or worse. To check it, train once, on the rows that it was trained on:"
)


def bundle(found: RankEvidence) -> dict[str, object]:
    """The MIME bundle of an adapter's ranks."""
    rows = [_row(found, loss) for loss in found.losses]
    ways = [code(command) for command in _commands(found)]
    page = frame(
        heading(found.verdict),
        one(_facts(found), muted=True),
        tag("div", _loss(found), _excess(found), style=_SIDE),
        table(f"{found.adapter} truncated to each rank, on the same rows", _HEADER, rows, left=0),
        one(_HOW, muted=True),
        *(one("Next: ", way) for way in ways[:1]),
        *(one(_of_budget(found), " ", way) for way in ways[1:]),
        _shared(found),
        one(_NOT_TRAINING) if found.retrain else "",
        *(one(code(line)) for line in found.retrain),
        label="Evidence for a rank",
    )
    return {"text/plain": _plain(found, rows), "text/html": str(page)}


def _commands(found: RankEvidence) -> list[str]:
    return [found.command, *filter(None, [found.budget_command])]


def _facts(found: RankEvidence) -> str:
    rows = f"{found.rows:,} row{'s' * (found.rows != 1)} under base, {found.adapter} and its ranks"
    losses = f"loss {numbers.figures(found.loss)}, the base's {numbers.figures(found.base_loss)}"
    ended = ["ended early"] if found.stopped else []
    return " · ".join([rows, losses, numbers.duration(found.seconds), *ended, *found.notes])


def _row(found: RankEvidence, loss: RankLoss) -> list[str]:
    same = numbers.MISSING if loss.same is None else numbers.percent(loss.same)
    return [
        numbers.count(loss.rank),
        numbers.count(loss.parameters),
        numbers.percent(loss.lost),
        numbers.figures(loss.loss, 4),
        found.share(loss.excess),
        found.share(loss.high),
        same,
        _mark(found, loss),
    ]


def _mark(found: RankEvidence, loss: RankLoss) -> str:
    if loss.rank == found.rank:
        return "✓ the smallest"
    if found.rank is None or loss.rank < found.rank:
        return ""
    return "✓" if found.is_enough(loss) else ""


def _of_budget(found: RankEvidence) -> str:
    """What a rank for each module would lose, at the same number of parameters."""
    assert found.budget is not None  # there is a command
    told = f"A rank for each module, in {numbers.count(found.budget.parameters)} parameters"
    excess, most = found.share(found.budget.excess), found.share(found.budget.high)
    lost = numbers.percent(found.budget.lost)
    return f"{told}: excess {excess} of the gain, at most {most}; {lost} of ΔW lost:"


def _shared(found: RankEvidence) -> Markup:
    """The ranks that the budget gives to each module, the largest first."""
    shared = sorted((found.shared or {}).items(), key=lambda pair: -pair[1])
    rows = [[module, numbers.count(rank) if rank else "none"] for module, rank in shared[:MODULES]]
    if not rows:
        return Markup("")
    more = len(shared) - len(rows)
    rest = one(f"and {more} more: .by_module() has every row", muted=True) if more else ""
    least, most = shared[-1][1], shared[0][1]
    return details(
        f"{len(shared)} modules at rank {least} to {most}",
        table("Ranks from one budget, the largest first", ("Module", "Rank"), rows),
        rest,
    )


def _plain(found: RankEvidence, rows: Sequence[Sequence[str]]) -> str:
    lines = [one_line(found.verdict), one_line(_facts(found)), plain_table(_HEADER, rows, left=0)]
    lines.append(f"next: {one_line(found.command)}")
    if found.budget is not None:
        lines.append(f"{_of_budget(found)} {one_line(found.budget_command)}")
    if found.retrain:
        lines += [_NOT_TRAINING, *(f"  {one_line(line)}" for line in found.retrain)]
    return "\n".join(lines)


# Pictures


def _across(found: RankEvidence) -> Scale:
    most = max(2, found.losses[-1].rank)
    return Scale(1, most, _LEFT + 10, _RIGHT - 10, log=most > _EVEN)


def _columns(found: RankEvidence) -> list[tuple[float, str]]:
    ranks = [loss.rank for loss in found.losses]
    step = math.ceil(len(ranks) / 8)
    return [(rank, str(rank)) for rank in ranks[::step]]


def _loss(found: RankEvidence) -> Markup:
    """The loss by rank with its intervals, between the base's and the whole adapter's."""
    across, losses = _across(found), found.losses
    ends = [found.loss + edge for loss in losses for edge in (loss.low, loss.high)]
    seen = [found.loss, found.base_loss, *(loss.loss for loss in losses), *ends]
    margin = 0.06 * (max(seen) - min(seen)) or 0.05
    up = Scale(max(0.0, min(seen) - margin), max(seen) + margin, _BOTTOM, _TOP)
    shapes = [
        *svg.axes(across, up, ticks(up.low, up.high), _columns(found)),
        svg.label(_LEFT - 40, 12, "loss (nats)"),
        svg.label(_RIGHT, _BOTTOM + 32, "rank", "end"),
        *_level(up(found.base_loss), GREY, "base"),
        *_level(up(found.loss), GREEN, "whole adapter"),
        *_whiskers(across, up, [(loss.rank, _ends(found, loss)) for loss in losses]),
        svg.path([(across(loss.rank), up(loss.loss)) for loss in losses], BLUE, 2),
        *(_dot(across(loss.rank), up(loss.loss)) for loss in losses),
    ]
    said = ", ".join(f"rank {loss.rank} {numbers.figures(loss.loss)}" for loss in losses)
    label = f"Held-out loss by rank: {said}; base {numbers.figures(found.base_loss)}"
    drawn = svg.image(_WIDTH, _HEIGHT, label, *shapes)
    return figure(drawn, "Loss by rank; bars: 5th to 95th percentile of the bootstrap")


def _ends(found: RankEvidence, loss: RankLoss) -> tuple[float, float]:
    """The interval of a loss: that of its excess above the whole adapter's loss."""
    return found.loss + loss.low, found.loss + loss.high


def _excess(found: RankEvidence) -> Markup:
    """The excess in percent of the gain and its upper bound, on a logarithmic scale."""
    if found.gain <= 0:
        return Markup("")
    across = _across(found)
    shares = [
        (loss.rank, 100 * loss.excess / found.gain, 100 * loss.high / found.gain)
        for loss in found.losses
    ]
    high = log_range([1.0, *(value for _, *both in shares for value in both)])[1]
    up = Scale(_LEAST, max(high, 3.0), _BOTTOM - 12, _TOP, log=True)
    # The scale ends above the axis: what is less is drawn there, hollow.
    shapes = [
        svg.rules([((_LEFT, up(v)), (_RIGHT, up(v))) for v, _ in log_ticks(up.low, up.high)]),
        svg.labels("end", [(_LEFT - 6, up(v) + 4, t) for v, t in log_ticks(up.low, up.high)]),
        svg.rules([((_LEFT, _BOTTOM), (_RIGHT, _BOTTOM))], ".5"),
        svg.labels("middle", [(across(r), _BOTTOM + 16, t) for r, t in _columns(found)]),
        svg.label(_LEFT - 40, 12, "excess (% of the gain)"),
        svg.label(_RIGHT, _BOTTOM + 32, "rank", "end"),
        *_level(up(1.0), ORANGE, "below 1 %: enough"),
    ]
    for rank, value, most in shares:
        x = across(rank)
        shapes += _bound(x, _place(up, value), _place(up, most), rank == found.rank)
    said = ", ".join(
        f"rank {rank} {numbers.figures(value)} %, at most {numbers.figures(most)} %"
        for rank, value, most in shares
    )
    drawn = svg.image(_WIDTH, _HEIGHT, f"Excess as a share of the gain by rank: {said}", *shapes)
    note = "● excess, ▔ its 95 % upper bound, logarithmic; ○ at most 0.01 %, or below 0"
    return figure(drawn, note)


def _place(up: Scale, value: float) -> float:
    """Its pixel, or that of the hollow marks below the scale."""
    return up(value) if value > _LEAST else _BOTTOM - 4


def _bound(x: float, y: float, top: float, chosen: bool) -> list[Markup]:
    colour = GREEN if chosen else BLUE
    shapes = [svg.rules([((x, y), (x, top))], ".6"), svg.box(x - 6, top - 1, 12, 2, fill=colour)]
    hollow = y >= _BOTTOM - 5
    shapes.append(_dot(x, y, colour, hollow=hollow))
    if chosen:
        shapes.append(svg.label(x + 9, min(top, _BOTTOM - 14) + 4, "✓", size=12, weight="600"))
    return shapes


def _dot(x: float, y: float, colour: str = BLUE, *, hollow: bool = False) -> Markup:
    more = {"fill": "none", "stroke": colour} if hollow else {"fill": colour}
    return svg.box(x - 3, y - 3, 6, 6, rx="3", **more)


def _level(y: float, colour: str, name: str) -> list[Markup]:
    """A horizontal line with its name at the right, above it."""
    return [
        # From where the axis begins: further left are its numbers.
        svg.path([(_LEFT + 10, y), (_RIGHT, y)], colour, 1, stroke_dasharray="4 3"),
        svg.label(_RIGHT, y - 4, name, "end"),
    ]


def _whiskers(
    across: Scale, up: Scale, intervals: Sequence[tuple[int, tuple[float, float]]]
) -> list[Markup]:
    lines = []
    for rank, (low, high) in intervals:
        x = across(rank)
        lines.append(((x, up(low)), (x, up(high))))
        lines += [((x - 4, up(edge)), (x + 4, up(edge))) for edge in (low, high)]
    return [svg.rules(lines, ".6")]
