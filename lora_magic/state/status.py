"""What is loaded, attached, active and merged, and what to type next.

Knows names and numbers; knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.numbers import short
from lora_magic.scale.local import cores

if TYPE_CHECKING:
    from lora_magic.adapters.live_adapter import Adapter
    from lora_magic.base.model import BaseRecord


@dataclass(frozen=True)
class Status:
    """A session's state; `unchanged` is the result of a quick check, not a full one.

    `found` are models in the notebook, `kept` the rows that `%%lora data` keeps. `resumable` has a
    line for each unfinished run that can be resumed; `serving` is the address of a server.
    """

    machine: str
    base: BaseRecord | None
    unchanged: bool
    adapters: tuple[Adapter, ...]
    active: str
    merged: str | None
    next_commands: tuple[str, ...]
    found: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    resumable: tuple[str, ...] = ()
    serving: str = ""

    def with_found(self, names: Sequence[str]) -> Status:
        """This status with the names of models found in the notebook."""
        return replace(self, found=tuple(names))

    @property
    def base_line(self) -> str | None:
        """`demo · 1.1M · fp32 · cpu · unchanged ✓`."""
        if self.base is None:
            return None
        state = "unchanged ✓" if self.unchanged else "CHANGED: type %lora verify"
        size = short(self.base.parameters)
        kind = self.base.quantised.kind if self.base.quantised else self.base.dtype
        return f"{self.base.name} · {size} · {kind} · {self.base.device} · {state}"

    @property
    def rows(self) -> list[tuple[str, str, str, bool]]:
        """Name, spec, state and whether it is active.

        The state has the held-out loss (nats), the workers if several shared the last run, and the
        weight if several adapters are active.
        """
        parts = (part.partition("=") for part in self.active.split(","))
        now = {name: f" · at {weight}" if weight else "" for name, _, weight in parts}
        return [
            (a.name, a.spec.line, _state(a) + now.get(a.name, ""), a.name in now)
            for a in self.adapters
        ]

    @property
    def line(self) -> str:
        """The state in one line."""
        if self.base is None:
            return f"No base yet · {self.machine}"
        count = len(self.adapters)
        return f"{self.base_line}; {count} adapter{'s' * (count != 1)}, {self.active} active"

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import status

        return status.bundle(self)


def _state(adapter: Adapter) -> str:
    held_out = "" if adapter.held_out is None else f"held out {adapter.held_out:.2f}"
    return ", ".join(filter(None, (adapter.history.line, held_out, adapter.workers)))


def machine() -> str:
    """`CPU, 2 cores, 24 GB`, or the GPU's name and memory."""
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        return f"{device.name}, {device.total_memory / 1e9:.0f} GB"
    found = cores()
    return f"CPU, {found} core{'s' * (found != 1)}{_memory()}"


def _memory() -> str:
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return ""
    return f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB"


def next_commands(
    adapters: Mapping[str, Adapter], active: str, merged: str | None, prompt: str | None
) -> tuple[str, ...]:
    """The commands to suggest, the most likely first; each works in this state.

    `prompt` is None for a base without a tokenizer, which neither answers nor trains. The command
    that trains takes rows below it.
    """
    if merged is not None:
        return ("%lora unmerge",)
    if not adapters:
        return (*([f"%lora ask {prompt}"] if prompt else []), "%lora attach pirate")
    named = [part.partition("=")[0] for part in active.split(",") if active != BASE_NAME]
    order = sorted(adapters, key=lambda name: name not in named)
    untrained = [name for name in order if not adapters[name].history.ready]
    if untrained and prompt:
        return (f"%%lora_train {untrained[0]}",)
    name = next((name for name in order if name not in untrained), order[0])
    method = METHODS[adapters[name].spec.method]
    return (
        f"%lora compare {prompt}" if prompt else f"%lora ratio {name}",
        *([] if method.no_spectrum else [f"%lora spectrum {name}"]),
        *([] if method.not_merged else [f"%lora merge {name}"]),
    )
