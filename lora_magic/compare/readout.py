"""Layers, final norm and head of a model, found by what they do; directions read through them.

Models name these modules in many ways, so a tiny forward pass decides. The head is what
`get_output_embeddings` returns; the norm is the last module whose output the head receives and that
returns the same for twice its input; the layers are the longest list of modules that all return
states of the head's width. Knows a model; knows no tokenizer and no adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.restore import evaluating

#: How far two vectors may be from parallel, as 1 − cosine, to count as one in 16 bits.
_PARALLEL = 1e-3
#: How far the outputs of a norm for an input and its double may differ: rounding in 16 bits.
_SAME = 0.02
_TINY = 1e-6
#: Tokens of the forward pass that finds the modules.
_TOKENS = 4

#: Called with a module's first argument, None if that is no tensor, and its first output.
Note = Callable[[Tensor | None, Tensor], None]


@dataclass(frozen=True)
class Readout:
    """The paths of the layers, and the base's own final norm and head."""

    layers: tuple[str, ...]
    norm: nn.Module
    head: nn.Module

    @torch.no_grad()
    def logits(self, directions: Tensor) -> Tensor:
        """Logits [N, V] in float32 of directions [N, H], by the linear part of norm and head.

        A norm divides by the length, so that of a direction has no effect. What both add to any
        input, such as a bias, is subtracted: it says nothing about the direction.
        """
        own = [*self.norm.parameters(), *self.head.parameters()][0]
        kind = own.dtype if own.is_floating_point() else torch.float32
        length = directions.square().mean(-1, keepdim=True).sqrt()
        unit = directions / length.clamp_min(torch.finfo(directions.dtype).tiny)
        unit = unit.to(own.device, kind)[:, None]
        zero = torch.zeros_like(unit[:1])
        logits: Tensor = self.head(self.norm(unit) - self.norm(zero))
        offset: Tensor = self.head(zero)
        return (logits.float() - offset.float())[:, 0]


@torch.no_grad()
def find_readout(model: Any) -> Readout | str:
    """The readout of the model as it is now, or why there is none, as a clause."""
    try:
        head = model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        head = None
    if not isinstance(head, nn.Module):
        return "this model has no output embeddings to read a state with"
    calls: list[tuple[str, Tensor | None, Tensor]] = []
    received: list[Tensor] = []

    def note_head(given: Tensor | None, _: Tensor) -> None:
        received.extend([] if given is None else [given])

    notes: dict[str, Note] = {
        path: lambda given, output, path=path: calls.append((path, given, output))  # type: ignore[misc]
        for path, module in model.named_modules()
        if path and module is not head
    }
    modules = dict(model.named_modules())
    with evaluating(model), watching(modules, notes), watching({"": head}, {"": note_head}):
        ids = torch.arange(1, 1 + _TOKENS, device=model.device)[None]
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        if not received:
            return "this model does not call its output embeddings as a module"
        wanted = received[-1]
    shape = (1, _TOKENS, wanted.shape[-1])
    whole = [(path, given, out) for path, given, out in calls if out.shape == shape]
    norm = next(
        (
            modules[path]
            for path, given, out in reversed(whole)
            if _ends(modules[path], given, out, wanted)
        ),
        None,
    )
    if norm is None:
        return "no final norm was found before the head of this model"
    layers = _layers(model, {path for path, _, _ in whole})
    return Readout(layers, norm, head) if layers else "no layers were found in this model"


@contextmanager
def watching(modules: Mapping[str, nn.Module], notes: Mapping[str, Note]) -> Iterator[None]:
    """Call the notes on every call of their modules in a block."""
    with ExitStack() as stack:
        for path, note in notes.items():
            handle = modules[path].register_forward_hook(_hook(note), with_kwargs=True)
            stack.callback(handle.remove)
        yield


def _hook(note: Note) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Any, output: Any) -> None:
        given = args[0] if args else next(iter(kwargs.values()), None)
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor):
            note(given if isinstance(given, Tensor) else None, first)

    return hook


def _layers(model: nn.Module, returning: set[str]) -> tuple[str, ...]:
    """The paths of the longest list of modules that all return states."""
    longest: list[str] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > len(longest):
            paths = [f"{path}.{number}" for number in range(len(module))]
            longest = paths if returning.issuperset(paths) else longest
    return tuple(longest)


def _ends(module: nn.Module, given: Tensor | None, output: Tensor, wanted: Tensor) -> bool:
    """Is a module the final norm: does the head receive its output, but for a factor?"""
    if given is None or given.shape != output.shape:
        return False
    ends = output[0, -1].double().cpu(), wanted[0, -1].double().cpu()
    parallel = torch.cosine_similarity(*ends, dim=0) > 1 - _PARALLEL
    return bool(parallel) and _is_norm(module, given)


def _is_norm(module: nn.Module, given: Tensor) -> bool:
    """Does a module return the same for twice its input, at one position alone?

    The input is large, so that the constant under a norm's root does not count.
    """
    last = given[:, -1:]
    large = 8 * last / last.float().square().mean().sqrt().clamp_min(_TINY).to(last.dtype)
    try:
        once, twice = module(large), module(2 * large)
    except Exception:  # noqa: BLE001 - a module that needs more than one position is no norm
        return False
    if not isinstance(once, Tensor) or once.shape != large.shape:
        return False
    return bool((twice - once).float().norm() <= _SAME * once.float().norm())
