"""A base that is split over the workers: each keeps its part of every frozen weight (FSDP2).

A block's weights are gathered for its forward and again for its backward, and dropped after each.
The adapter is whole on every worker: its gradients are added up as in any other run. Calls torch's
`fully_shard`, as accelerate's plugin does with `fsdp_version=2`; README.md says why not through it.

Knows a base's modules and parameters; knows no adapter's method, no row and no step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from lora_magic.base.model import BaseModel
from lora_magic.errors import WorkerError, sentence

from .process import PeerLostError
from .work import Seat


def split(base: BaseModel, layers: Iterable[nn.Module], seat: Seat) -> None:
    """Keep 1/N of each of the base's parameters on the worker's device, and no other copy.

    The base is on the CPU without an adapter in its slots; one block at a time is moved, cut and
    dropped. What is not the base's in `layers`, an adapter's for it, is moved as a whole. All
    workers of the seat's world call this, and from then on run the model equally often
    (`World.split`). There is no way back: the process trains, and ends.

    Raises `WorkerError` for a model whose blocks are not known.
    """
    mesh = init_device_mesh(torch.device(seat.device).type, (seat.world.size,))
    parts = blocks(base.model)
    base.let_go()
    for block in parts:
        fully_shard(block, mesh=mesh)
    # The rest: embeddings, the last norm and the head, tied or not. It is dropped after the forward
    # too: between passes, code that restores the modules' tables must find the parts in them.
    fully_shard(base.model, mesh=mesh, reshard_after_forward=True)
    for layer in layers:
        for tensor in chain(layer.parameters(), layer.buffers()):
            if not isinstance(tensor, DTensor):
                tensor.data = tensor.data.to(seat.device)
    seat.world.split = True


@contextmanager
def gathering() -> Iterator[None]:
    """The block of a run: it raises `PeerLostError` when a worker that has weights is gone."""
    try:
        yield
    except RuntimeError as error:
        # gloo's errors have no class of their own.
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        why = f"the connection to another worker was lost: {sentence(error)}"
        raise PeerLostError(why) from None


def blocks(model: nn.Module) -> list[nn.Module]:
    """The parts that are gathered one at a time: those that transformers never splits.

    Raises `WorkerError` for a model that names none.
    """
    names = set(getattr(model, "_no_split_modules", None) or ())
    lists = (module for module in model.modules() if isinstance(module, nn.ModuleList))
    found = [block for one in lists for block in one if type(block).__name__ in names]
    if not found:
        raise WorkerError(
            f"--fsdp: {type(model).__name__} does not name the blocks that can be split "
            "(_no_split_modules); omit --fsdp."
        )
    return found
