"""PEFT itself, imported without its warnings, and its errors as ours.

The only file that imports peft.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from lora_magic.base.quantise import without_notices
from lora_magic.errors import AdapterError, LoraMagicError, sentence
from lora_magic.versions import untested

# peft imports bitsandbytes.
with without_notices():
    import peft

    # PEFT imports it with its first wrap, and what it renames must be known before that.
    with contextlib.suppress(ImportError):
        import peft.utils.transformers_weight_conversion


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise PEFT's errors as ours, and hide its warnings, whose causes are handled here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except LoraMagicError:
        raise
    except Exception as error:
        # A config from a file can fail anywhere in it, with any error.
        raise AdapterError(
            f"{doing}: PEFT failed: {sentence(error)}{untested('peft', 'transformers')}."
        ) from error


__all__ = ["peft", "translated"]
