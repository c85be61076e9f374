"""All errors that a user can see, as a tree.

    LoraMagicError
    ├── BaseModelError      a base model that cannot be found, read or trusted
    ├── AdapterError        an adapter's name, spec or target modules are invalid
    ├── DataError           training rows that cannot be read, with their line
    ├── TrainingError       a run that cannot start or continue
    │   └── TrainingStopped a run that the user stopped; the adapter keeps what it learned
    ├── PromptError         a prompt that is empty or longer than the context
    ├── ExportError         what cannot be exported, or was read back and differs
    ├── WorkerError         other processes or machines that cannot be started, reached or kept
    ├── StateError          a verb that the session's state does not allow (swap while merged)
    ├── CommandError        an unknown verb or an invalid flag
    └── Interrupted         a verb that the user interrupted: undone, unless it had finished

Each message is one line with the value seen, the value expected and the command to type. Knows how
a notebook displays a message; does not know what raises it.
"""

from __future__ import annotations

from collections.abc import Iterable

from lora_magic.printable import message


class LoraMagicError(Exception):
    """An error that the user can correct, in one line.

    IPython calls `_render_traceback_` instead of printing the stack: the cell shows one line in
    red, Run All stops, and tools that run notebooks see a failed cell.
    """

    def __str__(self) -> str:
        # A message quotes names from files: none of their characters may control a terminal.
        return message(super().__str__())

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class BaseModelError(LoraMagicError):
    """A base model cannot be found, read or trusted."""


class AdapterError(LoraMagicError):
    """An adapter's name, specification or target modules are invalid."""


class DataError(LoraMagicError):
    """Training rows cannot be read; the message has the line or row number."""


class TrainingError(LoraMagicError):
    """A training run cannot start or continue."""


class TrainingStopped(TrainingError):  # noqa: N818 (a request, not an error)
    """The user stopped the run; the adapter keeps the finished steps."""


class PromptError(LoraMagicError):
    """A prompt is empty, or longer than the base model's context."""


class ExportError(LoraMagicError):
    """An adapter cannot be exported so, or what was written does not answer as it did here."""


class WorkerError(LoraMagicError):
    """Worker processes, or a cluster, cannot be started or reached, or one of them was lost."""


class StateError(LoraMagicError):
    """The session's state does not allow the verb; the message names the verb to type first."""


class CommandError(LoraMagicError):
    """An unknown verb, an invalid flag, or a line that cannot be parsed."""


class Interrupted(LoraMagicError):  # noqa: N818 (a request, not an error)
    """The user interrupted a verb; it is undone, unless it had finished."""


def near(seen: str, options: Iterable[str]) -> str:
    """The nearest of `options` as a sentence to append, or "".

    >>> near("pirat", ["pirate", "base"])
    " Did you mean 'pirate'?"
    """
    import difflib  # seldom needed

    pool = list(options)
    lowered = {option.lower(): option for option in pool}
    match = difflib.get_close_matches(seen.lower(), lowered, n=1, cutoff=0.6)
    return f" Did you mean {lowered[match[0]]!r}?" if match else ""


def sentence(error: object, limit: int = 200) -> str:
    """The first sentence of another library's error, on one line."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    first = line.split(". ")[0].rstrip(".:")
    if len(first) > limit:
        first = first[:limit].rpartition(" ")[0] + " …"
    return first or type(error).__name__


def listed(options: Iterable[str], limit: int = 8) -> str:
    """Options for a message: the first `limit`, then how many more."""
    pool = list(options)
    shown = ", ".join(pool[:limit])
    return f"{shown} and {len(pool) - limit} more" if len(pool) > limit else shown or "none"
