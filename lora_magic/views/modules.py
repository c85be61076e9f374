"""Modules by their paths: short names, the layer of each, and the grid of layers and kinds.

Knows paths; does not know what is measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Rows = Sequence[Mapping[str, object]]
NUMBER = re.compile(r"(?:^|(?<=\.))\d+(?=\.|$)")
#: The column of modules that belong to no layer.
NO_LAYER = "–"


def projections(paths: Sequence[str]) -> dict[str, str]:
    """The shortest name for each module's kind: q_proj, or attention.dense if dense is ambiguous.

    Two modules are of one kind if their paths differ only in their numbers.
    """
    kinds = {path: NUMBER.sub("*", path) for path in paths}
    different = sorted(set(kinds.values()))
    names = {kind: _suffix(kind, different) for kind in different}
    return {path: names[kind] for path, kind in kinds.items()}


def layer(path: str) -> str:
    """The numbers of a path: 3 for model.layers.3.self_attn.q_proj."""
    return ".".join(NUMBER.findall(path))


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The numbers and the kind of each path: 3.q_proj for model.layers.3.self_attn.q_proj.

    Names are unique, since paths of one kind differ in their numbers.
    """
    kinds = projections(paths)
    return {path: ".".join(filter(None, (layer(path), kinds[path]))) for path in paths}


def by_projection(summary: Rows) -> dict[tuple[str, str], list[Mapping[str, object]]]:
    """The summary's rows of each adapter and projection."""
    names = projections([str(row["module"]) for row in summary])
    groups: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for row in summary:
        groups.setdefault((str(row["adapter"]), names[str(row["module"])]), []).append(row)
    return groups


def _suffix(kind: str, kinds: Sequence[str]) -> str:
    parts = kind.split(".")
    for length in range(1, len(parts) + 1):
        tail = parts[-length:]
        named = any(part != "*" for part in tail)
        if named and sum(other.split(".")[-length:] == tail for other in kinds) == 1:
            return ".".join(tail)
    return kind


def in_order(numbers: str) -> tuple[list[int], str]:
    """The key that sorts layers: 2 before 10, and what has no number last."""
    found = [int(part) for part in NUMBER.findall(numbers)]
    return (found, numbers) if found else ([10**9], numbers)


def grid(paths: Sequence[str]) -> tuple[list[str], list[str], dict[str, tuple[int, int]]]:
    """Kinds, layers, and the place of each module: (kind, layer) from 0.

    A layer is the first number of a path, or the first two where every kind has two that vary, as
    in models with stages. Other numbers, as those of experts, are left out: such modules share a
    place.
    """
    kinds = projections(paths)
    numbers: dict[str, list[list[str]]] = {}
    for path in paths:
        numbers.setdefault(kinds[path], []).append(NUMBER.findall(path))
    kept = {
        kind: [n for n, one in enumerate(zip(*found, strict=True)) if not n or len(set(one)) > 1]
        for kind, found in numbers.items()
    }
    depth = min((len(places) for places in kept.values() if places), default=0)

    def column(path: str) -> str:
        found = NUMBER.findall(path)
        return ".".join(found[n] for n in kept[kinds[path]][:depth]) or NO_LAYER

    rows = list(dict.fromkeys(kinds[path] for path in paths))
    columns = sorted({column(path) for path in paths}, key=in_order)
    places = {path: (rows.index(kinds[path]), columns.index(column(path))) for path in paths}
    return rows, columns, places
