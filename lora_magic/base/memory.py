"""How much memory the work has taken at most. Knows the process and the GPU; knows no model."""

from __future__ import annotations

import sys

import torch


def peak_memory(device: torch.device) -> int | None:
    """Bytes in use at the peak so far: torch's own count on a GPU, else those of this process.

    None where the system does not tell (Windows).
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux kibibytes.
    return int(peak if sys.platform == "darwin" else peak * 1024)
