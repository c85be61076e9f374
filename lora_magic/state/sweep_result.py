"""What a sweep found: a frozen record of its arms that displays itself.

Knows names and numbers; knows no model, no rows and no run. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lora_magic import numbers
from lora_magic.frames import frame
from lora_magic.printable import one_line

from .sweep_plan import interval, pareto

#: An arm's state: waits, is trained now, trained so far and may go on, dropped by halving, trained
#: to its end, failed, or the one that was chosen.
WAITING, TRAINING, PAUSED, DROPPED, FINISHED, FAILED, CHOSEN = (
    *("waiting", "training", "paused", "dropped", "finished", "failed", "chosen"),
)

#: The columns of a sweep's frame.
COLUMNS = (
    *("arm", "seed", "rank", "lr", "method", "targets", "parameters", "steps", "held_out"),
    *("seconds", "state"),
)


@dataclass(frozen=True)
class SweepArm:
    """One adapter that was trained: a setting and a seed of its initial A.

    `setting` counts the combinations of values from 1, `label` names the values that differ between
    them. `rank` is None for a method without one. After `steps` steps, which took `seconds` (of a
    batch with other arms, its share; of finished rungs, while it is trained), the loss on the half
    of the held-out rows that decides is `held_out`, in nats per token; `losses` are (steps, that
    loss) on the way. `attach` and `train` are the lines that train it alone, `error` says why it
    failed.
    """

    arm: int
    setting: int
    label: str
    seed: int
    rank: int | None
    lr: float
    method: str
    targets: str
    parameters: int
    steps: int = 0
    held_out: float | None = None
    seconds: float = 0.0
    state: str = WAITING
    losses: tuple[tuple[int, float], ...] = ()
    attach: str = ""
    train: str = ""
    error: str = ""


@dataclass(frozen=True)
class SettingMean:
    """A setting's mean held-out loss over its seeds, at its last step; None without a loss.

    `low` and `high` are the mean's 95 % interval (Student's t), None with one seed.
    """

    setting: int
    label: str
    seeds: int
    steps: int
    mean: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Sweep:
    """The arms of a sweep, in the order in which they were planned.

    `name` is the adapter that the `chosen` arm became, trained for its `steps` of `planned_steps`.
    One half of the held-out rows decided (`deciding` rows), on the other half (`reporting` rows)
    the chosen one's loss is `reported` and the base's is `base_loss`; a loss of preferences is
    compared with that of the base, log 2. Without a choice, `chosen` is None. `rungs` are (up to
    step, arms that were trained). `minutes` is true if the time limit ended it, `stopped` if the
    user did.
    """

    name: str
    arms: tuple[SweepArm, ...]
    planned_steps: int
    rungs: tuple[tuple[int, int], ...] = ()
    chosen: int | None = None
    reported: float | None = None
    base_loss: float | None = None
    deciding: int = 0
    reporting: int = 0
    seconds: float = 0.0
    stopped: bool = False
    minutes: bool = False

    @property
    def best(self) -> SweepArm | None:
        """The arm that was chosen."""
        return next((arm for arm in self.arms if arm.arm == self.chosen), None)

    @property
    def ranked(self) -> tuple[SweepArm, ...]:
        """The arms by held-out loss, the lowest first; those without a loss last."""
        return tuple(sorted(self.arms, key=lambda a: (a.held_out is None, a.held_out or 0.0)))

    @property
    def means(self) -> tuple[SettingMean, ...]:
        """The settings' means over their seeds, the lowest first."""
        by: dict[int, list[SweepArm]] = {}
        for arm in self.arms:
            by.setdefault(arm.setting, []).append(arm)
        found = [_mean(arms) for arms in by.values()]
        return tuple(sorted(found, key=lambda one: (one.mean is None, one.mean or 0.0)))

    def front(self, what: str) -> tuple[int, ...]:
        """The arms that no other beats in both held-out loss and `what` (parameters, seconds)."""
        able = [arm for arm in self.arms if arm.held_out is not None]
        points = [(float(getattr(arm, what)), arm.held_out or 0.0) for arm in able]
        return tuple(able[at].arm for at in pareto(points))

    @property
    def count(self) -> str:
        """How many arms, and if not all of them have begun, how many have."""
        begun, arms = sum(arm.steps > 0 for arm in self.arms), len(self.arms)
        some = f"{begun} of " if (self.stopped or self.minutes) and begun < arms else ""
        return f"{some}{arms} arm{'s' * (arms != 1)}"

    @property
    def line(self) -> str:
        """A one-line receipt."""
        best, steps = self.best, sum(arm.steps for arm in self.arms)
        what = f"{self.count}, {steps:,} steps in {numbers.duration(self.seconds)}"
        end = " (--minutes)" if self.minutes else ""
        parts = [f"{self.name}: {'stopped after ' * self.stopped}{what}{end}"]
        if best is None:
            more = ": none was measured in that time; give more --minutes" * self.minutes
            return f"{parts[0]}; no arm was chosen{more}"
        parts.append(f"chosen: arm {best.arm} ({best.label}), step {best.steps}")
        parts[-1] += f" of {self.planned_steps}" if best.steps < self.planned_steps else ""
        if self.reported is not None:
            before = "" if self.base_loss is None else f"base {self.base_loss:.2f} → "
            rows = f"{self.reporting} row{'s' * (self.reporting != 1)}"
            parts.append(
                f"held out {before}{self.reported:.2f} on {rows} that did not decide the choice"
            )
        return "; ".join(parts)

    def __repr__(self) -> str:
        return one_line(self.line)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row for each arm, in the order in which they were planned.

        `parameters` are trainable ones; `steps` and `seconds` those of the arm's training (of a
        batch with other arms, its share of the seconds); `held_out` is the loss on the half of the
        held-out rows that decides.
        """
        rows = ([getattr(arm, name) for name in COLUMNS] for arm in self.arms)
        return frame(rows, COLUMNS)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import sweep

        return sweep.bundle(self)


def _mean(arms: Sequence[SweepArm]) -> SettingMean:
    first, losses = arms[0], [arm.held_out for arm in arms if arm.held_out is not None]
    # A mean of seeds at different steps would say nothing, unless those with fewer ended early;
    # nor would one without the seed that failed.
    going = {arm.steps for arm in arms if arm.state != FINISHED}
    whole = len(losses) == len(arms) and len(going) < 2
    steps = min(arm.steps for arm in arms)
    if not whole:
        return SettingMean(first.setting, first.label, len(arms), steps, None)
    ends = interval(losses) or (None, None)
    return SettingMean(first.setting, first.label, len(arms), steps, fmean(losses), *ends)
