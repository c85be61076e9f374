"""A sweep's arms: a table by held-out loss, their curves, and loss against size and time.

Knows the numbers of a record; knows no run, nor how a page is updated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import svg
from lora_magic.views.axis import Scale, log_range, log_ticks, ticks
from lora_magic.views.html import Markup
from lora_magic.views.style import BLUE, GREY, code, details, figure, frame, heading, ramp
from lora_magic.views.style import line as one
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.state.sweep_result import Sweep, SweepArm

#: Rows of a table, arms that are named in a picture, and characters of a setting.
ROWS, NAMED, LABEL = 40, 12, 60
STOP = "press ■ to stop after this step; what is done is kept"

_HEADER = ("Arm", "Setting", "Seed", "Parameters", "Steps", "Held out", "Time", "State")
_MEANS = ("Setting", "Seeds", "Steps", "Mean held out", "95 % interval")

_WIDTH, _HEIGHT = 600.0, 228.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 510.0, 14.0, 192.0
_PANEL, _ROOM = 300.0, 76.0
#: Pixels within which two points share a label.
_GAP, _NEAR = 12.0, 44.0


def bundle(sweep: Sweep) -> dict[str, object]:
    """A sweep's MIME bundle."""
    page = frame(*_head(sweep), *_body(sweep, svg.image), _lines(sweep), label="Sweep")
    return {"text/plain": _plain(sweep), "text/html": str(page)}


def progress_html(sweep: Sweep, line: str = "", stop: str = STOP) -> str:
    """The page of a sweep in progress, for an output that is updated in place."""
    return str(
        frame(
            heading(f"Sweep {sweep.name}"),
            one(line, muted=True) if line else "",
            *_body(sweep, svg.picture),
            one(stop, muted=True) if stop else "",
            label="Sweep under way",
        )
    )


def _head(sweep: Sweep) -> list[Markup]:
    best = sweep.best
    if best is None:
        return [heading(sweep.line)]
    return [heading(sweep.line), one(f"{best.method}, {_size(best)}, seed {best.seed}", muted=True)]


def _size(arm: SweepArm) -> str:
    rank = "" if arm.rank is None else f"rank {arm.rank}, "
    return f"{rank}lr {arm.lr:g}, {numbers.count(arm.parameters)} parameters"


def _body(sweep: Sweep, draw: Callable[..., Markup]) -> list[Markup]:
    return [_table(sweep), _means(sweep), _curves(sweep, draw), _sizes(sweep, draw)]


def _table(sweep: Sweep) -> Markup:
    ranked = sweep.ranked
    caption = f"Arms by the loss on {sweep.deciding} held-out rows, which decide"
    if len(ranked) > ROWS:
        caption += f"; the first {ROWS} of {len(ranked)}, .to_frame() has every arm"
    return table(caption, _HEADER, [_row(arm) for arm in ranked[:ROWS]], left=2)


def _row(arm: SweepArm) -> list[str]:
    return [
        f"{arm.arm}{' ✓' * (arm.state == 'chosen')}",
        shortened(arm.label, LABEL),
        str(arm.seed),
        numbers.count(arm.parameters),
        numbers.count(arm.steps),
        numbers.MISSING if arm.held_out is None else f"{arm.held_out:.3f}",
        numbers.duration(arm.seconds) if arm.seconds else numbers.MISSING,
        arm.state,
    ]


def _means(sweep: Sweep) -> Markup:
    """The settings' means, if any setting has several seeds."""
    if not any(one.seeds > 1 for one in sweep.means):
        return Markup("")
    rows = [
        [
            shortened(mean.label, LABEL),
            str(mean.seeds),
            numbers.count(mean.steps),
            numbers.MISSING if mean.mean is None else f"{mean.mean:.3f}",
            numbers.MISSING
            if mean.low is None or mean.high is None
            else f"{mean.low:.3f} to {mean.high:.3f}",
        ]
        for mean in sweep.means[:ROWS]
    ]
    return table("Means over the seeds", _MEANS, rows)


def _lines(sweep: Sweep) -> Markup:
    """The lines that train each arm alone."""
    shown = sweep.ranked[:ROWS]
    lines = [one(f"arm {arm.arm}: ", code(arm.attach), " ; ", code(arm.train)) for arm in shown]
    failed = [one(f"arm {arm.arm} failed: {arm.error}") for arm in shown if arm.error]
    return details("The lines to type for each arm", *lines, *failed)


def _plain(sweep: Sweep) -> str:
    rows = [_row(arm) for arm in sweep.ranked[:ROWS]]
    return "\n".join([one_line(sweep.line), plain_table(_HEADER, rows, left=2)])


# Pictures


