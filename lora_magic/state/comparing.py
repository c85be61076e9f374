"""Base and adapters side by side: which prompts, which adapters, and what is compared.

Knows the session's state; does not know how answers are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lora_magic.compare import classify as classifying
from lora_magic.compare.comparison import Comparison, Unfinished
from lora_magic.compare.prediction import Classification
from lora_magic.compare.run import Written, compare

from . import queries

if TYPE_CHECKING:
    from .session_state import SessionState

#: Called after each new token with a function that returns the answers so far; True ends them.
OnUnfinished = Callable[[Callable[[], Unfinished]], bool]


def answers(
    state: SessionState,
    prompts: Sequence[Any],
    adapters: str | Sequence[str] | None,
    sampling: Mapping[str, Any],
    watch: OnUnfinished | None,
) -> Comparison | Classification:
    """The prompts under the base and each adapter; a classifier's label probabilities."""
    base = state.base
    variants = queries.variants(state, adapters)
    names = [variant.name for variant in variants]
    context = queries.usable_context(state, names)
    every = state.attached if adapters is None else ()
    left_out = tuple(name for name in every if name not in names)
    model, tokenizer, texts = base.model, base.needs_tokenizer(), queries.flat(prompts)
    if base.task.classifies:
        classifying.refuse_flags(**sampling)
        labelled = classifying.compare(
            model,
            state.slots,
            tokenizer,
            variants,
            texts,
            base.task.labels,
            untrained=queries.untrained(state, names),
            context=context,
        )
        return replace(labelled, left_out=left_out)
    follow = None if watch is None else _Following(names, len({*texts}), watch)
    answered = compare(
        model, state.slots, tokenizer, variants, texts, **sampling, context=context, watch=follow
    )
    return replace(answered, left_out=left_out)


@dataclass
class _Following:
    """Collects the answers of one prompt after the other, for whoever watches them."""

    names: Sequence[str]
    total: int
    watch: OnUnfinished
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    last: Written | None = None

    def __call__(self, written: Written) -> bool:
        # Decoding takes time, so only what has just ended is decoded unasked.
        if self.last is not None and self.last != written:
            self._read(self.last)
        self.last = written
        return self.watch(lambda: self._so_far(written))

    def _read(self, written: Written) -> None:
        self.texts.setdefault(written.prompt, {}).update(written())

    def _so_far(self, written: Written) -> Unfinished:
        self._read(written)
        begun = (
            (prompt, tuple((name, found.get(name)) for name in self.names))
            for prompt, found in self.texts.items()
        )
        return Unfinished(tuple(begun), self.total)
