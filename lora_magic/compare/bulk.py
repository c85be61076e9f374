"""Many prompts, answered in batches of similar length, and the answers as a table.

Knows models, tokenizers and prompt forms; of the adapter it knows only the name, and of the data
only texts. The views draw the table.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from lora_magic import numbers
from lora_magic.adapters.slots import Slots
from lora_magic.base.device import out_of_memory
from lora_magic.base.model import context_of
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import PromptError, listed
from lora_magic.frames import frame
from lora_magic.printable import one_line

from .ask import OnText, refuse
from .classify import UNTRAINED, encoded, probabilities
from .generate import Generation, generate
from .limits import check_flags, check_known, new_tokens

if TYPE_CHECKING:
    from pandas import DataFrame

#: Most tokens in one batch: its longest prompt and answer, times its rows.
BATCH_TOKENS = 8192


@dataclass(frozen=True)
class TextRow:
    """One row's answer, and its tokens with the end token; None if the user stopped before it.

    `finished` says that the answer ended itself, so it is False for one cut at the limit too. A row
    without a prompt has an empty answer of 0 tokens, which is finished.
    """

    COLUMNS: ClassVar = ("answer", "tokens", "finished")
    #: `tokens` are whole numbers, also where a row has none.
    TYPES: ClassVar = {"tokens": "Int64", "finished": "bool"}
    prompt: str
    answer: str | None = None
    tokens: int | None = None
    finished: bool = False

    @property
    def cells(self) -> tuple[object, ...]:
        """The values of `COLUMNS`."""
        return self.answer, self.tokens, self.finished


@dataclass(frozen=True)
class LabelRow:
    """One row's label and its probability; None if the user stopped before it, or without a text.

    `truncated` says that the text was cut to the context.
    """

    COLUMNS: ClassVar = ("label", "probability")
    TYPES: ClassVar = {"probability": "float64"}
    prompt: str
    answer: str | None = None
    probability: float | None = None
    truncated: bool = False

    @property
    def cells(self) -> tuple[object, ...]:
        """The values of `COLUMNS`."""
        return self.answer, self.probability


@dataclass(frozen=True)
class Answers:
    """The answers of one adapter (or "base") to every row of a column, in the rows' order.

    `seconds` is wall time; `stopped` says that the user ended it before all rows were answered;
    `note` is a remark, or "".
    """

    adapter: str
    rows: tuple[TextRow, ...] | tuple[LabelRow, ...]
    seconds: float
    stopped: bool = False
    note: str = ""

    @property
    def empty(self) -> int:
        """How many rows have no prompt."""
        return sum(not row.prompt.strip() for row in self.rows)

    @property
    def answered(self) -> int:
        """How many rows have a prompt and an answer."""
        return sum(row.answer is not None and bool(row.prompt.strip()) for row in self.rows)

    @property
    def line(self) -> str:
        """One line: adapter, rows answered, empty, cut; seconds; and a remark."""
        asked = len(self.rows) - self.empty
        facts = [self.adapter, f"{self.answered:,} of {_rows(asked)} answered"]
        facts += ["stopped by you"] if self.stopped else []
        facts += [f"{_rows(self.empty)} without a prompt"] if self.empty else []
        cut = sum(
            row.answer is not None and not row.finished if isinstance(row, TextRow) else False
            for row in self.rows
        )
        facts += [f"{cut:,} cut at the limit"] if cut else []
        truncated = sum(isinstance(row, LabelRow) and row.truncated for row in self.rows)
        facts += [f"{_rows(truncated)} truncated to the context"] if truncated else []
        facts += [numbers.duration(self.seconds), *([self.note] if self.note else [])]
        return " · ".join(facts)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the frame."""
        return ("prompt", "adapter", *self.rows[0].COLUMNS)

    def to_frame(self) -> DataFrame:
        """Columns prompt, adapter, answer, tokens, finished; a classifier's prompt, adapter, label,
        probability. One row for each row of the data, in its order."""
        rows = [(row.prompt, self.adapter, *row.cells) for row in self.rows]
        return frame(rows, self.columns, self.rows[0].TYPES)

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import answers as view

        return view.bundle(
            line=self.line,
            columns=self.columns,
            rows=[(row.prompt, self.adapter, *row.cells) for row in self.rows],
        )


