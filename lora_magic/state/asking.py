"""Answers of a session's active adapter: to a prompt, a conversation, or a column of the data.

Knows the session's state and which column holds the prompts; does not know how answers are made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_magic.base.template import Turns
from lora_magic.compare import bulk
from lora_magic.compare import classify as classifying
from lora_magic.compare.ask import Answer, OnText, ask
from lora_magic.compare.bulk import Answers
from lora_magic.compare.prediction import Prediction
from lora_magic.data.files import read_file
from lora_magic.data.kinds import Stream, opened
from lora_magic.data.records import text_of
from lora_magic.data.row import Row, RowErrors, numbered
from lora_magic.data.sources import list_of
from lora_magic.data.table import Table
from lora_magic.errors import CommandError, DataError, PromptError, listed, near
from lora_magic.paths import path_of

from . import queries
from .mixing import mix_of

if TYPE_CHECKING:
    from .session_state import SessionState

#: The column that is answered when none is named.
PROMPT = "prompt"

_EXPECTED = (
    "expected a DataFrame, a list of dicts or texts, a dataset, or the path of a .csv, .tsv, "
    ".jsonl, .json, .parquet or .txt file"
)


def one(
    state: SessionState,
    prompt: str | Turns | None,
    sampling: Mapping[str, Any],
    watch: OnText | None,
    mix: Any = None,
) -> Answer | Prediction:
    """The answer to one prompt or conversation, of the active adapter or of a mix; a classifier's
    prediction for one text."""
    if prompt is None:
        raise PromptError("the prompt is missing; type %lora ask PROMPT, or --data VAR")
    model, tokenizer, common = state.base.model, state.base.needs_tokenizer(), _common(state)
    mixed = mix_of(state, mix)
    if mixed is not None:
        common |= {"adapter": mixed.name, "mix": mixed, "context": state.base.context}
    if not state.base.task.classifies:
        form = state.form_of(state.active)
        answer = ask(model, tokenizer, form, prompt, **common, **sampling, watch=watch)
        state.remember([prompt] if isinstance(prompt, str) else [])
        return answer
    if isinstance(prompt, list | tuple):
        raise PromptError("a classifier reads one text, not a conversation; pass its text.")
    classifying.refuse_flags(**sampling)
    text: Any = prompt
    found = classifying.classify(
        model, tokenizer, text, state.base.task.labels, **common, untrained=_untrained(state)
    )
    state.remember([text])
    return found


def column(
    state: SessionState, texts: Sequence[str], sampling: Mapping[str, Any], watch: OnText | None
) -> Answers:
    """The answers to a column of prompts; a classifier's labels."""
    model, tokenizer, common = state.base.model, state.base.needs_tokenizer(), _common(state)
    if not state.base.task.classifies:
        form = state.form_of(state.active)
        found = bulk.ask_all(model, tokenizer, form, texts, **common, **sampling, watch=watch)
    else:
        classifying.refuse_flags(**sampling)
        found = bulk.classify_all(
            model,
            tokenizer,
            texts,
            state.base.task.labels,
            **common,
            untrained=_untrained(state),
            watch=watch,
        )
    state.remember(texts)
    return found


def prompts_of(rows: Sequence[Row], name: object, column: str | None) -> list[str]:
    """The prompts of kept rows. Raises `CommandError` for a column, and for rows without one."""
    if column is not None:
        raise CommandError(f"--column {column}: the rows kept as {name} have no columns; omit it.")
    without = [row.line or place for place, row in enumerate(rows, start=1) if row.prompt is None]
    if without:
        raise CommandError(
            f"{name}: no prompt in {numbered('row', without)}; expected `prompt => completion`"
        )
    return [row.prompt or "" for row in rows]


def _common(state: SessionState) -> dict[str, Any]:
    context = queries.usable_context(state, state.active_names)
    return {"adapter": state.active, "slots": state.slots, "context": context}


def _untrained(state: SessionState) -> bool:
    return bool(queries.untrained(state, [state.active]))


def texts_of(data: object, column: str | None) -> list[str]:
    """The prompts of the data, one for each row; "" for a cell without a value.

    Raises one `DataError` for data of another kind or without rows, a column that is missing or
    cannot be guessed, and all cells that are not text.
    """
    table = _table(data)
    if isinstance(table, Table):
        name = _column(table, column)
        cells = [(number, record.get(name)) for number, record in table.records([name])]
        noun = table.noun
    elif column is not None:
        raise DataError(f"--column {column}: a list or file of texts has no columns; omit it.")
    else:
        cells, noun = list(enumerate(table, start=1)), "row"
    if not cells:
        raise DataError(f"the data is empty: {_EXPECTED}.")
    errors, texts = RowErrors(noun), []
    for number, cell in cells:
        text = text_of(cell)
        texts.append(text or "")
        if text is None:
            errors.add(number, f"expected a text, got {type(cell).__name__}")
    errors.raise_any(
        "Each prompt must be text or a number (conversations are asked one by one, with "
        "session.ask(messages=…)); nothing was answered."
    )
    return texts


def _column(table: Table, named: str | None) -> str:
    """The column of prompts: the one named, "prompt", or the only one of text."""
    columns = table.columns
    if named is not None:
        if named in columns:
            return named
        raise DataError(
            f"--column {named!r}: no such column; the columns are {listed(map(repr, columns), 20)}."
            f"{near(str(named), columns)}"
        )
    if PROMPT in columns:
        return PROMPT
    if not columns:
        raise DataError("the data has no columns; expected one with texts, or a list: --data VAR")
    textual = [
        name
        for name in columns
        if any(isinstance(record.get(name), str) for _, record in table.records([name]))
    ]
    if len(textual) == 1:
        return textual[0]
    example = (textual or list(columns))[0]
    raise DataError(
        f"columns {listed(columns, 20)}: {len(textual)} of them have texts and none is named "
        f'{PROMPT!r}; name the one to answer: --column "{example}"'
    )


def _table(data: object) -> Table | list[Any]:
    """Named records, or a list of cells."""
    if isinstance(data, str | os.PathLike):
        found = read_file(path_of(os.fspath(data), "--data"))
        if isinstance(found, str):
            return _lines(found)
        return list_of(found) if isinstance(found, list) else found
    opened_data = opened(data)
    if isinstance(opened_data, Stream):
        raise DataError("a stream may have no end; pass its first rows: list(data.take(1000))")
    return list_of(opened_data) if isinstance(opened_data, list) else opened_data


def _lines(text: str) -> list[str]:
    """A file's lines, blank ones too. Not `splitlines`: it also splits inside a sentence."""
    return text.replace("\r\n", "\n").rstrip("\n").split("\n")
