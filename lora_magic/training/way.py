"""How a run computes its passes: rows packed or padded, which logits, LoRA as one function.

Each of these is exact where it applies, and is tried before the run: it is used if the loss and the
gradients of two short rows are those of a plain step, and so are the states of the longest rows.
Knows a model and examples; knows no adapter, no optimizer and no Trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lora_magic.base.device import out_of_memory, release_after
from lora_magic.base.restore import evaluating, generators, namespaces, restoring

from .batches import collate
from .documents import Documents, pack
from .encode import IGNORED, Example
from .trained_loss import trained_loss

#: What another pass costs, in tokens: an embedded model's layers take as long for 30 as for one.
_PASS = 32
#: Tokens of the two rows of the trial.
_TRIAL = (24, 16)
#: Which difference of gradients is rounding, relative to their norm, by the bytes of a number.
ROUNDING = {8: 1e-6, 4: 1e-4, 2: 5e-2, 1: 5e-2}


class Layers(Protocol):
    """The adapter's layers, which can compute forward and backward in one function each."""

    @property
    def plain(self) -> Mapping[str, str]:
        """Why, by path, a layer keeps its own forward."""
        ...

    @property
    def fused(self) -> int:
        """How many layers compute in one function."""
        ...

    def install(self, model: nn.Module) -> object:
        """Switch the layers, until `remove` or the end of the run."""
        ...

    def remove(self) -> None:
        """Switch them back."""
        ...


