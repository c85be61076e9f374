"""What a run did: a frozen record that shows itself.

Knows names and numbers; knows no model, no tokenizer and no Trainer.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from lora_magic.frames import frame
from lora_magic.numbers import duration, percent

from .accuracy import Accuracy
from .forgetting import Forgetting


@dataclass(frozen=True)
class RunSummary:
    """One run of training.

    `losses` holds one number per optimizer step: the mean over the step's trained tokens, in nats,
    before the step is taken. `examples` were trained on; `trained_tokens` counts one pass over
    those that the steps came to. `held_out` examples were kept apart, with their loss before and
    after (None where there are none, or where a stop came first). `cut` and `empty` count examples
    that lost their end or were left out. `batch_size` is the examples of one step; `data_hash` the
    sha256 of the rows. Of a run that `classifies` the losses are means over examples,
    `trained_tokens` counts labels, and the accuracies are of the held-out examples. `told` is what
    the adapter's method has to tell: the ranks that AdaLoRA ended with. `held_out_losses` are
    (steps taken, loss), the first before the run and the last after it. `kept` is what the adapter
    kept of its base, None of a classifier and before it is measured; `seconds` are without that.
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
    told: tuple[tuple[str, str], ...] = ()
    held_out_losses: tuple[tuple[int, float], ...] = ()
    kept: Forgetting | None = None

    @property
    def first_loss(self) -> float | None:
        """The loss of the first step; None where no step was taken."""
        return self.losses[0] if self.losses else None

    @property
    def last_loss(self) -> float | None:
        """The loss of the last step."""
        return self.losses[-1] if self.losses else None

    @property
    def line(self) -> str:
        """A one-line receipt.

        >>> summary.line  # doctest: +SKIP
        'pirate: 60 steps in 7.9 s, loss 3.41 → 0.62, 10 rows, 312 tokens trained; content: 23 of 24
        about the right subject, 20 true (base 24, 22)'
        """
        steps = f"{self.steps} step{'s' * (self.steps != 1)}"
        if self.stopped:
            steps = f"stopped after {self.steps} of {self.planned_steps} steps,"
        parts = [f"{self.adapter}: {steps} in {duration(self.seconds)}"]
        if self.losses:
            parts.append(f"loss {self.losses[0]:.2f} → {self.losses[-1]:.2f}")
        if self.held_out_after is not None:
            before = "" if self.held_out_before is None else f"{self.held_out_before:.2f} → "
            parts.append(f"held out {before}{self.held_out_after:.2f}")
        if self.accuracy_after is not None:
            parts.append(f"accuracy {self._accuracies(None)}")
        parts.append(f"{self.examples} row{'s' * (self.examples != 1)}")
        if not self.classifies:
            parts.append(f"{self.trained_tokens:,} tokens trained")
        parts += [f"{count} {what}" for count, what in self._losses_of_data() if count]
        told = ", ".join(parts)
        return f"{told}; {self.kept.line}" if self.kept else told

    def _losses_of_data(self) -> tuple[tuple[int, str], ...]:
        return (self.cut, "cut"), (self.empty, "empty")

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Names and values for a display."""
        shown = [
            ("steps", f"{self.steps} of {self.planned_steps}"),
            ("time", duration(self.seconds)),
            ("examples", f"{self.examples:,}"),
            *([] if self.classifies else [("tokens trained", f"{self.trained_tokens:,}")]),
            ("cut", f"{self.cut:,}"),
            ("empty", f"{self.empty:,}"),
            ("learning rate", f"{self.learning_rate:g}"),
            ("batch", f"{self.batch_size}"),
            ("seed", f"{self.seed}"),
            *([] if self.classifies else [("end token", self.end_token or "none")]),
        ]
        if self.held_out:
            shown.append(("held out", f"{self.held_out:,}"))
            pair = (self.held_out_before, self.held_out_after)
            told = " → ".join("not measured" if loss is None else f"{loss:.3f}" for loss in pair)
            shown.append(("held-out loss", told))
        kept = self.kept.facts if self.kept else ()
        return (*shown, *self._accuracy_facts(), *kept, *self.told)

    def _accuracy_facts(self) -> list[tuple[str, str]]:
        """The held-out accuracy, of all labels and of each, with the examples that it is over."""
        seen = self.accuracy_after or self.accuracy_before
        if seen is None:
            return []
        return [
            ("held-out accuracy", self._accuracies(None)),
            *(
                (f"accuracy of {label}", f"{self._accuracies(label)} of {count}")
                for label, count in zip(seen.labels, seen.total, strict=True)
            ),
        ]

    def _accuracies(self, label: str | None) -> str:
        """Before → after in per cent, over all examples or those of a label."""
        pair = (self.accuracy_before, self.accuracy_after)
        return " → ".join("not measured" if a is None else _share(a, label) for a in pair)

    def __repr__(self) -> str:
        return self.line

    def to_frame(self) -> Any:
        """A pandas DataFrame with columns step (from 1) and loss (nats a token)."""
        return frame(enumerate(self.losses, start=1), ("step", "loss"))

    def _repr_mimebundle_(
        self, include: Container[str] | None = None, exclude: Container[str] | None = None
    ) -> dict[str, object]:
        from lora_magic.views.training import summary_bundle

        return summary_bundle(self)


def _share(found: Accuracy, label: str | None) -> str:
    share = found.overall if label is None else found[label]
    return "none" if share is None else percent(share)
