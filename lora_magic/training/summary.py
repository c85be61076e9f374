"""What a run did: a frozen record that displays itself, and a classifier's accuracy.

Knows names and numbers; knows no model, no tokenizer and no Trainer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.frames import frame
from lora_magic.numbers import duration, percent, size
from lora_magic.printable import one_line

from .forgetting import AnswerForgetting, Forgetting, Guard
from .inside import Inside


@dataclass(frozen=True)
class Accuracy:
    """Of `total` examples of each label, `right` were classified correctly; in label order."""

    labels: tuple[str, ...]
    right: tuple[int, ...]
    total: tuple[int, ...]

    @classmethod
    def of(cls, labels: Sequence[str], pairs: Iterable[tuple[int, int]]) -> Accuracy:
        """Counted from pairs (index of the true label, index of the predicted label)."""
        right, total = [0] * len(labels), [0] * len(labels)
        for true, predicted in pairs:
            total[true] += 1
            right[true] += true == predicted
        return cls(tuple(labels), tuple(right), tuple(total))

    @property
    def overall(self) -> float:
        """Σ right / Σ total."""
        return sum(self.right) / sum(self.total)

    def __getitem__(self, label: str) -> float | None:
        """The share of one label's examples that were classified correctly; None without any."""
        index = self.labels.index(label)
        return self.right[index] / self.total[index] if self.total[index] else None

    def to_frame(self) -> Any:
        """A pandas DataFrame with columns label, right, total and accuracy."""
        shares = map(self.__getitem__, self.labels)
        rows = zip(self.labels, self.right, self.total, shares, strict=True)
        return frame(rows, ("label", "right", "total", "accuracy"))


