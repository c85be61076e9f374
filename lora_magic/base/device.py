"""Which device and which number format a base model gets, and why.

The one place that decides both. Apple's GPUs are used only when asked for with `--device mps`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from lora_magic.errors import BaseModelError, near

from . import options

DTYPES: dict[str, torch.dtype] = {
    typed: getattr(torch, name) for typed, name in options.DTYPES.items()
}

#: Up to this many parameters a base on a CPU is held in float32, the fastest format there.
CPU_FLOAT32_LIMIT = 500_000_000


@dataclass(frozen=True)
class Placement:
    """A device, a number format, and the reason for both in words."""

    device: torch.device
    dtype: torch.dtype
    reason: str


def choose_device(asked: str | None) -> torch.device:
    """The device asked for, else the GPU where there is one, else the CPU."""
    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    asked = str(asked)
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise BaseModelError(
            f"--device {asked}: no such device; expected cpu, cuda, cuda:N or mps."
            + near(asked, options.DEVICES)
        ) from None
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _mps()}
    if not available.get(device.type, False):
        raise BaseModelError(f"--device {asked}: not available here; use --device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BaseModelError(f"--device {asked}: this machine has {torch.cuda.device_count()} GPU.")
    return device


def _mps() -> bool:
    return torch.backends.mps.is_available()


def choose_dtype(
    asked: str | torch.dtype | None, device: torch.device, stored: torch.dtype, parameters: int
) -> Placement:
    """The number format for a base of so many parameters stored in `stored`.

    bfloat16 on GPUs that have it in hardware (compute capability ≥ 8.0; torch's own question
    also says yes to emulation), float16 on older ones. On a CPU float32 up to 500 million
    parameters, above that what the checkpoint has (bfloat16 instead of float16).
    """
    if asked is not None:
        name = str(asked).removeprefix("torch.")
        if (width := re.search("[48]", name)) and not name.startswith(("float", "bfloat")):
            raise BaseModelError(
                f"--dtype {name}: that is a width of quantised weights; type --bits {width[0]}. "
                f"--dtype is what is computed in: {', '.join(DTYPES)}."
            )
        if name not in DTYPES:
            raise BaseModelError(
                f"--dtype {name}: expected one of {', '.join(DTYPES)}." + near(name, DTYPES)
            )
        return Placement(device, DTYPES[name], "as asked")
    if device.type == "cuda":
        major = torch.cuda.get_device_capability(device)[0]
        if major >= 8:
            return Placement(device, torch.bfloat16, "this GPU has bfloat16 in hardware")
        return Placement(device, torch.float16, "this GPU has no bfloat16 in hardware")
    if device.type == "mps":
        return Placement(device, torch.float32, "the safe choice on this device")
    if parameters <= CPU_FLOAT32_LIMIT:
        return Placement(device, torch.float32, "fastest on a CPU at this size")
    kept = torch.bfloat16 if stored is torch.float16 else stored
    return Placement(device, kept, "as stored, to save memory on the CPU")


def short_name(dtype: torch.dtype) -> str:
    """`fp32`, `bf16`, `fp16`, or torch's own word."""
    names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    return names.get(dtype, str(dtype).removeprefix("torch."))
