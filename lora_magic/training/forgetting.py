"""Forgetting: how much worse an adapter is than its base at what it was not trained on.

Two measures with the texts that they are about, a record for a measurement that was not made, and
the loss on the user's own general rows. Knows names, numbers and texts; knows no model, and not how
to measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

from lora_magic.frames import frame

Facts = tuple[tuple[str, str], ...]

#: Below these shares of the base's answers a run warns. In `tests/benchmarks/forgetting.py` 11 of
#: 12 runs over ten rows, with every default, keep 20 of 24 or more, and the runs that forget fewer.
KEPT_RIGHT, KEPT_ON_TOPIC = 0.8, 0.8
#: What helped there. Half the steps kept little more and taught less; more rows, another rank and
#: dropout kept no more.
ADVICE = (
    "to keep more, replay general rows (--guard FILE --replay 0.25); a quarter of --lr helps less"
)


@dataclass(frozen=True)
class Answered:
    """One held-out question, the answers, and whether each is right, and about its subject."""

    prompt: str
    base: str
    adapter: str
    base_right: bool
    right: bool
    base_subject: bool
    subject: bool


@dataclass(frozen=True)
class AnswerForgetting:
    """How adapter and base answered held-out questions whose true answers are known.

    Of the adapter's answers to `questions`, `subject` are about the question's subject, and `right`
    of those also say something true about it. `base_subject` and `base_right` are the base's.
    `answers` holds them all.
    """

    questions: int
    subject: int
    right: int
    base_subject: int
    base_right: int
    answers: tuple[Answered, ...] = ()

    @classmethod
    def of(cls, answers: Sequence[Answered]) -> AnswerForgetting:
        """Counted from the answers."""
        names = ("subject", "right", "base_subject", "base_right")
        counts = {name: sum(getattr(one, name) for one in answers) for name in names}
        return cls(len(answers), **counts, answers=tuple(answers))

    @property
    def failed(self) -> tuple[Answered, ...]:
        """The questions that the base answered correctly and the adapter did not."""
        return tuple(one for one in self.answers if one.base_right and not one.right)

    @property
    def advice(self) -> str:
        """What is lost and what would keep more; "" if enough is kept.

        >>> AnswerForgetting(24, 23, 12, 24, 24).advice.partition("; ")[0]
        'too few are right'
        """
        lost = ["right"] * (self.right < KEPT_RIGHT * self.base_right)
        lost += ["on topic"] * (self.subject < KEPT_ON_TOPIC * self.base_subject)
        return f"too few are {' and '.join(lost)}; {ADVICE}" if lost else ""

    @property
    def line(self) -> str:
        """For a receipt; it says how to see the answers if some failed.

        >>> AnswerForgetting(24, 23, 22, 24, 22).line
        'forgetting: 22 of 24 questions answered correctly (base 22), 23 on topic (base 24)'
        """
        line = (
            f"forgetting: {self.right} of {self.questions} questions answered correctly "
            f"(base {self.base_right}), {self.subject} on topic (base {self.base_subject})"
        )
        return (
            f"{line}; to see them: run.forgetting.to_frame(), with run = %lora train … or --out run"
            if self.failed
            else line
        )

    @property
    def facts(self) -> Facts:
        """Names and values for a display."""
        return (
            ("forgetting", f"{self.questions} held-out questions"),
            ("answered on topic", f"{self.subject} (base {self.base_subject})"),
            ("answered correctly", f"{self.right} (base {self.base_right})"),
        )

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row per question and the columns of `Answered`."""
        return _frame(Answered, self.answers)


@dataclass(frozen=True)
class ReadText:
    """One general text, its predicted tokens, and the mean losses on them in nats per token."""

    text: str
    tokens: int
    base_loss: float
    loss: float


