"""A classifier's predictions as values: the probability of each label of a text.

Knows names and numbers. The views draw them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_magic.errors import listed
from lora_magic.frames import frame
from lora_magic.numbers import percent
from lora_magic.printable import one_line

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = ("prompt", "adapter", "label", "probability", "chosen")


@dataclass(frozen=True)
class Prediction:
    """The prediction of one adapter (or "base") for one text. `str(prediction)` is the label.

    `probabilities` are softmax(logits), in the order of `labels`; `note` is a remark, or "".
    """

    prompt: str
    adapter: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    note: str = ""

    @property
    def probability(self) -> float:
        """The highest probability."""
        return max(self.probabilities)

    @property
    def label(self) -> str:
        """The label with the highest probability; the first of equal ones."""
        return self.labels[self.probabilities.index(self.probability)]

    @property
    def line(self) -> str:
        """One line: the label, its probability and the adapter."""
        note = f" · {self.note}" if self.note else ""
        return f"{self.label} {percent(self.probability)} · {self.adapter}{note}"

    def to_frame(self) -> DataFrame:
        """Columns prompt, adapter, label, probability, chosen: one row for each label."""
        return frame(self._rows(), _COLUMNS)

    def _rows(self) -> Iterable[tuple[str, str, str, float, bool]]:
        for label, share in zip(self.labels, self.probabilities, strict=True):
            yield self.prompt, self.adapter, label, share, label == self.label

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import classification as view

        return {**view.bundle([self]), "text/plain": repr(self)}


@dataclass(frozen=True)
class Classification:
    """Texts and the predictions of each adapter, the base first for each text.

    `left_out` are the adapters that were not named and not trained. `notes` say which texts were
    not read; `stopped` that the user ended it before the others.
    """

    predictions: tuple[Prediction, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts, in the order given."""
        return tuple(dict.fromkeys(prediction.prompt for prediction in self.predictions))

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters, the base first."""
        return tuple(dict.fromkeys(prediction.adapter for prediction in self.predictions))

    @property
    def line(self) -> str:
        """One line: adapters, number of texts, labels."""
        count = len(self.prompts)
        texts = "1 text" if count == 1 else f"{count} texts"
        ended = " · stopped by you" if self.stopped else ""
        labels = listed(self.predictions[0].labels)
        return f"{' | '.join(self.adapters)} · {texts} · {labels}{ended}"

    def to_frame(self) -> DataFrame:
        """Columns prompt, adapter, label, probability, chosen: one row for each label."""
        return frame(
            (row for prediction in self.predictions for row in prediction._rows()), _COLUMNS
        )

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import classification as view

        return view.bundle(self.predictions, self.line, self.left_out, self.notes)
