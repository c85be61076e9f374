"""Every method and variant of the table, as the flags of `attach`; for tests that walk them all."""

from __future__ import annotations

from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 2},
    "rslora": {"rank": 2, "rslora": True},
    "dora": {"rank": 2, "dora": True},
    "gaussian": {"rank": 2, "init": "gaussian"},
    "pissa": {"rank": 2, "init": "pissa"},
    "olora": {"rank": 2, "init": "olora"},
    "eva": {"rank": 2, "init": "eva"},
    "loftq": {"rank": 2, "init": "loftq"},
    "patterns": {"rank": 2, "rank_pattern": "q_proj=3", "alpha_pattern": "q_proj=7"},
    "bias": {"rank": 2, "bias": "all"},
    "norms": {"rank": 2, "norms": True},
    "adalora": {"method": "adalora", "rank": 2},
    "ia3": {"method": "ia3"},
    "prefix": {"method": "prefix", "virtual_tokens": 3},
    "prompt": {"method": "prompt", "virtual_tokens": 3},
    "houlsby": {"method": "houlsby", "rank": 2},
    "adapter-l": {"method": "adapter-l", "rank": 2},
    "bitfit": {"method": "bitfit"},
    "full": {"method": "full"},
}


def on(name: str, module: str) -> dict[str, Any]:
    """The flags of a variant; its patterns name this module."""
    flags = dict(VARIANTS[name])
    for pattern in ("rank_pattern", "alpha_pattern"):
        if pattern in flags:
            flags[pattern] = flags[pattern].replace("q_proj", module)
    return flags
