"""A base that is split over the workers: each keeps its part of every frozen weight (FSDP2).

A block's weights are gathered for its forward and for its backward, and dropped after each. The
adapter is not split: its gradients are added like those of any other run. Calls `fully_shard`, as
accelerate's plugin does with `fsdp_version=2`: accelerate uses its plugin on GPUs alone, and what
runs there must be what can be tested on CPUs. Knows a base's modules; knows no adapter and no rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from lora_magic.base.model import BaseModel
from lora_magic.errors import WorkerError
from lora_magic.training.world import World


def split(base: BaseModel, device: str, world: World) -> None:
    """Keep 1/N of each of the base's parameters on `device`, and nothing of it elsewhere.

    The base is on the CPU, and no adapter is in its slots: one block at a time is moved, cut and
    dropped. All of the workers call it, at the same time. There is no way back: the process can
    train, and then ends.
    """
    model = base.model
    mesh = init_device_mesh(torch.device(device).type, (world.size,))
    base.let_go()
    for block in blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks that are gathered one at a time: those that transformers never splits.

    Raises `WorkerError` for a model without them.
    """
    names = set(getattr(model, "_no_split_modules", None) or ())
    lists = (module for module in model.modules() if isinstance(module, nn.ModuleList))
    found = [block for one in lists for block in one if type(block).__name__ in names]
    if not found:
        raise WorkerError(
            f"--fsdp: {type(model).__name__} names no blocks that could be split; expected a model "
            "with _no_split_modules. Omit --fsdp."
        )
    return found
