"""One prompt's answer, as a value.

Knows text and numbers; how it is drawn it knows only by calling the views.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What one adapter (or "base") answered. `str(answer)` is the text as generated.

    `tokens` were generated, the closing one counted; `ended` says that the answer closed by itself
    and was not cut at the limit; `seconds` is wall time.
    """

    prompt: str
    adapter: str
    text: str
    tokens: int
    seconds: float
    ended: bool

    @property
    def line(self) -> str:
        """One line: who answered, how much, how fast, and how it ended."""
        how = "ended by itself" if self.ended else "cut at the limit"
        noun = "token" if self.tokens == 1 else "tokens"
        return f"{self.adapter} · {self.tokens} {noun} · {self.seconds:.2f} s · {how}"

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        from lora_magic.views.text import clean

        return f"{clean(self.text)}\n({self.line})"

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, Any]:
        from lora_magic.views import comparison as view

        return view.answer_bundle(self)
