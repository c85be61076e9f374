"""Which number format a base gets: the rules, for `load` and for a plan. Imports no torch.

Knows names of formats and facts about a device; `device` and `cost` find out those facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lora_magic.errors import BaseModelError, near

from . import DTYPES

#: On a CPU larger models than this do not get the memory for float32.
CPU_FLOAT32_LIMIT = 500_000_000

#: Smaller models are in float32 on every CPU, without a trial. Where bfloat16 is in hardware (AMX),
#: a training step in it took 1.1 of the time at 1M parameters and as long at 16M, since attention
#: over short rows, norms and LoRA in float32 gain nothing (tests/benchmarks/training.py).
CPU_BFLOAT16_FROM = 50_000_000

#: bfloat16 is used from this gain on: less is within what a trial errs, and float32 is more exact.
ENOUGH = 1.2

#: torch's name of a format, and the short one.
SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def chosen_format(
    requested: object,
    device: str,
    stored: str,
    parameters: int,
    *,
    bf16_hardware: bool = True,
    gain: Callable[[], float] | None = None,
) -> tuple[str, str]:
    """torch's name of the format for a base of this many parameters stored in `stored`, and why.

    `device` is "cuda", "cpu" or "mps". On a GPU bfloat16 where it is in hardware, else float16. On
    a CPU float32 up to 500 million parameters, above that the checkpoint's format (bfloat16 instead
    of float16). From 50 million parameters on, a base stored in bfloat16 stays so if `gain`, by how
    much this is faster on this CPU, is large enough; None for a base that is not judged so.
    """
    if requested is not None:
        return named_format(str(requested).removeprefix("torch.")), "as requested"
    if device == "cuda":
        if bf16_hardware:
            return "bfloat16", "this GPU has bfloat16 in hardware"
        return "float16", "this GPU has no bfloat16 in hardware"
    if device == "mps":
        return "float32", "the safe choice on this device"
    if parameters <= CPU_FLOAT32_LIMIT:
        if stored == "bfloat16" and parameters >= CPU_BFLOAT16_FROM and gain is not None:
            found = gain()
            if found >= ENOUGH:
                return "bfloat16", f"{found:.1f} times as fast as fp32 on this CPU"
            return "float32", "bf16 is hardly faster on this CPU" if found > 1 else (
                "bf16 is slower on this CPU"
            )
        return "float32", "fastest on a CPU at this size"
    kept = "bfloat16" if stored == "float16" else stored
    return kept, "as stored, to save memory on the CPU"


def named_format(name: str) -> str:
    """torch's name of a format as a person types it. Raises `BaseModelError` for an unknown one."""
    known = ", ".join(DTYPES)
    if (width := re.search("[48]", name)) and not name.startswith(("float", "bfloat")):
        raise BaseModelError(
            f"--dtype {name}: a width of quantised weights; type --bits {width[0]}. "
            f"--dtype sets the format of computation: {known}."
        )
    if name not in DTYPES:
        raise BaseModelError(f"--dtype {name}: expected one of {known}." + near(name, DTYPES))
    return DTYPES[name]
