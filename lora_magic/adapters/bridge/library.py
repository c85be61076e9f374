"""PEFT itself, imported quietly, and its errors as ours.

Knows PEFT's parts by name; does nothing with them.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

from lora_magic.errors import AdapterError, sentence
from lora_magic.versions import untested

# bitsandbytes, which peft imports, warns of an optional CPU kernel: no concern of the cell's.
_noisy = logging.getLogger("bitsandbytes")
_level = _noisy.level
_noisy.setLevel(logging.ERROR)
import peft  # noqa: E402 (the logger is silenced first)

_noisy.setLevel(_level)


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """PEFT's errors as ours; its warnings stay out of the cell, since each cause is handled."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise AdapterError(
            f"{doing}: PEFT refuses: {sentence(error)}{untested('peft', 'transformers')}."
        ) from error


__all__ = ["peft", "translated"]
