"""What a plan is asked for: ways of using a model, a place, tokens, tasks, and the line typed.

Knows settings and places; computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.spec import AdapterSpec

from .machine import Place
from .model import Model
from .setting import Setting

INFERENCE = "inference"
FULL = "full"


class Work(NamedTuple):
    """What a plan is asked for, beside the model.

    `ways` are settings by name, `chosen` the name of the one that the flags ask for. `tokens` are
    read, of which `labelled` (None for all) have a label; `tasks` adapters are stored; an hour on
    one card costs `price`. `typed` are the flags as they were given, to type them again, and
    `target` what was typed for the model, "" for the loaded base; `adapter` is its active adapter.
    `notes` are sentences that the plan should show.
    """

    spec: AdapterSpec
    ways: Mapping[str, Setting]
    chosen: str
    place: Place
    tokens: float
    labelled: float | None
    tasks: int
    price: float | None = None
    target: str = ""
    typed: Mapping[str, Any] = {}
    adapter: str = ""
    notes: tuple[str, ...] = ()

    @property
    def low(self) -> Setting:
        """The adapter's setting on weights in 4 or 8 bits."""
        return next(s for s in self.ways.values() if s.bits is not None and s.spec is not None)


def name_of(spec: AdapterSpec, bits: int | None) -> str:
    """A way's name: LoRA, QLoRA, full fine-tuning, prefix tuning on 4 bits."""
    title = METHODS[spec.method].title
    if bits is None:
        return title
    return "QLoRA" if (spec.method, bits) == ("lora", 4) else f"{title} on {bits} bits"


@lru_cache(maxsize=8)
def stored_bits(model: Model) -> int | None:
    """The bits of a model whose files are quantised, None for any other."""
    return next((m.bits for m in model.shapes.modules.values() if m.bits), None)
