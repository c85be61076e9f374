"""Forgetting: how much worse an adapter is than its base at what it was not trained on.

Two measures, and a record for a measurement that was not made. Knows names and numbers; knows no
model, and not how to measure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AnswerForgetting:
    """How adapter and base answered held-out questions whose true answers are known.

    Of the adapter's answers to `questions`, `subject` are about the question's subject, and `right`
    of those also say something true about it. `base_subject` and `base_right` are the base's.
    """

    questions: int
    subject: int
    right: int
    base_subject: int
    base_right: int

    @property
    def line(self) -> str:
        """For a receipt; with a remedy below half of the base's correct answers.

        >>> AnswerForgetting(24, 23, 20, 24, 22).line
        'forgetting: 20 of 24 questions answered correctly (base 22), 23 on topic (base 24)'
        """
        line = (
            f"forgetting: {self.right} of {self.questions} questions answered correctly "
            f"(base {self.base_right}), {self.subject} on topic (base {self.base_subject})"
        )
        if 2 * self.right < self.base_right:
            line += "; try more rows, fewer --steps or a smaller --lr"
        return line

    @property
    def facts(self) -> Facts:
        """Names and values for a display."""
        return (
            ("forgetting", f"{self.questions} held-out questions"),
            ("answered on topic", f"{self.subject} (base {self.base_subject})"),
            ("answered correctly", f"{self.right} (base {self.base_right})"),
        )


@dataclass(frozen=True)
class TextForgetting:
    """The mean loss on general English text, in nats per token, over `tokens` tokens.

    Base and adapter read the same tokens. Another tokenizer gives other tokens, so the losses of
    two bases cannot be compared.
    """

    tokens: int
    base_loss: float
    loss: float

    @property
    def change(self) -> float:
        """The adapter's loss minus its base's: above 0 if something is forgotten."""
        return self.loss - self.base_loss

    @property
    def line(self) -> str:
        """For a receipt.

        >>> TextForgetting(338, 3.21, 3.34).line
        'forgetting: loss on general text 3.21 → 3.34 (+0.13)'
        """
        return f"forgetting: loss on general text {self._change_at(2)}"

    @property
    def facts(self) -> Facts:
        """Names and values for a display."""
        loss = f"loss on general text {self._change_at(3)} over {self.tokens} tokens"
        return (("forgetting", loss),)

    def _change_at(self, digits: int) -> str:
        # Adding 0 turns -0.0 into 0.0.
        change = round(self.change, digits) + 0.0
        return f"{self.base_loss:.{digits}f} → {self.loss:.{digits}f} ({change:+.{digits}f})"


@dataclass(frozen=True)
class Unmeasured:
    """Forgetting was not measured, and `why`."""

    why: str

    @property
    def line(self) -> str:
        """For a receipt.

        >>> Unmeasured("stopped").line
        'forgetting: not measured (stopped)'
        """
        return f"forgetting: not measured ({self.why})"

    @property
    def facts(self) -> Facts:
        """Names and values for a display."""
        return (("forgetting", f"not measured ({self.why})"),)


Forgetting = AnswerForgetting | TextForgetting | Unmeasured


def recorded(forgetting: Forgetting) -> dict[str, Any]:
    """The numbers with their names, for an adapter's card; `measure` is answers, text or none."""
    measures = {AnswerForgetting: "answers", TextForgetting: "text", Unmeasured: "none"}
    return {"measure": measures[type(forgetting)], **asdict(forgetting)}
