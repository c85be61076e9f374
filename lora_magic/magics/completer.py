"""Connects completion to IPython's TAB, and finds the names that it offers.

Since 8.6 IPython calls a matcher with the whole cell. Older releases (Colab) call a matcher of a
magic's arguments with the line alone; their `complete_command` hook does not help, since its
results are mixed with what jedi makes of the line as Python.

Knows IPython's completer, the shell's variables and the session, if there is one. TAB creates no
session, loads no base and does not import torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from lora_magic.magics.completion import Offer, offer
from lora_magic.magics.shell import KEPT_AS
from lora_magic.magics.variables import MODELS, TOKENIZERS, of_class
from lora_magic.magics.verb import Thing
from lora_magic.magics.verbs import VERBS
from lora_magic.magics.words import names_of

try:
    from IPython.core.completer import SimpleCompletion, context_matcher
except ImportError:  # before 8.6
    context_matcher = None


_NO_VALUES = (ModuleType, type, FunctionType, BuiltinFunctionType, MethodType)


def completer_hook(shell: Any) -> tuple[list[Any], Callable[..., Any]]:
    """The list in which this IPython keeps its matchers, and the matcher to add to it."""
    if context_matcher is None:
        return shell.Completer.magic_arg_matchers, _of_a_line(shell)
    return shell.Completer.custom_matchers, _of_a_cell(shell)


def _of_a_cell(shell: Any) -> Callable[..., Any]:
    @context_matcher(identifier="lora_magic", priority=200)  # type: ignore[untyped-decorator]
    def lora_magic(context: Any) -> dict[str, Any]:
        lines = context.full_text.split("\n")
        here = lines[context.cursor_line][: context.cursor_position]
        found = _found(shell, "\n".join([*lines[: context.cursor_line], here]))
        if found is None:
            return {"completions": []}
        completions = [SimpleCompletion(c.text, type=c.kind) for c in found.candidates]
        return {
            "completions": completions or _Nothing(),
            "matched_fragment": found.fragment,
            "ordered": True,
            "suppress": True,
        }

    matcher: Callable[..., Any] = lora_magic
    return matcher


class _Nothing:
    """No completions, but of length 1.

    IPython lets a matcher suppress the others only if it found something, and checks the length.
    """

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def _of_a_line(shell: Any) -> Callable[..., Any]:
    def lora_magic(line: str) -> list[str]:
        before = shell.Completer.text_until_cursor
        found = _found(shell, before)
        if found is None:
            return []
        # IPython replaces what its own splitter finds, which is the end of our fragment.
        piece = shell.Completer.splitter.split_line(before)
        head = found.fragment[: max(len(found.fragment) - len(piece), 0)]
        texts = [candidate.text for candidate in found.candidates]
        ends = [text[len(head) :] for text in texts if text.lower().startswith(head.lower())]
        # An empty list would let jedi complete the line; the typed text itself changes nothing.
        return ends or [piece]

    return lora_magic


def _found(shell: Any, before: str) -> Offer | None:
    try:
        return offer(before, VERBS, _Names(shell))
    except Exception:  # noqa: BLE001  # a TAB must not print a traceback into what is being typed
        return None


class _Names:
    """The names that exist now in a shell, its session and on disk."""

    def __init__(self, shell: Any) -> None:
        self._variables = shell.user_ns
        self._session = getattr(shell, KEPT_AS, None)

    def names(self, thing: Thing, begun: str) -> Iterable[str]:
        """All names of that kind; folders and files only if they continue `begun`."""
        if thing in (Thing.FOLDER, Thing.FILE):
            return _paths(begun, files=thing is Thing.FILE)
        if thing is Thing.VARIABLE:
            return [name for name in names_of(self._variables) if self._is_value(name)]
        if thing in (Thing.MODEL, Thing.TOKENIZER):
            classes = MODELS if thing is Thing.MODEL else TOKENIZERS
            return of_class(self._variables, classes)
        return self._of_the_session(thing)

    def _is_value(self, name: str) -> bool:
        """Is the variable a value, not a module, class or function?"""
        # By `type`: `isinstance` would run an object's own `__class__`.
        return not issubclass(type(self._variables[name]), _NO_VALUES)

    def _of_the_session(self, thing: Thing) -> list[str]:
        if thing is Thing.KEPT:
            return list(getattr(self._session, "kept", ()))
        # Before torch is loaded there are neither adapters nor modules, and TAB loads nothing.
        if self._session is None or "torch" not in sys.modules:
            return []
        from lora_magic.state import queries

        ask = {
            Thing.ADAPTER: queries.attached_names,
            Thing.MODULE: queries.module_names,
            Thing.SAVED: queries.saved_names,
        }
        return ask[thing](self._session)


def _paths(begun: str, *, files: bool) -> list[str]:
    """Folders, and with `files` also files, that continue a path as typed."""
    folder = begun[: begun.rfind("/") + 1]
    name = begun[len(folder) :]
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            found = sorted((e.name, e.is_dir()) for e in entries)
    except OSError:
        return []
    return [
        folder + entry + "/" * is_folder
        for entry, is_folder in found
        if (is_folder or files) and (name.startswith(".") or not entry.startswith("."))
    ]
