"""The arms of a sweep before they train: made, checked, and the rows that they share.

Knows the session's state, flags and rows; trains nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lora_magic import numbers, reading
from lora_magic.adapters import attach
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.methods import ALIASES, method_of
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.checks import is_number
from lora_magic.data.row import Row
from lora_magic.errors import AdapterError, CommandError, LoraMagicError, StateError
from lora_magic.training import batches
from lora_magic.training.encode import Encoded
from lora_magic.training.progress import Snapshot
from lora_magic.training.reporter import StepPoint
from lora_magic.training.spec import HOLD_OUT_FROM, TrainSpec
from lora_magic.training.summary import RunSummary

from . import guard as guards
from . import sweep_plan
from .arms import Outcome
from .prepare import settings
from .resolve import resolve_spec
from .session_state import SessionState
from .sweep_plan import OF_ATTACH, OF_TRAIN
from .sweep_store import KeptArm

#: Bytes for each parameter of an arm: its weights, their initial values and best ones, two moments
#: of the optimizer, and the copies of a pause, in fp32.
_BYTES = 32


@dataclass(frozen=True, eq=False)
class Asked:
    """What was asked for.

    `varied` are the flags that take several values, `shared` those of every run, `eval` the number
    or share of rows to hold out; `told` are all flags of the rows and of the runs, as for a line
    that trains one arm alone.
    """

    name: str
    varied: Mapping[str, Any]
    shared: Mapping[str, Any]
    eval: float | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    seeds: int | None = None
    minutes: float | None = None
    halving: bool = True
    finish: bool = False
    template: str | None = None
    system: str | None = None
    skip_bad: bool = False
    notes: str = ""
    replace: bool = False


@dataclass(eq=False)
class Candidate:
    """One arm: its setting, its adapter, and how far it is.

    `rung` counts the rungs that it finished, which took `seconds`; of a batch, its share.
    """

    number: int
    setting: int
    flags: Mapping[str, Any]
    attached: LiveAdapter
    label: str = ""
    settings: TrainSpec | None = None
    rung: int = 0
    summary: RunSummary | None = None
    snapshot: Snapshot | None = None
    seconds: float = 0.0
    error: str = ""
    dropped: bool = False
    live: StepPoint | None = None

    @property
    def own(self) -> dict[str, Any]:
        """Its own flags of a run."""
        return {flag: value for flag, value in self.flags.items() if flag in OF_TRAIN}

    @property
    def ended(self) -> bool:
        """Is its run at its end?"""
        ended = self.summary.ended if self.summary else ""
        return bool(self.error) or ended not in ("", "paused", "stopped")

    @property
    def loss(self) -> float | None:
        """Its last held-out loss; None before its first rung, and if it failed."""
        if self.summary is None or self.error:
            return None
        after = self.summary.held_out_after
        found = [loss for step, loss in self.summary.held_out_losses if step]
        return after if after is not None else (found[-1] if found else None)

    def take(self, outcome: Outcome) -> None:
        """What became of it in a run."""
        if outcome.error is not None:
            self.error = str(outcome.error)
        elif outcome.summary is not None:
            self.summary, self.snapshot = outcome.summary, outcome.snapshot

    def kept(self) -> KeptArm:
        """What is stored of it; a dropped one needs no weights."""
        going = self.summary is not None and not (self.dropped or self.error)
        weights = self.attached.state() if going else {}
        snapshot = self.snapshot if going else None
        return KeptArm(self.rung, self.summary, snapshot, weights, self.error, self.seconds)

    def restore(self, kept: KeptArm) -> None:
        """Be what was stored."""
        self.rung, self.summary = kept.rung, kept.summary
        self.snapshot, self.error, self.seconds = kept.snapshot, kept.error, kept.seconds
        if kept.weights:
            self.attached.set_state(kept.weights)


@dataclass(frozen=True, eq=False)
class SplitRows:
    """The rows that are trained on, those that decide and those that are reported; `encoded` are
    the first two, `reported` the last, as tokens."""

    trained: list[Row]
    deciding: list[Row]
    reporting: list[Row]
    encoded: Encoded
    reported: Encoded

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        held_out: Sequence[Row] | None,
        spec: TrainSpec,
        encode: Callable[[Sequence[Row]], Encoded],
    ) -> SplitRows:
        """The held-out rows are those of `train`, in two halves by a hash of what they ask."""
        encoded = encode(rows)
        if held_out is None:
            places = {example.position for example in batches.split(encoded.examples, spec)[1]}
            held_out = [row for row in rows if row.position in places]
        places = {row.position for row in held_out}
        trained = [row for row in rows if row.position not in places]
        deciding, reporting = guards.halves(held_out)
        if not held_out:
            raise CommandError(
                f"sweep: no rows are held out of {len(rows)} (below {HOLD_OUT_FROM} none are "
                "unless you say so), so nothing could decide between the arms: add --eval 0.2, "
                "or --eval with other rows."
            )
        if not (deciding and reporting):
            raise CommandError(
                f"sweep: {len(held_out)} row{'s' * (len(held_out) != 1)} held out, and one half "
                "is to decide and the other to report: hold out more, as in --eval 20."
            )
        if not trained:
            raise CommandError(
                "sweep: every row asks what a held-out row asks; use other rows for --eval."
            )
        both = encode(trained).measured_on(encode(deciding))
        return cls(trained, deciding, reporting, both, encode(reporting))


def refuse_taken(state: SessionState, asked: Asked) -> None:
    """Raise `CommandError` for a list in place of one value, and for a limit that is none;
    `AdapterError` for a name whose adapter would be lost: one that no sweep has made."""
    own = {"seeds": asked.seeds, "minutes": asked.minutes, "template": asked.template}
    sweep_plan.refuse_lists({**asked.shared, **own})
    minutes = asked.minutes
    if minutes is not None and not (is_number(minutes) and 0 < minutes < float("inf")):
        raise CommandError(f"--minutes {minutes!r}: expected a positive number.")
    existing = state.attached.get(asked.name)
    if existing is None or asked.replace or not existing.history.ready:
        return
    if "sweep" not in existing.run:
        raise AdapterError(
            f"{asked.name!r} is attached and trained ({existing.history.line}); choose another "
            "name, or add --replace to replace it by the best arm."
        )


def with_defaults(state: SessionState, asked: Asked) -> dict[str, Any]:
    """The flags with several values; with only a budget, a grid around the defaults.

    Raises `CommandError` if there is nothing to compare.
    """
    given = dict(asked.varied)
    several = sweep_plan.is_list_of_several(given) or (asked.seeds or 1) != 1
    if several:
        return given
    if asked.minutes is None:
        raise CommandError(_ALONE)
    recipe, word = state.base.recipe, str(given.get("method") or "lora").lower()
    method = method_of(str(ALIASES.get(word, {"method": word}).get("method", "lora")))
    rate = recipe.learning_rate * method.rate
    return sweep_plan.usual(given, recipe.rank, rate, ranked=method.reads("rank"))


def made(state: SessionState, asked: Asked, given: Mapping[str, Any]) -> list[Candidate]:
    """The arms, each with a new adapter. Raises `CommandError` with what cannot be made."""
    combinations = sweep_plan.grid(given)
    seeds = sweep_plan.seeds(asked.seeds, given.get("seed"))
    total = len(combinations) * len(seeds)
    if total > sweep_plan.MOST:
        raise CommandError(f"sweep: more than {sweep_plan.MOST} arms; give fewer values or seeds.")
    free, used = _free_memory(state), 0
    arms: list[Candidate] = []
    faults: list[str] = []
    known: set[tuple[AdapterSpec, str]] = set()
    varied = sweep_plan.varied(combinations)
    for at, flags in enumerate(combinations, start=1):
        label = sweep_plan.label(flags, varied)
        for seed in seeds:
            try:
                arm = _arm(state, asked.name, len(arms) + 1, at, flags, seed)
            except LoraMagicError as error:
                faults.append(_fault(label, error))
                break
            key = (arm.attached.spec, str(arm.own))
            if key in known:
                continue
            known.add(key)
            arms.append(replace(arm, label=label))
            used += _BYTES * sum(tensor.numel() for _, tensor in arm.attached.tensors())
            if free is not None and used > free:
                raise StateError(
                    f"sweep: {total} arms need about {numbers.size(used * total / len(arms))}, and "
                    f"{numbers.size(free)} is free; nothing changed. Give fewer values or seeds."
                )
    if faults:
        raise _cannot(faults, total)
    if len(arms) < 2:
        raise CommandError(_ALONE)
    return arms


_ALONE = (
    "sweep: one arm has nothing to be compared with; give a flag several values, as in --rank "
    "4,8,16, or only a budget, as in --minutes 5."
)


def _arm(
    state: SessionState,
    name: str,
    number: int,
    setting: int,
    flags: Mapping[str, Any],
    seed: int | None,
) -> Candidate:
    own = {flag: flags.get(flag) for flag in OF_ATTACH} | {"seed": seed}
    spec = resolve_spec(name, state.base.recipe, own)
    # A name that no one can give to an adapter.
    made = attach.create(state.base, state.slots, f"{name} arm {number}", spec)
    return Candidate(number, setting, flags, made)


def _fault(label: str, error: LoraMagicError) -> str:
    text = str(error)
    return text if text.startswith(label) else f"{label}: {text}"


def _cannot(faults: Sequence[str], total: int) -> CommandError:
    # An example of one value would not be one for a list.
    texts = list(dict.fromkeys(re.sub(r", for example .*", "", f).rstrip(".") for f in faults))
    more = f"; and {len(texts) - 3} more" if len(texts) > 3 else ""
    return CommandError(f"sweep: not all {total} arms are possible: {'; '.join(texts[:3])}{more}.")


def _free_memory(state: SessionState) -> int | None:
    if state.base.device.type == "cuda":
        return int(torch.cuda.mem_get_info(state.base.device)[0])
    return reading.free_memory()


def checked(
    state: SessionState,
    arms: Sequence[Candidate],
    rows: Sequence[Row],
    held_out: Sequence[Row] | None,
    shared: Mapping[str, Any],
) -> TrainSpec:
    """The first arm's settings; raises `CommandError` with every arm whose flags do not fit."""
    # A fault of what all arms share is told once, without an arm.
    settings(state, arms[0].attached, rows, held_out, shared)
    faults: list[str] = []
    for arm in arms:
        try:
            arm.settings = settings(state, arm.attached, rows, held_out, {**shared, **arm.own})
        except LoraMagicError as error:
            faults.append(_fault(arm.label, error))
    if faults:
        raise _cannot(faults, len(arms))
    assert arms[0].settings is not None  # just set
    return arms[0].settings
