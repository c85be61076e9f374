"""What a mutation works with: a scene, the register of kinds, and the hostile values.

A kind is a small function of a `Scene`, registered for adapters, bases or data files, that makes a
valid folder hostile in one way. A kind that does not suit a folder raises anything; the generator
then leaves it out. Knows no kind.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVIL = "x\n\x1b]0;owned\x07\x1b[31mred\u202e\u2066\u2028\x85\x00\ud800"
NAME = EVIL.translate({0: None, 0xD800: None}) + "/y"
#: Exponential in Python's `re` on any module path.
SLOW = r"((\w|\.)+)+!"
CONFIG, CARD, WEIGHTS = "adapter_config.json", "lora_magic.json", "adapter_model.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
JSON_FILES = (CONFIG, CARD, "config.json", "generation_config.json", *TOKENIZER)
INDEX, MODEL = "model.safetensors.index.json", "model.safetensors"

#: JSON text of every wrong type and of absurd sizes.
VALUES = [
    *("null", "[]", "{}", '""', '"x"', "-1", "0", "1", "0.5", "1e308", "1e999", "true", "false"),
    *(str(10**30), "NaN", "-Infinity", "[[]]", "[null]", '["x"]', '{"x": 1}', '{"": null}', "[-1]"),
    *("1" * 5001, "[" * 20000 + "]" * 20000, '{"a":' * 20000 + "1" + "}" * 20000, "2147483648"),
    *(json.dumps("x" * 1_000_000), json.dumps(EVIL), json.dumps([EVIL]), json.dumps({EVIL: EVIL})),
    *('"../../../etc/passwd"', '"__class__"', '"(((("', json.dumps(SLOW), json.dumps({SLOW: 2})),
    *('"{0.__class__}%s%n"', "1000000000", "[1, 2, 3]", '"auto"', '"float8_e4m3fn"', '"nan"'),
]
#: Fields that make a reader load code or do something else than read.
ADDED = json.loads((Path(__file__).parent / "fields.json").read_text())
#: Fields that claim a size.
HUGE = (
    *("r", "rank", "lora_alpha", "num_virtual_tokens", "hidden_size", "vocab_size", "n_embd"),
    *("num_hidden_layers", "n_layer", "num_attention_heads", "intermediate_size", "target_r"),
    *("init_r", "num_layers", "token_dim", "virtual_tokens", "adapter_size", "n_positions"),
    *("max_position_embeddings", "num_transformer_submodules", "parameters", "steps"),
)


CODE = "import os\nos.mkdir({!r})\nclass E: pass\n"


class Payload:
    """Unpickling this creates the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.canary,)


@dataclass(frozen=True)
class Scene:
    """`folder` is mutated.

    In `work`, nothing in outside/ may be read, own/ is where a person's links lead, good/ has the
    valid folders, and canary must never exist.
    """

    folder: Path
    work: Path
    rng: random.Random

    def payload(self) -> bytes:
        return pickle.dumps(Payload(self.work / "canary"))

    def file(self) -> Path:
        """One of the files; the weights and the configs three times as often as the rest."""
        files = sorted(f for f in self.folder.iterdir() if f.is_file() and f.suffix != ".md")
        # A sparse file could neither be copied nor read.
        files = [f for f in files if f.stat().st_size < 1 << 30]
        often = [f for f in files if f.name in (*JSON_FILES, WEIGHTS, MODEL)]
        return self.rng.choice(files + often * 2)

    def json_file(self) -> Path:
        return self.rng.choice([p for n in JSON_FILES if (p := self.folder / n).is_file()])

    def weights(self) -> Path:
        return self.rng.choice(self.all_weights())

    def all_weights(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.safetensors") if path.is_file())

    def replaced(self) -> Path:
        """The path of a file that was removed, for another object in its place."""
        path = self.file()
        shutil.copy(path, self.work / "own" / path.name)
        path.unlink()
        return path


Kind = Callable[[Scene], None]
KINDS: dict[str, dict[str, Kind]] = {"adapter": {}, "base": {}, "data": {}}


def kind(*places: str) -> Callable[[Kind], Kind]:
    def register(function: Kind) -> Kind:
        for place in places:
            KINDS[place][function.__name__] = function
        return function

    return register


everywhere, model, adapter = (
    kind("adapter", "base", "data"),
    kind("adapter", "base"),
    kind("adapter"),
)
base, data = kind("base"), kind("data")


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys = (
        value.keys() if isinstance(value, dict) else range(len(value) if type(value) is list else 0)
    )
    return [place for key in keys for place in [(value, key), *places_in(value[key])]]


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    if not path.is_file():  # a pipe would block
        raise FileNotFoundError(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def put(path: Path, container: Any, key: Any, content: Any, text: str) -> None:
    """Write `content` with JSON text, which need not be valid, in place of one value."""
    container[key] = "\x00here"
    path.write_text(json.dumps(content).replace('"\\u0000here"', text))
