"""The defaults of attach and train, by the size of the base model.

Knows numbers only: no model, no tokenizer. A flag overrides a base's own recipe, which
overrides the table by size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

#: Up to this many parameters a base is small: it trains in 16 or 32 bits on one device.
SMALL_BASE = 1_000_000_000


class Recipe(NamedTuple):
    """Defaults for one base model.

    With held-out rows a run takes at most `epochs` passes over the rows, or `steps` optimizer steps
    if those are more; without, `steps` steps. One step takes `batch_size` × `accumulation` rows.
    `checkpointing` recomputes activations to save memory.
    """

    learning_rate: float
    rank: int
    alpha: float
    targets: str
    batch_size: int
    accumulation: int
    max_length: int
    steps: int = 60
    epochs: float = 10.0
    optimizer: str = "adamw"
    checkpointing: bool = False

    def on_quantised(self, parameters: int, cuda: bool) -> Recipe:
        """This recipe for a quantised base (QLoRA, arXiv 2305.14314): a paged optimizer, and
        gradient checkpointing above a billion parameters on a GPU."""
        large = cuda and parameters > SMALL_BASE
        return self._replace(optimizer="paged-adamw", checkpointing=large)


SMALL = Recipe(
    learning_rate=5e-4,
    rank=16,
    alpha=32.0,
    targets="all-linear",
    batch_size=8,
    accumulation=2,
    max_length=1024,
)

LARGE = Recipe(
    learning_rate=2e-4,
    rank=16,
    alpha=32.0,
    targets="all-linear",
    batch_size=2,
    accumulation=8,
    max_length=2048,
    epochs=1.0,  # Ten passes of such a base take hours.
)


def recipe_for(parameters: int) -> Recipe:
    """The recipe for a base of this many parameters without its own recipe."""
    return SMALL if parameters <= SMALL_BASE else LARGE


def embedded() -> Recipe:
    """The embedded model's own recipe."""
    from lora_magic import demo

    fields: dict[str, Any] = {"accumulation": 1, "max_length": 512, **demo.RECIPE}
    return Recipe(**fields)
