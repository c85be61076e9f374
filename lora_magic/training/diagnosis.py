"""Why a loss is not finite: the base, some of the rows, or the run itself.

Knows a model, examples, and how to take the adapter out; knows no optimizer and no session.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from torch import nn

from lora_magic.base.finite import broken
from lora_magic.data.row import numbered

from .encode import Example
from .held_out import Batch, measure
from .way import Way

#: In this block the model is the base, without the adapter.
Without = Callable[[], AbstractContextManager[None]]


def not_finite(
    model: nn.Module, examples: Sequence[Example], batch: Batch, without: Without
) -> str | None:
    """The cause, and what to do about it, if it is the base or some rows; None if it is the run.

    The rows are judged one at a time by the base alone, which the run has not changed. If the
    adapter ruined the loss, the base reads all of them with a finite one.
    """
    with without():
        bad = [example for example in examples if not _finite(model, example, batch)]
        if not bad:
            return None
        where = broken(model)
        if where:
            return (
                f"the base's own output is not finite ({where}), so no adapter can be trained on "
                "it: download or convert its weights again, or load it with --dtype float32"
            )
        where = broken(model, bad[0].tokens)
    rows = numbered("row", sorted({example.number for example in bad}))
    return (
        f"the base's loss is not finite for {rows}{f' ({where})' if where else ''}, without any "
        "adapter: remove them from the data, or load the base with --dtype float32"
    )


def _finite(model: nn.Module, example: Example, batch: Batch) -> bool:
    found = measure(Way(model, 0), [example], 1, batch=batch)
    return found is None or math.isfinite(found.loss)
