"""A plan: what a model, an adapter and a run cost, and whether they fit.

Knows the parts that the files beside it compute; knows no session.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from lora_magic.adapters.spec import AdapterSpec
from lora_magic.frames import frame
from lora_magic.numbers import count, size
from lora_magic.printable import one_line

from .memory import Memory
from .setting import Setting

if TYPE_CHECKING:
    from pandas import DataFrame

#: What lines to type call a model that was given as an object.
OBJECT = "model"


class TypeCount(NamedTuple):
    """All modules of one kind: `q_proj`, how many, their d and k (0 if they differ), parameters."""

    kind: str
    modules: int
    outputs: int
    inputs: int
    parameters: int
    trained: int


class Way(NamedTuple):
    """One way of using the model: "inference", "LoRA", "QLoRA", "full fine-tuning" or the like.

    `trained` are its trainable parameters; `fits` is None where the memory here is not known;
    `rows` and `length` are the largest that fit with the other as it is, 0 if nothing fits;
    `flops` are those of all tokens, `hours` and `price` on `cards` cards, None if unknown.
    `refused` is why this way is impossible, "" if it is not; the other fields are then 0.
    """

    name: str
    setting: Setting
    memory: Memory
    trained: int = 0
    fits: bool | None = None
    rows: int = 0
    length: int = 0
    cards: int | None = None
    flops: float = 0.0
    hours: float | None = None
    price: float | None = None
    refused: str = ""


class Row(NamedTuple):
    """One question beside "does it fit", its answer, and the line to type."""

    question: str
    answer: str
    command: str = ""


@dataclass(frozen=True)
class CostPlan:
    """What `plan` found.

    `chosen` is the name of the way that the flags ask for. `where` names the card or the machine,
    `room` is its free memory in bytes, None if it is not known.
    `advice` is the first change that makes the adapter's way fit, and `command` the line to type.
    `checkpoint` is the size of one saved adapter in bytes, `stored` that of `tasks` adapters with
    one base, and `copies` that of as many whole models.
    """

    model: str
    base_parameters: int
    active_parameters: int
    spec: AdapterSpec
    trainable_parameters: int
    types: tuple[TypeCount, ...] = ()
    ways: tuple[Way, ...] = ()
    chosen: str = ""
    where: str = ""
    room: int | None = None
    advice: str = ""
    command: str = ""
    tokens: float = 0.0
    tasks: int = 0
    checkpoint: int = 0
    stored: int = 0
    copies: int = 0
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The answer in one line."""
        trained, base = self.trainable_parameters, self.base_parameters
        told = f"{self.model}: {trained:,} of {base:,} parameters trained"
        way = next((way for way in self.ways if way.name == self.chosen), None)
        return told if way is None else f"{told}; {way.name}: {self._answer(way)}"

    def _answer(self, way: Way) -> str:
        """`5.9 GB, which fits on this CPU with up to 12 rows of 1,024 tokens in a pass`."""
        if way.refused:
            return f"not possible, {way.refused}"
        needed = size(way.memory.peak)
        if way.fits is None:
            return needed
        if not way.fits:
            return f"{needed}, which does not fit on {self.where} ({size(self.room)} free)"
        most = f"{count(way.rows)} row{'s' * (way.rows != 1)} of {count(way.setting.length)} tokens"
        return f"{needed}, which fits on {self.where} with up to {most} in a pass"

    def called(self, name: str) -> CostPlan:
        """This plan of an object, with lines to type for what the notebook calls it."""

        def line(command: str) -> str:
            return command.replace(f"%lora plan {OBJECT}", f"%lora plan {name}", 1)

        rows = tuple(Row(row.question, row.answer, line(row.command)) for row in self.rows)
        return replace(self, command=line(self.command), rows=rows)

    def __repr__(self) -> str:
        return one_line(self.line)

    def to_frame(self) -> DataFrame:
        """One row per way and part of its memory: way, part, bytes."""
        rows = [(way.name, part, size) for way in self.ways for part, size in way.memory.parts]
        return frame(rows, ["way", "part", "bytes"])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        from lora_magic.views import plan

        return plan.bundle(self)
