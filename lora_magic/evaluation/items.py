"""Rows to evaluate, as tokens: what each variant reads, what its loss covers, what it is asked.

The encoding is that of training, so a loss on these tokens is a run's held-out loss. Knows rows,
tokenizers and prompt forms; knows no model and no session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Message, Row, numbered
from lora_magic.errors import DataError
from lora_magic.training.encode import IGNORED, Encoded, Example, digest_of, encode, encode_labelled
from lora_magic.training.preference import answered

#: Stands for a missing answer while its prompt is encoded.
_ANSWER = "-"


@dataclass(frozen=True, eq=False)
class Item:
    """One row: what is shown of it and, by variant, its examples and the tokens that ask it.

    `number` is the row's own, `key` a hash of what it says. `reference` is None for a prompt
    without an answer, which then has no examples. `asked` is None for a text without a prompt, and
    for a classifier.
    """

    number: int
    key: str
    prompt: str
    reference: str | None
    examples: tuple[tuple[Example, ...], ...]
    asked: tuple[tuple[int, ...], ...] | None


@dataclass(frozen=True, eq=False)
class Items:
    """The rows to measure, the hash of all rows given, and what a reader should know of them."""

    items: tuple[Item, ...]
    data_hash: str
    notes: tuple[str, ...]


def read(
    given: Sequence[Row],
    tokenizer: Any,
    forms: Sequence[PromptForm],
    context: int,
    *,
    skip_bad: bool = False,
) -> Items:
    """Rows for a language model, in the form of each variant.

    The loss covers what training would cover, of a conversation the answers; the last of them is
    asked for. Of preferences the chosen answer is measured. Raises `DataError` with the numbers of
    rows that cannot be encoded or whose prompt fills the context; with `skip_bad` they are left
    out.
    """
    rows = [answered(row, row.completion) if row.rejected is not None else row for row in given]
    rows = [replace(row, line=row.line or at) for at, row in enumerate(rows, start=1)]
    notes = ["preferences: the chosen answer is the reference"] * (rows != _numbered(given))
    asking = [row for row in rows if not _blank(row)]
    if not asking:
        raise DataError("nothing to evaluate: every prompt or text is blank.")
    notes += _left_out(len(rows) - len(asking), "without a prompt")
    readable = [_with_answer(row) for row in asking]
    made = {
        form: _encoded(readable, tokenizer, form, context, skip_bad)
        for form in dict.fromkeys(forms)
    }
    parts = {form: _by_row(encoded, len(asking)) for form, encoded in made.items()}
    found = [[parts[form][at] for form in forms] for at in range(len(asking))]
    whole = [
        all(len(examples) == _answers(row) for examples in one)
        for row, one in zip(readable, found, strict=True)
    ]
    full = [row.line or 0 for row, good in zip(asking, whole, strict=True) if not good]
    if full and not skip_bad and any(encoded.full for encoded in made.values()):
        raise DataError(
            f"{numbered('row', full)}: the prompt fills the context of {context:,} tokens; shorten "
            "it, or add --skip-bad to leave it out. Nothing was measured."
        )
    skipped = dict.fromkeys(encoded.skipped for encoded in made.values() if encoded.skipped)
    notes += skipped or _left_out(len(full), "too long or too short")
    cut = max(encoded.cut for encoded in made.values())
    notes += [f"{cut} row{'s' * (cut != 1)} cut to {context:,} tokens"] if cut else []
    items = [_item(row, one) for row, one, good in zip(asking, found, whole, strict=True) if good]
    if not items:
        raise DataError("nothing to evaluate: no row is left.")
    return Items(tuple(items), digest_of(rows), tuple(notes))


def read_labelled(
    given: Sequence[Row],
    tokenizer: Any,
    classes: Sequence[str],
    variants: int,
    context: int,
    *,
    skip_bad: bool = False,
) -> Items:
    """Rows for a classifier: texts and their labels. Raises `DataError` as training does."""
    try:
        encoded = encode_labelled(given, tokenizer, classes, context, skip_bad=skip_bad)
    except DataError as error:
        raise of_evaluation(error) from None
    notes = [encoded.skipped] if encoded.skipped else []
    notes += _left_out(encoded.empty, "without a text or a label")
    notes += [f"{encoded.cut} texts cut to {context:,} tokens"] if encoded.cut else []
    items = []
    for example in encoded.examples:
        row = given[example.row]
        prompt = "\n".join(filter(None, (row.prompt, row.second)))
        label = row.completion.strip()
        key = digest_of([row])
        items.append(Item(example.number, key, prompt, label, ((example,),) * variants, None))
    return Items(tuple(items), encoded.data_hash, tuple(notes))


def _numbered(rows: Sequence[Row]) -> list[Row]:
    return [replace(row, line=row.line or at) for at, row in enumerate(rows, start=1)]


def _encoded(
    rows: Sequence[Row], tokenizer: Any, form: PromptForm, context: int, skip_bad: bool
) -> Encoded:
    try:
        return encode(rows, tokenizer, form, context, skip_bad=skip_bad)
    except DataError as error:
        raise of_evaluation(error) from None


def of_evaluation(error: DataError, verb: str = "evaluate") -> DataError:
    """An error about rows to train on as one about rows to evaluate, by a verb as it is typed."""
    said = str(error).replace("to train on", "to evaluate").replace("trained on", "measured")
    said = said.replace("%%lora_train", f"%%lora {verb}").replace("train NAME", verb)
    return DataError(said.replace(", or raise --max-length", ""))


def _left_out(count: int, why: str) -> list[str]:
    return [f"{count} row{'s' * (count != 1)} {why} left out"] if count else []


def _by_row(encoded: Encoded, rows: int) -> list[tuple[Example, ...]]:
    found: list[list[Example]] = [[] for _ in range(rows)]
    for example in encoded.examples:
        found[example.row].append(example)
    return [tuple(examples) for examples in found]


def _blank(row: Row) -> bool:
    """Is there nothing to read?"""
    if row.messages is not None:
        return not any(turn.content.strip() for turn in row.messages)
    return not (row.completion if row.prompt is None else row.prompt).strip()


def _unanswered(row: Row) -> bool:
    """Is there a prompt, but no answer to measure?"""
    if row.messages is not None:
        return not any(turn.role == "assistant" for turn in row.messages)
    return row.prompt is not None and not row.completion.strip()


def _with_answer(row: Row) -> Row:
    if not _unanswered(row):
        return row
    if row.messages is not None:
        return replace(row, messages=(*row.messages, Message("assistant", _ANSWER)))
    return replace(row, completion=_ANSWER)


def _answers(row: Row) -> int:
    """How many examples a row has if nothing of it is left out; at least one."""
    if row.messages is None:
        return 1
    asked, count = False, 0
    for turn in row.messages:
        count += asked and _is_measured(turn)
        asked = asked or turn.role not in ("system", "assistant")
    return max(count, 1)


def _is_measured(turn: Message) -> bool:
    said = turn.content.strip() or turn.more.get("tool_calls")
    return turn.role == "assistant" and turn.trained and bool(said)


def _item(row: Row, examples: Sequence[tuple[Example, ...]]) -> Item:
    """A row with its examples by variant."""
    prompt, reference = row.prompt or "", row.completion
    asked = None
    if row.messages is not None:
        turns = list(row.messages)
        ends = [at for at, turn in enumerate(turns) if _is_measured(turn)]
        end = ends[-1] if ends else len(turns)
        prompt = turns[end - 1].content
        reference = turns[end].content if ends else ""
    if row.messages is not None or row.prompt is not None:
        asked = tuple(_asked(one[-1]) for one in examples)
    missing = _unanswered(row)
    return Item(
        row.line or 0,
        digest_of([row]),
        prompt,
        None if missing else reference,
        ((),) * len(examples) if missing else tuple(examples),
        asked,
    )


def _asked(example: Example) -> tuple[int, ...]:
    """The tokens before the answer."""
    start = next(at for at, label in enumerate(example.labels) if label != IGNORED)
    return example.tokens[:start]
