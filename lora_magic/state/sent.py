"""A base and an adapter as they are sent to another process, which makes the same of them there.

A base is sent as where to read it from and the fingerprint that it must have then; an adapter as
its spec, its layers' config and its tensors. Knows the session's state; knows no engine and no run.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_magic import demo
from lora_magic.adapters import attach, bridge
from lora_magic.adapters.inits import Residual, subtract_init
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.spec import BASE_NAME, AdapterSpec
from lora_magic.base import DEMO, hub, load
from lora_magic.base.model import BaseModel
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import AdapterError, BaseModelError, listed
from lora_magic.lowrank.factors import LowRank

from .session_state import SessionState, import_libraries

#: What to type for a base that only this process has.
_SAVE_IT = (
    'save it and load it from there: model.save_pretrained("base"); '
    'tokenizer.save_pretrained("base"); %lora load base'
)

#: Where transformers' own dynamic modules are: a class from there was loaded with trust.
_REMOTE_CODE = "transformers_modules."


@dataclass(frozen=True)
class SentBase:
    """Where another process reads a base from, how, and what it must find.

    `source` is "demo", an absolute folder or a hub id; `dtype` the number format of computation,
    `bits` those of quantised weights. `task` and `labels` are those of `load`, `digest` is the
    fingerprint of the base here. It is `live` if a person gave it as an object.
    """

    name: str
    source: str
    dtype: torch.dtype
    bits: int | None
    task: str
    labels: tuple[str, ...] | None
    trust_remote_code: bool
    digest: str
    live: bool

    @classmethod
    def of(cls, state: SessionState) -> SentBase:
        """How to read the session's base again.

        Raises `BaseModelError` for a live model that was not read from a folder or the hub, and for
        a folder that is not there any more.
        """
        base = state.base
        return cls(
            name=base.name,
            source=_source(base),
            dtype=base.dtype,
            bits=base.quantised.bits if base.quantised else None,
            task=base.task.kind,
            labels=base.task.labels or None,
            trust_remote_code=type(base.model).__module__.startswith(_REMOTE_CODE),
            digest=base.fingerprint.digest,
            live=base.source is None,
        )

    def opened(self, device: str) -> SessionState:
        """A session's state with this base on a device, and no adapter.

        The process keeps the last one, since many pieces of work are about the same base. Raises
        `BaseModelError` if the base cannot be read here, or has other weights than it had there.
        """
        found = _opened.get((self, device))
        if found is None:
            _opened.clear()
            found = self._read(device)
            _opened[self, device] = found
        found.attached.clear()
        found.write({}, BASE_NAME, None)
        return found

    def _read(self, device: str) -> SessionState:
        import_libraries()
        host = socket.gethostname()
        try:
            base = load.load(
                self.source,
                dtype=self.dtype,
                device=device,
                trust_remote_code=self.trust_remote_code,
                task=self.task,
                labels=None if self.labels is None else list(self.labels),
                bits=self.bits,
            )
        except BaseModelError as error:
            raise BaseModelError(
                f"a worker on {host} cannot read the base from {self.source} "
                f"({str(error).rstrip('.')}); expected a folder that every worker sees, or a hub id"
            ) from error
        found = base.fingerprint.digest
        if found != self.digest:
            base.release()
            remedy = "if it was changed since, type %lora reset and load it again"
            raise BaseModelError(
                f"{self.source} on {host} has other weights ({found}) than the base of this "
                f"session ({self.digest}); {_SAVE_IT if self.live else remedy}"
            )
        # The names in messages and cards are those of the session.
        base.name = self.name
        state = SessionState()
        state.take(base, ("sent", self))
        return state


#: The base that this process has read for others.
_opened: dict[tuple[SentBase, str], SessionState] = {}


def _source(base: BaseModel) -> str:
    """Where another process can read the base from."""
    if base.source is not None and Path(base.source) == demo.folder():
        return DEMO
    live: Any = base.model.config
    named = base.source or str(getattr(live, "name_or_path", ""))
    if named and Path(named).is_dir():
        return str(Path(named).absolute())
    if hub.looks_like_hub_id(named) and hub.is_cached(named):
        return named
    if base.source is None:
        raise BaseModelError(f"{base.name} is a live model that workers cannot read; {_SAVE_IT}")
    raise BaseModelError(
        f"{base.name} was loaded from {named}, which is not there any more, and workers read it "
        "from there; put it back, or load the base from where it is now."
    )


@dataclass(frozen=True, eq=False)
class SentAdapter:
    """An adapter without its modules: what another process needs to make them again.

    `config` is PEFT's, None for a method without one. `frozen` are the products that PiSSA and
    OLoRA subtract from the base, by module. `start` is the state that training begins from,
    `current` the one that it has; all tensors are on the CPU.
    """

    name: str
    spec: AdapterSpec
    config: Any
    frozen: Mapping[str, LowRank]
    start: Mapping[str, Tensor]
    current: Mapping[str, Tensor]
    form: PromptForm | None

    @classmethod
    def of(cls, adapter: LiveAdapter) -> SentAdapter:
        """The adapter as it is now."""
        below = {p: getattr(m, "base_layer", None) for p, m in adapter.replacements.items()}
        inits = {path: part for path, part in below.items() if isinstance(part, Residual)}
        return cls(
            name=adapter.name,
            spec=adapter.spec,
            config=adapter.wrapper and bridge.wrapper_config(adapter.wrapper),
            frozen={
                path: _moved(LowRank(init.down, init.up, init.scale), "cpu")
                for path, init in inits.items()
            },
            start=_on_cpu(adapter.start),
            current=_on_cpu(dict(adapter.tensors())),
            form=adapter.form,
        )

    def rebuilt(self, state: SessionState) -> LiveAdapter:
        """The adapter on a base that was read again, in the same state; not kept there yet.

        Raises `AdapterError` if the layers that are made there have other tensors.
        """
        base, slots = state.base, state.slots
        if self.config is None:
            made = attach.create(base, slots, self.name, self.spec)
        else:
            made = attach.from_config(base, slots, self.name, self.spec, self.config)
        for path, init in self.frozen.items():
            made_of = _moved(init, base.device)
            subtract_init(made.replacements[path], slots.original(path), made_of)
        self._fill(made)
        made.start = {key: value.to(base.device) for key, value in self.start.items()}
        made.form = self.form
        return made

    def _fill(self, made: LiveAdapter) -> None:
        """Write the current tensors into new layers."""
        own = dict(made.tensors())
        if odd := own.keys() ^ self.current.keys():
            raise AdapterError(
                f"{self.name} cannot be made again in a worker: its layers there differ in "
                f"{listed(sorted(odd), 3)}; train it without --workers."
            )
        for key, parameter in own.items():
            if parameter.shape != self.current[key].shape:
                # An AdaLoRA from a folder has only the ranks that its budget left.
                parameter.data = parameter.data.new_empty(self.current[key].shape)
        made.set_state(self.current)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().to("cpu", copy=True) for key, value in tensors.items()}


def _moved(product: LowRank, device: torch.device | str) -> LowRank:
    return LowRank(product.down.to(device), product.up.to(device), product.scale)
