"""What an export wrote, and what reading it back gave: values for people, the card and tests.

Knows names and numbers; knows no model and no file's contents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lora_magic.frames import frame
from lora_magic.numbers import figures, size
from lora_magic.printable import message, one_line

if TYPE_CHECKING:
    from pandas import DataFrame

#: What is compared: logits, log-probabilities of tokens, or of a classifier its probabilities.
LOGITS, LOG_PROBABILITIES, LABELS = "logits", "log-probabilities", "label probabilities"

#: How a line names one of them, if not as a logit.
_ONE = {LOG_PROBABILITIES: "log-probability", LABELS: "label-probability"}

#: The columns of an export's frame.
_COLUMNS = ("adapter", "format", "prompt", "tokens", "same", "difference", "differs_at", "why")


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

    `reader` is the engine and its version; `measure` is `LOGITS`, `LOG_PROBABILITIES` or `LABELS`.
    `limit` is how far these may be from what the files should give, `worst` how far they are:
    rounding that was asked for, such as bf16 weights, is in `PromptCheck.difference` alone. `notes`
    are what a reader would not expect.
    """

    reader: str
    measure: str
    prompts: tuple[PromptCheck, ...]
    worst: float
    limit: float
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """What was read, in one line."""
        what = "the same label" if self.measure == LABELS else "the same greedy tokens"
        line = (
            f"read back by {self.reader} in another process, {what} on {self.same} of "
            f"{len(self.prompts)} prompts, largest {_ONE.get(self.measure, 'logit')} difference "
            f"{figures(self.difference, 2)}"
        )
        reasons = dict.fromkeys(one.why for one in self.prompts if one.why)
        return f"{line} ({'; '.join(reasons)})" if reasons else line

    def __repr__(self) -> str:
        return one_line(self.line)

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

    @property
    def bytes(self) -> int:
        """The bytes of all files."""
        return sum(count for _, count in self.files)

    @property
    def written(self) -> str:
        """What was written, and where."""
        count = len(self.files)
        files = f"{size(self.bytes)}, {count} file{'s' * (count != 1)}"
        pushed = f", pushed to {self.pushed}" if self.pushed else ""
        # Names and paths can hold characters that control a terminal.
        return message(f"{self.name} exported to {self.folder} ({self.format}, {files}){pushed}")

    @property
    def told(self) -> str:
        """What reading it back gave."""
        return self.check.line if self.check else "not checked: it was not read back"

    @property
    def line(self) -> str:
        """The receipt in one line."""
        return message(f"{self.written}: {self.told}")

    def __repr__(self) -> str:
        return one_line(self.line)

    def to_frame(self) -> DataFrame:
        """A row for each prompt of the check; without one it is empty."""
        rows = [
            (self.name, self.format, *(getattr(one, column) for column in _COLUMNS[2:]))
            for one in (self.check.prompts if self.check else ())
        ]
        return frame(rows, list(_COLUMNS))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import export

        return export.bundle(self)
