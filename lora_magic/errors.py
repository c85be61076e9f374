"""Every error that a person can meet, drawn as a tree.

    LoraMagicError
    ├── BaseModelError      a base model cannot be found, read or trusted
    ├── AdapterError        a name, a spec or target modules that cannot be
    ├── DataError           training rows that cannot be read, with their line
    ├── TrainingError       a run that cannot start or go on
    │   └── TrainingStopped a run that a person ended; the adapter keeps what it learned
    ├── PromptError         a prompt that is empty or longer than the context
    ├── StateError          a verb at the wrong moment (swap while merged, say)
    ├── CommandError        an unknown verb or flag in a magic's line
    └── Interrupted         a verb that a person ended: undone, unless it had just been done

Each message is one line that holds the value seen, the value expected and the command to type.
This module knows how a message is shown in a notebook; it does not know who raises it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LoraMagicError(Exception):
    """A mistake that the user can mend, told in one line.

    IPython calls `_render_traceback_` instead of printing the stack: the cell shows one line in
    red, Run All stops, and tools that run notebooks see a failed cell.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class BaseModelError(LoraMagicError):
    """A base model cannot be found, read or trusted."""


class AdapterError(LoraMagicError):
    """An adapter's name, specification or target modules cannot be."""


class DataError(LoraMagicError):
    """Training rows cannot be read; the message holds the line or row number."""


class TrainingError(LoraMagicError):
    """A training run cannot start or go on."""


class TrainingStopped(TrainingError):  # noqa: N818 (a person's wish, not an error)
    """A person ended the run; the adapter keeps the steps that were done."""


class PromptError(LoraMagicError):
    """A prompt is empty, or longer than the base model's context."""


class StateError(LoraMagicError):
    """A verb at a moment when it has no meaning; the message names the verb that comes first."""


class CommandError(LoraMagicError):
    """An unknown verb or flag, or a line that cannot be read."""


class Interrupted(LoraMagicError):  # noqa: N818 (a person's wish, not an error)
    """A person ended a verb; it is undone, unless it had just been done."""


def near(seen: str, options: Iterable[str]) -> str:
    """The nearest of `options` as a sentence to append, or nothing.

    >>> near("pirat", ["pirate", "base"])
    " Did you mean 'pirate'?"
    """
    pool = list(options)
    lowered = {option.lower(): option for option in pool}
    match = difflib.get_close_matches(seen.lower(), lowered, n=1, cutoff=0.6)
    return f" Did you mean {lowered[match[0]]!r}?" if match else ""


def sentence(error: object, limit: int = 200) -> str:
    """A foreign error's first sentence, on one line: the rest of such texts is seldom of use."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    first = line.split(". ")[0].rstrip(".:")
    if len(first) > limit:
        first = first[:limit].rpartition(" ")[0] + " …"
    return first or type(error).__name__


def listed(options: Iterable[str], limit: int = 8) -> str:
    """Options for a message: the first `limit`, then how many more there are."""
    pool = list(options)
    shown = ", ".join(pool[:limit])
    return f"{shown} and {len(pool) - limit} more" if len(pool) > limit else shown or "none"
