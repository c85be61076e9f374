"""The merged model's tensors: the base's own, with ΔW added and rounded once.

Knows a base, its slots and an adapter's layers; writes no file.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from lora_magic.adapters.merge import merged_module

from .job import Job


def folded(job: Job) -> dict[str, nn.Module]:
    """Plain modules with the adapter's ΔW in their weights, by path; {} for the base alone."""
    return {
        path: merged_module(path, job.slots.original(path), layer, job.base.dtype)[0]
        for path, layer in job.modules.items()
    }


def tensors(job: Job, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Every tensor of the model with these modules, under the names of its `state_dict`."""
    with job.slots.using(modules):
        return {name: value.detach() for name, value in job.base.model.state_dict().items()}
