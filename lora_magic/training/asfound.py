"""A model, and the process around it, left as they were found.

Training sets flags on every module, accelerate adds attributes and may replace `forward`, the
Trainer switches the cache off and seeds every generator. Knows modules and generators; knows no
Trainer and no adapter.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """Put back, whatever happens within: every module's attributes, flags and hooks, gradients,
    the config, the states of the random generators, and accelerate's part of the environment.

    Parameters keep the values that they have got: those are the caller's.
    """
    undo = [
        *[_keep_namespace(module.__dict__) for module in model.modules()],
        *[_keep_namespace(vars(config)) for config in _configs(model)],
        _keep_gradients(model),
        _keep_generators(),
        _keep_environment(),
    ]
    try:
        yield
    finally:
        with _undisturbed():
            for restore in undo:
                restore()


def _configs(model: nn.Module) -> list[Any]:
    names = ("config", "generation_config")
    return [c for c in (getattr(model, name, None) for name in names) if hasattr(c, "__dict__")]


def _keep_namespace(namespace: dict[str, Any]) -> Callable[[], None]:
    """An object's attributes, and one level down the dicts among them: hooks, buffers, children."""
    kept = dict(namespace)
    inner = {name: dict(value) for name, value in kept.items() if isinstance(value, dict)}

    def restore() -> None:
        for name in [name for name in namespace if name not in kept]:
            del namespace[name]
        namespace.update(kept)
        for name, content in inner.items():
            now = kept[name]
            if list(now) != list(content) or any(now[key] is not content[key] for key in content):
                now.clear()
                now.update(content)

    return restore


def _keep_gradients(model: nn.Module) -> Callable[[], None]:
    kept = [(parameter, parameter.grad) for parameter in model.parameters()]

    def restore() -> None:
        for parameter, gradient in kept:
            parameter.grad = gradient

    return restore


def _keep_generators() -> Callable[[], None]:
    python, cpu = random.getstate(), torch.get_rng_state()
    numpy = sys.modules.get("numpy")
    array = numpy.random.get_state() if numpy else None
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None

    def restore() -> None:
        random.setstate(python)
        torch.set_rng_state(cpu)
        if numpy:
            numpy.random.set_state(array)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

    return restore


def _keep_environment() -> Callable[[], None]:
    def ours() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith("ACCELERATE_")}

    kept = ours()

    def restore() -> None:
        for name in ours():
            if name not in kept:
                del os.environ[name]
        os.environ.update(kept)

    return restore


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold an interrupt back until the block has ended, then raise it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    if came and before is not signal.SIG_IGN:
        raise KeyboardInterrupt


class Stop:
    """Whether a person wants the run to end: by an event, or by interrupting the kernel.

    As a context, in the main thread, it takes over the interrupt: the first is noted, so that the
    step can end, and a second raises `KeyboardInterrupt` at once. What handled it before handles
    it again afterwards.
    """

    def __init__(self, event: threading.Event | None = None) -> None:
        self._event, self._interrupted = event, False
        self._before: Any = None

    @property
    def wanted(self) -> bool:
        """Whether to end after this step."""
        return self._interrupted or (self._event is not None and self._event.is_set())

    def __enter__(self) -> Stop:
        main = threading.current_thread() is threading.main_thread()
        # Who ignores interrupts, as under nohup, goes on ignoring them.
        if main and signal.getsignal(signal.SIGINT) not in (None, signal.SIG_IGN):
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _note(self, number: int, frame: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
