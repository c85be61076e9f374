"""Checks JSON values against the type hints of the record that they are for.

A file can hold anything: text for a number, 10**400 for a loss, half a character for a name. Each
field is checked before a record is made, and all faults are reported at once. Knows types and JSON
values; knows no file and no meaning of a field.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lora_magic.checks import is_number, is_whole

Record = TypeVar("Record")

#: Above these no count, loss or setting of an adapter makes sense, and formatting may fail.
_LARGEST_WHOLE, _LARGEST = 2**63 - 1, 1e300
_DEEPEST = 40

_WORDS: dict[object, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number from 0",
    float: "a number",
    type(None): "null",
    dict: "an object",
    list: "a list",
    tuple: "a list",
}


def record(kind: type[Record], values: object) -> Record:
    """The dataclass `kind` from JSON values, lists as tuples.

    Raises `ValueError` with every fault: an unknown or missing field, a value of another type.
    """
    known = fields(kind)  # type: ignore[arg-type]  # a dataclass
    required = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    found = faults(hints_of(kind), values)  # type: ignore[arg-type]  # classes are hashable
    if isinstance(values, Mapping):
        names = {f.name for f in known}
        found += [f"unknown field {_shown(key)}" for key in values if key not in names]
        found += [f"{name} is missing" for name in required if name not in values]
    if found or not isinstance(values, Mapping):
        raise ValueError("; ".join(found))
    return kind(**{key: _tuples(value) for key, value in values.items()})


def faults(hints: Mapping[str, Any], values: object) -> list[str]:
    """What does not fit the hints; fields without a hint are not judged."""
    if not isinstance(values, Mapping):
        return [f"{_shown(values)}: expected an object"]
    return [
        f"{name} {_shown(values[name])}: expected {_expected(hint)}"
        for name, hint in hints.items()
        if name in values and not fits(values[name], hint)
    ]


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """The type hints of a dataclass by field."""
    return get_type_hints(kind)


def fits(value: object, hint: Any) -> bool:
    """Is a JSON value of this type? A whole number is a number too, a bool is neither."""
    if get_origin(hint) in (Union, types.UnionType):
        return any(fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    kind = get_origin(hint) or hint
    if kind in (list, tuple, dict):
        return _holds(value, kind, get_args(hint))
    if kind is int:
        return is_whole(value) and 0 <= value <= _LARGEST_WHOLE  # type: ignore[operator]  # a number
    if kind is float:
        return is_number(value) and abs(value) <= _LARGEST  # type: ignore[arg-type]  # a number
    if kind is str:
        return isinstance(value, str) and _is_encodable(value)
    if isinstance(kind, type) and kind in (bool, type(None)):
        return isinstance(value, kind)
    return _is_shallow(value, _DEEPEST)


def _holds(value: object, kind: type, parts: tuple[Any, ...]) -> bool:
    """Is it a list or an object whose items fit?"""
    if kind is dict:
        if not isinstance(value, dict) or not _is_shallow(value, _DEEPEST):
            return False
        return not parts or all(fits(k, parts[0]) and fits(v, parts[1]) for k, v in value.items())
    if not isinstance(value, list | tuple):
        return False
    if kind is tuple and parts and parts[-1] is not Ellipsis:
        return len(value) == len(parts) and all(map(fits, value, parts))
    return not parts or all(fits(item, parts[0]) for item in value)


def _is_encodable(text: str) -> bool:
    """Half a surrogate pair cannot be written to any file."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_shallow(value: object, depth: int) -> bool:
    """JSON that is nested deeper could be read, but not written again."""
    if isinstance(value, str):
        return _is_encodable(value)
    if isinstance(value, dict):
        inner = [*value, *value.values()]
    elif isinstance(value, list):
        inner = value
    else:
        return not is_number(value) or abs(value) <= _LARGEST  # type: ignore[arg-type]  # a number
    return depth > 0 and all(_is_shallow(item, depth - 1) for item in inner)


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _expected(hint: Any) -> str:
    parts = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_expected, parts)))
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, parts))}"
    kind = get_origin(hint) or hint
    inner = [part for part in parts if part is not Ellipsis]
    of = f" of {_expected(inner[-1])}" if inner and kind in (list, tuple, dict) else ""
    return _WORDS.get(kind, "an object") + of


def _shown(value: object) -> str:
    """A value for a message, at most 40 characters."""
    if is_whole(value) and abs(value) > _LARGEST_WHOLE:  # type: ignore[arg-type]  # a number
        return "a number of more than 19 digits"
    if not isinstance(value, str | int | float | None):
        kind = "null" if value is None else _WORDS.get(type(value), type(value).__name__)
        text = repr(value) if _is_shallow(value, 3) else kind
    else:
        text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
