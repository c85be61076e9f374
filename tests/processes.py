"""Whether a process is there: what tests ask of those that must have ended."""

from __future__ import annotations

from pathlib import Path


def is_there(process: int) -> bool:
    """Does it run? One that has ended and whose parent has not asked for its status does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
