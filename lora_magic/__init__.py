"""Adapt a language model inside the notebook, and see what the adaptation did.

In a notebook: `%load_ext lora_magic`, then `%lora`. In Python: `lora_magic.session()` is the
notebook's session, `lora_magic.Session()` makes one by hand. Public names are loaded at first use,
so that importing this imports no torch.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_magic.adapters.spec import AdapterSpec as AdapterSpec
    from lora_magic.errors import LoraMagicError as LoraMagicError
    from lora_magic.session import Session as Session

__version__ = "0.1.0"

# Where each public name lives.
_HOMES = {
    "AdapterSpec": "lora_magic.adapters.spec",
    "LoraMagicError": "lora_magic.errors",
    "Session": "lora_magic.session",
}

__all__ = ["AdapterSpec", "LoraMagicError", "Session", "session"]  # see __getattr__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext lora_magic`: put `%lora`, `%%lora` and `%%lora_train` into the shell."""
    from lora_magic.magics.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext lora_magic`: take the magics out again; the session stays with the shell."""
    from lora_magic.magics.extension import unload

    unload(shell)


def _session() -> Session:
    """The notebook's session, the one that `%lora` uses.

    Raises `StateError` outside IPython.
    """
    from lora_magic.magics.shell import session_here

    return session_here()


class _Package(types.ModuleType):
    """This package, whose `session` stays the function.

    Python would put the submodule `lora_magic.session` in its place as soon as that is imported;
    `from lora_magic.session import …` works all the same.
    """

    @property
    def session(self) -> Any:
        """See `_session`."""
        return _session

    @session.setter
    def session(self, module: types.ModuleType) -> None:
        """What the import system offers is not kept."""


sys.modules[__name__].__class__ = _Package
_session.__name__ = _session.__qualname__ = "session"
