"""Turns the flags of `attach` into a spec; the base's recipe gives the defaults.

Knows the table of methods, aliases and recipes; makes no adapter and imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lora_magic.adapters.methods import ALIASES, METHODS, method_of
from lora_magic.adapters.presets import PRESETS, VIRTUAL_TOKENS
from lora_magic.adapters.spec import (
    INITS,
    USUAL,
    AdapterSpec,
    flag_of,
    pattern_of,
    seed_of,
)
from lora_magic.adapters.targets import canonical
from lora_magic.base import DEMO
from lora_magic.base.recipe import Recipe, embedded, recipe_for
from lora_magic.cost.config import model_of
from lora_magic.cost.count import ParameterCount, count_of
from lora_magic.errors import AdapterError, near


def resolve_spec(name: str, recipe: Recipe, flags: dict[str, Any]) -> AdapterSpec:
    """The spec for the flags of `attach NAME`; a flag that is None was not given.

    `method` may be an alias (`dora` is LoRA with that flag). Raises `AdapterError`.
    """
    given = {key: _lower(key, value) for key, value in flags.items() if value is not None}
    given = _without_aliases(given)
    preset = _preset(given.pop("for_", None))
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
    if preset is not None:
        rank, alpha, targets = preset
        defaults |= {"rank": rank, "alpha": alpha, "targets": targets or own_targets}
    read = {key: value for key, value in defaults.items() if method.reads(key)}
    return AdapterSpec(**{**read, **given})


def on_model(given: object, name: str | None, flags: dict[str, Any]) -> ParameterCount:
    """The counts of the adapter that these flags would make on a model that is not loaded."""
    if name is not None:
        raise AdapterError(
            f"--model is a model without adapters, so omit {name}; type: %lora ratio --model "
            "gpt3-175b --rank 4"
        )
    model = model_of(given)
    recipe = embedded() if given == DEMO else recipe_for(model.parameters)
    return count_of(model, resolve_spec("plan", recipe, flags))


def _lower(flag: str, value: Any) -> Any:
    """Methods and inits in lower case: people type LoRA and PiSSA, as the papers do."""
    known = {"method": (*METHODS, *ALIASES), "init": INITS}.get(flag, ())
    return value.lower() if isinstance(value, str) and value.lower() in known else value


def _without_aliases(given: dict[str, Any]) -> dict[str, Any]:
    alias = given.get("method")
    if not isinstance(alias, str) or alias not in ALIASES:
        return given
    flags = ALIASES[alias]
    for key, value in flags.items():
        if key != "method" and given.get(key, value) != value:
            raise AdapterError(
                f"--method {alias} means --{flag_of(key)} {value}, not {given[key]!r}; omit one of "
                "the two."
            )
    return {**given, **flags}


def _preset(name: Any) -> tuple[int, float, str | None] | None:
    if name is None:
        return None
    if name not in PRESETS:
        raise AdapterError(
            f"--for {name}: expected one of {', '.join(PRESETS)}.{near(str(name), PRESETS)}"
        )
    return PRESETS[name]


def parts_of(text: str, typed: str = "%lora swap") -> Sequence[tuple[float, str]] | None:
    """`a=0.7,b=0.3` as weights and names; None for a plain name. `typed` is what comes before it.

    Raises `AdapterError` for a weight that is not a number, and for a name that is blank or occurs
    twice.
    """
    if "=" not in text and "," not in text:
        return None
    parts = []
    for part in text.split(","):
        name, equals, number = part.strip().partition("=")
        if not name.strip():
            raise AdapterError(
                f"{typed} {text}: a name is blank; expected names with weights, as in {typed} "
                "a=0.7,b=0.3"
            )
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight):
            raise AdapterError(
                f"weight {number!r} of {name}: expected a number, as in {typed} a=0.7,b=0.3"
            )
        parts.append((weight, name.strip()))
    if len({name for _, name in parts}) < len(parts):
        raise AdapterError(f"{text}: an adapter is named twice; give it one weight.")
    return parts
