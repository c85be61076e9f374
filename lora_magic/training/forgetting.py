"""What an adapter kept of its base: a number beside the loss, which falls whatever is forgotten.

Two measures, and the word that there is none. Knows names and numbers; knows no model, and not how
they are measured.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

Facts = tuple[tuple[str, str], ...]
_FORGOTTEN = "much is forgotten: try more rows, fewer --steps or a smaller --lr"


@dataclass(frozen=True)
class Content:
    """Held-out questions that base and adapter answered, of which the truth is known.

    Of `asked` so many answers were about the `subject` that was asked for, and so many of those
    `right`: they also say something true of it. `base_subject` and `base_right` are the base's.
    """

    asked: int
    subject: int
    right: int
    base_subject: int
    base_right: int
    what: ClassVar[str] = "content"

    @property
    def line(self) -> str:
        """For a receipt; where less than half of what was true is left, with what to try.

        >>> Content(24, 23, 20, 24, 22).line
        'content: 23 of 24 about the right subject, 20 true (base 24, 22)'
        """
        told = (
            f"{self.what}: {self.subject} of {self.asked} about the right subject, "
            f"{self.right} true (base {self.base_subject}, {self.base_right})"
        )
        return f"{told}; {_FORGOTTEN}" if 2 * self.right < self.base_right else told

    @property
    def facts(self) -> Facts:
        """Names and values for a display."""
        return (
            ("content", f"{self.asked} held-out questions"),
            ("about the right subject", f"{self.subject} (base {self.base_subject})"),
            ("and true", f"{self.right} (base {self.base_right})"),
        )


@dataclass(frozen=True)
class GeneralText:
    """The mean loss over plain English of many subjects, in nats a token, over `tokens` tokens.

    The same tokens under the base and under the adapter; other tokenizers make other tokens, so
    that the figures of two bases do not compare.
    """

    tokens: int
    base_loss: float
    loss: float
    what: ClassVar[str] = "general text"

    @property
    def change(self) -> float:
        """How much more the adapter loses than its base: above 0 where something is forgotten."""
        return self.loss - self.base_loss

    @property
    def line(self) -> str:
        """For a receipt.

        >>> GeneralText(338, 3.21, 3.34).line
        'general text: loss 3.21 → 3.34 (+0.13)'
        """
        return f"{self.what}: {self._told(2)}"

    @property
    def facts(self) -> Facts:
        """Names and values for a display."""
        return ((self.what, f"{self._told(3)} over {self.tokens} tokens"),)

    def _told(self, digits: int) -> str:
        # Added to 0, a change that rounds to -0.0 is told without a minus.
        change = round(self.change, digits) + 0.0
        return f"loss {self.base_loss:.{digits}f} → {self.loss:.{digits}f} ({change:+.{digits}f})"


@dataclass(frozen=True)
class Unmeasured:
    """Nothing was measured of `what`, and `why`."""

    what: str
    why: str

    @property
    def line(self) -> str:
        """For a receipt.

        >>> Unmeasured("content", "stopped").line
        'content: not measured (stopped)'
        """
        return f"{self.what}: not measured ({self.why})"

    @property
    def facts(self) -> Facts:
        """Names and values for a display."""
        return ((self.what, f"not measured ({self.why})"),)


Forgetting = Content | GeneralText | Unmeasured


def recorded(kept: Forgetting) -> dict[str, Any]:
    """The numbers with their names, for an adapter's card."""
    return {"what": kept.what, **asdict(kept)}
