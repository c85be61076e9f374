"""The safetensors files that a base was loaded from: its original weights, one at a time.

Knows folders, the hub's local cache, and transformers' renaming of keys; reads a single tensor.
Downloads nothing; knows no adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lora_magic.errors import BaseModelError, sentence

from .folder import INDEX, WEIGHTS, shards_by_key


@dataclass(frozen=True)
class WeightFiles:
    """The folder that a base was loaded from: its own, or the hub's local snapshot."""

    folder: str

    @classmethod
    def of(cls, source: str) -> WeightFiles:
        """The files of a base just loaded from a folder or a hub id.

        Call it right after loading: the next download changes the snapshot of a hub id.
        """
        from huggingface_hub import try_to_load_from_cache

        if Path(source).is_dir():
            return cls(source)
        config = try_to_load_from_cache(source, "config.json")
        return cls(str(Path(config).parent) if isinstance(config, str) else source)

    def read(self, model: nn.Module, names: Sequence[str]) -> Tensor:
        """The stored tensor of a parameter of the model, in its stored dtype, on the CPU.

        `names` are the parameter's names in the model: several if it is tied; the files have one of
        them. Raises `BaseModelError` if the files are missing, have none of the names, or cannot be
        read.
        """
        try:
            files = self._files()
            key = _key(model, names, files)
            if key is None:
                raise BaseModelError(
                    f"{self.folder} has no tensor {names[0]}: its files were changed, merged or "
                    "removed after loading. Load the base again with --replace."
                )
            with safe_open(files[key], framework="pt") as opened:
                found: Tensor = opened.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise BaseModelError(
                f"{self.folder}: {names[0]} cannot be read again ({sentence(error)}). Restore the "
                "files, or load the base again with --replace."
            ) from error
        return found

    def _files(self) -> dict[str, Path]:
        """Every key, and the file with its tensor."""
        index, whole = Path(self.folder, INDEX), Path(self.folder, WEIGHTS)
        if not whole.is_file():
            files = shards_by_key(self.folder, index) if index.is_file() else {}
            return {key: Path(self.folder, name) for key, name in files.items()}
        with safe_open(whole, framework="pt") as opened:
            return dict.fromkeys(opened.keys(), whole)


def _key(model: Any, names: Sequence[str], keys: Mapping[str, Path]) -> str | None:
    """A parameter's key in the files: its name, its name with or without the body's prefix (a
    checkpoint of the body has none), or a key that transformers renames to it."""
    prefix = str(getattr(model, "base_model_prefix", ""))
    for name in names:
        for key in (name, name.removeprefix(f"{prefix}."), f"{prefix}.{name}"):
            if key in keys:
                return key
    return next((key for key, name in _renamed(model, keys, names) if name in names), None)


def _renamed(model: Any, keys: Iterable[str], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each key, and the name that transformers gives to it."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    changes = [c for c in get_model_conversion_mapping(model) if isinstance(c, WeightRenaming)]
    prefix = getattr(model, "base_model_prefix", None)
    targets = dict.fromkeys(names, True)  # shows whether to add or remove the prefix
    for key in keys:
        yield key, str(rename_source_key(key, changes, [], prefix, targets)[0])
