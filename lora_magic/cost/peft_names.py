"""What PEFT says of an architecture by name: which modules (IA)³ scales, which it does not adapt.

Read from PEFT's files without importing it, since that imports torch. Knows no module's code.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from lora_magic.adapters.shapes import LINEAR, ModuleShape

_TABLE = re.compile(
    r"^TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING[^=\n]*= (\{.*?^\})", re.M | re.S
)

#: Model types whose kernels bypass `out_proj`, so PEFT refuses it.
_MAMBA = frozenset(["falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"])

#: Model types in which PEFT reads names of linear layers as those of the experts' parameters.
_FUSED = frozenset(["deepseek_v3", "olmoe", "qwen3_moe"])
_OF_EXPERTS = ("gate_proj", "up_proj", "down_proj")


def scaled(model_type: str) -> tuple[str, ...]:
    """The modules that (IA)³ scales by PEFT's table, empty if it has none."""
    return tuple(_table().get(model_type, ()))


@cache
def _table() -> dict[str, Any]:
    import ast

    found = importlib.util.find_spec("peft")
    if found is None or not found.submodule_search_locations:
        return {}
    file = Path(found.submodule_search_locations[0], "utils", "constants.py")
    table = _TABLE.search(file.read_text(encoding="utf-8")) if file.is_file() else None
    return {} if table is None else dict(ast.literal_eval(table[1]))


def refused(model_type: str, modules: Iterable[ModuleShape]) -> dict[str, str]:
    """Those of the names of linear layers that PEFT does not adapt, and why."""
    names = ("out_proj",) if model_type in _MAMBA else _OF_EXPERTS
    if model_type not in _MAMBA | _FUSED:
        return {}
    why = (
        "its kernels bypass the layer"
        if model_type in _MAMBA
        else "it reads the name as a parameter of the experts"
    )
    there = {m.path.rpartition(".")[2] for m in modules if m.kind == LINEAR}
    return {
        name: f"PEFT cannot adapt {name!r} in this architecture ({why})"
        for name in names
        if name in there
    }
