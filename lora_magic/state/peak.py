"""The peak of memory that is predicted for a run, and what to do if that much is not free.

Knows the session's state and asks `cost`; trains nothing. Imports what it asks when a run begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from weakref import WeakKeyDictionary

import torch

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.base.device import short_name
from lora_magic.base.model import BaseModel
from lora_magic.cost.config import model_of
from lora_magic.cost.memory import memory
from lora_magic.cost.model import Model
from lora_magic.cost.setting import BYTES, Setting
from lora_magic.errors import LoraMagicError
from lora_magic.numbers import size
from lora_magic.reading import free_memory
from lora_magic.training.peak import Forecast, Pass, Predict, bytes_of
from lora_magic.training.spec import TrainSpec

from .session_state import SessionState

#: The model of each base as `cost` sees it; None for one of which no step is known.
_MODELS: WeakKeyDictionary[BaseModel, Model | None] = WeakKeyDictionary()

#: The parts of which each adapter of a batch has its own; a first step has no optimizer's state.
_OWN = ("adapter", "gradients", "optimizer")


def predicted(
    state: SessionState, adapters: Sequence[LiveAdapter], spec: TrainSpec, workers: int = 1
) -> Predict | None:
    """What predicts the peak of a pass of these adapters' run, several of them in one batch.

    Of a run that several `workers` share, the peak of each.

    None where no prediction can be made: an architecture that `cost` does not describe exactly, a
    number format that it does not know.
    """
    model, usual = _model(state), _setting(state.base, adapters[0], spec)
    if model is None or usual is None:
        return None

    def predict(one: Pass) -> Forecast | None:
        setting = usual.changed(
            workers=workers,
            rows=one.rows * len(adapters),
            length=one.length,
            trained=one.trained * len(adapters),
            plain=one.plain,
            checkpointing=one.checkpointing,
        )
        try:
            of_all = memory(model, setting)
            found = of_all.peak - (of_all.of("optimizer") if one.first else 0)
            parts = _OWN[:-1] if one.first else _OWN
            found += sum(_own(model, setting.changed(spec=a.spec), parts) for a in adapters[1:])
            able = spec.can_checkpoint and not one.checkpointing
            warning = _warning(state.base, model, setting, found, len(adapters), able)
            return Forecast(found, warning)
        except (LoraMagicError, NotImplementedError):
            return None

    return predict


def kept(attached: LiveAdapter) -> int:
    """The bytes of the states that the session has during a run: that of the adapter's start, and
    the one that an error restores."""
    return 2 * bytes_of(tensor for _, tensor in attached.tensors())


def _model(state: SessionState) -> Model | None:
    base = state.base
    if base not in _MODELS:
        try:
            with state.slots.using({}):
                found = model_of(base.model)
        except (LoraMagicError, NotImplementedError):
            found = None
        _MODELS[base] = found if found and found.ops and not found.note else None
    return _MODELS[base]


def _setting(base: BaseModel, attached: LiveAdapter, spec: TrainSpec) -> Setting | None:
    dtype = short_name(base.dtype)
    bits = base.quantised.bits if base.quantised else None
    if dtype not in BYTES or bits == 8:
        # In 8 bits a layer's product needs more than is known here.
        return None
    return Setting(
        dtype=dtype,
        bits=bits,
        spec=attached.spec,
        optimizer=spec.optimizer,
        cuda=base.device.type == "cuda",
        passes=spec.accumulation,
    )


def _own(model: Model, setting: Setting, parts: Iterable[str]) -> int:
    """What a further adapter of one batch takes besides its activations."""
    return sum(map(memory(model, setting).of, parts))


def _warning(
    base: BaseModel, model: Model, setting: Setting, peak: int, many: int, able: bool
) -> str:
    """What to do if the peak of so `many` adapters is more than what is free and what the base
    already takes; `able` tells whether checkpointing would be a change."""
    room = _room(base)
    if room is None or peak <= room:
        return ""
    told = f"only {size(room)} can be used"
    for flags, other in _lighter(setting, many, able):
        if (found := memory(model, other).peak) <= room:
            return f"{told}: run the cell with {flags} (about {size(found)})"
    return f"{told}; for what fits, type: %lora plan"


def _lighter(setting: Setting, many: int, able: bool) -> Iterator[tuple[str, Setting]]:
    """Settings in less memory, with their flags: checkpointing, fewer rows, both."""
    each = (setting.trained or 0) / setting.rows
    again = setting.changed(checkpointing=True)
    if able:
        yield "--checkpointing", again
    ways = [("", setting), *([("--checkpointing ", again)] if able else [])]
    for before, one in ways:
        rows = setting.rows // many // 2
        while rows:
            fewer = one.changed(rows=rows * many, trained=round(each * rows * many))
            yield f"{before}--batch-size {rows}", fewer
            rows //= 2


def _room(base: BaseModel) -> int | None:
    """The bytes that a run could have in all: what is free, and what the base already has."""
    held = bytes_of(base.fingerprint.tensors().values())
    if base.device.type == "cuda":
        kept = torch.cuda.memory_reserved(base.device) - torch.cuda.memory_allocated(base.device)
        return torch.cuda.mem_get_info(base.device)[0] + kept + held
    free = free_memory() if base.device.type == "cpu" else None
    return None if free is None else free + held
