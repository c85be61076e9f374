"""A training run: a small page while it runs, a static display after it ends.

Knows numbers; does not know the Trainer, nor how a page is updated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import curve as curves
from lora_magic.views import svg
from lora_magic.views.html import Markup, tag
from lora_magic.views.inside import charts
from lora_magic.views.style import BLUE, details, figure, frame, heading
from lora_magic.views.style import line as one
from lora_magic.views.table import facts_table, table
from lora_magic.views.text import shortened

if TYPE_CHECKING:
    from lora_magic.training.forgetting import Forgetting
    from lora_magic.training.inside import Inside
    from lora_magic.training.rate_curve import RateCurve
    from lora_magic.training.summaries import Summaries
    from lora_magic.training.summary import RunSummary

#: Held-out losses: after how many steps, and the loss.
HeldOut = Sequence[tuple[int, float]]

#: How many of the questions that an adapter fails are shown, and how many characters of a text.
FAILED, CHARACTERS = 8, 200
STOP = "press ■ to stop after this step"
_TRACK = (
    "background:rgba(127,127,127,.25);border-radius:3px;height:6px;max-width:520px;margin:.4rem 0"
)


def progress_html(
    *,
    title: str = "Training",
    line: str = "",
    sample: str = "",
    losses: Sequence[float],
    step: int,
    total: int,
    seconds_left: float | None = None,
    tokens_per_second: float | None = None,
    elapsed: float | None = None,
    memory: int | None = None,
    workers: int = 1,
    held_out: HeldOut = (),
    stop: str = STOP,
    others: Sequence[str] = (),
    inside: Inside | None = None,
) -> str:
    """The page of a run in progress, for an output that is updated in place.

    `sample` shows one row as the model reads it. Times are in seconds, `memory` is in bytes (of
    several `workers`, that of each), `held_out` (steps taken, loss); `stop` says how to end the
    run; it is empty if a button does. `others` has a line for each adapter of a run of several, of
    which this is the best; `inside` is what was read of its inside.
    """
    state = _state(losses, held_out, step, total, (elapsed, seconds_left), tokens_per_second)
    each = " per worker" if workers > 1 else ""
    state += [f"memory {numbers.size(memory)}{each} at the peak"] if memory else []
    return str(
        frame(
            *_head(title, line, small=True),
            one(sample, muted=True) if sample else "",
            _bar(step, total),
            one(" · ".join(state)),
            *(one(other, muted=True) for other in others),
            _figure(title, losses, total, svg.picture, held_out) if losses else "",
            charts(inside, total, svg.picture),
            one(stop, muted=True) if stop else "",
            label="Training under way",
        )
    )


def summary_bundle(summary: RunSummary) -> dict[str, object]:
    """A finished run's MIME bundle, under 32 kB however long the run."""
    losses, held_out = summary.losses, summary.held_out_losses
    page = frame(
        *_head(summary.adapter, summary.line),
        _figure(summary.adapter, losses, None, svg.image, held_out, summary.best_step)
        if losses
        else "",
        _inside(summary),
        details("What was trained, and how", facts_table("The run", summary.facts)),
        _failed(summary.forgetting),
        label="Training run",
    )
    return {"text/plain": one_line(summary.line), "text/html": str(page)}


def summaries_bundle(record: Summaries) -> dict[str, object]:
    """The MIME bundle of several adapters' runs: a table, and each one's line."""
    header = ("Adapter", "Steps", "Rate", "Loss", "Held out", "Time")
    rows = [
        [
            summary.adapter,
            f"{summary.steps} of {summary.planned_steps}",
            f"{summary.learning_rate:g}",
            _change(summary.first_loss, summary.last_loss),
            _change(summary.held_out_before, summary.held_out_after),
            numbers.duration(summary.seconds),
        ]
        for summary in record
    ]
    page = frame(
        heading(record.line),
        table("Trained on the same rows", header, rows) if rows else "",
        *(one(line, muted=True) for line in record.failed.values()),
        *(details(s.line, facts_table("The run", s.facts), _inside_of(s, record)) for s in record),
        label="Training runs",
    )
    return {"text/plain": "\n".join(map(one_line, record.lines)), "text/html": str(page)}