def ask_all(
    model: Any,
    tokenizer: Any,
    form: PromptForm,
    prompts: Sequence[str],
    *,
    adapter: str,
    slots: Slots | None = None,
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    context: int | None = None,
    watch: OnText | None = None,
) -> Answers:
    """Answer every prompt in its form; in fp32 each answer is that of `ask`, sampled ones too.

    Rows of similar length share a batch, padded on the left, of at most `BATCH_TOKENS`; one for
    which memory does not suffice is halved. Equal prompts are answered once, empty ones not at all.
    `watch` is called after each new token with a function that returns the progress in one line; if
    it returns True, the answers that are complete are kept. In 16 bits the rows of a batch can
    change the last bits of the logits, and so an answer.

    Raises one `PromptError` for all rows that cannot be read or leave no room in the context, for
    flags that `generate` refuses, and for logits that are not finite; then no answer is returned.
    """
    context = context or context_of(model)
    check_flags(max_new_tokens, temperature, seed, top_p)
    start = time.perf_counter()
    run = BulkRun(watch)
    rows = run.encoded(prompts, lambda prompt: form.encode(tokenizer, prompt))
    check_row_lengths(prompts, rows, context)
    if rows:
        check_known(list(rows.values()), model)
    answer = partial(
        generate,
        model,
        tokenizer,
        stop_ids=form.stop_ids,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        context=context,
        watch=run.on_token,
    )

    def room(length: int) -> int:
        return new_tokens(length, context, max_new_tokens)

    made: dict[str, Generation] = {}
    for batch, found in run.batches(rows, room, answer):
        for prompt, one in zip(batch, found, strict=True):
            if not one.finite:
                refuse(model, slots, rows[prompt], adapter)
            if one.ended or not run.stopped:
                made[prompt] = one
    finished = tuple(_text_row(prompt, made.get(prompt)) for prompt in prompts)
    return Answers(
        adapter, finished, time.perf_counter() - start, run.stopped_before(made, prompts)
    )


def classify_all(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    labels: Sequence[str],
    *,
    adapter: str,
    slots: Slots | None = None,
    untrained: bool = False,
    context: int | None = None,
    watch: OnText | None = None,
) -> Answers:
    """The label of every text and its probability, in batches of equal length, without padding.

    Texts longer than the context are truncated and counted. `watch` and errors are those of
    `ask_all`.
    """
    start = time.perf_counter()
    run = BulkRun(watch)
    cut: dict[str, bool] = {}

    def encode(text: str) -> list[int]:
        ids, cut[text] = encoded(model, tokenizer, text, context)
        return ids

    rows = run.encoded(prompts, encode)
    made: dict[str, tuple[float, ...]] = {}
    # A room of its own for each length: only rows of one length share a batch.
    for batch, found in run.batches(
        rows, lambda length: length, lambda inputs: probabilities(model, inputs)
    ):
        for text, shares in zip(batch, found, strict=True):
            if not all(map(math.isfinite, shares)):
                refuse(model, slots, rows[text], adapter)
            made[text] = shares
    finished = tuple(
        _label_row(prompt, made.get(prompt), labels, cut.get(prompt, False)) for prompt in prompts
    )
    stopped = run.stopped_before(made, prompts)
    note = UNTRAINED if untrained else ""
    return Answers(adapter, finished, time.perf_counter() - start, stopped, note)


