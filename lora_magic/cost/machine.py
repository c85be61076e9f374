"""Where a plan is about: a card of the table, or this machine, found out without torch.

Knows the driver of NVIDIA's cards and the system's memory. Only `measured` imports torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from lora_magic.interrupts import undisturbed
from lora_magic.reading import free_memory

from .cards import CONTEXT, HERE, REACHED, Card, card_called, card_of

#: The share of a matrix product's measured speed that a training step reaches on this machine.
_STEP = 0.5
_SIDE = {"cuda": 4096, "cpu": 1024}


class Place(NamedTuple):
    """A card or a machine.

    `name` is for people; `room` the free bytes, None if unknown; `speed` the operations a second
    that a training step reaches, None if unknown, and `why` how that was found; `bandwidth` bytes a
    second, 0 if unknown. `card` is its name in the table, "" for none.
    """

    name: str
    cuda: bool
    room: int | None
    bf16: bool = True
    speed: float | None = None
    why: str = ""
    bandwidth: float = 0.0
    card: str = ""


def place_of(
    gpu: object, device: str | None = None, held: Mapping[str, int] | None = None
) -> Place:
    """The card named; this machine for None and "here", of which `device` "cpu" means the CPU.

    `held` are bytes here that a load would free, by kind of device. Raises `CommandError` for an
    unknown name.
    """
    if gpu is not None and str(gpu).lower() != HERE:
        return on(card_of(gpu))
    return here(device, held or {})


def on(card: Card) -> Place:
    """An empty card of the table."""
    return Place(
        card.title,
        cuda=True,
        room=card.room,
        bf16=card.bf16,
        bandwidth=card.bandwidth,
        card=card.name,
        **_published(card),
    )


def here(device: str | None, held: Mapping[str, int]) -> Place:
    """This machine: its first NVIDIA card, else its CPU."""
    found = None if device not in (None, "cuda") else _card_here()
    if found is None:
        free = free_memory()
        room = None if free is None else free + held.get("cpu", 0)
        return Place("this CPU", cuda=False, room=room, bf16=_amx())
    title, total, free, capability = found
    # CUDA's context takes its part when it is first used.
    room = max(0, free + held.get("cuda", 0) - (0 if _context_made() else CONTEXT))
    place = Place(f"this {title}", cuda=True, room=room, bf16=capability >= 8)
    known = card_called(title, total)
    if known is None:
        return place
    return place._replace(card=known.name, bandwidth=known.bandwidth, **_published(known))


def measured(place: Place, dtype: str) -> Place:
    """A place here with the speed of a matrix product in `dtype`, from a trial of a moment."""
    import time

    with undisturbed():  # An interrupted import of torch cannot be repeated.
        import torch

    from lora_magic.base.number_format import SHORT

    device = "cuda" if place.cuda and torch.cuda.is_available() else "cpu"
    number = getattr(torch, {short: name for name, short in SHORT.items()}.get(dtype, "float32"))
    side = _SIDE[device]
    a = torch.ones(side, side, dtype=number, device=device)
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    best = float("inf")
    with torch.no_grad():
        a @ a
        wait()
        for _ in range(5):
            began = time.perf_counter()
            a @ a
            wait()
            best = min(best, time.perf_counter() - began)
    speed = 2 * side**3 / max(best, 1e-9)
    why = f"{_STEP:.0%} of the {speed / 1e12:.3g} TFLOPS that a {dtype} product reaches here"
    return place._replace(speed=_STEP * speed, why=why)


def _published(card: Card) -> dict[str, Any]:
    why = f"{REACHED:.0%} of the {card.flops / 1e12:g} TFLOPS (dense, 16 bits) of its maker"
    return {"speed": REACHED * card.flops, "why": why}


def _amx() -> bool:
    """Does this CPU multiply in bfloat16? Its flags say so on Linux."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("flags"):
                return "amx_bf16" in line
    return False


def _torch() -> Any:
    """torch, if this process has imported it and it sees a card; else None."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None


def _context_made() -> bool:
    """Has this process used the card already, so that CUDA's context is paid for?"""
    torch = _torch()
    return torch is not None and bool(torch.cuda.is_initialized())


def _card_here() -> tuple[str, int, int, int] | None:
    """(name, bytes in all, bytes free, major capability) of the first visible NVIDIA card."""
    torch = _torch()
    if torch is not None:
        found = torch.cuda.get_device_properties(0)
        free, total = torch.cuda.mem_get_info(0)
        return found.name, int(total), int(free), int(found.major)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if visible in ("", "-1") or not _may_have_a_card():
        return None
    with suppress(OSError, AttributeError, ValueError), _nvml() as library:
        return _asked(library, visible)
    return None


def _may_have_a_card() -> bool:
    """Is there a driver? Looking is cheaper than loading its library."""
    if sys.platform == "win32":
        return True
    return any(map(os.path.exists, ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")))


@contextmanager
def _nvml() -> Iterator[Any]:
    """NVIDIA's management library. Raises `OSError` where there is none, or if it refuses."""
    import ctypes

    library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    if library.nvmlInit_v2():
        raise OSError("nvmlInit failed")
    try:
        yield library
    finally:
        library.nvmlShutdown()


def _asked(library: Any, visible: str) -> tuple[str, int, int, int] | None:
    import ctypes

    handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
    memory = (ctypes.c_ulonglong * 3)()  # total, free, used
    major, minor = ctypes.c_int(), ctypes.c_int()
    if visible.isdecimal():
        failed = library.nvmlDeviceGetHandleByIndex_v2(int(visible), ctypes.byref(handle))
    else:
        failed = library.nvmlDeviceGetHandleByUUID(visible.encode(), ctypes.byref(handle))
    failed = failed or library.nvmlDeviceGetName(handle, name, 96)
    failed = failed or library.nvmlDeviceGetMemoryInfo(handle, memory)
    failed = failed or library.nvmlDeviceGetCudaComputeCapability(
        handle, ctypes.byref(major), ctypes.byref(minor)
    )
    if failed:
        return None
    title = name.value.decode(errors="replace")
    return title, int(memory[0]), int(memory[1]), int(major.value)
