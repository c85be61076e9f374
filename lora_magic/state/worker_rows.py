"""The rows that one worker measures: what it is sent, and what it tells.

Knows a base and adapters that were sent, and how rows are measured; knows no metric of a person, no
engine, and nothing of other workers. A request has all that its rows need, so it can be done again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.evaluation.items import Item
from lora_magic.evaluation.passes import Passes
from lora_magic.scale.work import Seat

from . import queries
from .evaluating import Evaluating, Found
from .mixing import mix_of
from .resolve import parts_of
from .sent import SentAdapter, SentBase
from .session_state import SessionState

#: The name of `measure`, by which a worker finds it.
MEASURE = "lora_magic.state.worker_rows:measure"


@dataclass(frozen=True, eq=False)
class Readers:
    """Who reads the rows: `names` are the adapters to measure, `mix` is as it was typed.

    `adapters` are all that these need. `active` is the weighted sum of adapters that is measured
    as one, "" if none is.
    """

    base: SentBase
    adapters: tuple[SentAdapter, ...]
    names: tuple[str, ...]
    mix: str | None
    active: str = ""

    @classmethod
    def of(cls, state: SessionState, names: Sequence[str], mix: str | None) -> Readers:
        """The session's; raises `BaseModelError` for a base that cannot be read again."""
        several = state.active if state.active in names and len(state.active_names) > 1 else ""
        needed = [*names, *(state.active_names if several else ())]
        if mix is not None:
            needed += [name for _, name in parts_of(mix, "--mix") or [(1.0, mix.strip())]]
        sent = [state.attached[name] for name in dict.fromkeys(needed) if name in state.attached]
        adapters = tuple(map(SentAdapter.of, sent))
        return cls(SentBase.of(state), adapters, tuple(names), mix, several)

    def opened(self, device: str) -> SessionState:
        """A session's state that has them."""
        state = self.base.opened(device)
        for adapter in self.adapters:
            state.keep(adapter.rebuilt(state))
        if self.active:
            state.activate_several(parts_of(self.active) or ())
        return state


@dataclass(frozen=True, eq=False)
class RowsRequest:
    """Rows to measure; `sampling` are the flags of the answers."""

    readers: Readers
    items: tuple[Item, ...]
    sampling: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found of the row at a place of its request: its losses or its answers."""

    place: int
    found: Found


def measure(request: RowsRequest, seat: Seat) -> None:
    """Measure the rows of a request, and tell each as it is found, until a stop."""
    if seat.stop.is_set():
        return
    readers = request.readers
    state = readers.opened(seat.device)

    def take(at: int, found: Found) -> None:
        seat.tell(Measured(at, found))

    # Without a metric of a person: the notebook computes those.
    Evaluating(
        state,
        queries.variants(state, list(readers.names) or [BASE_NAME]),
        mix_of(state, readers.mix),
        {},
        request.sampling,
        Passes(lambda line: seat.stop.is_set(), ""),
    ).measure(request.items, take)
