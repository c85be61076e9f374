"""Folder number n: always the same valid folder with the same one to three mutations.

Each kind comes first in some folder, in turn; the others of a folder are drawn.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import places, texts, weights  # noqa: F401 (they register their kinds)
from .good import make
from .scene import KINDS, Scene

#: What is made hostile, by the last digit of the number.
PLACES = ["adapter"] * 5 + ["base"] * 4 + ["data"]
SOURCES = {"adapter": "adapters", "base": "bases", "data": "data"}
#: Kinds that stand for many values come first more often than the others.
WIDE = ("field_of_another_type", "nested_value_of_another_type", "tensors_of_another_kind")


@dataclass(frozen=True)
class Made:
    """A hostile folder: what it was, and the kinds of mutation that were applied, in order."""

    number: int
    place: str
    source: str
    folder: Path
    kinds: tuple[str, ...]


def prepare(work: Path) -> None:
    """The valid folders, and the places that links lead to; made once."""
    make(work / "good")
    for name in ("outside", "own", "out", "tmp", "folders"):
        (work / name).mkdir()
    shutil.copy(
        work / "good" / "bases" / "llama" / "model.safetensors",
        work / "outside" / "secret.safetensors",
    )


def first_kind(number: int) -> str:
    place = PLACES[number % 10]
    turn = number // 10 * PLACES.count(place) + PLACES[: number % 10].count(place)
    names = sorted(KINDS[place]) + [name for name in WIDE if name in KINDS[place]] * 2
    random.Random(place).shuffle(names)
    return names[turn % len(names)]


def generate(number: int, work: Path) -> Made:
    rng, place = random.Random(number), PLACES[number % 10]
    pool = KINDS[place]
    kinds = [first_kind(number), *rng.sample(sorted(pool), rng.choice([0, 0, 1, 2]))]
    sources = sorted((work / "good" / SOURCES[place]).iterdir())
    folder = work / "folders" / str(number) / "x"
    while True:
        # Not each kind suits each folder: a card's kind needs a card.
        source = rng.choice(sources)
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(source, folder)
        if applied := _apply(kinds[:1], Scene(folder, work, rng)):
            break
    applied += _apply(kinds[1:], Scene(folder, work, rng))
    return Made(number, place, source.name, folder, tuple(applied))


def valid(work: Path) -> list[Made]:
    """One valid folder of each sort, copied."""
    made = []
    for place, name in (
        ("adapter", "lora"),
        ("base", "gpt2"),
        ("base", "bert"),
        ("data", "rows.csv"),
    ):
        folder = work / "folders" / "valid" / name
        shutil.copytree(work / "good" / SOURCES[place] / name, folder, dirs_exist_ok=True)
        made.append(Made(-1, place, name, folder, ()))
    return made


def _apply(kinds: list[str], scene: Scene) -> list[str]:
    applied = []
    for name in kinds:
        functions = {key: function for pool in KINDS.values() for key, function in pool.items()}
        try:
            functions[name](scene)
        except Exception:  # noqa: BLE001 (an earlier mutation broke what this one reads)
            continue
        applied.append(name)
    return applied
