"""Reads a cell's body into rows.

Three forms: lines of `prompt => completion`, JSON Lines, and blocks of plain text separated by
blank lines. Knows text and line numbers; `arrow_line` knows what a line with an arrow says. Knows
no file, no frame, no tokenizer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from lora_magic.errors import CommandError, DataError, near

from . import FORMATS
from .arrow_line import ARROW, arrow, newline_notes
from .records import Reader, objects, parsed
from .row import Row, RowError, RowErrors, Rows, check_characters, numbered

_EXAMPLE = "`prompt => completion`"

#: What people type instead of the arrow.
_OTHER_ARROWS = (" -> ", " --> ", " <= ", " → ", " ⇒ ", " | ", "\t")
_LIST = re.compile(r"[\[(]\s*([\[({\"']|$)")
_HEADER = re.compile(
    r"(prompt|instruction|question)s?\s*[,;]\s*(completion|response|output|answer)s?", re.IGNORECASE
)
_ASKED = re.compile(r"[#<|*\s]*(q|question|user|human|prompt|instruction)\s*[:>|*]", re.IGNORECASE)
_ANSWERED = re.compile(
    r"[#<|*\s]*(a|answer|assistant|bot|completion|response|output)\s*[:>|*]", re.IGNORECASE
)


Lines = list[tuple[int, str]]


def read_text(
    body: str,
    format: str | None = None,
    *,
    labelled: bool = False,
    labels: Sequence[str] = (),
    skip_bad: bool = False,
) -> Rows:
    """Read a cell's body; `format` is "arrow", "jsonl", "text" or None to detect it.

    With `labelled` a row is a text and its label, which may be its number among `labels`. Each row
    has its line number. With `skip_bad` the lines that cannot be read are left out and listed.
    Raises `CommandError` for an unknown format, and `DataError`, naming every wrong line, for an
    empty or ambiguous body and for rows that cannot be read.

    >>> read_text("Where? => Here.")[0].completion
    'Here.'
    """
    if not isinstance(body, str):
        raise DataError(
            f"expected the rows as text, got a {type(body).__name__}; pass it as data=…"
        )
    if format is not None and format not in FORMATS:
        raise CommandError(
            f"--format {format}: expected one of {', '.join(FORMATS)}.{near(format, FORMATS)}"
        )
    numbered_lines = list(enumerate(re.split(r"\r\n|\r|\n", body.removeprefix("\ufeff")), start=1))
    filled = [(number, line) for number, line in numbered_lines if line.strip()]
    if not filled:
        raise DataError(f"the cell is empty: type {_EXAMPLE} on each line below the magic.")
    if labelled and format is None:
        _refuse_unlabelled(filled)
    kind = format or _recognise(filled)
    errors, reader = RowErrors(skip=skip_bad), Reader(labelled, labels)
    if kind == "arrow":
        return _arrows(filled, errors, reader)
    if kind == "jsonl":
        return _json_lines(filled, errors, reader)
    return _blocks(numbered_lines, errors)


def _refuse_unlabelled(lines: Lines) -> None:
    bare = [number for number, line in lines if _kind(line) == "text"]
    if bare:
        raise DataError(f"no label in {numbered('line', bare)}; type `text => label` on each line.")


def _recognise(lines: Lines) -> str:
    """The form that all lines share. Raises `DataError` if they differ."""
    _refuse_list(lines[0])
    found: dict[str, list[int]] = {"arrow": [], "jsonl": [], "text": []}
    for number, line in lines:
        found[_kind(line)].append(number)
    kinds = [kind for kind, numbers in found.items() if numbers]
    if len(kinds) > 1:
        raise DataError(_mixed(found))
    if kinds == ["text"]:
        _refuse_lookalikes(lines)
        tight = [number for number, line in lines if "=>" in line]
        if tight:
            raise DataError(
                f"{numbered('line', tight)}: '=>' without a space on both sides; type {_EXAMPLE}, "
                "or --format text to read plain text."
            )
    return kinds[0]


def _refuse_list(line: tuple[int, str]) -> None:
    if _LIST.match(line[1].strip()):
        raise DataError(
            f"line {line[0]} starts a list; assign it to a variable in another cell and type "
            f"%lora train NAME --data VAR, or type {_EXAMPLE} on each line."
        )


def _refuse_lookalikes(lines: Lines) -> None:
    """Refuse prompts and completions in another notation: they would be read as plain text."""
    first = lines[0][1].strip()
    if len(lines) > 1 and _HEADER.fullmatch(first):
        raise DataError(
            f"line {lines[0][0]} is a CSV header; save the rows as a file and type "
            f"%lora train NAME --data rows.csv, or type {_EXAMPLE} on each line."
        )
    for sign in _OTHER_ARROWS:
        if all(sign in line for _, line in lines):
            raise DataError(
                f"{sign.strip()!r} in {numbered('line', [number for number, _ in lines])}: the "
                f"arrow is '=>'; type {_EXAMPLE}, or --format text to read plain text."
            )
    if _ASKED.match(first) and any(_ANSWERED.match(line.strip()) for _, line in lines):
        raise DataError(
            f"line {lines[0][0]}: question and answer are on separate lines; type {_EXAMPLE} on "
            "each line, or --format text to read plain text."
        )


def _kind(line: str) -> str:
    has_arrow = ARROW in f" {line.strip()} "
    if line.lstrip().startswith("{") and not (has_arrow and not _is_json(line)):
        return "jsonl"
    return "arrow" if has_arrow else "text"


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _mixed(found: dict[str, list[int]]) -> str:
    if not found["jsonl"]:
        without, having = (numbered("line", found[kind]) for kind in ("text", "arrow"))
        have = "have" if len(found["arrow"]) > 1 else "has"
        return (
            f"{without}: no '{ARROW}', but {having} {have} it; type {_EXAMPLE} on each line "
            "(a newline within a row is \\n), or --format text to read blocks of plain text."
        )
    other = numbered("line", sorted(found["arrow"] + found["text"]))
    return (
        f"JSON in {numbered('line', found['jsonl'])}, but not in {other}: type one JSON object on "
        "each line, or --format arrow, or --format text to read plain text."
    )


def _arrows(lines: Lines, errors: RowErrors, reader: Reader) -> Rows:
    rows = []
    for number, line in lines:
        sides = arrow(line)
        if sides is None:
            errors.add(number, f"no '{ARROW}'")
        elif not sides[0].strip():
            errors.add(number, "no prompt before '=>'")
        elif not sides[1].strip():
            errors.add(number, "no completion after '=>'")
        else:
            try:
                rows.append(reader.item(sides, number))
            except RowError as error:
                errors.refuse(number, error)
    remedy = f"Type {_EXAMPLE} on each line, or --format text to read plain text."
    errors.raise_any(remedy, len(rows))
    notes = [*reader.notes("line"), *newline_notes(lines)]
    return Rows(rows, skipped=errors.found, notes=notes)


def _json_lines(lines: Lines, errors: RowErrors, reader: Reader) -> Rows:
    """Rows of JSON Lines, each in any of the known shapes."""
    rows = []
    for number, record in objects(parsed(lines, errors), errors):
        try:
            row = reader.known(record, number)
        except RowError as error:
            errors.refuse(number, error)
            continue
        if row.empty:
            errors.add(number, "a prompt or completion is empty")
        else:
            rows.append(row)
    errors.raise_any(
        'Type one object on each line: {"text": "…", "label": "…"}.'
        if reader.labelled
        else 'Type one object on each line: {"prompt": "…", "completion": "…"}, '
        '{"messages": […]} or {"text": "…"}, or --format text to read plain text.',
        len(rows),
    )
    return Rows(rows, unused=reader.unused, skipped=errors.found, notes=reader.notes("line"))


def _blocks(lines: Lines, errors: RowErrors) -> Rows:
    """Plain text: each run of lines between blank ones is one row."""
    rows: list[Row] = []
    block: Lines = []
    for number, line in [*lines, (0, "")]:
        if line.strip():
            block.append((number, line))
        elif block:
            try:
                text = check_characters("\n".join(part for _, part in block), "the text")
                rows.append(Row(None, text, line=block[0][0]))
            except RowError as error:
                errors.refuse(block[0][0], error)
            block = []
    errors.raise_any("", len(rows))
    return Rows(rows, skipped=errors.found)
