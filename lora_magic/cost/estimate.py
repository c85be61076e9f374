"""Puts a plan together: every way of using a model, what fits, what it costs, what to type.

Knows models, settings and places; knows no flags but as text to type, and no session.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.errors import AdapterError

from . import advice, compute, fit, questions
from .count import counted, trainable
from .memory import Memory, memory
from .model import Model
from .plan import CostPlan, TypeCount, Way
from .setting import Setting
from .work import Work, stored_bits


def plan_of(model: Model, work: Work) -> CostPlan:
    """The plan of a model. Raises `AdapterError` for a spec that does not fit the model."""
    trained = trainable(model, work.spec)
    ways = tuple(_way(model, work, name, setting) for name, setting in work.ways.items())
    chosen = next(way for way in ways if way.name == work.chosen)
    told, command = advice.advice(model, work, chosen)
    checkpoint = compute.checkpoint_bytes(trained)
    whole = chosen.memory.of("weights")
    return CostPlan(
        model=model.name,
        base_parameters=model.parameters,
        active_parameters=model.active,
        spec=work.spec,
        trainable_parameters=trained,
        types=tuple(_types(model, work.spec)),
        ways=ways,
        chosen=work.chosen,
        where=work.place.name,
        room=work.place.room,
        advice=told,
        command=command,
        tokens=work.tokens,
        tasks=work.tasks,
        checkpoint=checkpoint,
        stored=whole + work.tasks * checkpoint,
        copies=work.tasks * whole,
        rows=questions.rows(model, work, chosen),
        notes=tuple(_notes(model, work, ways)),
    )


def _way(model: Model, work: Work, name: str, setting: Setting) -> Way:
    refused = _refused(model, name, setting)
    if refused:
        return Way(name, setting, Memory(()), refused=refused)
    room = work.place.room
    try:
        trained = 0 if setting.spec is None else trainable(model, setting.spec)
        found = memory(model, setting)
    except AdapterError as error:
        if name == work.chosen:
            raise
        return Way(name, setting, Memory(()), refused=str(error))
    flops = compute.operations(model, setting, trained, work.tokens, work.labelled)
    cards = compute.cards(found, room) if work.place.cuda else None
    able = cards is not None or not work.place.cuda  # no number of cards may hold one pass
    taken = compute.hours(flops, work.place.speed, cards) if able else None
    fits = None if room is None else found.peak <= room
    return Way(
        name,
        setting,
        found,
        trained,
        fits,
        rows=0 if room is None else fit.most_rows(model, setting, room, found.peak),
        length=0 if room is None else fit.most_length(model, setting, room, found.peak),
        cards=cards,
        flops=flops,
        hours=taken,
        price=None if taken is None or work.price is None else taken * work.price * (cards or 1),
    )


def _refused(model: Model, name: str, setting: Setting) -> str:
    """Why a way is impossible, "" if it is not."""
    stored = stored_bits(model)
    spec = setting.spec
    if stored and setting.bits is None and spec is not None:
        return f"the weights are stored in {stored} bits"
    if stored and setting.bits and stored != setting.bits:
        return f"the weights are stored in {stored} bits already"
    if setting.bits and spec is not None and METHODS[spec.method].not_quantised:
        return METHODS[spec.method].not_quantised
    return ""


def _types(model: Model, spec: AdapterSpec) -> Iterable[TypeCount]:
    """The modules by the last part of their names, in the model's order; blocks' numbers aside."""
    counts = {count.module: count.formula for count in counted(model, spec)}
    found: dict[str, list[Any]] = {}
    sizes = dict.fromkeys(model.shapes.modules, 0)
    for path, _, shape in model.shapes.owned:
        sizes[path] += math.prod(shape)
    for path, module in model.shapes.modules.items():
        if not module.parameters:
            continue
        kind = _kind(path)
        sides = module.sides if module.carries_lora else (0, 0)
        row = found.setdefault(kind, [0, sides, 0, 0])
        row[0] += 1
        row[1] = sides if sides == row[1] else (0, 0)
        row[2] += sizes[path]
        row[3] += counts.pop(path, 0)
    for kind, (modules, sides, size, trained) in found.items():
        yield TypeCount(kind, modules, sides[0], sides[1], size, trained)
    for path, trained in counts.items():  # virtual tokens, sites that own no parameter
        yield TypeCount(_kind(path), 1, 0, 0, 0, trained)


def _kind(path: str) -> str:
    return path.rpartition(".")[2]


def _notes(model: Model, work: Work, ways: tuple[Way, ...]) -> Iterable[str]:
    if model.note:
        yield model.note
    yield from work.notes
    if work.price is not None and work.place.speed is None:
        yield "a price needs hours: add --gpu with a card's name, or --gpu here"
    if any(way.setting.bits == 8 and way.setting.training for way in ways):
        yield "training on 8 bits takes more than is counted here: up to 1.6 times was measured"
    if work.place.why and any(way.hours is not None for way in ways):
        yield f"hours at {work.place.why}"
