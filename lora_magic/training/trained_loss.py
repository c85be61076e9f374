"""The cross entropy of the trained tokens alone, in chunks: most logits are never computed.

Knows tensors and a head; knows no model and no run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy, pad

from .encode import IGNORED

#: Logits that exist at once: 32 MiB in float32.
_CHUNK = 2**23


def trained_loss(hidden: Tensor, labels: Tensor, head: nn.Module) -> Tensor:
    """Σ −log p(label) over the tokens that have a label, in nats, float32 (float64 for float64).

    The logits of a token predict the next one's label. With a frozen plain `nn.Linear` as head the
    logits are computed in chunks, and their gradient with them; any other head gets the hidden
    states of the trained tokens in one call.

    Args:
        hidden: the last hidden states [b, T, h].
        labels: int64 [b, T], −100 for no label.
        head: hidden states → logits over the vocabulary.
    """
    following = pad(labels, (0, 1), value=IGNORED)[:, 1:].reshape(-1)
    places = following.ne(IGNORED).nonzero().squeeze(1)
    targets = following[places]
    states = hidden.reshape(-1, hidden.shape[-1])[places]
    if chunked(head):
        found: Tensor = _Chunked.apply(states, targets, head.weight, head.bias)  # type: ignore[no-untyped-call]  # torch's
        return found
    logits = head(states)
    return cross_entropy(_wide(logits), targets, reduction="sum")


def chunked(head: nn.Module) -> bool:
    """Whether a head's logits can be computed in chunks, outside of its forward."""
    frozen = not any(parameter.requires_grad for parameter in head.parameters())
    return type(head) is nn.Linear and frozen and "forward" not in vars(head)


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


class _Chunked(torch.autograd.Function):
    """The gradient of the hidden states, softmax(z) − 1 at the label times the head, is made while
    a chunk's logits exist."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        with torch.autocast(states.device.type, enabled=False):
            return _Chunked._forward(ctx, states, targets, weight, bias)

    @staticmethod
    def _forward(
        ctx: Any, states: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        gradient = torch.empty_like(states) if wanted else None
        dtype = torch.promote_types(weight.dtype, torch.float32)
        loss = torch.zeros((), dtype=dtype, device=states.device)
        rows = max(1, _CHUNK // weight.shape[0])
        for at in range(0, len(targets), rows):
            label = targets[at : at + rows, None]
            logits = nn.functional.linear(states[at : at + rows].to(weight.dtype), weight, bias)
            wide = _wide(logits)
            wide.sub_(wide.amax(1, keepdim=True))
            loss -= wide.gather(1, label).sum()
            total = wide.exp_().sum(1, keepdim=True)
            loss += total.log().sum()
            if gradient is not None:
                wide.div_(total)
                wide.scatter_add_(1, label, torch.full_like(label, -1, dtype=dtype))
                gradient[at : at + rows] = wide.to(weight.dtype) @ weight
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient.dtype), None, None, None
