"""The merged model's tensors: the base's own, with ΔW added and rounded once.

Knows a base, its slots and an adapter's layers; writes no file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from lora_magic.adapters.merge import dequantised_module, merged_module
from lora_magic.base.quantise import count, is_transposed, quantised_bits

from .job import Job


def folded(job: Job) -> dict[str, nn.Module]:
    """Plain modules with the adapter's ΔW in their weights, by path.

    On a quantised base every quantised layer is among them, as a plain linear layer in the base's
    dtype; for any other base alone it is {}.
    """
    made = {
        path: merged_module(path, job.slots.original(path), layer, job.base.dtype)[0]
        for path, layer in job.modules.items()
    }
    for path in _quantised(job):
        if path not in made:
            made[path] = dequantised_module(job.slots.original(path), job.base.dtype)
    return made


def tensors(job: Job, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Every tensor of the model with these modules, under the names of its `state_dict`.

    Tensors that are tied in the base and still equal are one tensor. A layer that quantisation
    has transposed (Conv1D) has its own layout again.
    """
    with job.slots.using(modules):
        found = {name: value.detach() for name, value in job.base.model.state_dict().items()}
    for path in _quantised(job):
        name = f"{path}.weight"
        if path in modules and is_transposed(job.slots.original(path)):
            found[name] = found[name].mT.contiguous()
    for first, *others in tied(job):
        for name in others:
            if torch.equal(found[first], found[name]):
                found[name] = found[first]
    return found


def tied(job: Job) -> list[list[str]]:
    """The names of the base's parameters that are one tensor, in groups."""
    groups: dict[int, list[str]] = defaultdict(list)
    with job.slots.using({}):
        for name, parameter in job.base.model.named_parameters(remove_duplicate=False):
            groups[id(parameter)].append(name)
    return [names for names in groups.values() if len(names) > 1]


def dense_bytes(job: Job) -> int:
    """Bytes of the base's weights in its dtype, each counted once, dequantised if need be."""
    with job.slots.using({}):
        parameters = list(job.base.model.parameters())
    width = job.base.dtype.itemsize
    return sum(count(p) * (p.itemsize if p.itemsize > width else width) for p in parameters)


def copied_bytes(job: Job) -> int:
    """Bytes of the modules that `folded` makes."""
    paths = {*job.modules, *_quantised(job)}
    weights = {
        id(weight): count(weight) * max(job.base.dtype.itemsize, weight.itemsize)
        for path in paths
        if (weight := job.slots.original(path)._parameters.get("weight")) is not None
    }
    return sum(weights.values())


def _quantised(job: Job) -> Iterator[str]:
    if job.base.quantised is not None:
        for path in job.slots.paths():
            if quantised_bits(job.slots.original(path)):
                yield path
