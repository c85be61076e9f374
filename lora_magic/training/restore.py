"""A model, and the process around it, left as they were found.

Training sets flags on every module, accelerate adds attributes and may replace `forward`, the
Trainer switches the cache off and seeds every generator. Knows modules and generators; knows no
Trainer and no adapter.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lora_magic.interrupts import undisturbed


@contextmanager
def restoring(model: nn.Module) -> Iterator[None]:
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
        with undisturbed():
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
