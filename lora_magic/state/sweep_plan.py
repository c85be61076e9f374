"""What a sweep trains: one arm for each combination of values and seed, and which of them go on.

Knows flags as values, and numbers; knows no session, no rows and no run. Imports no torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.adapters.spec import ALL_LINEAR, ATTENTION, PATTERN
from lora_magic.checks import is_number, is_whole
from lora_magic.errors import CommandError, listed
from lora_magic.paths import quoted

#: Flags of `attach` and of `train` that take several values; all others are shared by all arms.
OF_ATTACH = (
    *("method", "rank", "alpha", "dropout", "targets", "init", "rslora", "dora", "bias", "norms"),
    *("rank_pattern", "alpha_pattern", "virtual_tokens", "for_", "seed"),
)
OF_TRAIN = ("lr", "schedule", "warmup", "lora_plus", "optimizer")

#: Flags whose values are words without commas.
_WORDS = ("method", "init", "bias", "for_", "schedule", "optimizer")

ETA = 3
#: Most arms of a sweep; fewest steps of a rung, since a loss says little after fewer.
MOST, SHORTEST = 256, 4

#: The grid of a sweep that is given only a budget: multiples of the defaults.
RANKS, RATES = (0.5, 1, 2), (1 / 3, 1, 3)


def typed(flag: str) -> str:
    """A keyword as it is typed: `for_` is `--for`."""
    return f"--{flag.strip('_').replace('_', '-')}"


def target_choices(given: str) -> list[str]:
    """The choices in one `--targets`.

    `attention,all-linear` are two; `q_proj,v_proj` is one, of two modules; a pattern is one.
    Raises `ValueError` for keywords and modules in one.

    >>> target_choices("attention,all-linear")
    ['attention', 'all-linear']
    """
    parts = [part.strip() for part in given.split(",") if part.strip()]
    keywords = [part for part in parts if part in (ATTENTION, ALL_LINEAR)]
    if given.startswith(PATTERN) or not keywords:
        return [given] if given.strip() else []
    if len(keywords) < len(parts):
        modules = ",".join(part for part in parts if part not in keywords)
        raise ValueError(
            f"{given!r} has keywords and modules; repeat the flag for each choice, as in "
            f"--targets {keywords[0]} --targets {modules}"
        )
    return parts


def choices(flag: str, value: Any) -> list[Any]:
    """The values of a flag: those of a list, or the one that it is; [None] if it is not given.

    Raises `CommandError` for an empty list.
    """
    if value is None:
        return [None]
    # A value more than a sweep has arms is enough to refuse it.
    found = list(itertools.islice(value, MOST + 1)) if _is_list(value) else [value]
    if flag == "targets":
        try:
            found = [one for v in found for one in (target_choices(v) if _is_text(v) else [v])]
        except ValueError as error:
            raise CommandError(f"--targets: {error}.") from None
    elif flag in _WORDS:
        words = [v.split(",") if _is_text(v) else [v] for v in found]
        found = [word.strip() if _is_text(word) else word for one in words for word in one if word]
    if not found or any(one is None for one in found):
        raise CommandError(f"{typed(flag)}: expected at least one value, got {value!r}.")
    return [one for at, one in enumerate(found) if one not in found[:at]]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | Mapping)


def refuse_lists(flags: Mapping[str, Any]) -> None:
    """Raise `CommandError` for a list where all arms share one value."""
    for flag, value in flags.items():
        if _is_list(value):
            raise CommandError(
                f"{typed(flag)} {value!r}: expected one value, which all arms share, as they share "
                f"the rows and their order; lists are for {listed(map(typed, VARIED), 30)}."
            )


VARIED = (*OF_ATTACH, *OF_TRAIN)


def grid(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of the flags' values, without the flags that are not given.

    The last flag varies fastest. Raises `CommandError` for an empty list.
    """
    values = {flag: choices(flag, given.get(flag)) for flag in VARIED if flag != "seed"}
    varied = [[(flag, value) for value in found] for flag, found in values.items()]
    found = itertools.islice(itertools.product(*varied), MOST + 1)
    return [{flag: value for flag, value in one if value is not None} for one in found]


def usual(given: Mapping[str, Any], rank: int, rate: float, *, ranked: bool) -> dict[str, Any]:
    """The grid of a sweep with only a budget: rates, and if `ranked` ranks, around the defaults."""
    ranks = [max(1, round(rank * times)) for times in RANKS]
    added: dict[str, Any] = {"lr": [float(f"{rate * times:.2g}") for times in RATES]}
    added |= {"rank": ranks} if ranked else {}
    return {**added, **{flag: value for flag, value in given.items() if value is not None}}


def is_list_of_several(given: Mapping[str, Any]) -> bool:
    """Has any flag several values?"""
    return any(len(choices(flag, given.get(flag))) > 1 for flag in VARIED)


def seeds(seeds: Any, seed: Any) -> list[int | None]:
    """The seeds of each setting's initial A: 0, 1, 2 … for a number of `seeds`, or those given.

    [None] if neither is given. Raises `CommandError`.
    """
    if seeds is None:
        return choices("seed", seed)
    if seed is not None:
        given = ",".join(map(str, choices("seed", seed)))
        raise CommandError(f"--seeds {seeds} and --seed {given} both set the seeds: give one.")
    if not is_whole(seeds) or not 1 <= seeds <= MOST:
        raise CommandError(f"--seeds {seeds!r}: expected a whole number from 1, as in --seeds 3.")
    return list(range(seeds))


