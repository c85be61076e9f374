"""Base and adapters side by side: which prompts, which adapters, and what is compared.

Knows the session's state; does not know how answers are made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lora_magic.compare import classify as classifying
from lora_magic.compare.comparison import Comparison, Unfinished
from lora_magic.compare.prediction import Classification
from lora_magic.compare.run import Written, compare
from lora_magic.compare.scores import score
from lora_magic.data.row import numbered
from lora_magic.errors import DataError, PromptError

from . import queries
from .mixing import mix_of

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
    *,
    rows: Sequence[str] | None = None,
    scores: bool = False,
    mix: Any = None,
) -> Comparison | Classification:
    """The prompts under the base and each adapter; a classifier's label probabilities.

    `rows` are the prompts of data, of which blank ones are left out.
    """
    base, mixed = state.base, mix_of(state, mix)
    variants = queries.variants(state, adapters)
    names = [variant.name for variant in variants]
    context = queries.usable_context(state, names)
    every = state.attached if adapters is None else ()
    left_out = tuple(name for name in every if name not in names)
    model, tokenizer = base.model, base.needs_tokenizer()
    texts, notes = once(prompts, rows)
    if base.task.classifies:
        if scores:
            raise PromptError(
                "--scores: a classifier generates no tokens; omit it: compare shows the "
                "probability of each label."
            )
        classifying.refuse_flags(**sampling)
        state.remember(texts)
        labelled = classifying.compare(
            model,
            state.slots,
            tokenizer,
            variants,
            texts,
            base.task.labels,
            untrained=queries.untrained(state, names),
            context=context,
            stop=None if watch is None else lambda: watch(lambda: Unfinished((), len(texts))),
        )
        return replace(labelled, left_out=left_out, notes=notes)
    shown = [*names, *([mixed.name] if mixed is not None else [])]
    follow = None if watch is None else _Following(shown, len(texts), watch)
    common = {**sampling, "context": context, "watch": follow, "mix": mixed}
    found = compare(model, state.slots, tokenizer, variants, texts, **common)
    state.remember(texts)
    found = replace(found, left_out=left_out, notes=notes)
    if not scores or found.stopped:
        return found
    stop = None if follow is None else follow.again
    given = (model, state.slots, tokenizer, variants, found.panes)
    made = score(*given, context=context, stop=stop, mix=mixed)
    return replace(found, scores=made)


def once(prompts: Sequence[Any], rows: Sequence[str] | None) -> tuple[list[str], tuple[str, ...]]:
    """The prompts as typed, or those of data, each once, and notes on what is left out."""
    if rows is not None:
        return _of_rows(rows)
    texts = queries.flat(prompts)
    return list(dict.fromkeys(texts)), _repeated(texts)


def _of_rows(rows: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The prompts of data, each once and without blank ones, and notes on what is left out."""
    blank = [number for number, text in enumerate(rows, start=1) if not text.strip()]
    texts = [text for text in rows if text.strip()]
    if not texts:
        raise DataError(f"every prompt of the data is blank ({len(blank)}); nothing to compare.")
    without = f"{numbered('row', blank)}: no prompt, so not answered"
    return list(dict.fromkeys(texts)), (*[without][: len(blank)], *_repeated(texts))


def _repeated(texts: Sequence[str]) -> tuple[str, ...]:
    repeated = sum(count - 1 for count in Counter(texts).values())
    noun = "prompt repeats" if repeated == 1 else "prompts repeat"
    return (f"{repeated} {noun} an earlier one, which is answered once",) if repeated else ()


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
        return self.again()

    def again(self) -> bool:
        """Whether the user ends it."""
        return self.watch(self._so_far)

    def _read(self, written: Written) -> None:
        self.texts.setdefault(written.prompt, {}).update(written())

    def _so_far(self) -> Unfinished:
        if self.last is not None:
            self._read(self.last)
        begun = (
            (prompt, tuple((name, found.get(name)) for name in self.names))
            for prompt, found in self.texts.items()
        )
        return Unfinished(tuple(begun), self.total)
