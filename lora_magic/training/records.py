"""Records with named columns, and which of their columns are the prompt and the completion.

Knows mappings and column names; knows no file, no frame and no tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

from lora_magic.errors import DataError, listed, near, sentence

from .row import Message, Row, RowErrors, numbered

#: Columns whose names say which is the prompt and which the completion.
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("question", "answer"),
)

#: More pairs for a classifier.
LABELLED = (("text", "label"), ("sentence", "label"))

#: Columns of conversations: a list of turns, as chat templates or ShareGPT write them.
CONVERSATIONS = ("messages", "conversations")

#: ShareGPT's role names → those of chat templates.
_ROLES = {"human": "user", "gpt": "assistant"}

Record = Mapping[str, Any]


@dataclass(frozen=True)
class ColumnMapping:
    """The columns that are read; `prompt` is None for texts and conversations.

    `context` is Alpaca's `input` column: its text follows the prompt on a new line.
    """

    completion: str
    prompt: str | None = None
    context: str | None = None
    conversation: bool = False

    def __str__(self) -> str:
        return self.completion if self.prompt is None else f"{self.prompt} => {self.completion}"


def candidates(columns: Iterable[str], labelled: bool = False) -> list[ColumnMapping]:
    """Every mapping that the columns' names allow, in any case; `labelled` adds text and label."""
    own = {name.lower(): name for name in columns}
    if labelled:
        pairs = (*LABELLED, *PAIRS)
        return [
            ColumnMapping(own[label], own[text])
            for text, label in pairs
            if {text, label} <= set(own)
        ]
    found = [
        ColumnMapping(own[answer], own[ask], own.get("input") if ask == "instruction" else None)
        for ask, answer in PAIRS
        if ask in own and answer in own
    ]
    found += [ColumnMapping(own[name], conversation=True) for name in CONVERSATIONS if name in own]
    if "text" in own:
        found.append(ColumnMapping(own["text"]))
    return found


def mapping_for(columns: Sequence[str], flag: str | None, labelled: bool = False) -> ColumnMapping:
    """The mapping that `flag` names ("body => reply", or one column), else the only one possible.

    Raises `DataError` that lists the columns and the flag to type.
    """
    if flag is not None:
        return _named(columns, flag)
    found = candidates(columns, labelled)
    if len(found) == 1:
        return found[0]
    if found:
        ways = " or ".join(f'--columns "{mapping}"' for mapping in found)
        raise DataError(f"columns {listed(columns)} match {len(found)} forms: type {ways}.")
    example = " => ".join(columns[:2]) if len(columns) > 1 else "".join(columns)
    raise DataError(
        f"columns {listed(columns)}: expected {_names(labelled)}; "
        f'name yours, as in --columns "{example}".'
    )


def _named(columns: Sequence[str], flag: str) -> ColumnMapping:
    names = [name.strip() for name in flag.split("=>")]
    if len(names) > 2 or not all(names):
        raise DataError(
            f'--columns "{flag}": expected "prompt column => completion column" or one text '
            f"column; the columns are {listed(columns)}."
        )
    missing = [name for name in names if name not in columns]
    if missing:
        hints = "".join(near(name, columns) for name in missing)
        raise DataError(
            f'--columns "{flag}": no column {listed(map(repr, missing))}; the columns are '
            f'{listed(columns, 20)}.{hints} Write two with an arrow: --columns "body => reply".'
        )
    if len(names) == 2:
        return ColumnMapping(names[1], names[0])
    return ColumnMapping(names[0], conversation=names[0].lower() in CONVERSATIONS)


def _names(labelled: bool) -> str:
    return "text and label" if labelled else "prompt and completion, messages or text"


