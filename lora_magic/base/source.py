"""The weights that a base was read from, one at a time, from its own safetensors files.

Knows folders, the hub's cache on this machine, and transformers' names for what files call
otherwise; reads one tensor and no more. Downloads nothing; knows no adapter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lora_magic.errors import BaseModelError, sentence

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Source:
    """The folder that a base was read from: its own, or the hub's snapshot of it here."""

    place: str

    @classmethod
    def of(cls, place: str) -> Source:
        """That of a base just read from a folder or a hub id.

        Asked then, since the snapshot that a hub id stands for changes with the next download.
        """
        from huggingface_hub import try_to_load_from_cache

        if Path(place).is_dir():
            return cls(place)
        config = try_to_load_from_cache(place, "config.json")
        return cls(str(Path(config).parent) if isinstance(config, str) else place)

    def read(self, model: nn.Module, names: Sequence[str]) -> Tensor:
        """The tensor that was read into a parameter of the model, as it is stored, on the CPU.

        `names` are the parameter's names in the model: several where it is tied, of which the
        files hold one. Raises `BaseModelError` when the files are gone, hold none of these, or
        cannot be read.
        """
        try:
            files = self._files()
            key = _key(model, names, files)
            if key is None:
                raise BaseModelError(
                    f"{self.place}: its files hold nothing called {names[0]}; they may have been "
                    "changed or merged since it was saved, or were cleared from the cache: load "
                    "the base again with --replace."
                )
            with safe_open(files[key], framework="pt") as opened:
                found: Tensor = opened.get_tensor(key)
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise BaseModelError(
                f"{self.place}: {names[0]} cannot be read again ({sentence(error)}); bring the "
                "files back, or load the base again with --replace."
            ) from error
        return found

    def _files(self) -> dict[str, Path]:
        """Every key of the files, and which file holds it."""
        index = self._file(_INDEX)
        if index is not None:
            told: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            files = {name: self._file(name) or Path(self.place, name) for name in told.values()}
            return {key: files[name] for key, name in told.items()}
        whole = self._file(_WEIGHTS)
        if whole is None:
            return {}
        with safe_open(whole, framework="pt") as opened:
            return dict.fromkeys(opened.keys(), whole)

    def _file(self, name: str) -> Path | None:
        file = Path(self.place, name)
        return file if file.is_file() else None


def _key(model: Any, names: Sequence[str], keys: Mapping[str, Path]) -> str | None:
    """What the files call a parameter: the same, with or without the body's prefix (a checkpoint
    of the body alone has none), or a name that transformers changes when it reads."""
    prefix = str(getattr(model, "base_model_prefix", ""))
    for name in names:
        for called in (name, name.removeprefix(f"{prefix}."), f"{prefix}.{name}"):
            if called in keys:
                return called
    return next((key for key, called in _renamed(model, keys, names) if called in names), None)


def _renamed(model: Any, keys: Iterable[str], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Keys of files, each with the name that transformers gives to it."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    changes = [c for c in get_model_conversion_mapping(model) if isinstance(c, WeightRenaming)]
    prefix = getattr(model, "base_model_prefix", None)
    wanted = dict.fromkeys(names, True)  # tells whether the prefix is to be added or taken off
    for key in keys:
        yield key, str(rename_source_key(key, changes, [], prefix, wanted)[0])
