"""From the flags of `attach` to a spec: what is not given comes from the base's recipe.

Knows the table of methods, aliases and recipes; makes no adapter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lora_magic.adapters.methods import ALIASES, METHODS, method_of
from lora_magic.adapters.spec import (
    INITS,
    PRESETS,
    USUAL,
    AdapterSpec,
    flag_of,
    pattern_of,
    seed_of,
)
from lora_magic.adapters.targets import canonical
from lora_magic.base.recipe import Recipe
from lora_magic.errors import AdapterError, near

#: Virtual tokens of a prefix or prompt, unless given.
VIRTUAL_TOKENS = 10


def resolve_spec(name: str, recipe: Recipe, flags: dict[str, Any]) -> AdapterSpec:
    """The spec that the flags of `attach NAME` ask for; None stands for a flag not given.

    `method` may be an alias (`dora` is LoRA with that flag). Raises `AdapterError`.
    """
    given = {key: _in_our_case(key, value) for key, value in flags.items() if value is not None}
    given = _without_aliases(given)
    purpose = _purpose(given.pop("for_", None))
    method = method_of(given.get("method", "lora"))
    for flag, kind in (("rank_pattern", int), ("alpha_pattern", float)):
        if flag in given:
            given[flag] = pattern_of(given[flag], flag_of(flag), kind)
    if "targets" in given:
        given["targets"] = canonical(given["targets"])
    own_targets = recipe.targets if method.name in ("lora", "adalora") else USUAL
    defaults: dict[str, Any] = {
        "rank": recipe.rank,
        "alpha": recipe.alpha,
        "targets": own_targets,
        "virtual_tokens": VIRTUAL_TOKENS,
        "seed": seed_of(name),
    }
    if purpose is not None:
        rank, alpha, targets = purpose
        defaults |= {"rank": rank, "alpha": alpha, "targets": targets or own_targets}
    read = {key: value for key, value in defaults.items() if method.reads(key)}
    return AdapterSpec(**{**read, **given})


def _in_our_case(flag: str, value: Any) -> Any:
    """Methods and starts in small letters: people type LoRA and PiSSA, as the papers do."""
    known = {"method": (*METHODS, *ALIASES), "init": INITS}.get(flag, ())
    return value.lower() if isinstance(value, str) and value.lower() in known else value


def _without_aliases(given: dict[str, Any]) -> dict[str, Any]:
    told = given.get("method")
    if not isinstance(told, str) or told not in ALIASES:
        return given
    meant = ALIASES[told]
    odd = [
        key for key, value in meant.items() if key != "method" and given.get(key, value) != value
    ]
    if odd:
        raise AdapterError(
            f"--method {told} means --{flag_of(odd[0])} {meant[odd[0]]}, and {given[odd[0]]!r} is "
            "given besides; keep one of the two."
        )
    return {**given, **meant}


def _purpose(name: Any) -> tuple[int, float, str | None] | None:
    if name is None:
        return None
    if name not in PRESETS:
        raise AdapterError(
            f"--for {name}: expected one of {', '.join(PRESETS)}.{near(str(name), PRESETS)}"
        )
    return PRESETS[name]


def parts_of(asked: str) -> Sequence[tuple[float, str]] | None:
    """`a=0.7,b=0.3` as weights and names; None for a plain name.

    Raises `AdapterError` for a weight that is no number.
    """
    if "=" not in asked and "," not in asked:
        return None
    parts = []
    for part in asked.split(","):
        name, equals, weight = part.strip().partition("=")
        try:
            found = float(weight) if equals else 1.0
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise AdapterError(
                f"weight {weight!r} of {name}: expected a number, as in %lora swap a=0.7,b=0.3"
            )
        parts.append((found, name.strip()))
    if len({name for _, name in parts}) < len(parts):
        raise AdapterError(f"{asked}: an adapter is named twice; give it one weight.")
    return parts
