"""The patterns of a config from a file, resolved to module paths as PEFT resolves them.

PEFT matches `target_modules`, `exclude_modules`, `layers_pattern` and the names in `rank_pattern`
and `alpha_pattern` with `re`, which has no time limit. Here they are matched within one, and PEFT
gets escaped paths. Follows PEFT's `check_target_module_exists` and `get_pattern_key`. Knows configs
and module paths.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from torch import nn

from lora_magic.errors import AdapterError
from lora_magic.patterns import PatternError, captured, matching

Found = TypeVar("Found")

#: Seconds for all patterns of one config.
_LIMIT = 2.0

#: PEFT's word for all linear layers, which it resolves itself.
_ALL_LINEAR = "all-linear"

#: A pattern without special characters but the dot of a path.
_PLAIN = re.compile(r"[\w.-]*")


def patterns_of(config: Any, model: nn.Module) -> dict[str, Any]:
    """The fields of a config that hold patterns, resolved; empty if it has none.

    Raises `AdapterError` for a pattern that is invalid or too slow, and if none matches a module.
    """
    if config.target_modules is not None and not config.target_modules:
        raise AdapterError("adapter_config.json: target_modules is empty; expected modules")
    paths = [path for path, _ in model.named_modules() if path]
    end = time.monotonic() + _LIMIT
    found: dict[str, Any] = {}
    if _has_patterns(config, len(paths)):
        found |= _targets(config, paths, end)
    inner = getattr(config, "feedforward_modules", None)
    if isinstance(inner, str):
        found["feedforward_modules"] = _escaped(_matched("feedforward_modules", inner, paths, end))
    for name, usual in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha")):
        values = getattr(config, name, None) or {}
        if all(map(_PLAIN.fullmatch, values)):
            continue
        if config.peft_type == "ADALORA":
            raise AdapterError(
                f"adapter_config.json: {name} of AdaLoRA names {_odd(values)!r}, expected the path "
                "of a tensor"
            )
        found[name] = _by_path(name, values, getattr(config, usual), paths, end)
    return found


def _odd(names: Iterable[str]) -> str:
    """The first name that is a pattern, for a message."""
    return next(name for name in names if not _PLAIN.fullmatch(name))[:60]


def targeted(config: Any, model: nn.Module) -> set[str] | None:
    """The paths that a config's targets name; None where PEFT's own table or keyword does."""
    if config.target_modules is None or _is_keyword(config.target_modules):
        return None
    paths = [path for path, _ in model.named_modules() if path]
    return _chosen(config, paths, time.monotonic() + _LIMIT)


def _is_keyword(targets: object) -> bool:
    return isinstance(targets, str) and targets.lower() == _ALL_LINEAR


def _has_patterns(config: Any, modules: int) -> bool:
    """Would PEFT run a stranger's pattern on each module, or compare it with endless names?"""
    targets, layers = config.target_modules, _layer_patterns(config)
    excluded = getattr(config, "exclude_modules", None)
    if (isinstance(targets, str) and not _is_keyword(targets)) or isinstance(excluded, str):
        return True
    return not all(map(_PLAIN.fullmatch, layers)) or any(
        len(names) > max(modules, 1000) for names in (targets or (), excluded or ())
    )


def _layer_patterns(config: Any) -> list[str]:
    given = getattr(config, "layers_pattern", None) or []
    return [given] if isinstance(given, str) else list(given)


def _targets(config: Any, paths: Sequence[str], end: float) -> dict[str, Any]:
    """`target_modules` and `exclude_modules` with the fields that narrow them."""
    if config.target_modules is None or _is_keyword(config.target_modules):
        if not all(map(_PLAIN.fullmatch, _layer_patterns(config))):
            raise AdapterError("adapter_config.json: layers_pattern needs target_modules there")
        excluded = getattr(config, "exclude_modules", None)
        named = _named_by("exclude_modules", excluded, paths, end)
        return {"exclude_modules": _escaped(named) or None}
    chosen = _chosen(config, paths, end)
    if not chosen:
        raise AdapterError("adapter_config.json: target_modules matches no module of this base")
    resolved = {"target_modules": _escaped(chosen), "exclude_modules": None}
    narrowing = [
        name for name in ("layers_to_transform", "layers_pattern") if hasattr(config, name)
    ]
    return {**resolved, **dict.fromkeys(narrowing)}


def _chosen(config: Any, paths: Sequence[str], end: float) -> set[str]:
    named = _named_by("target_modules", config.target_modules, paths, end)
    excluded = getattr(config, "exclude_modules", None)
    named -= _named_by("exclude_modules", excluded, paths, end)
    layers = getattr(config, "layers_to_transform", None)
    if layers in (None, []) or isinstance(config.target_modules, str):
        return named
    wanted = {layers} if isinstance(layers, int) else set(layers)
    at = _layer_of(_layer_patterns(config), paths, end)
    return {path for path in named if at.get(path) in wanted}


def _escaped(paths: Iterable[str]) -> str:
    """A pattern that matches exactly these paths."""
    return "|".join(re.escape(path) for path in sorted(paths))


def _named_by(field: str, names: Any, paths: Sequence[str], end: float) -> set[str]:
    """The paths that a pattern matches whole, or that a name equals or ends."""
    if isinstance(names, str):
        return set(_matched(field, names, paths, end)) if names else set()
    given = set(names or ())
    return {path for path in paths if any(ending in given for ending in _endings(path))}


def _endings(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[at:]) for at in range(len(parts))]


def _layer_of(patterns: Sequence[str], paths: Sequence[str], end: float) -> dict[str, int]:
    """The index of the layer of each path that has one: by the first pattern that matches."""
    whole = [rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\." for pattern in patterns]
    seen: dict[str, str | None] = {}
    for pattern in whole or [r".*?\.[^.]*\.(?P<idx>\d+)\."]:
        left = [path for path in paths if path not in seen]
        seen |= _told("layers_pattern", pattern, end, partial(captured, texts=left, group="idx"))
    return {path: int(index) for path, index in seen.items() if index is not None}


def _by_path(
    field: str, values: Mapping[str, Any], usual: Any, paths: Sequence[str], end: float
) -> dict[str, Any]:
    """The first value whose name matches, by escaped path.

    PEFT takes the first name that matches the end of a path: longer paths come first, and one that
    ends with another but has no value itself gets the usual one.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        for path in _matched(field, rf"(.*\.)?({name})", paths, end):
            found.setdefault(path, value)
    for path in paths:
        if path not in found and any(ending in found for ending in _endings(path)):
            found[path] = usual
    longest = sorted(found, key=lambda path: (-path.count("."), path))
    return {re.escape(path): found[path] for path in longest}


def _matched(field: str, pattern: str, texts: Iterable[str], end: float) -> list[str]:
    return _told(field, pattern, end, partial(matching, texts=texts))


def _told(field: str, pattern: str, end: float, match: Callable[[str], Found]) -> Found:
    try:
        if time.monotonic() > end:
            raise PatternError(f"all patterns together take more than {_LIMIT:g} s to match")
        return match(pattern)
    except PatternError as error:
        shown = pattern if len(pattern) <= 60 else pattern[:59] + "…"
        raise AdapterError(
            f"adapter_config.json: {field} {shown!r}: {error}; name the modules there instead, for "
            'example ["q_proj", "v_proj"]'
        ) from error
