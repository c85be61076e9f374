"""The machine: which device and number format a base gets and why, how many threads, what memory.

Decides these, a format by the rules of `number_format`; `bf16_trial` measures for it. Apple's GPUs
are used only on request, with `--device mps`.
"""

from __future__ import annotations

import errno
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from traceback import clear_frames

import torch
from torch import nn

from lora_magic.errors import BaseModelError, near

from . import DEVICES, bf16_trial
from .number_format import SHORT, chosen_format

#: Models with fewer parameters run on one CPU thread.
ONE_THREAD_LIMIT = 10_000_000


def choose_device(requested: str | None) -> torch.device:
    """The requested device, else the GPU if there is one, else the CPU."""
    if requested is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    requested = str(requested)
    try:
        device = torch.device(requested)
    except RuntimeError:
        raise BaseModelError(
            f"--device {requested}: no such device; expected cpu, cuda, cuda:N or mps."
            + near(requested, DEVICES)
        ) from None
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _mps()}
    if not available.get(device.type, False):
        raise BaseModelError(f"--device {requested}: not available here; type --device cpu")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise BaseModelError(
            f"--device {requested}: expected cuda:0 to cuda:{count - 1}; type --device cuda:0"
        )
    return device


def _mps() -> bool:
    return torch.backends.mps.is_available()


def choose_dtype(
    requested: str | torch.dtype | None,
    device: torch.device,
    stored: torch.dtype,
    parameters: int,
    width: int | None = None,
) -> tuple[torch.dtype, str]:
    """The number format for a base of this many parameters stored in `stored`, and the reason.

    The rules are those of `number_format`. bfloat16 is in hardware from compute capability 8.0 on;
    torch's own check also accepts emulation. A base of this `width` is tried on the CPU.
    """
    on_gpu = device.type == "cuda"
    # The trial is only run if the answer depends on it.
    trial = partial(bf16_trial.gain, width) if width else None
    name, reason = chosen_format(
        requested,
        device.type,
        str(stored).removeprefix("torch."),
        parameters,
        bf16_hardware=on_gpu and torch.cuda.get_device_capability(device)[0] >= 8,
        gain=trial,
    )
    dtype: torch.dtype = getattr(torch, name)
    return dtype, reason


def short_name(dtype: torch.dtype) -> str:
    """`fp32`, `bf16`, `fp16`, or torch's own name."""
    name = str(dtype).removeprefix("torch.")
    return SHORT.get(name, name)


@contextmanager
def fitting_threads(model: nn.Module) -> Iterator[None]:
    """One thread in the block for a small model on the CPU, then as many as before.

    Below about ten million parameters a second thread gains little on an idle CPU, and if another
    process uses that core, or a container counts more cores than it may use, the threads wait for
    each other. Measured on two cores with the embedded model (tests/benchmarks/threads_speed.py):
    on two threads training takes 0.73 of the time on one if the machine is idle, and 2.2 times as
    long, comparing 4.3 times, if one core is busy.
    """
    before = torch.get_num_threads()
    first = next(model.parameters(), None)
    on_cpu = first is not None and first.device.type == "cpu"
    small = on_cpu and sum(p.numel() for p in model.parameters()) < ONE_THREAD_LIMIT
    if not small or before == 1:
        yield
        return
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


#: How torch, the C++ library, the system and safetensors say that memory cannot be allocated.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can(?:'t|not) allocate memory|alloc_cpu|bad_alloc"
    r"|failed to allocate|unable to allocate|STATUS_ALLOC_FAILED|paging file is too small",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException | None) -> bool:
    """Is this error, or one that caused it, a lack of memory on a GPU or a CPU?"""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        # Other types may quote a person's own words.
        foreign = isinstance(error, RuntimeError | OSError) or "safetensors" in str(type(error))
        if foreign and _OUT_OF_MEMORY.search(str(error)):
            return True
        # `raise … from None` has dealt with its context.
        context = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or context
    return False


def release_after(error: BaseException) -> None:
    """Free what an error's frames keep, and its causes' too: the tensors of the failed work."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        clear_frames(following.__traceback__)
        seen.append(following)
        following = following.__cause__ or following.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
