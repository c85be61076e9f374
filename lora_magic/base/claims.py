"""What a config claims, against what the files hold, before anything is allocated.

A config can claim any number of layers and any width; transformers would build and initialise
them all. The model is built on the meta device, which allocates nothing, and only up to a limit.
Knows configs and modules; reads no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules import module as hooks

from lora_magic.errors import BaseModelError
from lora_magic.numbers import short

from .folder import Contents

#: Parameters that a model may have for each tensor of its files: files can hold fused ones.
_EACH, _MORE = 20, 10_000

#: Weights that a config may claim beyond twice those in the files: a new head, untied embeddings.
_SPARE = 20_000_000


class TooManyError(Exception):
    """The model has more parts than its files can fill."""


def check(name: str, config: Any, loader: Any, contents: Contents) -> None:
    """Raise `BaseModelError` if a config describes far more than its files hold.

    A checkpoint that is stored quantised has fewer elements than weights, so only its number of
    parts is checked.
    """
    if not contents.tensors:
        return
    try:
        with at_most(_EACH * contents.tensors + _MORE), torch.device("meta"):
            model = loader.from_config(config)
    except TooManyError:
        raise BaseModelError(
            f"{name}: config.json describes far more layers than the {contents.tensors:,} tensors "
            "of its files. Correct config.json, or download it again."
        ) from None
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}.values()
    claimed = sum(tensor.numel() for tensor in tensors)
    quantised = getattr(config, "quantization_config", None) is not None
    if claimed > (16 if quantised else 2) * contents.weights + _SPARE:
        raise BaseModelError(
            f"{name}: config.json describes {short(claimed)} weights, its files hold "
            f"{short(contents.weights)}. Correct config.json, or download it again."
        )


@contextmanager
def at_most(parts: int) -> Iterator[None]:
    """Raise `TooManyError` in the block once more modules and parameters are built."""
    left = [parts]

    def counted(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise TooManyError

    handles = [
        hooks.register_module_parameter_registration_hook(counted),
        hooks.register_module_module_registration_hook(counted),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
