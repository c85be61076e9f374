"""What a run measured, for an adapter's record: on which rows, the base's loss there, the curve.

Knows examples, summaries and an adapter's initial state; trains and measures nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.training import batches
from lora_magic.training.encode import Encoded, Example, measured_hash
from lora_magic.training.spec import TrainSpec
from lora_magic.training.summary import RunSummary

from .session_state import SessionState

#: The most points of a curve that an adapter's card keeps.
POINTS = 48


@dataclass(frozen=True)
class Start:
    """What the held-out losses of a run refer to.

    `data` is the hash of the rows, None without any, and for preferences if the run does not begin
    as the base: their loss is relative to its start. With `as_base` the first loss is the base's;
    `base_loss` is the base's as an earlier run on the same rows has measured it.
    """

    data: str | None
    as_base: bool
    base_loss: float | None = None


def rows_hash(state: SessionState, examples: Sequence[Example], beta: float | None = None) -> str:
    """sha256 of measured rows: equal where losses on them can be compared.

    It covers the tokens read, those that the loss covers, the base with its number format, and with
    preferences their `beta`.
    """
    return measured_hash(examples, state.base.fingerprint.digest, beta)


def start_of(
    state: SessionState,
    attached: LiveAdapter,
    encoded: Encoded,
    spec: TrainSpec,
    *,
    more: bool,
    resumed: bool = False,
) -> Start:
    """The start of a run that is about to begin, with `more` from the adapter's current state.

    What a run with `more` began with is not known any more if it is `resumed`.
    """
    held_out = batches.sides(encoded, spec)[1]
    if not held_out:
        return Start(None, as_base=False)
    as_base = not (more and resumed) and not attached.has_effect(None if more else attached.start)
    if spec.beta is not None and not as_base:
        return Start(None, as_base=False)
    data, before = rows_hash(state, held_out, spec.beta), attached.run
    known = before.get("base_held_out") if before.get("held_out_sha256") == data else None
    return Start(data, as_base, known)


def measurements(start: Start, summary: RunSummary) -> dict[str, Any]:
    """What an adapter's card records of a run's measurements, beside the summary's own numbers.

    `base_held_out` is the base's loss on the held-out rows, None if it is not known; `when` the
    time now (ISO 8601, UTC).
    """
    first = summary.held_out_before if start.as_base else None
    return {
        "held_out_sha256": start.data,
        "base_held_out": start.base_loss if first is None else first,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "curve": _curve(summary),
    }


def _curve(summary: RunSummary) -> dict[str, Any]:
    """Points (steps taken, loss) on the held-out rows; without any, means of the training loss."""
    held_out = len(summary.held_out_losses) > 1
    points = summary.held_out_losses if held_out else _means(summary.losses)
    shown = [[step, float(f"{loss:.6g}")] for step, loss in points]
    return {"held_out": held_out, "points": shown[-POINTS:]}


def _means(losses: Sequence[float]) -> list[tuple[int, float]]:
    """At most `POINTS` means over stretches of equal length, each at the stretch's last step."""
    size = max(1, -(-len(losses) // POINTS))
    parts = [losses[at : at + size] for at in range(0, len(losses), size)]
    return [(min(len(losses), (at + 1) * size), fmean(part)) for at, part in enumerate(parts)]
