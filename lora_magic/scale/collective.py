"""The workers of a process group: sums over them, and the first one's numbers.

accelerate makes the group and chooses device and backend: gloo between CPUs, NCCL between GPUs.
Knows torch.distributed; knows no engine: this machine's workers and Ray's are in one alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

from lora_magic.base.restore import entries, restoring
from lora_magic.errors import sentence
from lora_magic.training.world import World

from .process import PeerLostError

#: The most numbers that are sent at once: 64 MB in float32.
BUCKET = 1 << 24

#: What tells accelerate and the Trainer that there are other processes.
_PLACES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


def joined(cuda: bool) -> tuple[World, str]:
    """This process as one of its group, and the device it computes on, as "cpu" or "cuda:0".

    Reads RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT, and waits
    until all have come; a group that exists is used. Afterwards accelerate and the Trainer know of
    no other process: what the workers share goes through the `World`.
    """
    from accelerate import PartialState  # type: ignore[import-untyped]  # ships no types
    from accelerate.utils import (  # type: ignore[import-untyped]  # ships no types
        check_cuda_p2p_ib_support,
    )

    if cuda and not check_cuda_p2p_ib_support():
        # Without these, accelerate refuses such cards; its own launcher sets them.
        os.environ.update(NCCL_P2P_DISABLE="1", NCCL_IB_DISABLE="1")
    with restoring(entries(PartialState._shared_state)):
        chosen = PartialState(cpu=not cuda).device
    device = str(chosen) if cuda else "cpu"
    for name in _PLACES:
        os.environ.pop(name, None)
    return Joined(device), device


class Joined(World):
    """A worker of a group. A call fails with `PeerLostError` when another worker is gone."""

    def __init__(self, device: str) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self._device = device

    @torch.no_grad()
    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the workers, in place, the same bits everywhere.

        Half precision is summed in float32 and rounded once. The tensors are sent in buckets: one
        call for an adapter, and little extra memory for a whole model.
        """
        for dtype in (torch.float32, torch.float64):
            kind = [t for t in tensors if (t.dtype == torch.float64) == (dtype == torch.float64)]
            for bucket in _buckets(kind):
                self._add(bucket, dtype)

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sum of each number over the workers, in float64."""
        return self._agreed(distributed.all_reduce, values)

    def first(self, values: Sequence[float]) -> list[float]:
        """Worker 0's numbers, in float64."""
        return self._agreed(distributed.broadcast, values, src=0)

    def _add(self, bucket: Sequence[Tensor], dtype: torch.dtype) -> None:
        flat = torch.empty(sum(map(Tensor.numel, bucket)), dtype=dtype, device=self._device)
        parts = torch.split(flat, [piece.numel() for piece in bucket])
        for part, piece in zip(parts, bucket, strict=True):
            part.view(piece.shape).copy_(piece)
        _called(distributed.all_reduce, flat)
        for part, piece in zip(parts, bucket, strict=True):
            piece.copy_(part.view(piece.shape))

    def _agreed(self, call: Any, values: Sequence[float], **options: int) -> list[float]:
        sent = torch.tensor(values, dtype=torch.float64, device=self._device)
        _called(call, sent, **options)
        found: list[float] = sent.tolist()
        return found


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in order, large ones in blocks of rows, together at most `BUCKET` numbers."""
    bucket: list[Tensor] = []
    count = 0
    for tensor in tensors:
        rows = tensor if tensor.dim() else tensor[None]
        # Views whatever the strides are, so that the sum is written into the tensor.
        for piece in torch.split(rows, max(1, BUCKET * len(rows) // max(1, rows.numel()))):
            if bucket and count + piece.numel() > BUCKET:
                yield bucket
                bucket, count = [], 0
            bucket.append(piece)
            count += piece.numel()
    if bucket:
        yield bucket


def _called(call: Any, tensor: Tensor, **options: int) -> None:
    try:
        call(tensor, **options)
    except RuntimeError as error:
        why = f"the connection to another worker was lost: {sentence(error)}"
        raise PeerLostError(why) from None