@dataclass(frozen=True)
class RunSummary:
    """One run of training.

    `losses` has one number per optimizer step: the mean over the step's trained tokens, in nats,
    before the step is taken. `examples` were trained on; `trained_tokens` counts one pass over
    those that the steps read. `held_out` examples were not trained on; their loss before and
    after is None if there are none or the run was stopped first. `cut` and `empty` count examples
    that lost their end or were left out. `batch_size` is the examples of one step; `data_hash` the
    sha256 of the rows. If the run `classifies`, the losses are means over examples,
    `trained_tokens` counts labels, and the accuracies are of the held-out examples. `method_facts`
    come from the adapter's method (AdaLoRA's final ranks). `held_out_losses` are (steps taken,
    loss), the first before the run and the last after it. `ended` says what ended the run: "steps"
    (all were taken), "held-out" (no improvement), "minutes", "stopped" (by the user) or "paused"
    (by the caller, to go on later). `best_step` is set if the held-out loss decided which weights
    are kept: those after that step, of which `held_out_after` and `accuracy_after` are.
    `forgetting` is None for a classifier and until it is measured, `guard` without guard rows;
    `seconds` do not include either. `notes` say what happened on the way: memory that ran out.
    `step` says how the passes were computed. With preferences `beta` is set, the losses are means
    over pairs, and `preferred` is the share of held-out pairs whose chosen answer has become
    likelier than the rejected one. `inside` has gradients and ΔW by step, None for a method without
    a ΔW. `peak` are the bytes of all tensors of base, adapter and run at the peak of the largest
    step, as `predicted_peak` was said before the run; None if unknown. Of several `workers` they
    are the first one's.
    """

    adapter: str
    steps: int
    planned_steps: int
    stopped: bool
    examples: int
    held_out: int
    trained_tokens: int
    cut: int
    empty: int
    losses: tuple[float, ...]
    held_out_before: float | None
    held_out_after: float | None
    seconds: float
    learning_rate: float
    batch_size: int
    seed: int
    end_token: str | None
    data_hash: str
    classifies: bool = False
    accuracy_before: Accuracy | None = None
    accuracy_after: Accuracy | None = None
    method_facts: tuple[tuple[str, str], ...] = ()
    held_out_losses: tuple[tuple[int, float], ...] = ()
    forgetting: Forgetting | None = None
    notes: tuple[str, ...] = ()
    beta: float | None = None
    step: str = ""
    preferred: float | None = None
    guard: Guard | None = None
    ended: str = "steps"
    best_step: int | None = None
    inside: Inside | None = None
    predicted_peak: int | None = None
    peak: int | None = None
    workers: int = 1

    @property
    def kept_steps(self) -> int:
        """After how many steps the weights are that were kept."""
        return self.steps if self.best_step is None else self.best_step

    @property
    def first_loss(self) -> float | None:
        """The loss of the first step; None if no step was taken."""
        return self.losses[0] if self.losses else None

    @property
    def last_loss(self) -> float | None:
        """The loss of the last step that counts: the best one's, if that was kept."""
        return self.losses[self.kept_steps - 1] if self.losses else None

    @property
    def line(self) -> str:
        """A one-line receipt.

        >>> summary.line  # doctest: +SKIP
        'pirate: 60 steps in 7.9 s, loss 3.41 → 0.62, 10 rows, 312 tokens trained; forgetting: 20 of
        24 questions answered correctly (base 22), 23 on topic (base 24)'
        """
        steps = f"{self.steps} step{'s' * (self.steps != 1)}"
        if self.stopped:
            steps = f"stopped after {self.steps} of {self.planned_steps} steps,"
        elif self.ended != "steps":
            steps = f"{self.steps} of at most {self.planned_steps} steps"
        parts = [f"{self.adapter}: {steps} in {duration(self.seconds)}"]
        if self.ended == "minutes":
            parts[0] += " (--minutes)"
        if self.best_step is not None:
            parts.append(f"best at step {self.best_step} of {self.steps}: kept")
        if self.first_loss is not None:
            parts.append(f"loss {self.first_loss:.2f} → {self.last_loss:.2f}")
        if self.held_out_after is not None:
            before = "" if self.held_out_before is None else f"{self.held_out_before:.2f} → "
            parts.append(f"held out {before}{self.held_out_after:.2f}")
        if self.accuracy_after is not None:
            parts.append(f"accuracy {self._accuracies(None)}")
        if self.preferred is not None:
            parts.append(f"chosen preferred in {percent(self.preferred)} of the held-out pairs")
        noun = "row" if self.beta is None else "pair"
        parts.append(f"{self.examples} {noun}{'s' * (self.examples != 1)}")
        if not self.classifies:
            parts.append(f"{self.trained_tokens:,} tokens trained")
        parts += [f"{n} {what}" for n, what in ((self.cut, "cut"), (self.empty, "empty")) if n]
        parts += [f"peak memory {''.join(self._peak)}"] if self._peak else []
        line = ", ".join(parts)
        kept = [one.line for one in (self.guard, self.forgetting) if one]
        return "; ".join(filter(None, [line, *self.notes, *kept, self._advice]))

    @property
    def _peak(self) -> tuple[str, str] | None:
        """The measured peak, and the predicted one in brackets; None if it was not measured."""
        if self.peak is None:
            return None
        predicted = self.predicted_peak
        each = " per worker" if self.workers > 1 else ""
        said = "" if predicted is None else f" (predicted {size(predicted)})"
        return size(self.peak), f"{each}{said}"

    @property
    def _advice(self) -> str:
        """What to change about the forgetting; "" for a run that did it."""
        if self.guard is not None and self.guard.replayed:
            return ""
        return self.forgetting.advice if isinstance(self.forgetting, AnswerForgetting) else ""

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Names and values for a display."""
        shown = [
            ("steps", f"{self.steps} of {self.planned_steps}"),
            *([("best step", f"{self.best_step}, kept")] if self.best_step is not None else []),
            ("ended by", _ENDS[self.ended]),
            ("time", duration(self.seconds)),
            ("examples", f"{self.examples:,}"),
            *([] if self.classifies else [("tokens trained", f"{self.trained_tokens:,}")]),
            ("cut", f"{self.cut:,}"),
            ("empty", f"{self.empty:,}"),
            ("learning rate", f"{self.learning_rate:g}"),
            ("batch", f"{self.batch_size}"),
            *([("step", self.step)] if self.step else []),
            *([("peak memory", " of tensors".join(self._peak))] if self._peak else []),
            ("seed", f"{self.seed}"),
            *([] if self.classifies else [("end token", self.end_token or "none")]),
        ]
        if self.held_out:
            shown.append(("held out", f"{self.held_out:,}"))
            pair = (self.held_out_before, self.held_out_after)
            both = " → ".join("not measured" if loss is None else f"{loss:.3f}" for loss in pair)
            shown.append(("held-out loss", both))
        if self.beta is not None:
            shown.append(("β", f"{self.beta:g}"))
        if self.preferred is not None:
            shown.append(("chosen preferred", f"{percent(self.preferred)} of held-out pairs"))
        shown += [("note", note) for note in self.notes]
        kept = [fact for one in (self.guard, self.forgetting) if one for fact in one.facts]
        return (*shown, *self._accuracy_facts(), *kept, *self.method_facts)

    def _accuracy_facts(self) -> list[tuple[str, str]]:
        """The held-out accuracy, overall and by label, with the number of examples."""
        seen = self.accuracy_after or self.accuracy_before
        if seen is None:
            return []
        facts = [("held-out accuracy", self._accuracies(None))]
        for label, count in zip(seen.labels, seen.total, strict=True):
            facts.append((f"accuracy of {label}", f"{self._accuracies(label)} of {count}"))
        return facts

    def _accuracies(self, label: str | None) -> str:
        """Before → after in per cent, over all examples or those of one label."""
        pair = (self.accuracy_before, self.accuracy_after)
        return " → ".join("not measured" if a is None else _percent(a, label) for a in pair)

    def __repr__(self) -> str:
        return one_line(self.line)

    def to_frame(self) -> Any:
        """A pandas DataFrame with columns step (from 1) and loss (nats per token)."""
        return frame(enumerate(self.losses, start=1), ("step", "loss"))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views.training import summary_bundle

        return summary_bundle(self)


#: What ended a run, for a display.
_ENDS = {
    "steps": "its number of steps",
    "held-out": "the held-out loss, which improved no more",
    "minutes": "--minutes",
    "stopped": "the user",
    "paused": "a pause, to go on later",
}


def _percent(found: Accuracy, label: str | None) -> str:
    share = found.overall if label is None else found[label]
    return "none" if share is None else percent(share)