def rows_of(
    records: Iterable[tuple[int, Record]], mapping: ColumnMapping, noun: str = "row"
) -> tuple[Row, ...]:
    """Rows of a table's records, each with its number.

    A cell without a value makes an empty row, which is counted. Raises `DataError` with the numbers
    of rows whose cells are not text, and when every row is empty.
    """
    errors = RowErrors(noun)
    rows = [_row(record, number, mapping, errors) for number, record in records]
    errors.raise_any(
        'A conversation is a list like [{"role": "user", "content": "…"}, {"role": "assistant", '
        '"content": "…"}].'
        if mapping.conversation
        else "Each cell must be text or a number."
    )
    read = [row for row in rows if row is not None]
    if not read:
        raise DataError(f"no {noun}s to train on: the table is empty.")
    if all(row.empty for row in read):
        empty = numbered(noun, [row.line or 0 for row in read])
        raise DataError(f"nothing to train on: no value for {mapping} in {empty}.")
    return tuple(read)


def parsed(lines: Iterable[tuple[int, str]], errors: RowErrors) -> Iterator[tuple[int, Any]]:
    """The JSON value on each line that is not blank; what is not JSON is added to `errors`."""
    for number, line in lines:
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                errors.add(number, f"not JSON ({why_not_json(error)})")


def why_not_json(error: Exception) -> str:
    """The reason of an error of `json.loads`: it has others than those of its own class."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else sentence(error)


def objects(items: Iterable[tuple[int, Any]], errors: RowErrors) -> Iterator[tuple[int, Record]]:
    """Those of the values that are objects; the others are added to `errors`."""
    for number, item in items:
        if isinstance(item, Mapping):
            yield number, item
        else:
            errors.add(number, f"expected an object with named fields, got {type(item).__name__}")


def row_of(record: Record, number: int, errors: RowErrors, labelled: bool = False) -> Row | None:
    """One JSON object as a row, by its keys; None, and an error added, if they fit no mapping."""
    found = candidates(record, labelled)
    if len(found) == 1:
        return _row(record, number, found[0], errors)
    keys = list(record)
    if found:
        errors.add(number, f"matches {' and '.join(map(str, found))}")
        return None
    usual = ("text", "label") if labelled else ("prompt", "completion", "messages", "text")
    hints = "".join(near(key, usual) for key in keys if key not in usual)
    errors.add(number, f"fields {listed(keys)}, not {_names(labelled)}{hints}")
    return None


def _row(record: Record, number: int, mapping: ColumnMapping, errors: RowErrors) -> Row | None:
    if mapping.conversation:
        turns = _conversation(record.get(mapping.completion))
        if isinstance(turns, str):
            errors.add(number, turns)
            return None
        return Row(None, turns[-1].content if turns else "", turns, number)
    texts = {}
    for column in (mapping.prompt, mapping.context, mapping.completion):
        if column is not None:
            value = text_of(record.get(column))
            if value is None:
                kind = type(record[column]).__name__
                errors.add(number, f"{column} is a {kind}, not text")
                return None
            texts[column] = value
    prompt = None if mapping.prompt is None else texts[mapping.prompt]
    if prompt and mapping.context and texts[mapping.context].strip():
        prompt = f"{prompt}\n{texts[mapping.context]}"
    return Row(prompt, texts[mapping.completion], line=number)


def text_of(value: object) -> str | None:
    """A cell as text: "" if it has no value (None, NaN, NA), None if neither text nor number."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, Number) and value != value:
        return ""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, Number) else None


def _conversation(value: object) -> tuple[Message, ...] | str:
    """A conversation's turns, () for none, or what is wrong with it."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            return f"messages are not JSON ({why_not_json(error)})"
    if hasattr(value, "tolist"):  # Parquet gives arrays.
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return () if text_of(value) == "" else f"messages are a {type(value).__name__}, not a list"
    turns = []
    for index, turn in enumerate(value, start=1):
        fields = turn if isinstance(turn, Mapping) else {}
        role = fields.get("role", fields.get("from"))
        content = fields.get("content", fields.get("value"))
        if not isinstance(role, str) or not isinstance(content, str):
            return f'turn {index} of messages is not {{"role": "…", "content": "…"}}'
        turns.append(Message(_ROLES.get(role, role), content))
    roles = [turn.role for turn in turns]
    if turns and "assistant" not in roles:
        return "messages have no assistant turn"
    last = len(roles) - 1 - roles[::-1].index("assistant") if turns else 0
    if turns and all(role in ("assistant", "system") for role in roles[:last]):
        return "messages start with the assistant: a user turn must come first"
    return tuple(turns)
