"""The loss of examples that are not trained on, and a classifier's accuracy on them.

Knows models and encoded examples; knows no run and no rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from lora_magic.base.restore import evaluating

from .encode import IGNORED, Example
from .preference import Preference
from .summary import Accuracy
from .way import Way
from .world import Alone, World, gathered, idle, share

#: Examples → a batch on the model's device.
Batch = Callable[[Sequence[Example]], dict[str, Tensor]]


@dataclass(frozen=True)
class Measurement:
    """The mean loss over the examples' tokens, in nats (a classifier's: over the examples).

    With preferences the loss is the mean over the pairs, and `preferred` the share of pairs whose
    chosen answer has become likelier than the rejected one, compared with the start of the run.
    """

    loss: float
    accuracy: Accuracy | None = None
    preferred: float | None = None


def measure(
    way: Way,
    examples: Sequence[Example],
    size: int,
    *,
    batch: Batch | None = None,
    preference: Preference | None = None,
    classes: Sequence[str] = (),
    stopped: Callable[[], bool] = lambda: False,
    world: World | None = None,
) -> Measurement | None:
    """Measure examples in eval mode, `size` at a time; None without any, or if stopped.

    They are computed as a run's passes are (`way`); `batch` replaces the way's own batches. Of
    several workers each measures its share, and all get the same measurement; `stopped` must tell
    them the same, and not change meanwhile.
    """
    model, world = way.model, world or Alone()
    batch = batch or partial(on_device, way)
    if stopped():
        return None
    if preference is not None:
        return _preferred(model, examples, batch, size, preference, stopped, world)
    total, tokens = 0.0, 0.0
    predicted: list[int] = []
    with evaluating(model), torch.no_grad():
        for group in way.groups(share(examples, world), size):
            if stopped():
                return None
            inputs = batch(group)
            count = int(inputs["labels"].ne(IGNORED).sum())
            tokens += count
            if way.own_loss:
                with way.using(inputs):
                    total += float(way.total(inputs))
                continue
            found = model(**inputs)
            total += float(found.loss) * count
            predicted += found.logits.argmax(-1).tolist() if classes else []
        for _ in range(idle(len(examples), size, world)):
            model(**batch(examples[:1]))
    total, tokens = world.sums([total, tokens])
    if not tokens:
        return None
    if not classes:
        return Measurement(total / tokens)
    true = [example.label for example in examples if example.label is not None]
    pairs = zip(true, map(int, gathered(predicted, len(true), world)), strict=True)
    return Measurement(total / tokens, Accuracy.of(classes, pairs))


def on_device(way: Way, examples: Sequence[Example]) -> dict[str, Tensor]:
    """A pass's inputs on the model's device."""
    device = next(way.model.parameters()).device
    return {key: value.to(device) for key, value in way.batch(examples).items()}


def _preferred(
    model: nn.Module,
    examples: Sequence[Example],
    batch: Batch,
    size: int,
    preference: Preference,
    stopped: Callable[[], bool],
    world: World,
) -> Measurement | None:
    if not examples:
        return None
    margins: list[Tensor] = []
    mine = share(examples, world)
    with evaluating(model), torch.no_grad():
        for at in range(0, len(mine), size):
            if stopped():
                return None
            margins.append(preference.margins(model, batch(mine[at : at + size])))
        for _ in range(idle(len(examples), size, world)):
            preference.margins(model, batch(examples[:1]))
    found = torch.cat(margins) if margins else torch.zeros(0)
    if world.size > 1:
        found = torch.tensor(gathered(found.tolist(), len(examples), world))
    loss = float(-torch.nn.functional.logsigmoid(found).mean())
    return Measurement(loss, preferred=float((found > 0).float().mean()))
