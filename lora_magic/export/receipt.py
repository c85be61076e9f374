"""What an export wrote, and what reading it back gave: values for people, the card and tests.

Knows names and numbers; knows no model and no file's contents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PromptCheck:
    """One prompt, answered in the notebook and by what was written.

    `tokens` are the answer's, greedy; `same` says that all of them are equal, and else `differs_at`
    is the first that is not, from 1. `difference` is the largest absolute difference of the
    `Check.measure` over these tokens. `why` says where a difference comes from, "" if there is
    none.
    """

    prompt: str
    tokens: int
    same: bool
    difference: float
    differs_at: int | None = None
    why: str = ""


@dataclass(frozen=True)
class Check:
    """What another process read, against the notebook.

    `reader` is the engine and its version; `measure` is "logits", "log-probabilities" or "label
    probabilities". `limit` is how far these may be from what the files should give, `worst` how far
    they are: rounding that was asked for, such as bf16 weights, is in `PromptCheck.difference`
    alone. `notes` are what a reader would not expect.
    """

    reader: str
    measure: str
    prompts: tuple[PromptCheck, ...]
    worst: float
    limit: float
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def same(self) -> int:
        """On how many prompts all greedy tokens are those of the notebook."""
        return sum(one.same for one in self.prompts)

    @property
    def difference(self) -> float:
        """The largest difference from the notebook."""
        return max((one.difference for one in self.prompts), default=0.0)


@dataclass(frozen=True)
class Export:
    """What was written, with its receipt.

    `name` is the adapter's, or "base"; `files` are (name, bytes). `check` is None only if it was
    asked not to. `commands` are (what it does, the line to type), such as the line that serves it;
    `pushed` is the address on the hub, or "".
    """

    name: str
    format: str
    folder: Path
    files: tuple[tuple[str, int], ...]
    check: Check | None
    notes: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    pushed: str = ""
    facts: dict[str, object] = field(default_factory=dict)
