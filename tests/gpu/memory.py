"""Rows about memory and number formats."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import torch

from lora_magic.adapters.methods import METHODS
from lora_magic.base import device as devices
from lora_magic.errors import AdapterError, TrainingError
from lora_magic.state.session import Session
from tests.state.variants import VARIANTS

from . import bases
from .table import NEEDS_GPU, Figure, Settings, row

ROWS = bases.rows(12, 4)
#: Variants that differ from plain LoRA in numbers only: left out at the small size.
ALIKE = ("rslora", "gaussian", "patterns", "olora")
APART = "within 1e-3 of those before"


@row("memory")
def memory(settings: Settings) -> Iterator[Figure]:
    """The bytes left after `reset`, for every method on a plain and on a 4-bit base."""
    shape = "tiny" if settings.small else "30M"
    folder = bases.saved(shape, settings, attention_bias=True, mlp_bias=True)
    for bits in (None, 4):
        for name, flags in VARIANTS.items():
            method = METHODS[flags.get("method", "lora")]
            impossible = method.not_quantised if bits else name == "loftq"
            if impossible or (settings.small and name in ALIKE):
                continue
            # What a library allocates once for the process does not grow when all is repeated.
            left, whole = _life(settings, folder, bits, flags)
            if left:
                left, whole = _life(settings, folder, bits, flags)
            title = f"memory: {name} on {'NF4' if bits else 'plain'}, left after reset"
            yield Figure(title, left, "bytes", "0, base unchanged", left == 0 and whole)


def _life(
    settings: Settings, folder: str, bits: int | None, flags: dict[str, Any]
) -> tuple[int, bool]:
    """Every verb once: bytes that are left after `reset`, and whether no bit had changed."""
    before, session = settings.allocated(), Session()
    # On a CPU too the quantised base computes in 16 bits, as it does on a GPU.
    session.load(folder, bits=bits, dtype="bf16" if bits and not settings.cuda else None)
    session.attach("one", **flags)
    session.train("one", ROWS, steps=10 if flags.get("method") == "adalora" else 2, max_length=32)
    session.compare(bases.PROMPT, max_new_tokens=2)
    try:
        session.merge("one")
        session.unmerge()
    except AdapterError:
        assert METHODS[flags["method"]].not_merged
    adapter = (tensor for _, tensor in session._state.attached["one"].tensors())
    tensors = [
        (weakref.ref(tensor), tensor.numel() * tensor.element_size())
        for tensor in (*session.model.parameters(), *session.model.buffers(), *adapter)
    ]
    whole = bool(session.verify())
    session.reset()
    alive = sum(size for there, size in tensors if there() is not None)
    return max(alive, settings.allocated() - before), whole


@row("formats")
def formats(settings: Settings) -> Iterator[Figure]:
    """The number format chosen here, and the one that a GPU without bfloat16 would get."""
    shape = "tiny" if settings.small else "30M"
    folder = bases.saved(shape, settings)
    expected = "fp32"
    if settings.cuda:
        major, minor = torch.cuda.get_device_capability()
        expected = "bf16" if major >= 8 else "fp16"
        yield Figure("formats: compute capability", f"{major}.{minor}", "", "bf16 from 8.0")
    yield from _format("formats: chosen here", folder, expected)
    if not settings.cuda:
        yield Figure("formats: on capability 7.5", NEEDS_GPU, "", "fp16")
        return
    with patch.object(devices.torch.cuda, "get_device_capability", lambda *_, **__: (7, 5)):
        yield from _format("formats: on capability 7.5", folder, "fp16")


def _format(name: str, folder: str, expected: str) -> Iterator[Figure]:
    """Format and reason; right if it is as expected, adapters are fp32, and training learns."""
    session = Session()
    record = session.load(folder)
    session.attach("one")
    wide = {tensor.dtype for _, tensor in session._state.attached["one"].tensors()}
    runs, ends = [], []
    for _ in range(2):
        runs.append(session.train("one", ROWS, steps=12, lr=1e-3, max_length=64).losses)
        ends.append(session._state.attached["one"].state())
    right = record.dtype == expected and wide == {torch.float32} and runs[0][-1] < runs[0][0]
    whole = bool(session.verify())
    session.reset()
    reference = f"{expected}, adapters fp32, loss falls"
    yield Figure(name, f"{record.dtype} ({record.reason})", "", reference, right and whole)
    equal = all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
    yield Figure(f"{name}, trained twice", equal, "", "the same bits", equal)


@row("pressure")
def pressure(settings: Settings) -> Iterator[Figure]:
    """NF4 and paged AdamW on a full GPU: the same losses; out of memory is one line, no trace."""
    folder = bases.saved("tiny" if settings.small else "1B", settings)
    data = bases.rows(settings.size(12, 512))
    before, used, session = settings.allocated(), _used(settings), Session()
    record = session.load(folder, bits=4)
    assert record.quantised is not None
    bits = record.quantised.bits_per_weight
    # In a tiny layer the tables weigh more than the weights.
    few = None if settings.small else bits <= 4.2
    yield Figure("pressure: NF4 as stored", bits, "bits a weight", "at most 4.2", few)
    session.attach("one")
    kind = session._state.base.recipe.optimizer
    yield Figure("pressure: optimizer", kind, "", "paged-adamw", kind == "paged-adamw")

    def losses() -> tuple[float, ...]:
        return session.train("one", data, steps=3).losses

    settings.restart_peak()
    start = settings.allocated()
    alone = losses()
    needed = torch.cuda.max_memory_allocated() - start if settings.cuda else 0
    if settings.cuda:
        ballast = _ballast(needed + needed // 4 + 2**28)
        far = _apart(losses(), alone)
        yield Figure("pressure: losses on a full GPU", far, "", APART, far <= 1e-3)
        del ballast
    else:
        yield Figure("pressure: losses on a full GPU", NEEDS_GPU, "", APART)
    kept = {k: v.clone() for k, v in session._state.attached["one"].state().items()}
    # Less than one row in a pass of its own needs: the run takes smaller passes before it gives up.
    told = _told_when_full(settings, session, data, 2**24)
    state = session._state.attached["one"].state()
    same = all(torch.equal(value, kept[key]) for key, value in state.items())
    yield Figure("pressure: out of memory says", told[:60], "", "one line", "\n" not in told)
    right = same and bool(session.verify()) and _apart(losses(), alone) <= 1e-3
    reference = "adapter, base and the next run as before"
    yield Figure("pressure: after out of memory", right, "", reference, right)
    session.reset()
    yield settings.left("pressure", before)
    paged = (_used(settings) - used) / 1e6 if settings.cuda else NEEDS_GPU
    yield Figure("pressure: more in use than before, also outside torch", paged, "MB")


def _apart(losses: Sequence[float], others: Sequence[float]) -> float:
    """The largest relative difference: on a GPU the attention's gradients are sums in any order."""
    return max(abs(a - b) / b for a, b in zip(losses, others, strict=True))


def _used(settings: Settings) -> int:
    """Bytes in use on the whole GPU, with what torch does not count."""
    if not settings.cuda:
        return 0
    torch.cuda.empty_cache()
    free, whole = torch.cuda.mem_get_info()
    return whole - free


def _ballast(left: int) -> torch.Tensor:
    """A tensor that leaves this many bytes of the GPU free."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    return torch.empty(max(free - left, 1), dtype=torch.uint8, device="cuda")


def _told_when_full(settings: Settings, session: Session, data: Any, left: int) -> str:
    """The error of a training that does not fit; on a CPU it is raised from the third pass on."""
    passes = []

    def third(*_: object) -> None:
        passes.append(1)
        if len(passes) >= 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    ballast = _ballast(left) if settings.cuda else None
    hook = None if settings.cuda else session.model.register_forward_pre_hook(third)
    try:
        session.train("one", data, steps=3)
    except TrainingError as error:
        return str(error)
    finally:
        del ballast
        if hook is not None:
            hook.remove()
    raise AssertionError("the training fitted: expected out of memory")
