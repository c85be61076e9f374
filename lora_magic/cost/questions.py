"""What people ask beside "does it fit": a row each, with the line to type.

Knows a model, the chosen way and the other methods; knows no machine but by what is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.presets import VIRTUAL_TOKENS
from lora_magic.adapters.spec import USUAL, AdapterSpec
from lora_magic.errors import AdapterError
from lora_magic.numbers import count, figures, percent, short, size

from . import compute, fit
from .advice import line_of, savings
from .compute import checkpoint_bytes
from .count import trainable
from .memory import memory
from .model import Model
from .plan import Row, Way
from .work import FULL, Work

#: The methods that are set beside the chosen one.
_BESIDE = ("lora", "houlsby", "ia3", "prefix", FULL)
#: The rank of a bottleneck beside another method.
_RANK = 16
#: A larger rank is no longer small: full fine-tuning is named instead.
_LARGEST_RANK = 1024


def rows(model: Model, work: Work, chosen: Way) -> tuple[Row, ...]:
    """The rows, in order; a question that has no answer for this model is left out."""
    beside = _beside(model, work.spec)
    asked: tuple[Callable[[], Iterator[Row]], ...] = (
        lambda: _capacity(work, chosen),
        lambda: _context(model, work, beside),
        lambda: _latency(model, work, beside),
        lambda: _speed(model, work, chosen),
        lambda: _storage(work, beside),
        lambda: _longer(model, work, chosen),
        lambda: _saving(model, work, chosen),
    )
    found = tuple(row for question in asked for row in question())
    typed = line_of(work, {})
    # The line that was typed is no change.
    return tuple(Row(row.question, row.answer) if row.command == typed else row for row in found)


def _beside(model: Model, spec: AdapterSpec) -> dict[str, tuple[AdapterSpec, int]]:
    """The chosen spec and others by method, with what each trains; those that are possible."""
    found = {spec.method: (spec, trainable(model, spec))}
    for name in _BESIDE:
        if name == spec.method:
            continue
        method = METHODS[name]
        # With the same seed full fine-tuning is a spec that the plan has counted.
        values = {"rank": _RANK, "alpha": 2.0 * _RANK, "targets": USUAL, "seed": spec.seed}
        values |= {"virtual_tokens": VIRTUAL_TOKENS}
        read = {field: value for field, value in values.items() if method.reads(field)}
        try:
            other = AdapterSpec(method=name, **read)  # type: ignore[arg-type]  # each of its type
            found[name] = other, trainable(model, other)
        except AdapterError:
            continue  # This model has no attention, no cache or no blocks.
    return found


def _capacity(work: Work, chosen: Way) -> Iterator[Row]:
    """LoRA keeps up with full fine-tuning while it has about one parameter for each completion
    token (Thinking Machines, "LoRA Without Regret", 2025)."""
    question = "Can the adapter hold the data?"
    trained, tokens = chosen.trained, work.labelled
    if tokens is None:
        told = f"up to {short(trained)} completion tokens, at a parameter for each"
        flags = {"tokens": work.tokens, "trained_tokens": work.tokens}
        yield Row(question, told, line_of(work, flags))
        return
    each = trained / tokens
    told = f"{figures(each)} parameters for each of {short(tokens)} completion tokens"
    if each >= 1:
        yield Row(question, f"yes: {told}")
        return
    told = f"no: {told}, expected at least 1"
    spec = work.spec
    rank = math.ceil(spec.rank / each) if METHODS[spec.method].batched else 0
    instead: dict[str, Any] = {"rank": rank} if 0 < rank <= _LARGEST_RANK else {"method": FULL}
    yield Row(question, told, line_of(work, instead))


def _context(
    model: Model, work: Work, beside: Mapping[str, tuple[AdapterSpec, int]]
) -> Iterator[Row]:
    question, whole, own = "How much of the context is left?", model.context, work.spec
    if not whole:
        return
    if own.virtual_tokens:
        left = max(0, whole - own.virtual_tokens)
        told = f"{count(left)} of {count(whole)} tokens: {METHODS[own.method].title} takes the rest"
        yield Row(question, told, line_of(work, {"method": "lora", "virtual_tokens": None}))
        return
    left = max(0, whole - VIRTUAL_TOKENS)
    method, what = ("prefix", "prefix or prompt") if "prefix" in beside else ("prompt", "prompt")
    told = f"all {count(whole)} tokens; with a {what} of {VIRTUAL_TOKENS} virtual tokens "
    yield Row(question, told + count(left), line_of(work, {"method": method}))


def _latency(
    model: Model, work: Work, beside: Mapping[str, tuple[AdapterSpec, int]]
) -> Iterator[Row]:
    """More operations, and more products one after the other: at one prompt the second counts."""
    whole = compute.forward(model, 1).total
    blocks = max(1, len(model.shapes.blocks))

    def cost(method: str) -> str:
        spec, trained = beside[method]
        title = METHODS[method].title
        if method == FULL:
            return ""
        if spec.virtual_tokens:
            return f"{title} attends to {spec.virtual_tokens} more positions"
        if method == "ia3":
            return ""
        share = percent(2 * trained / whole)
        merged = f"{title} nothing once merged, before that" if method == "lora" else title
        return f"{merged} {share} more operations"

    told = "; ".join(filter(None, map(cost, beside)))
    if told and blocks:
        command = line_of(work, {"method": "houlsby"}) if "houlsby" in beside else ""
        yield Row("Does it slow answers down?", told, command)


def _speed(model: Model, work: Work, chosen: Way) -> Iterator[Row]:
    """Of one prompt: each token reads all weights that it passes, so bandwidth is the limit."""
    read = chosen.memory.of("weights") * model.active / max(1, model.parameters)
    found = compute.tokens_a_second(read, work.place.bandwidth)
    if found is not None:
        told = f"at most {figures(found)} tokens a second for one prompt: each reads {size(read)}"
        yield Row("How fast can it answer?", told)


def _storage(work: Work, beside: Mapping[str, tuple[AdapterSpec, int]]) -> Iterator[Row]:
    parts = [
        f"{METHODS[method].title} {size(checkpoint_bytes(trained))}"
        for method, (_, trained) in beside.items()
    ]
    smallest = min(beside, key=lambda method: beside[method][1])
    told = ", ".join(parts) + "; in 16 bits half of that"
    flags = {"method": smallest} if smallest != work.spec.method else {}
    yield Row("How large is a saved adapter?", told, line_of(work, flags))


def _longer(model: Model, work: Work, chosen: Way) -> Iterator[Row]:
    setting = chosen.setting
    most = model.context or 2 * setting.length
    length = min(2 * setting.length, most)
    if length <= setting.length:
        return
    longer = memory(model, fit.resized(setting, length=length))
    more = longer.peak - chosen.memory.peak
    grown = longer.of("activations") - chosen.memory.of("activations")
    told = f"{size(more)} more at {count(length)} tokens, {size(max(0, grown))} of it activations"
    if more <= 0:
        told = f"nothing more at {count(length)} tokens: the peak is in the optimizer's step"
    yield Row("What does a longer context cost?", told, line_of(work, {"max_length": length}))


def _saving(model: Model, work: Work, chosen: Way) -> Iterator[Row]:
    found = savings(model, work, chosen)
    if found:
        told = ", ".join(f"{change.told} {size(saved)}" for saved, change in found)
        yield Row("Which change saves most?", told, line_of(work, found[0][1].flags))