@dataclass(frozen=True, eq=False)
class Way:
    """How passes over examples are computed; by default plainly, by the model's own forward.

    `packed` rows follow one another in one row, each with attention to itself alone; otherwise they
    are padded, and if `sorted` a step's rows of about equal length go together. With `trained_only`
    the logits of the other tokens are never computed. `reasons` say why something is not used, and
    `fused` how many layers compute LoRA's forward and backward in one function.
    """

    model: Any
    pad_id: int
    packed: bool = False
    sorted: bool = False
    trained_only: bool = False
    fused: int = 0
    reasons: tuple[str, ...] = ()
    documents: Documents | None = field(default=None, repr=False)

    def passes(self, step: Sequence[Sequence[Example]]) -> list[list[Example]]:
        """A step's examples in passes: as they are, or with rows of about equal length together."""
        if not self.sorted:
            return [list(part) for part in step]
        most = max(map(len, step), default=0)
        order = sorted((e for part in step for e in part), key=lambda e: len(e.tokens))
        cuts = _cuts([len(example.tokens) for example in order], most)
        return [order[a:b] for a, b in pairwise(cuts)]

    def groups(self, examples: Sequence[Example], size: int) -> list[list[Example]]:
        """Examples to measure, in passes of at most `size`."""
        ordered = list(examples)
        if self.sorted and all(example.label is None for example in examples):
            ordered.sort(key=lambda example: len(example.tokens))
        return [ordered[at : at + size] for at in range(0, len(ordered), size)]

    def batch(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The inputs of one pass, on the CPU."""
        return pack(examples) if self.packed else collate(examples, self.pad_id)

    def using(self, batch: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """The block of one pass, forward and backward."""
        if self.documents is None or "lengths" not in batch:
            return nullcontext()
        return self.documents.of(batch["lengths"].tolist())

    @property
    def own_loss(self) -> bool:
        """Whether `total` replaces the loss that the model computes itself."""
        return self.packed or self.trained_only

    def total(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Σ loss over a pass's trained tokens, in nats; within `using`."""
        inputs = {k: v for k, v in batch.items() if k not in ("labels", "lengths")}
        labels = batch["labels"]
        if not self.trained_only:
            found = self.model(**inputs, labels=labels, use_cache=False)
            count = labels.ne(IGNORED).sum()
            # The mean over no token is NaN.
            return found.loss * count if count else found.logits.sum() * 0  # type: ignore[no-any-return]  # a tensor
        states = self.model.base_model(**inputs, use_cache=False)[0]
        return trained_loss(states, labels, self.model.get_output_embeddings())

    @property
    def line(self) -> str:
        """What is used, for a summary."""
        parts = ["rows packed" if self.packed else "rows padded"]
        parts[0] += ", of about equal length together" if self.sorted else ""
        parts += ["loss of the trained tokens alone"] if self.trained_only else []
        layers = f"{self.fused} layer{'s' * (self.fused != 1)}"
        parts += [f"LoRA in one function on {layers}"] if self.fused else []
        return "; ".join((*parts, *self.reasons))


def _cuts(lengths: Sequence[int], most: int) -> list[int]:
    """Where to cut sorted lengths into groups of at most `most`, with the least work.

    A group costs its longest length for each of its rows, and once what a pass costs.
    """
    best, came = [0.0], [0]
    for end in range(1, len(lengths) + 1):
        starts = range(max(0, end - most), end)
        costs = [best[at] + lengths[end - 1] * (end - at) + _PASS for at in starts]
        least = min(range(len(costs)), key=costs.__getitem__)
        best.append(costs[least])
        came.append(starts[least])
    cuts = [len(lengths)]
    while cuts[-1]:
        cuts.append(came[cuts[-1]])
    return cuts[::-1]


def choose(
    model: nn.Module,
    pad_id: int,
    examples: Sequence[Example],
    trained: Sequence[nn.Parameter] = (),
    layers: Layers | None = None,
) -> Way:
    """The fastest way that is exact for these examples; `layers` that pass stay switched.

    Nothing is trained, and the generators are restored. Preferences, what the model itself cannot
    be tried on and what there is no memory to try take the plain way.
    """
    try:
        return _chosen(model, pad_id, examples, trained, layers)
    except Exception as error:
        if not out_of_memory(error):
            raise
        release_after(error)
        if layers is not None:
            layers.remove()
        # The run itself takes smaller passes.
        return Way(model, pad_id, reasons=("not packed: no memory to try it",))


def _chosen(
    model: nn.Module,
    pad_id: int,
    examples: Sequence[Example],
    trained: Sequence[nn.Parameter],
    layers: Layers | None,
) -> Way:
    plain = Way(model, pad_id)
    if any(example.rejected is not None for example in examples):
        return replace(plain, reasons=("not packed: preferences",))
    with evaluating(model), restoring(generators()), torch.enable_grad():
        rows = _trial(examples)
        if rows is None:
            return plain
        try:
            with restoring(*namespaces(model)):
                wanted = _found(plain, rows, trained)
        except Exception as error:
            if out_of_memory(error):
                raise
            return plain  # The run's first step tells.
        if not bool(torch.isfinite(wanted[0])):
            return plain  # The run's first step names the cause.
        way, reasons = _with_rows(plain, rows, examples, wanted, trained)
        if layers is not None:
            fused, why = _switched(plain, rows, wanted, trained, layers)
            way, reasons = replace(way, fused=fused), [*reasons, *why]
    return replace(way, reasons=tuple(reasons))


def other_loss(model: nn.Module, pad_id: int, examples: Sequence[Example]) -> str:
    """What the model's own loss is besides the mean cross entropy over its tokens, or ""."""
    rows, plain = _trial(examples), Way(model, pad_id)
    return _trying(model, lambda: _other_loss(plain, rows)) if rows else ""


def _with_rows(
    plain: Way,
    rows: list[Example],
    examples: Sequence[Example],
    wanted: Found,
    trained: Sequence[nn.Parameter],
) -> tuple[Way, list[str]]:
    """Whether rows are packed, and which logits are computed."""
    model: Any = plain.model
    if why := _trying(model, lambda: _other_loss(plain, rows)):
        # Other passes or fewer logits would change what is trained.
        return plain, [f"not packed: {why}"]
    long = _long(examples)
    states = cache(lambda: _states(plain, long))
    alone = _trying(model, lambda: _other_states(plain, long[:1], states()))
    padded = replace(plain, sorted=not alone)
    unsorted = [f"not by length: {alone}"] if alone else []
    if rows[0].label is not None:
        return padded, unsorted
    if _hooked(model):
        # The hooks change what the forward gets or gives: virtual tokens do.
        return padded, ["not packed: virtual tokens or another hook", *unsorted]
    way, reasons = padded, []
    packed = replace(plain, packed=True, documents=Documents(model))
    why = _trying(
        model,
        lambda: (
            _by_place(model, examples)
            or _apart(packed, rows)
            or _differs(packed, rows, wanted, trained)
            or _other_states(packed, long, states())
        ),
    )
    if why:
        reasons += [f"not packed: {why}", *unsorted]
    else:
        way = packed
    fewer = replace(plain, trained_only=True)
    why = _trying(
        model, lambda: _other_logits(model, rows) or _differs(fewer, rows, wanted, trained)
    )
    if why:
        reasons.append(f"all logits: {why}")
    return replace(way, trained_only=not why), reasons


def _switched(
    plain: Way,
    rows: list[Example],
    wanted: Found,
    trained: Sequence[nn.Parameter],
    layers: Layers,
) -> tuple[int, list[str]]:
    """How many layers compute in one function, and why others do not."""
    layers.install(plain.model)
    reasons = list(dict.fromkeys(layers.plain.values()))
    if not layers.fused:
        layers.remove()
        return 0, [f"LoRA layer by layer: {why}" for why in reasons]
    # The first pass finds out which layers share their input.
    why = _trying(
        plain.model,
        lambda: _differs(plain, rows, wanted, trained) or _differs(plain, rows, wanted, trained),
    )
    if why:
        layers.remove()
        return 0, [f"LoRA layer by layer: {why}"]
    return layers.fused, [f"some LoRA layers by themselves: {why}" for why in reasons]


#: A loss, and the gradients of the trained parameters in one vector.
Found = tuple[Tensor, Tensor]


def _trial(examples: Sequence[Example]) -> list[Example] | None:
    """Two short rows of other lengths; None without one of three tokens."""
    long = [example for example in examples[:64] if len(example.tokens) > 2]
    if not long:
        return None
    rows = []
    for example, most in zip((long[0], long[-1]), _TRIAL, strict=True):
        rows.append(_shortened(example, most))
    if len(rows[0].tokens) == len(rows[1].tokens):
        rows[1] = _shortened(rows[1], len(rows[1].tokens) - 1)
    return rows


def _shortened(example: Example, most: int) -> Example:
    """An example's first and last tokens, with labels for all but the first ones, as for a prompt.

    A loss may weigh the end token, or the prompt's.
    """
    tokens = example.tokens
    if len(tokens) > most:
        tokens = (*tokens[: most // 2], *tokens[most // 2 - most :])
    prompt = max(1, len(tokens) // 4)
    labels = (*[IGNORED] * prompt, *tokens[prompt:])
    return replace(example, tokens=tokens, labels=example.labels and labels)


def _found(way: Way, rows: list[Example], trained: Sequence[nn.Parameter]) -> Found:
    """The loss of the rows and its gradients; each row in its own pass, unless they are packed."""
    device = next(way.model.parameters()).device
    groups = [rows] if way.packed else [[row] for row in rows]
    total: Any = 0.0
    gradients = [torch.zeros_like(parameter) for parameter in trained]
    for group in groups:
        inputs = _on_device(way, group)
        with way.using(inputs):
            if way.own_loss:
                loss = way.total(inputs)
            else:
                loss = way.model(**inputs).loss * inputs["labels"].ne(IGNORED).sum()
            if trained and loss.requires_grad:
                parts = torch.autograd.grad(loss, list(trained), allow_unused=True)
                # In place and one set at a time: in full fine-tuning they are as large as the base.
                for gradient, part in zip(gradients, parts, strict=True):
                    if part is not None:
                        gradient.add_(part)
                del parts
        total = total + loss.detach()
    flat = [gradient.flatten().float() for gradient in gradients]
    return total.double(), torch.cat(flat) if flat else torch.zeros(0, device=device)


def _differs(way: Way, rows: list[Example], wanted: Found, trained: Sequence[nn.Parameter]) -> str:
    """What differs from the plain way by more than rounding; "" if nothing does."""
    loss, gradient = _found(way, rows, trained)
    limit = _limit(way.model)
    if not bool((loss - wanted[0]).abs() <= limit * wanted[0].abs()):
        return f"the loss would be {float(loss):g}, not {float(wanted[0]):g}"
    norm = wanted[1].norm()
    return "" if bool((gradient - wanted[1]).norm() <= limit * norm) else "other gradients"


def _by_place(model: Any, examples: Sequence[Example]) -> str:
    """What depends on a token's place in its row, where trials may be too short to show it."""
    config = model.config.get_text_config()
    size = getattr(config, "attention_chunk_size", None)
    if size and max(len(example.tokens) for example in examples) > size:
        return f"attention in chunks of {size} tokens"
    return "attention scaled by place" if getattr(config, "attn_temperature_tuning", 0) else ""


def _other_loss(plain: Way, rows: list[Example]) -> str:
    """Whether the model's loss is more than its logits' mean cross entropy; "" if it is that.

    Losses of routers are small beside it, but no rounding; some exist in training mode alone.
    """
    inputs, model = _on_device(plain, rows), plain.model
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    model.train()  # until the end of the trial
    with torch.no_grad():
        found = model(**inputs)
        for buffer, before in buffers:
            # A write would count as a change of the base.
            if not torch.equal(buffer, before):
                buffer.copy_(before)
    logits, labels = found.logits.float(), inputs["labels"]
    if rows[0].label is None:
        logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    wanted = float(cross_entropy(logits, labels, ignore_index=IGNORED))
    if abs(float(found.loss) - wanted) > 1e-6 * wanted + 1e-7:
        return "the model's loss is not the mean cross entropy of its logits"
    return ""


def _long(examples: Sequence[Example]) -> list[Example]:
    """The shortest and the two longest examples: attention may change with the length."""
    ordered = sorted(examples, key=lambda example: len(example.tokens))
    return [ordered[0], *ordered[1:][-2:]]


def _states(way: Way, rows: list[Example]) -> list[Tensor]:
    """The last hidden states [T, h] of each row, computed in one pass."""
    inputs = _on_device(way, rows)
    del inputs["labels"]
    with torch.no_grad(), way.using(inputs):
        lengths = inputs.pop("lengths", None)
        states = way.model.base_model(**inputs, use_cache=False)[0]
    if lengths is not None:
        return list(states[0].split(lengths.tolist()))
    return [row[: len(example.tokens)] for row, example in zip(states, rows, strict=True)]


def _other_states(way: Way, rows: list[Example], wanted: list[Tensor]) -> str:
    """Whether a row's hidden states differ from the wanted ones; "" if only by rounding."""
    limit = _limit(way.model)
    for found, state in zip(_states(way, rows), wanted, strict=False):
        if not bool((found - state).norm() <= limit * state.norm()):
            return f"other hidden states in a row of {len(state)} tokens"
    return ""


def _on_device(way: Way, rows: list[Example]) -> dict[str, Tensor]:
    device = next(way.model.parameters()).device
    return {key: value.to(device) for key, value in way.batch(rows).items()}


def _limit(model: nn.Module) -> float:
    """Which relative difference is rounding in the model's number formats."""
    sizes = {p.element_size() for p in model.parameters() if p.is_floating_point()}
    return ROUNDING[min(sizes, default=4)]


def _hooked(module: nn.Module) -> bool:
    """Does other code see or change what the module itself gets or gives, or its gradients?"""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for kind in kinds)


def _apart(way: Way, rows: list[Example]) -> str:
    """Whether a packed row's logits depend on the other row: "" if no gradient leads there."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    inputs = _on_device(way, rows)
    del inputs["labels"]
    lengths = inputs.pop("lengths").tolist()
    hook = way.model.get_input_embeddings().register_forward_hook(keep)
    try:
        assert way.documents is not None
        with way.documents.of(lengths):
            logits = way.model(**inputs, use_cache=False).logits[0]
            parts = torch.split(logits, lengths)
            for number, part in enumerate(parts):
                (found,) = torch.autograd.grad(
                    part.float().square().sum(), seen[0], retain_graph=True
                )
                if bool(torch.split(found[0], lengths)[1 - number].any()):
                    return "a row would read the one before it"
    finally:
        hook.remove()
    return ""


def _other_logits(model: Any, rows: list[Example]) -> str:
    """Whether the logits are more than the head's output; "" if they are that, bit for bit."""
    head = model.get_output_embeddings()
    if head is None or model.base_model is model:
        return "the model has no head of its own"
    if _hooked(head):
        return "the head has a hook"
    ids = torch.tensor([rows[0].tokens], device=next(model.parameters()).device)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
        same = torch.equal(head(model.base_model(input_ids=ids, use_cache=False)[0]), logits)
    return "" if same else "they are scaled or capped"


def _trying(model: nn.Module, found: Callable[[], str]) -> str:
    """What a trial found, or the error that it raised.

    Some models remember the longest row so far: they forget the trial's.
    """
    try:
        with restoring(*namespaces(model)):
            return found()
    except Exception as error:
        if out_of_memory(error):
            raise
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]
