"""What a computation costs, in numbers that are the same on every machine.

`ops` counts the operations that torch dispatches, `saved_bytes` what autograd keeps for the
backward pass. Nothing here knows lora_magic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))


def ops(function: Callable[[], Any]) -> int:
    """The operations that torch dispatches during a call, views and the backward pass included."""
    return ops_by_name(function).total()


def ops_by_name(function: Callable[[], Any]) -> Counter[str]:
    """The operations that torch dispatches during a call, by name."""
    with _Counting() as counting:
        function()
    return counting.found


def saved_bytes(function: Callable[[], Any], without: Iterable[Tensor] = ()) -> int:
    """The bytes that autograd keeps for the backward passes of a call's results.

    Each storage counts once, however many operations save it; those of `without` (a model's own
    parameters and buffers, which are there anyway) count nothing. The storages are kept until the
    call returns, so one that is freed and allocated again counts twice: call it with a forward pass
    only.
    """
    free = {tensor.untyped_storage().data_ptr() for tensor in without}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in free)