def _curves(sweep: Sweep, draw: Callable[..., Markup]) -> Markup:
    """The held-out losses of all arms over their steps."""
    arms = [arm for arm in sweep.ranked if len(_finite(arm)) > 1][:ROWS]
    losses = [loss for arm in arms for _, loss in _finite(arm)]
    if not losses:
        return Markup("")
    across = Scale(0, max(step for arm in arms for step, _ in _finite(arm)), _LEFT, _RIGHT)
    up = Scale(*log_range(losses), _BOTTOM, _TOP, log=True)
    shapes = [
        *svg.axes(across, up, log_ticks(up.low, up.high), ticks(0, across.high, 5)),
        svg.label(_RIGHT + 22, _BOTTOM + 16, "steps"),
    ]
    ends = []
    for arm, colour in zip(arms, ramp(len(arms)), strict=True):
        points = [(across(step), up(loss)) for step, loss in _finite(arm)]
        width = 3.0 if arm.state == "chosen" else 1.5
        dashes = "4 3" if arm.state in ("dropped", "failed") else None
        shapes.append(svg.path(points, colour, width, stroke_dasharray=dashes))
        shapes.append(svg.box(points[-1][0] - 2, points[-1][1] - 2, 4, 4, fill=colour))
        ends.append((arm, points[-1]))
    shapes += _names(ends, sweep)
    said = f"Held-out loss of {len(arms)} arms over their steps"
    caption = (
        "The loss on the held-out rows that decide; each line ends at its arm's number; thick: "
        "the chosen arm; dashed: dropped or failed"
    )
    return figure(draw(_WIDTH, _HEIGHT, said, *shapes), caption)


def _finite(arm: SweepArm) -> list[tuple[int, float]]:
    return [(step, loss) for step, loss in arm.losses if math.isfinite(loss) and loss > 0]


def _names(ends: Sequence[tuple[SweepArm, svg.Point]], sweep: Sweep) -> list[Markup]:
    """The arms' numbers at their points, those of near points in one label; of many the best."""
    named = {arm.arm: at for at, arm in enumerate(sweep.ranked[:NAMED])}
    groups: list[tuple[svg.Point, list[SweepArm]]] = []
    shown = [end for end in ends if end[0].arm in named]
    # The chosen one first, so that it is named where its line ends.
    for arm, (x, y) in sorted(shown, key=lambda e: (e[0].state != "chosen", named[e[0].arm])):
        for (at, up), arms in groups:
            if abs(at - x) < _NEAR and abs(up - y) < _GAP:
                arms.append(arm)
                break
        else:
            groups.append(((x, y), [arm]))
    shapes = []
    for (x, y), arms in groups:
        text = ", ".join(str(arm.arm) for arm in arms[:2])
        text += f" +{len(arms) - 2}" if len(arms) > 2 else ""
        weight = "700" if arms[0].state == "chosen" else None
        shapes.append(svg.label(x + 6, y + 4, text, weight=weight))
    return shapes


def _sizes(sweep: Sweep, draw: Callable[..., Markup]) -> Markup:
    """Held-out loss against parameters and against seconds, with the arms that none beats."""
    front = {arm for what in ("parameters", "seconds") for arm in sweep.front(what)}
    # In its first rung an arm has no time yet.
    able = [arm for arm in sweep.ranked if arm.seconds and arm.held_out and arm.held_out > 0]
    arms = [arm for at, arm in enumerate(able) if at < ROWS or arm.arm in front]
    if len(arms) < 2:
        return Markup("")
    losses = [arm.held_out or 0.0 for arm in arms]
    up = Scale(*log_range(losses), _BOTTOM, _TOP, log=True)
    sizes = [float(arm.parameters) for arm in arms]
    times = [arm.seconds for arm in arms]
    shapes: list[Markup] = []
    for start, values, what in ((0.0, sizes, "parameters"), (_PANEL, times, "seconds")):
        shapes += _panel(sweep, arms, values, up, start, what)
    said = f"Held-out loss of {len(arms)} arms against their parameters and their seconds"
    caption = (
        "Held-out loss against trainable parameters and against training time, each arm at its "
        "last step; filled and joined: no other arm is better in both"
    )
    return figure(draw(2 * _PANEL, _HEIGHT, said, *shapes), caption)


def _panel(
    sweep: Sweep,
    arms: Sequence[SweepArm],
    values: Sequence[float],
    up: Scale,
    start: float,
    what: str,
) -> list[Markup]:
    low, high = log_range(values)
    across = Scale(low, high, start + _LEFT, start + _PANEL - _ROOM, log=True)
    places = [(value, numbers.short(value)) for value, _ in log_ticks(low, high, 3)]
    points = [
        (across(value), up(arm.held_out or 0.0)) for arm, value in zip(arms, values, strict=True)
    ]
    front = set(sweep.front(what))
    best = sorted(point for arm, point in zip(arms, points, strict=True) if arm.arm in front)
    shapes = [
        *svg.axes(across, up, log_ticks(up.low, up.high), places),
        svg.label(start + _LEFT, _BOTTOM + 28, what),
        svg.path(best, BLUE, 1.5),
    ]
    for arm, (x, y) in zip(arms, points, strict=True):
        inside = {"fill": BLUE} if arm.arm in front else {"fill": "none", "stroke": GREY}
        shapes.append(svg.box(x - 3, y - 3, 6, 6, **inside))
    return [*shapes, *_names(list(zip(arms, points, strict=True)), sweep)]
