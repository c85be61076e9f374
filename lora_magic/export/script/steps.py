"""How an adapter was made, step by step: what `script` writes down.

Kept with the adapter, and no tensor in it. Knows records; knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_magic.adapters.files import Mark
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Row
from lora_magic.training.spec import TrainSpec


@dataclass(frozen=True, eq=False)
class Trained:
    """One run of `train`.

    `settings` are as the run used them; `rows` as they were read, `held_out` those of `--eval`, if
    these are other rows. `continued` says that it began from the adapter's state then, not from the
    initial one. `steps` are those whose weights were kept, of `planned`. `other` has what else the
    result depends on (a guard's rows that were replayed, ...), by name.
    """

    spec: AdapterSpec
    settings: TrainSpec
    form: PromptForm | None
    rows: Sequence[Row]
    held_out: Sequence[Row] | None
    continued: bool
    steps: int
    planned: int
    data_hash: str
    other: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Blended:
    """A blend: its parts, each with its weight, its name and how it was made itself."""

    parts: tuple[tuple[float, str, tuple[Any, ...]], ...]
    method: str
    rank: int | None
    density: float | None
    seed: int | None


@dataclass(frozen=True, eq=False)
class Compressed:
    """A compression: the adapter it began with, how that was made, and the flags.

    With `intruders` these were reduced, and the rank stayed.
    """

    parent: str
    made: tuple[Any, ...]
    rank: int | None
    energy: float | None
    budget: int | None
    intruders: bool = False


@dataclass(frozen=True, eq=False)
class Opened:
    """An adapter that was read, with its spec.

    `source` is a folder, whose files were then as `mark` says, or a hub id without a mark; it is ""
    for an adapter that was inside a PeftModel.
    """

    source: str
    spec: AdapterSpec
    mark: Mark | None = None
