"""A snapshot of a run as JSON values and named tensors, and back: files are data, never programs.

What is read may be from a stranger: each value is checked against the type of the field that it is
for, and each state against the run's own. Fields that `Progress`, `Snapshot` or another record gets
later are carried too. Knows records, tensors and JSON values; knows no file and no model.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from lora_magic.base.restore import generators, restoring
from lora_magic.checks import is_number, is_whole

from . import inside
from .progress import Best, Progress, Snapshot

#: JSON has no tuples, no tensors, only text as keys, and ours no infinity: objects of one of these
#: keys hold them.
_TUPLE, _TENSOR, _DICT, _FLOAT = "!tuple", "!tensor", "!dict", "!float"
_INFINITE = ("inf", "-inf", "nan")

Record = TypeVar("Record")


class Keeper(Protocol):
    """Stores snapshots of a run; it makes one only if it stores it."""

    def between_steps(self, snapshot: Callable[[], Snapshot]) -> None:
        """After a step, if another one follows."""

    def stopped(self, snapshot: Callable[[], Snapshot]) -> None:
        """After the last finished step of a run that the user stopped."""


def packed(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """JSON values for a record, a container, a number, a text or a tensor.

    Tensors go into `tensors` by their place in `value`. An array becomes a list.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Tensor):
        tensors[name] = value.contiguous()
        return {_TENSOR: name}
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        inner = {key: packed(found, tensors, f"{name}.{key}") for key, found in value.items()}
        if all(isinstance(key, str) and key[:1] != "!" for key in inner):
            return inner
        return {_DICT: [[key, found] for key, found in inner.items()]}
    if isinstance(value, list | tuple):
        items = [packed(found, tensors, f"{name}.{at}") for at, found in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if is_whole(value):
        return int(value)
    if is_number(value):
        return float(value) if math.isfinite(value) else {_FLOAT: str(float(value))}
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ValueError(f"{name.strip('.')} cannot be written: {value!r:.40}")


def record(kind: type[Record], found: Any, tensors: Mapping[str, Tensor]) -> Record:
    """The record `kind` from what `packed` made of one.

    Raises `ValueError` for a field that is missing, unknown or of another type.
    """
    value: Record = _typed(kind, _plain(found, tensors), "")
    return value


def _plain(found: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Values without the keys that stand for tuples, tensors and dicts."""
    if isinstance(found, list):
        return [_plain(item, tensors) for item in found]
    if not isinstance(found, dict):
        return found
    if len(found) == 1 and next(iter(found))[:1] == "!":
        ((key, inner),) = found.items()
        if key == _TENSOR and isinstance(inner, str) and inner in tensors:
            return tensors[inner]
        if key == _TUPLE and isinstance(inner, list):
            return tuple(_plain(item, tensors) for item in inner)
        if key == _FLOAT and inner in _INFINITE:
            return float(inner)
        pairs = isinstance(inner, list) and all(_is_pair(pair) for pair in inner)
        if key == _DICT and pairs:
            return {pair[0]: _plain(pair[1], tensors) for pair in inner}
        raise ValueError(f"{key}: no such value")
    return {key: _plain(inner, tensors) for key, inner in found.items()}


def _is_pair(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 2 and isinstance(found[0], int | str)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(hint: Any, value: Any, name: str) -> Any:
    """The value of a hint: records are made, a list is a tuple where one is expected."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        return _of_union(parts, value, name)
    if is_dataclass(kind):
        return _made(kind, value, name)
    if kind in (list, tuple) and isinstance(value, list | tuple):
        return kind(_items(kind, parts, value, name))
    if kind is dict and isinstance(value, dict):
        keys, values = parts or (Any, Any)
        return {_typed(keys, k, name): _typed(values, v, f"{name}.{k}") for k, v in value.items()}
    if hint is Any or _is_of(kind, value):
        return value
    raise ValueError(f"{name.strip('.') or 'file'}: unexpected {type(value).__name__}")


def _of_union(parts: Sequence[Any], value: Any, name: str) -> Any:
    if value is None and type(None) in parts:
        return None
    told = ValueError(f"{name.strip('.')}: unexpected {type(value).__name__}")
    for part in parts:
        if part is not type(None):
            try:
                return _typed(part, value, name)
            except ValueError as error:
                told = error
    raise told


def _items(kind: type, parts: Sequence[Any], value: Sequence[Any], name: str) -> Iterator[Any]:
    each: Sequence[Any] = [parts[0] if parts else Any] * len(value)
    if kind is tuple and parts and parts[-1] is not Ellipsis:
        each = parts
    if len(each) != len(value):
        raise ValueError(f"{name.strip('.')}: {len(value)} values, expected {len(each)}")
    for at, (part, item) in enumerate(zip(each, value, strict=True)):
        yield _typed(part, item, f"{name}.{at}")


def _made(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{name.strip('.') or 'file'}: unexpected {type(value).__name__}")
    known = {field.name: field for field in fields(kind)}
    odd = [f"unknown field {str(key)[:40]!r}" for key in value if key not in known]
    for field in known.values():
        needed = field.default is MISSING and field.default_factory is MISSING
        odd += [f"{field.name} is missing"] * (needed and field.name not in value)
    if odd:
        raise ValueError("; ".join(odd[:5]))
    hints = _hints(kind)
    return kind(**{key: _typed(hints[key], v, f"{name}.{key}") for key, v in value.items()})


def _is_of(kind: Any, value: Any) -> bool:
    if kind is float:
        return is_number(value)
    if kind is int:
        return is_whole(value) and abs(value) < 2**63
    # Half of a surrogate pair could not be shown, nor written again.
    printable = not isinstance(value, str) or not any("\ud800" <= c <= "\udfff" for c in value)
    return isinstance(kind, type) and isinstance(value, kind) and printable


# Does a snapshot belong to a run?


def check(
    start: Snapshot,
    trained: Sequence[Tensor],
    steps: int,
    *,
    passes: int,
    pairs: int,
    decisive: bool,
) -> None:
    """Raise `ValueError` if a run of so many steps over these parameters cannot be at this point.

    A step takes at most `passes`; `pairs` have references; only if the held-out loss is `decisive`
    are there best weights. The states of the optimizer and of the hooks are checked by those.
    """
    done = start.progress.steps
    if start.total != steps or not 0 < done < steps:
        raise ValueError(f"it is at step {done} of {start.total}, and the run has {steps}")
    if not all(map(math.isfinite, start.progress.losses)):
        raise ValueError("a loss is not finite")
    if not all(0 <= step <= done for step, _ in start.progress.measurements):
        raise ValueError(f"a measurement is not of its first {done} steps")
    similar([p.detach() for p in trained], list(start.weights), "weights")
    if not all(bool(value.isfinite().all()) for value in start.weights):
        raise ValueError("a weight is not finite")
    _check_measured(start.progress, passes, pairs)
    inside.check(start.progress.inside, done)
    if start.progress.best is not None:
        _check_best(start.progress.best, start.progress, trained, decisive)
    if start.progress.generators is None:
        raise ValueError("generators are missing")
    with restoring(generators()):
        try:
            start.progress.generators.restore()
        except (TypeError, ValueError, RuntimeError, LookupError, OverflowError) as error:
            raise ValueError(f"generators: {str(error)[:80]}") from None


def _check_measured(so_far: Progress, passes: int, pairs: int) -> None:
    if not 0 <= so_far.passes <= passes:
        raise ValueError(f"{so_far.passes} passes of {passes} rows")
    if len(so_far.reference) != pairs:
        raise ValueError(f"{len(so_far.reference)} references of {pairs}")
    numbers = [*so_far.reference, so_far.seconds, so_far.measuring]
    counts = (so_far.tokens, so_far.peak, so_far.largest)
    if not all(map(math.isfinite, numbers)) or min(*numbers[pairs:], *counts) < 0:
        raise ValueError("a reference, a time or a count is not possible")


def _check_best(best: Best, so_far: Progress, trained: Sequence[Tensor], decisive: bool) -> None:
    found = so_far.measured(best.step)
    if not decisive or best.step < 1 or found is None or found.loss != best.loss:
        raise ValueError(f"step {best.step} cannot be the best one")
    similar([p.detach() for p in trained], list(best.weights), "best weights")
    if not all(bool(value.isfinite().all()) for value in best.weights):
        raise ValueError("a weight of the best step is not finite")


def similar(expected: Any, found: Any, name: str) -> None:
    """Raise `ValueError` unless keys, lengths, shapes and types agree; values may differ."""
    _compare(expected, found, name, values=False)


def same(expected: Any, found: Any, name: str) -> None:
    """Raise `ValueError` unless all values agree too."""
    _compare(expected, found, name, values=True)


def _compare(expected: Any, found: Any, name: str, values: bool) -> None:
    if isinstance(expected, Tensor) and isinstance(found, Tensor):
        one, other = (f"{tuple(t.shape)} {t.dtype}" for t in (expected, found))
        if one != other:
            raise ValueError(f"{name}: {other}, expected {one}".replace("torch.", ""))
        return
    if isinstance(expected, dict) and isinstance(found, dict):
        if expected.keys() != found.keys():
            raise ValueError(f"{name}: other fields")
        for key, value in expected.items():
            _compare(value, found[key], f"{name} {key}", values)
        return
    if type(expected) in (list, tuple) and type(found) is type(expected):
        if len(expected) != len(found):
            raise ValueError(f"{name}: {len(found)} values, expected {len(expected)}")
        for one, other in zip(expected, found, strict=True):
            _compare(one, other, name, values)
        return
    alike = type(found) is type(expected) or (is_number(found) and is_number(expected))
    if not alike or (values and found != expected):
        raise ValueError(f"{name}: {found!r:.40}, expected {expected!r:.40}")
