"""The first change that makes a run fit, and which change saves most, each with the line to type.

Knows models, settings and places; knows flags as text to type.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base import BITS, DEMO
from lora_magic.numbers import count, size

from . import compute, fit
from .cards import CARDS, smallest
from .memory import memory
from .model import Model
from .plan import Way
from .setting import Setting
from .work import Work

#: Shorter rows are not worth proposing.
_SHORTEST = 128
_SMALL_MOMENTS = "paged-adamw-8bit"
#: The flags of `load`, and those of `train`; the others are of `attach` or of the plan alone.
_OF_LOAD = {"bits"}
_OF_TRAIN = {"checkpointing", "batch_size", "max_length", "optimizer"}
_OF_SPEC = {*(field.name for field in fields(AdapterSpec)), "for_"}


class Change(NamedTuple):
    """A change to a run: what it is in words, its flags, and the setting that it leads to."""

    told: str
    flags: Mapping[str, Any]
    setting: Setting


def advice(model: Model, work: Work, chosen: Way) -> tuple[str, str]:
    """What to change so that the chosen way fits, and the line to type; "" and "" if it does."""
    room = work.place.room
    if room is None or chosen.fits or chosen.refused:
        return "", ""
    needs = f"{size(chosen.memory.peak)} needed, {size(room)} free"
    for change in _changes(model, work, chosen.setting, room):
        peak = memory(model, change.setting).peak
        if peak <= room:
            told = f"{needs}; with {change.told} it takes {size(peak)}"
            return told, line_of(work, change.flags)
    return _elsewhere(model, work, chosen.setting, needs)


def _changes(model: Model, work: Work, setting: Setting, room: int) -> Iterator[Change]:
    """The changes in order: first what costs time only, then what rounds weights or is another
    method, last shorter rows."""
    starts = [Change("", {}, setting), *_starts(work, setting)]
    for start in starts:
        if start.flags:
            yield start
        yield from _lighter(model, start, room)
    for start in starts:
        light = _lightest(start)
        peak = memory(model, light.setting).peak
        length = fit.most_length(model, light.setting, room, peak)
        if _SHORTEST <= length < light.setting.length:
            told = f"{light.told} of {count(length)} tokens"
            flags = {**light.flags, "max_length": length}
            yield Change(told, flags, fit.resized(light.setting, length=length))


def _starts(work: Work, setting: Setting) -> Iterator[Change]:
    """The run on weights in 4 bits; of full fine-tuning smaller moments, and a LoRA instead."""
    low = work.low
    if setting.spec is not None and METHODS[setting.spec.method].not_quantised:
        yield _eight_bit(setting)
        plain = next(s for s in work.ways.values() if s.spec == low.spec and s.bits is None)
        yield Change("LoRA", {"method": "lora"}, plain)
        flags = {"method": "lora", "bits": low.bits}
        yield Change(f"LoRA on weights in {low.bits} bits", flags, low)
    elif setting.bits is None:
        yield Change(f"weights in {low.bits} bits", {"bits": low.bits}, low)


def _lighter(model: Model, start: Change, room: int) -> Iterator[Change]:
    """The same run in less memory: checkpointing, fewer rows in a step, both."""
    setting, light = start.setting, _checkpointed(start.setting)
    told = _both(start.told, "checkpointing")
    if light != setting:
        yield Change(told, {**start.flags, "checkpointing": True}, light)
    for one in dict.fromkeys((setting, light)):
        rows = fit.most_rows(model, one, room, memory(model, one).peak)
        if 0 < rows < setting.rows:
            flags = {**start.flags, "batch_size": rows, **_flags(setting, one)}
            fewer = f"{count(rows)} row{'s' * (rows != 1)} in a step"
            before = start.told if one == setting else told
            yield Change(_both(before, fewer), flags, fit.resized(one, rows=rows))


def _both(one: str, other: str) -> str:
    return f"{one} and {other}" if one else other


def _checkpointed(setting: Setting) -> Setting:
    """With checkpointing where that is possible: a checkpointed block does not get a cache."""
    virtual = setting.spec is not None and setting.spec.virtual_tokens
    return setting if virtual else setting.changed(checkpointing=True)


def _eight_bit(setting: Setting) -> Change:
    small = setting.changed(optimizer=_SMALL_MOMENTS)
    return Change("moments in 8 bits", {"optimizer": _SMALL_MOMENTS}, small)


def _flags(before: Setting, after: Setting) -> dict[str, Any]:
    return {"checkpointing": True} if after.checkpointing and not before.checkpointing else {}


def _elsewhere(model: Model, work: Work, setting: Setting, needs: str) -> tuple[str, str]:
    """The smallest card on which it fits, as it is or changed; else how many of the largest."""
    starts = [Change("", {}, setting), *_starts(work, setting)]
    tried = [_on_a_card(work, start) for start in (*starts, *map(_lightest, starts))]
    for start in tried:
        if (card := smallest(memory(model, start.setting).peak)) is not None:
            how = f"with {start.told} it" if start.told else "it"
            told = f"{needs}; {how} fits on one {card.title}"
            return told, line_of(work, {**start.flags, "gpu": card.name})
    start, largest = tried[-1], max(CARDS.values(), key=lambda card: card.memory)
    number = compute.cards(memory(model, start.setting), largest.room)
    many = f"it takes {count(number)} {largest.title}" if number else "no card holds one pass"
    told = f"{needs}; with {start.told} {many}"
    return told, line_of(work, {**start.flags, "gpu": largest.name})


def _lightest(start: Change) -> Change:
    """With checkpointing and one row in a step."""
    light = fit.resized(_checkpointed(start.setting), rows=1)
    checkpointing = "checkpointing and " if light.checkpointing else ""
    told = _both(start.told, f"{checkpointing}one row in a step")
    flags = {**start.flags, **_flags(start.setting, light), "batch_size": 1}
    return Change(told, flags, light)


def _on_a_card(work: Work, start: Change) -> Change:
    """As it would be loaded on a card: in 16 bits, unless a format was asked for."""
    dtype = start.setting.dtype if "dtype" in work.typed else "bf16"
    return start._replace(setting=start.setting.changed(cuda=True, dtype=dtype))


def savings(model: Model, work: Work, chosen: Way) -> list[tuple[int, Change]]:
    """Changes to the chosen way and the bytes that each saves, the largest first."""
    setting = chosen.setting
    changes = [Change("checkpointing", {"checkpointing": True}, _checkpointed(setting))]
    if not METHODS[work.spec.method].not_quantised:
        low = setting.changed(bits=setting.bits or BITS[0])
        changes.append(Change("weights in 4 bits", {"bits": low.bits}, low))
    changes.append(Change("one row in a step", {"batch_size": 1}, fit.resized(setting, rows=1)))
    if (half := setting.length // 2) >= _SHORTEST:
        told, shorter = f"rows of {count(half)} tokens", fit.resized(setting, length=half)
        changes.append(Change(told, {"max_length": half}, shorter))
    changes.append(_eight_bit(setting))
    peak = chosen.memory.peak
    found = [
        (peak - memory(model, change.setting).peak, change)
        for change in changes
        if change.setting != setting
    ]
    return sorted((pair for pair in found if pair[0] > 0), key=lambda pair: -pair[0])


def line_of(work: Work, flags: Mapping[str, Any]) -> str:
    """The line to type for these flags beside the given ones: of `load` or `train` where they are
    all that it takes, else of `plan`."""
    here = "gpu" not in {**work.typed, **flags}
    if here and set(flags) == _OF_LOAD and _loads(work.target) and not work.typed:
        return f"%lora load {work.target}{_typed(flags)}"
    if here and flags and set(flags) <= _OF_TRAIN and work.adapter and not work.typed:
        return f"%%lora_train {work.adapter}{_typed(flags)}"
    every = {**work.typed, **flags}
    if "method" in flags:
        every = {key: value for key, value in every.items() if _is_read(key, flags["method"])}
    return f"%lora plan {work.target}".rstrip() + _typed(every)


def _is_read(flag: str, name: str) -> bool:
    """Does a method read this flag, if it is one of an adapter at all?"""
    method = METHODS[name]
    if flag == "bits":
        return not method.not_quantised
    return flag == "method" or flag not in _OF_SPEC or method.reads(flag)


def _loads(target: str) -> bool:
    """Can `load` take it: a folder, a hub id or the embedded model, and not only its sizes?"""
    return target == DEMO or "/" in target or os.path.isdir(target.strip("\"'"))


def _typed(flags: Mapping[str, Any]) -> str:
    """Flags as they are typed, each with a space before it."""
    return "".join(
        f" --{flag.strip('_').replace('_', '-')}" + ("" if value is True else f" {_value(value)}")
        for flag, value in flags.items()
        if value is not None
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={number:g}" for name, number in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and value < 1e15 else f"{value:g}"
    text = str(value)
    return f'"{text}"' if " " in text else text