@dataclass(frozen=True)
class TextForgetting:
    """The mean loss on general English text, in nats per token, over `tokens` tokens.

    Base and adapter read the same tokens. Another tokenizer gives other tokens, so the losses of
    two bases cannot be compared. `texts` holds the losses of each text.
    """

    tokens: int
    base_loss: float
    loss: float
    texts: tuple[ReadText, ...] = ()

    @classmethod
    def of(cls, texts: Sequence[ReadText]) -> TextForgetting:
        """The means over all tokens of the texts."""
        tokens = sum(one.tokens for one in texts)
        base = sum(one.tokens * one.base_loss for one in texts) / tokens
        own = sum(one.tokens * one.loss for one in texts) / tokens
        return cls(tokens, base, own, tuple(texts))

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
        return f"forgetting: loss on general text {_change(self.base_loss, self.loss, 2)}"

    @property
    def facts(self) -> Facts:
        """Names and values for a display."""
        change = _change(self.base_loss, self.loss, 3)
        return (("forgetting", f"loss on general text {change} over {self.tokens} tokens"),)

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row per text and the columns of `ReadText`."""
        return _frame(ReadText, self.texts)


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

    def to_frame(self) -> Any:
        """An empty pandas DataFrame."""
        return frame(())


Forgetting = AnswerForgetting | TextForgetting | Unmeasured


@dataclass(frozen=True)
class Guard:
    """The mean loss on the user's own general rows before and after a run, in nats per token.

    For a classifier it is the mean over rows. `before` is that of the adapter's start: the base,
    for a fresh adapter. `rows` were measured, with `tokens` that the loss covers (a classifier's:
    labels), and none of them was trained on; `replayed` others were (`--replay`). A loss that was
    not measured is None, and `why` says the reason.
    """

    before: float | None
    after: float | None
    rows: int
    tokens: int
    replayed: int = 0
    why: str = ""

    def measured(self, which: str, found: float | str) -> Guard:
        """This with `before` or `after`, or with the reason why it was not measured."""
        if isinstance(found, str):
            return replace(self, why=found)
        return replace(self, **{which: found})  # type: ignore[arg-type]  # the name of a loss

    @property
    def line(self) -> str:
        """For a receipt.

        >>> Guard(0.52, 0.61, 40, 1210).line
        'guard: loss 0.52 → 0.61 (+0.09) on 40 rows'
        """
        return f"guard: {self._losses(2)} on {self.rows:,} row{'s' * (self.rows != 1)}"

    @property
    def facts(self) -> Facts:
        """Names and values for a display."""
        measured = f"{self._losses(3)} on {self.rows:,} rows, {self.tokens:,} tokens"
        replayed = (("guard rows trained on", f"{self.replayed:,}"),) if self.replayed else ()
        return (("guard", measured), *replayed)

    def _losses(self, digits: int) -> str:
        if self.before is None and self.after is None:
            return f"not measured ({self.why})"
        if self.before is not None and self.after is not None:
            return f"loss {_change(self.before, self.after, digits)}"
        shown = (
            f"not measured ({self.why})" if loss is None else f"{loss:.{digits}f}"
            for loss in (self.before, self.after)
        )
        return f"loss {' → '.join(shown)}"


def recorded(forgetting: Forgetting) -> dict[str, Any]:
    """The numbers with their names, for an adapter's card; `measure` is answers, text or none.

    The texts are left out: a card is read whole each time that an adapter is opened.
    """
    measures = {AnswerForgetting: "answers", TextForgetting: "text", Unmeasured: "none"}
    values = {one.name: getattr(forgetting, one.name) for one in fields(forgetting)}
    numbers = {name: value for name, value in values.items() if not isinstance(value, tuple)}
    return {"measure": measures[type(forgetting)], **numbers}


def _frame(kind: Any, rows: Sequence[Any]) -> Any:
    return frame(map(astuple, rows), [one.name for one in fields(kind)])


def _change(before: float, after: float, digits: int) -> str:
    # Adding 0 turns -0.0 into 0.0.
    change = round(after - before, digits) + 0.0
    return f"{before:.{digits}f} → {after:.{digits}f} ({change:+.{digits}f})"