@dataclass
class BulkRun:
    """One pass over a column: its progress, and whether the user stopped it."""

    watch: OnText | None
    stopped: bool = False
    line: str = ""
    #: Most rows in a batch; halved if memory does not suffice.
    most: int = BATCH_TOKENS
    began: float = field(default_factory=time.perf_counter)

    def on_token(self, _: object = None) -> bool:
        """Call `watch`, and return whether to stop."""
        if self.watch is not None and self.watch(lambda: self.line):
            self.stopped = True
        return self.stopped

    def stopped_before(self, made: Mapping[str, object], prompts: Sequence[str]) -> bool:
        """Did the user stop it before all of these were answered?"""
        return self.stopped and any(prompt.strip() and prompt not in made for prompt in prompts)

    def encoded(
        self, prompts: Sequence[str], encode: Callable[[str], list[int]]
    ) -> dict[str, list[int]]:
        """The token ids of every prompt that is not blank, or one error for all faulty rows.

        Empty if the user stops it.
        """
        rows: dict[str, list[int]] = {}
        faults: list[str] = []
        self.line = f"answering {_rows(len(prompts))} …"
        for number, prompt in enumerate(prompts, start=1):
            if not prompt.strip() or prompt in rows:
                continue
            if self.on_token():
                return {}
            try:
                rows[prompt] = encode(prompt)
            except PromptError as error:
                faults.append(f"row {number}: {str(error).rstrip('.')}")
        if faults:
            more = f"; and {len(faults) - 3:,} more rows" if len(faults) > 3 else ""
            raise PromptError(f"{'; '.join(faults[:3])}{more}. No row was answered.")
        return rows

    def batches(
        self,
        rows: Mapping[str, list[int]],
        room: Callable[[int], int],
        answer: Callable[[list[list[int]]], list[Any]],
    ) -> Iterator[tuple[list[str], list[Any]]]:
        """Batches of prompts with their answers, the longest first, so that memory fails early."""
        waiting = sorted(rows, key=lambda prompt: -len(rows[prompt]))
        done = 0
        while done < len(waiting) and not self.stopped:
            batch = self._next(waiting, done, rows, room)
            self.line = self._progress(done, len(waiting))
            found = self._answered([rows[prompt] for prompt in batch], answer)
            if found is None:
                self.most = len(batch) // 2
                continue
            done += len(batch)
            yield batch, found
            self.line = self._progress(done, len(waiting))
            self.on_token()

    def _next(
        self,
        waiting: Sequence[str],
        done: int,
        rows: Mapping[str, list[int]],
        room: Callable[[int], int],
    ) -> list[str]:
        """The next rows that share a batch: with the same room for an answer as if alone."""
        longest = len(rows[waiting[done]])
        new = room(longest)
        fitting = min(self.most, max(1, BATCH_TOKENS // (longest + new)))
        batch = waiting[done : done + fitting]
        return [prompt for prompt in batch if room(len(rows[prompt])) == new]

    @staticmethod
    def _answered(
        inputs: list[list[int]], answer: Callable[[list[list[int]]], list[Any]]
    ) -> list[Any] | None:
        """The batch's answers; None if memory does not suffice for several rows."""
        try:
            return answer(inputs)
        except Exception as error:
            if len(inputs) == 1 or not out_of_memory(error):
                raise
        return None

    def _progress(self, done: int, total: int) -> str:
        spent = time.perf_counter() - self.began
        left = f" · about {numbers.duration(spent / done * (total - done))} left" if done else ""
        # Equal prompts are answered once, so these may be fewer than the rows.
        prompts = "1 prompt" if total == 1 else f"{total:,} prompts"
        return f"{done:,} of {prompts} answered{left if done < total else ''}"


def check_row_lengths(
    prompts: Sequence[str], rows: Mapping[str, Sequence[int]], context: int | None
) -> None:
    """Raise one `PromptError` that names the rows that leave no room for a new token."""
    if context is None:
        return
    long = [
        f"{number:,} ({len(rows[prompt]):,})"
        for number, prompt in enumerate(prompts, start=1)
        if len(rows.get(prompt, ())) >= context
    ]
    if long:
        raise PromptError(
            f"{_rows(len(long))} too long for a context of {context:,} tokens, by row and tokens: "
            f"{listed(long)}; shorten to {context - 1:,} or fewer, or leave them out of the data. "
            "No row was answered."
        )


def _text_row(prompt: str, made: Generation | None) -> TextRow:
    if not prompt.strip():
        return TextRow(prompt, "", 0, finished=True)
    return TextRow(prompt, made.text, made.tokens, made.ended) if made else TextRow(prompt)


def _label_row(
    prompt: str, shares: Sequence[float] | None, labels: Sequence[str], cut: bool
) -> LabelRow:
    if shares is None:
        return LabelRow(prompt)
    most = max(shares)
    return LabelRow(prompt, labels[shares.index(most)], most, cut)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
