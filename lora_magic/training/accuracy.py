"""How often a classifier is right, label by label.

Knows names and counts; knows no model and no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.frames import frame


@dataclass(frozen=True)
class Accuracy:
    """Of `total` examples of each label, how many were given it: `right`. In the labels' order."""

    labels: tuple[str, ...]
    right: tuple[int, ...]
    total: tuple[int, ...]

    @classmethod
    def of(cls, labels: Sequence[str], pairs: Iterable[tuple[int, int]]) -> Accuracy:
        """Counted from pairs (index of the true label, index of the label given)."""
        right, total = [0] * len(labels), [0] * len(labels)
        for true, given in pairs:
            total[true] += 1
            right[true] += true == given
        return cls(tuple(labels), tuple(right), tuple(total))

    @property
    def overall(self) -> float:
        """Σ right / Σ total, over all examples alike."""
        return sum(self.right) / sum(self.total)

    def __getitem__(self, label: str) -> float | None:
        """The share of one label's examples that were given it; None where there is none."""
        place = self.labels.index(label)
        return self.right[place] / self.total[place] if self.total[place] else None

    def to_frame(self) -> Any:
        """A pandas DataFrame with columns label, right, total and accuracy."""
        shares = map(self.__getitem__, self.labels)
        rows = zip(self.labels, self.right, self.total, shares, strict=True)
        return frame(rows, ("label", "right", "total", "accuracy"))