def _inside_of(summary: RunSummary, record: Summaries) -> Markup:
    """The charts of the adapter that is active afterwards: those of all would be too large."""
    shown = summary is (record.best or record[-1])
    return charts(summary.inside, best=summary.best_step) if shown else Markup("")


def _change(before: float | None, after: float | None) -> str:
    if after is None:
        return numbers.MISSING
    return f"{numbers.figures(before)} → {numbers.figures(after)}"


def _inside(summary: RunSummary) -> Markup:
    """The charts of what was read during the run, unfolded; empty without any."""
    found = charts(summary.inside, best=summary.best_step)
    if not found:
        return Markup("")
    hint = "every number: run.inside.to_frame(), with run = %lora train … or --out run"
    return details("Inside the run", found, one(hint, muted=True), opened=True)


def _failed(forgetting: Forgetting | None) -> Markup:
    """The questions that only the base answered correctly, with both answers, at most `FAILED`."""
    failed = getattr(forgetting, "failed", ())
    if not failed:
        return Markup("")
    texts = [(one.prompt, one.base, one.adapter) for one in failed[:FAILED]]
    rows = [[shortened(text, CHARACTERS) for text in row] for row in texts]
    more = len(failed) - len(rows)
    rest = f"and {more} more; " if more else ""
    return details(
        f"What was forgotten: {len(failed)} question{'s' * (len(failed) != 1)}",
        table("Answered correctly only by the base", ("question", "base", "adapter"), rows, left=3),
        one(
            f"{rest}all answers: run.forgetting.to_frame(), with run = %lora train … or --out run",
            muted=True,
        ),
    )


def rate_bundle(curve: RateCurve) -> dict[str, object]:
    """The MIME bundle of a search for a learning rate: the loss against the rate."""
    caption = f"{curve.adapter}: the loss at each learning rate (thin) and its mean"
    caption += "; vertical line: where it falls fastest" if curve.rate is not None else ""
    page = frame(
        *_head(curve.adapter, curve.line),
        figure(curves.rate_curve(curve.rates, curve.losses, curve.rate), caption)
        if curve.losses
        else "",
        label="Search for a learning rate",
    )
    return {"text/plain": one_line(curve.line), "text/html": str(page)}


def _head(title: str, text: str, small: bool = False) -> list[Markup]:
    """The title and the line below it; only one line if the text begins with the title."""
    rest = text.removeprefix(title)
    if title and rest != text and rest[:1] in {"", ":", " "}:
        return [one(tag("strong", title), rest)]
    return [heading(title), *([one(text, muted=small)] if text else [])]


def _state(
    losses: Sequence[float],
    held_out: HeldOut,
    step: int,
    total: int,
    times: tuple[float | None, float | None],
    tokens_per_second: float | None,
) -> list[str]:
    parts = [f"step {numbers.count(step)} of {numbers.count(total)}"]
    if losses:
        parts.append(f"loss {numbers.figures(losses[-1])}")
    if held_out:
        parts.append(f"held out {numbers.figures(held_out[-1][1])}")
    if tokens_per_second is not None:
        parts.append(f"{numbers.count(tokens_per_second)} tokens/s")
    for seconds, word in zip(times, ("so far", "left"), strict=True):
        if seconds is not None:
            parts.append(f"{numbers.duration(seconds)} {word}")
    return parts


def _bar(step: int, total: int) -> Markup:
    share = min(1.0, max(0.0, step / total)) if total else 0.0
    fill = f"background:{BLUE};border-radius:3px;height:6px;width:{100 * share:.1f}%"
    return tag(
        "div",
        tag("div", style=fill),
        role="progressbar",
        aria_label="Steps done",
        aria_valuenow=step,
        aria_valuemin=0,
        aria_valuemax=total,
        style=_TRACK,
    )


def _figure(
    title: str,
    losses: Sequence[float],
    total: int | None,
    draw: Callable[..., Markup],
    held_out: HeldOut,
    best: int | None = None,
) -> Markup:
    caption = f"{title}: loss of each step (thin) and its running mean"
    caption += "; squares: the held-out loss" if held_out else ""
    caption += "; vertical line: the step whose weights were kept" if best is not None else ""
    return figure(curves.loss_curve(losses, total, draw, held_out, best), caption)
