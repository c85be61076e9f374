"""Snapshots that restore themselves: modes, flags, attributes, gradients, generators, environment.

Code that changes a model temporarily (evaluation, PEFT, training, generation, a session) restores
it with these. Knows modules and the process; knows no adapter, no Trainer and no session.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.interrupts import undisturbed

from .device import fitting_threads

#: Restores the state at the time of the snapshot; may be called twice.
Restore = Callable[[], None]


@contextmanager
def restoring(*snapshots: Restore) -> Iterator[None]:
    """Restore all snapshots when the block ends, even on an error; an interrupt is deferred."""
    try:
        yield
    finally:
        with undisturbed():
            for restore in snapshots:
                restore()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and one thread for a small model; both are restored afterwards."""
    with restoring(modes(model)):
        # Setting a module's mode takes longer than reading it, and a notebook asks often.
        if any(module.training for module in model.modules()):
            model.eval()
        with fitting_threads(model):
            yield


def modes(model: nn.Module) -> Restore:
    """Each module's mode: training or evaluation."""
    return attributes(model.modules(), "training")


def flags(model: nn.Module) -> Restore:
    """Each parameter's `requires_grad`."""
    return attributes(model.parameters(), "requires_grad")


def gradients(model: nn.Module) -> Restore:
    """Each parameter's gradient; the values are not copied."""
    return attributes(model.parameters(), "grad")


def attributes(owners: Iterable[Any], name: str) -> Restore:
    """One attribute of several objects."""
    before = [(owner, getattr(owner, name)) for owner in owners]

    def restore() -> None:
        for owner, value in before:
            if getattr(owner, name) is not value:
                setattr(owner, name, value)

    return restore


def entries(holder: dict[Any, Any]) -> Restore:
    """A dict's entries and their order: an object's namespace, hooks, or children."""
    before = dict(holder)

    def restore() -> None:
        if list(holder) != list(before) or any(holder[key] is not before[key] for key in before):
            holder.clear()
            holder.update(before)

    return restore


def namespaces(model: nn.Module) -> list[Restore]:
    """Every module's attributes and, one level down, the dicts among them; the model's configs."""
    configs = (getattr(model, name, None) for name in ("config", "generation_config"))
    owners = [*model.modules(), *(config for config in configs if hasattr(config, "__dict__"))]
    spaces = [vars(owner) for owner in owners]
    inner = [value for space in spaces for value in space.values() if isinstance(value, dict)]
    return [entries(holder) for holder in (*spaces, *inner)]


@dataclass(frozen=True, eq=False)
class Generators:
    """The states of the random generators of Python, torch, and numpy if it is imported."""

    python: Any
    cpu: Tensor
    numpy: Any = None
    cuda: tuple[Tensor, ...] = ()

    @classmethod
    def now(cls) -> Generators:
        """Their current states."""
        numpy = sys.modules.get("numpy")
        return cls(
            random.getstate(),
            torch.get_rng_state(),
            numpy.random.get_state() if numpy else None,
            tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else (),
        )

    def restore(self) -> None:
        """Set the generators to these states."""
        random.setstate(self.python)
        torch.set_rng_state(self.cpu)
        if (numpy := sys.modules.get("numpy")) and self.numpy is not None:
            numpy.random.set_state(self.numpy)
        # A checkpoint may come from a process that sees more GPUs.
        torch.cuda.set_rng_state_all(self.cuda[: torch.cuda.device_count()])


def generators() -> Restore:
    """The states of the random generators of Python, torch, and numpy if it is imported."""
    return Generators.now().restore


def process() -> Restore:
    """Whether gradients are on, the number of threads, and the default number format."""
    grad, threads, dtype = (
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
    )

    def restore() -> None:
        torch.set_grad_enabled(grad)
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)

    return restore


@contextmanager
def default_modes() -> Iterator[None]:
    """torch's modes as a fresh process has them, whatever the cell around has set.

    Gradients on, no inference mode (its tensors could never be trained), no autocast, float32 and
    the CPU for new tensors. Wrap it in `restoring(process())`.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            # Only then: a default device slows every call of torch down.
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        yield


def environment(prefix: str) -> Restore:
    """The environment's variables whose names begin with `prefix`."""

    def now() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith(prefix)}

    before = now()

    def restore() -> None:
        for name in now().keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)

    return restore
