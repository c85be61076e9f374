"""An adapter as a LoRA of one rank with s = 1: what every reader of LoRA reads alike.

ΔW = s·B·A with any scale, rank per module, subtracted initialisation or singular values becomes
ΔW = B'·A' with B' = s·B, both padded with zeros to one rank r, and α = r. Servers read `r` and
`lora_alpha` of an adapter's config, and some nothing else: vLLM and SGLang ignore `rank_pattern`
and `alpha_pattern`, SGLang and llama.cpp's converter `use_rslora` too.

Knows an adapter's layers and factors; knows no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.checks import is_whole
from lora_magic.errors import ExportError, listed
from lora_magic.lowrank.factors import LowRank, precise

from .job import Job

#: The largest rank that --rank may pad to, if no ΔW has a larger one: no server takes more.
LARGEST_RANK = 512


@dataclass(frozen=True, eq=False)
class PlainLora:
    """ΔW = B·A by module path, in float32 on the CPU: A [r, k], B [d, r], and r for all of them."""

    rank: int
    factors: Mapping[str, tuple[Tensor, Tensor]]
    notes: tuple[str, ...]


def plain_lora(job: Job) -> PlainLora:
    """The job's adapter; `refuse` was called before.

    B' = s·B is computed in float64 and rounded once, to float32: the format of the factors in
    training, and PEFT computes in it on a base in 16 bits too. Padding adds zeros, and so no ΔW.
    """
    updates, rank = _updates(job), rank_of(job)
    return PlainLora(
        rank,
        {path: padded(update, rank) for path, update in updates.items()},
        tuple(_notes(job, updates, rank)),
    )


def _updates(job: Job) -> dict[str, LowRank]:
    found = None if job.attached is None else job.attached.stackable()
    assert found is not None  # `refuse` was called
    return found


def rank_of(job: Job) -> int:
    """r of the export: the largest of the modules' ranks, or --rank."""
    most = max(update.rank for update in _updates(job).values())
    return job.options.rank or most


def size_of(job: Job) -> int:
    """The bytes of all factors."""
    return 4 * rank_of(job) * sum(sum(update.shape) for update in _updates(job).values())


def padded(update: LowRank, rank: int) -> tuple[Tensor, Tensor]:
    """A [r, k] and s·B [d, r] of one ΔW, in float32 on the CPU, with zeros up to `rank`."""
    down, up = precise(update.down), update.scale * precise(update.up)
    more = rank - update.rank
    return (
        torch.nn.functional.pad(down, (0, 0, 0, more)).float(),
        torch.nn.functional.pad(up, (0, more)).float(),
    )


def _notes(job: Job, updates: Mapping[str, LowRank], rank: int) -> list[str]:
    """What is in the factors that the spec does not say."""
    attached = job.attached
    assert attached is not None
    spec, ranks = attached.spec, sorted({update.rank for update in updates.values()})
    notes = [f"α = r = {rank}: every scale is in B"]
    if spec.init in ("pissa", "olora"):
        notes.append(f"half of the factors subtract the initialisation ({spec.init}) from the base")
    if spec.method == "adalora":
        notes.append("P·Λ·Q is written as B·A, without the pruned ranks")
    if len(ranks) > 1:
        notes.append(f"modules of rank {ranks[0]} to {ranks[-1]} are padded with zeros to {rank}")
    elif rank > ranks[0]:
        notes.append(f"padded with zeros from rank {ranks[0]} to {rank}")
    return notes


# What is refused


def adapter_of(job: Job) -> LiveAdapter:
    """The job's adapter; raises `ExportError` for the base alone."""
    if job.attached is None:
        raise ExportError(
            f"--to {job.format} writes an adapter, and base has none; type: %lora export base --to "
            "merged"
        )
    return job.attached


def refuse(job: Job) -> None:
    """Raise `ExportError`, with what to type instead, for what is not a sum of factors.

    And for a --rank that would cut ΔW, or that no server takes, and for NaN or infinity.
    """
    attached = adapter_of(job)
    reason, ways = _reason(job, attached)
    if reason:
        raise ExportError(f"{job.name} cannot be written --to {job.format}: {reason}; type: {ways}")
    updates = _updates(job)
    broken = [path for path, update in updates.items() if not update.finite]
    if broken:
        raise ExportError(
            f"{job.name} holds NaN or infinity in {broken[0]}; train it again with a smaller --lr, "
            f"or type: %lora detach {job.name}"
        )
    refuse_rank(job, max(update.rank for update in updates.values()))


def _reason(job: Job, attached: LiveAdapter) -> tuple[str, str]:
    """Why the adapter is not plain factors, "" if it is, and the lines to type instead."""
    method, spec = attached.method, attached.spec
    merged = f"%lora export {job.name} --to merged"
    if job.base.task.classifies:
        return "a classifier's head is trained in full, and servers read factors alone", merged
    if attached.tokens:
        return f"{method.title} changes no weight", f"%lora export {job.name} --to peft"
    if method.not_merged:
        return method.not_merged, f"%lora save {job.name}"
    if attached.stackable() is not None:
        return "", ""
    copies = attached.trainable_copies()
    if spec.dora and not copies:
        near = f"%lora compress {job.name} --rank {spec.rank}"
        return (
            "DoRA also scales each output, so its ΔW is not a product of two factors",
            f"{near} for the nearest LoRA, or {merged}",
        )
    if copies:
        kinds = sorted({name for copy in copies.values() for name in copy.values})
        return (
            f"{len(copies)} modules train their own {listed(kinds)}, which servers do not read",
            merged,
        )
    return f"{method.title} is not a product of two factors", merged


def refuse_rank(job: Job, most: int) -> None:
    """Raise `ExportError` for a --rank below `most`, the largest here, or that no server takes."""
    rank, limit = job.options.rank, max(most, LARGEST_RANK)
    if rank is None or (is_whole(rank) and most <= rank <= limit):
        return
    way = f"%lora export {job.name} --to {job.format}{' --adapter-only' * job.options.adapter_only}"
    if is_whole(rank) and 1 <= rank < most:
        way = f"%lora compress {job.name} --rank {rank}"
    raise ExportError(
        f"--rank {rank!r}: the largest rank here is {most}, and --rank only pads with zeros; "
        f"expected {most} to {limit}; type: {way}"
    )
