"""The formats of `export --to`: what each is for, which flags it reads, and its class.

Knows names; imports torch only with the class of a format.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, cast

from lora_magic.errors import CommandError, ExportError, near

from . import FORMATS, QUANTISATIONS

if TYPE_CHECKING:
    from .job import Format, Options


class Kind(NamedTuple):
    """One format: what it writes, its class, the flags of its own, and whether it merges.

    `engine` is the package that reads it back, if not one that is always there.
    """

    about: str
    module: str
    cls: str
    flags: tuple[str, ...] = ()
    merges: bool = False
    engine: str = ""


KINDS = {
    "merged": Kind("a transformers model with ΔW in its weights", "merged", "Merged", merges=True),
    "peft": Kind("the adapter as servers read it", "adapter_folder", "PeftFolder", ("rank",)),
    "vllm": Kind("the same, checked against vLLM's rules", "vllm", "Vllm", ("rank",)),
    "gguf": Kind(
        "files for llama.cpp and Ollama",
        "gguf.format",
        "Gguf",
        ("quantise", "adapter_only", "rank"),
        merges=True,
        engine="xllamacpp",
    ),
}


def kind_of(name: object) -> Kind:
    """A format by name. Raises `CommandError` for an unknown one, and for none."""
    if isinstance(name, str) and name in KINDS:
        return KINDS[name]
    told = ", ".join(f"{known} ({kind.about})" for known, kind in KINDS.items())
    if name is None:
        raise CommandError(f"export needs a format; add --to and one of {told}.")
    hint = near(name, FORMATS) if isinstance(name, str) else ""
    raise CommandError(f"--to {name}: expected {told}.{hint}")


def format_of(name: str) -> Format:
    """A new object of the format's class."""
    kind = kind_of(name)
    found = import_module(f"{__package__}.{kind.module}")
    return cast("Format", getattr(found, kind.cls)())


def refuse_flags(to: str, options: Options) -> None:
    """Raise `ExportError` for a flag that the format does not read."""
    for flag in _given(options):
        if flag not in KINDS[to].flags:
            readers = " or ".join(
                f"--to {name}" for name, kind in KINDS.items() if flag in kind.flags
            )
            typed = f"--{flag.replace('_', '-')}"
            raise ExportError(f"export --to {to} does not use {typed}; omit it, or use {readers}.")


def refuse_unread(to: str) -> None:
    """Raise `ExportError` if the package that reads a format back is not installed."""
    engine = KINDS[to].engine
    if engine and find_spec(engine) is None:
        raise ExportError(
            f"--to {to} is read back by the package {engine}, which is not installed; type: "
            f'%pip install "lora_magic[{to}]", or add --unchecked'
        )


def check_quantise(word: object) -> None:
    """Raise `CommandError` for a number format that no GGUF file has."""
    if word is not None and word not in QUANTISATIONS:
        raise CommandError(f"--quantise {word}: expected {', '.join(QUANTISATIONS)}.")


def _given(options: Options) -> Iterator[str]:
    for flag in ("quantise", "adapter_only", "rank"):
        if getattr(options, flag) not in (None, False):
            yield flag
