"""Where a model's numbers stop being finite: the first module whose weights or outputs are not.

Knows a model and token ids; does not know whether an adapter is in it, nor what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .restore import evaluating

#: Tokens of the check when none are given, spread over the vocabulary.
_TOKENS = 8


@torch.no_grad()
def broken(model: Any, ids: Sequence[int] | None = None) -> str | None:
    """None if the logits for these token ids are finite; otherwise what is not, as a clause.

    The clause begins with the path of the first module, in the order of the definition, with a
    weight that is NaN or infinite ("lm_head.weight has 1 of 4,096 values that are not finite"). If
    all weights are finite, it begins with that of the first one, in the order of execution, whose
    output is not. The usual case costs one forward pass of one row; only a failure is searched. By
    default the ids are a few of the vocabulary. The model must be as it is to be judged: for the
    base, with the base's own modules in its slots.
    """
    chosen = list(ids) if ids is not None else _some_ids(model)
    with evaluating(model):
        if bool(finite_rows(_logits(model, chosen)).all()):
            return None
        return _weights(model) or _outputs(model, chosen)


def finite_rows(logits: Tensor) -> Tensor:
    """Whether each row [..., V] has a largest logit: no NaN, no +∞, and not −∞ alone.

    Single −∞ are a masked vocabulary.
    """
    return logits.amax(-1).isfinite()


def _some_ids(model: Any) -> list[int]:
    known = model.get_input_embeddings().weight.shape[0]
    return list(range(0, known, max(1, known // _TOKENS)))[:_TOKENS]


def _logits(model: Any, ids: Sequence[int]) -> Tensor:
    row = torch.tensor([list(ids)], device=model.device)
    logits: Tensor = model(input_ids=row, attention_mask=torch.ones_like(row)).logits
    return logits


def _weights(model: nn.Module) -> str | None:
    for name, weight in model.named_parameters():
        if not weight.is_floating_point() or weight.is_meta:
            continue
        odd = weight.numel() - int(weight.isfinite().sum())
        if odd:
            return f"{name} has {odd:,} of {weight.numel():,} values that are not finite"
    return None


def _outputs(model: nn.Module, ids: Sequence[int]) -> str:
    """The first module to end with an output that is not finite: a leaf before its parents."""
    first: list[str] = []
    hooks = []
    for path, module in model.named_modules():

        def note(module: nn.Module, args: object, output: object, path: str = path) -> None:
            if not first and not all(bool(tensor.isfinite().all()) for tensor in _floats(output)):
                first.append(path or type(module).__name__)

        hooks.append(module.register_forward_hook(note))
    try:
        _logits(model, ids)
    finally:
        for hook in hooks:
            hook.remove()
    where = first[0] if first else type(model).__name__
    return f"the output of {where} is not finite, although all weights are"


def _floats(output: object) -> Iterator[Tensor]:
    """The tensors of floating-point numbers in a module's output, however nested."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        yield from _floats(tuple(output.values()))
    elif isinstance(output, list | tuple):
        for part in output:
            yield from _floats(part)