# What tells an arm from the others, and the lines that train it alone


def varied(combinations: Sequence[Mapping[str, Any]]) -> list[str]:
    """The flags whose values differ between combinations."""
    return [f for f in VARIED if len({str(one.get(f)) for one in combinations}) > 1]


def label(flags: Mapping[str, Any], shown: Sequence[str]) -> str:
    """A setting by the flags that differ: `rank 8 · lr 0.001`."""
    parts = []
    for flag in shown:
        name, value = typed(flag)[2:].replace("-", " "), flags.get(flag)
        switch = name if value else f"no {name}"
        parts.append(switch if isinstance(value, bool) else f"{name} {_written(value)}")
    return " · ".join(parts) or "the same flags"


def command(flags: Mapping[str, Any], only: Sequence[str] | None = None) -> str:
    """Flags as they are typed; rows and functions, which have no name here, as an ellipsis."""
    parts = []
    for flag, value in flags.items():
        if value is None or value is False or (only is not None and flag not in only):
            continue
        name = typed(flag)
        parts.append(f" {name}" if value is True else f" {name} {quoted(_written(value))}")
    return "".join(parts)


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    if is_number(value):
        return f"{value:.6g}" if not is_whole(value) else str(value)
    return value if isinstance(value, str) else "…"


# Successive halving


@dataclass(frozen=True)
class Rung:
    """Every arm in it is trained to `steps` steps; then the `keep` best settings go on."""

    steps: int
    keep: int


def rungs(
    settings: int, steps: int, places: Collection[int] | None = None, *, halving: bool = True
) -> tuple[Rung, ...]:
    """Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) with η = 3.

    Of n settings, s = ⌊log₃ n⌋ times two thirds are dropped: rung i = 0 … s trains what is left
    up to R·3^(i−s) of R `steps`, and after it the ⌊n/3^(i+1)⌋ settings with the lowest mean
    held-out loss over their seeds go on, at least one. No step is trained twice. n = 12 and R = 90:

        rung   settings   up to step   go on
        1      12         10           4
        2      4          30           1
        3      1          90           –

    Where one setting is left, the choice is made, and the last rung is only trained on request. A
    rung has at least 4 steps, and with `places` (after which steps the run is measured anyway) it
    ends at the nearest of them; rungs that end at the same step are one. The rate's schedule is
    that of the whole run, so a dropped arm was measured at a high rate: a setting that is slow at
    first may be dropped. Without `halving` there is one rung, of all steps.
    """
    last = int(math.log(settings, ETA) + 1e-9) if halving else 0
    found: dict[int, int] = {}
    for at in range(last + 1):
        end = max(math.ceil(steps / ETA ** (last - at)), SHORTEST)
        if places:
            end = min(places, key=lambda place: (abs(place - end), place))
        found[min(end, steps) if at < last else steps] = max(1, settings // ETA ** (at + 1))
    return tuple(Rung(end, keep) for end, keep in found.items())


def cost(plan: Sequence[Rung], settings: int, each: float = 1.0) -> float:
    """Steps that a sweep takes one after another in all rungs, the last one left out if one is
    left.

    `each` is the number of seeds, divided by that of the workers; one run at least is waited for.
    """
    done, total = 0, 0.0
    for rung in plan:
        if settings > 1 or not done:
            total += max(settings * each, 1.0) * (rung.steps - done)
        done, settings = rung.steps, min(settings, rung.keep)
    return total


def order(losses: Mapping[int, Sequence[float | None]]) -> list[int]:
    """The settings by their mean loss over seeds, the best first; ties in their own order.

    A setting that has no loss for one of its seeds comes last: it is not stable.
    """

    def mean(setting: int) -> float:
        found = [math.inf if x is None or not math.isfinite(x) else x for x in losses[setting]]
        return sum(found) / len(found) if found else math.inf

    return sorted(losses, key=lambda setting: (mean(setting), setting))


def shares(seconds: Sequence[float]) -> list[float]:
    """What each run of one batch took of its time: equal shares while it ran, from their seconds.

    >>> shares([4.0, 2.0])
    [3.0, 1.0]
    """
    found, share, last = [0.0] * len(seconds), 0.0, 0.0
    for done, at in enumerate(sorted(range(len(seconds)), key=seconds.__getitem__)):
        share += (seconds[at] - last) / (len(seconds) - done)
        found[at], last = share, seconds[at]
    return found


#: Student's t at 97.5 % for 1 to 10 degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The mean's 95 % interval, mean ± t·s/√n with Student's t; None for fewer than two values."""
    count = len(values)
    if count < 2:
        return None
    mean = sum(values) / count
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    half = _student(count - 1) * spread / math.sqrt(count)
    return mean - half, mean + half


def _student(freedom: int) -> float:
    if freedom <= len(_T):
        return _T[freedom - 1]
    # Its expansion around the normal distribution's quantile, right to three digits from here on.
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / float(freedom**power) for power, term in enumerate(terms, start=1))


def pareto(points: Sequence[tuple[float, float]]) -> Iterator[int]:
    """The places of the points that no other beats: none is lower in both, or lower in one and
    equal in the other."""
    for at, (x, y) in enumerate(points):
        if not any((a <= x and b < y) or (a < x and b <= y) for a, b in points):
            yield at
