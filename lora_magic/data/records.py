"""One record, or one item of a list, as a row.

Knows mappings of columns and what a row may be; knows no file, no frame and no tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any

from lora_magic.errors import listed, near, sentence

from .row import Message, Row, RowError, RowErrors, check_characters, numbered
from .shapes import ColumnMapping, candidates, names, usual
from .table import Record, by_text
from .turns import conversation, is_turns, no_value, shared, tools_of, turns_of, why_not_json

#: Makes something that can be read from a record or an item, or None to leave it out.
Function = Callable[[Any], Any]

ONE_KIND = "All items must be of one kind: dicts, pairs or texts."
_A_PAIR = "a (prompt, completion) pair of texts"
_TRUTH = ("false", "true")

#: What a message calls the fields of a row.
_NAMES = {"system": "system message", "rejected": "rejected answer", "second": "second text"}


class LeftOutError(Exception):
    """A person's function has returned None for a row: it is left out."""


class Reader:
    """Reads records and items; `labels` are a classifier's, whose numbers may be in the data.

    With `labelled` a row is a text and its label. `function` is `--map`. With `prompts` a row
    without a completion is not empty.
    """

    def __init__(
        self,
        labelled: bool = False,
        labels: Sequence[str] = (),
        function: Function | None = None,
        prompts: bool = False,
    ) -> None:
        self.labelled, self.labels, self.function = labelled, tuple(labels), function
        self._prompts = prompts
        #: Whether a label was given by its number, and how many rows `function` left out.
        self.by_number = False
        self.left_out = 0
        #: Rows with turns after the last answer, which nothing trains.
        self.unanswered: list[int] = []
        #: Columns of records in shapes of their own that were not used.
        self.unused: dict[str, None] = {}
        self._found: dict[tuple[str, ...], list[ColumnMapping]] = {}

    def is_empty(self, row: Row) -> bool:
        """Is there nothing to read in it?"""
        return row.empty and not (self._prompts and bool((row.prompt or "").strip()))

    def notes(self, noun: str) -> list[str]:
        """What a person should know about how rows were read; `noun` is what is counted."""
        told = []
        if self.left_out:
            told.append(f"{self.left_out} {noun}{'s' * (self.left_out != 1)} left out by --map")
        if self.unanswered:
            told.append(f"turns after the last answer not read: {numbered(noun, self.unanswered)}")
        if self.by_number:
            places = (f"{place} = {name}" for place, name in enumerate(self.labels))
            told.append(f"labels by number: {listed(places)}")
        return told

    def mapped(self, given: Any, number: int) -> Row:
        """What `function` makes of a record or an item. Raises `RowError`, or `LeftOutError`."""
        assert self.function is not None  # else nothing is mapped
        try:
            # A copy: the function may change it.
            made = self.function(dict(given) if isinstance(given, Mapping) else given)
        except Exception as error:  # it is a person's code
            raise RowError(
                f"--map failed with {type(error).__name__}: {sentence(error)}"
            ) from error
        if made is None:
            self.left_out += 1
            raise LeftOutError
        try:
            return self.item(made, number)
        except RowError as error:
            raise RowError(f"--map returned what cannot be read: {error}") from None

    def item(self, item: Any, number: int) -> Row:
        """A dict in a known shape, a pair, a list of turns, a text, or a `Row`."""
        if isinstance(item, Row):
            return _checked(item)
        if isinstance(item, Mapping):
            return self.known(item, number)
        if isinstance(item, str):
            if self.labelled:
                raise RowError("a text without a label", "Pass (text, label) pairs.")
            return Row(None, check_characters(item, "the text"), line=number)
        if hasattr(item, "tolist"):
            item = item.tolist()
        if isinstance(item, list | tuple):
            if item and is_turns(item) and not self.labelled:
                return self._conversation(item, number)
            if len(item) == 2 and None not in (sides := [text_of(part) for part in item]):
                prompt, completion = sides
                if self.labelled:
                    completion = self.label(item[1])
                return self._texts(number, prompt or "", completion or "")
        kinds = ", ".join(map(_kind, item[:3])) if isinstance(item, list | tuple) else ""
        inside = f" of {len(item)} ({kinds})" if kinds else ""
        raise RowError(f"expected {_A_PAIR}, got {_kind(item)}{inside}", ONE_KIND)

    def known(self, record: Record, number: int) -> Row:
        """A record by its own columns. Raises `RowError` if they fit no shape, or several."""
        record = by_text(record)
        keys = tuple(record)
        found = self._found.get(keys)
        if found is None:
            found = self._found[keys] = candidates(keys, self.labelled)
        if len(found) == 1:
            self.unused |= dict.fromkeys(key for key in keys if key not in found[0].used)
            return self.record(record, number, found[0])
        if found:
            raise RowError(f"matches {' and '.join(map(str, found))}")
        expected = usual(self.labelled)
        hints = "".join(near(key, expected) for key in keys if key not in expected)
        raise RowError(f"fields {listed(keys)}, not {names(self.labelled)}{hints}")

    def record(self, record: Record, number: int, mapping: ColumnMapping) -> Row:
        """A record by a mapping of its columns. Raises `RowError`.

        A cell without a value makes an empty row; a column that the record lacks is an error.
        """
        lacking = [name for name in mapping.required if name not in record]
        if lacking:
            raise RowError(f"no {' and no '.join(lacking)}, only {listed(record)}")
        if self.labelled:
            second = _cell(record, mapping.second) if mapping.second else None
            asked = _joined([_cell(record, name) for name in mapping.asks])
            return self._texts(number, asked, self.label(record[mapping.answer]), second=second)
        system = _cell(record, mapping.system) if mapping.system else ""
        tools = tools_of(record.get(mapping.tools)) if mapping.tools else None
        beside = {"system": system if system.strip() else None, "tools": tools}
        answer = record[mapping.answer]
        if mapping.rejected:
            return self._preference(record, number, mapping, beside)
        if mapping.turns or (not mapping.asks and is_turns(answer)):
            return self._conversation(answer, number, **beside)
        if mapping.asks and (is_turns(record[mapping.asks[0]]) or is_turns(answer)):
            return self._prompted(record[mapping.asks[0]], answer, number, **beside)
        asked = _joined([_cell(record, name) for name in mapping.asks])
        return self._texts(
            number, asked if mapping.asks else None, _cell(record, mapping.answer), **beside
        )

    def label(self, value: object) -> str:
        """A label's name: its own, or that of its number or truth value among `labels`."""
        text = _label_text(value)
        if not self.labels or text in self.labels or not text:
            return text
        by_case = {label.lower(): label for label in self.labels}
        lowered = text.lower()
        if lowered in by_case and lowered in _TRUTH:
            return by_case[lowered]
        if any(label.strip().isdecimal() for label in self.labels):
            return text  # Numbers are names there.
        if len(self.labels) == 2 and lowered in _TRUTH:
            lowered = str(_TRUTH.index(lowered))
        if lowered.isdecimal() and int(lowered) < len(self.labels):
            self.by_number = True
            return self.labels[int(lowered)]
        return text

    def _texts(self, number: int, prompt: str | None, completion: str, **beside: Any) -> Row:
        answer = "label" if self.labelled else "completion"
        for what, text in (("prompt", prompt), (answer, completion), *beside.items()):
            if isinstance(text, str):
                check_characters(text, f"the {_NAMES.get(what, what)}")
        return Row(prompt, completion, line=number, **beside)

    def _conversation(self, value: object, number: int, **beside: Any) -> Row:
        turns = conversation(value)
        if turns and turns[-1].role != "assistant":
            self.unanswered.append(number)
        return self._of_turns(turns, number, **beside)

    def _of_turns(
        self,
        turns: tuple[Message, ...],
        number: int,
        system: str | None = None,
        tools: Any = None,
        rejected: str | None = None,
    ) -> Row:
        own = [turn.content for turn in turns if turn.role == "system"]
        if system is not None and own:
            if own != [system]:
                raise RowError("a system column and another system turn; keep one")
            system = None
        if system is not None:
            check_characters(system, "the system message")
        last = turns[-1].content if turns else ""
        return Row(None, last, turns, number, system, tools, rejected)

    def _prompted(self, prompt: object, completion: object, number: int, **beside: Any) -> Row:
        """TRL's prompt and completion, as lists of turns: the prompt's are not trained."""
        asked, answer = _as_turns(prompt, "user"), _as_turns(completion, "assistant")
        untrained = [Message(t.role, t.content, False, t.more) for t in asked]
        turns = conversation_of([*untrained, *answer]) if asked and answer else ()
        return self._of_turns(turns, number, **beside)

    def _preference(
        self, record: Record, number: int, mapping: ColumnMapping, beside: dict[str, Any]
    ) -> Row:
        """A chosen answer and a rejected one, each a text or the turns that end with it."""
        chosen, rejected = record[mapping.answer], record[mapping.rejected]
        asked = record[mapping.asks[0]] if mapping.asks else None
        if not any(map(is_turns, (chosen, rejected, asked))):
            if not mapping.asks:
                answer, worse = mapping.answer, mapping.rejected
                raise RowError(
                    f"{answer} and {worse} are texts without a prompt: name it, as in --columns "
                    f'"prompt => {answer}, {worse}"',
                    f'For a prompt and its completion: --columns "{answer} => {worse}".',
                )
            worse = _cell(record, mapping.rejected)
            joined = _joined([_cell(record, name) for name in mapping.asks])
            better = _cell(record, mapping.answer)
            return self._texts(number, joined, better, rejected=worse, **beside)
        before, better, worse = shared(
            _as_turns(chosen, "assistant"), _as_turns(rejected, "assistant")
        )
        prompt = _as_turns(asked, "user") if asked is not None else ()
        if not before or before == prompt:
            turns = prompt or before
        elif not prompt or [t.content for t in before if t.role == "user"][-1:] == [
            prompt[-1].content
        ]:
            turns = before  # Both repeat the prompt.
        else:
            turns = (*prompt, *before)
        untrained = tuple(Message(t.role, t.content, False, t.more) for t in turns)
        if [turn.role for turn in turns] == ["user"]:
            return self._texts(number, turns[0].content, better, rejected=worse, **beside)
        full = (*untrained, Message("assistant", better)) if better else ()
        return self._of_turns(full, number, rejected=worse, **beside)


def _checked(row: Row) -> Row:
    """A person's own `Row`. Raises `RowError` for what is not text, or cannot be."""
    texts = [(what, getattr(row, what)) for what in ("prompt", "system", "rejected", "second")]
    texts += [(f"turn {n}", turn.content) for n, turn in enumerate(row.messages or (), start=1)]
    for what, text in (
        ("completion", row.completion),
        *((w, t) for w, t in texts if t is not None),
    ):
        if not isinstance(text, str):
            raise RowError(f"its {what} is a {_kind(text)}, not text")
        check_characters(text, what if what.startswith("turn") else f"the {_NAMES.get(what, what)}")
    return row


def conversation_of(turns: Sequence[Message]) -> tuple[Message, ...]:
    """Turns in which the assistant answers a user. Raises `RowError` if it does not."""
    roles = [turn.role for turn in turns]
    if "assistant" not in roles:
        raise RowError("the completion has no assistant turn")
    if "user" not in roles:
        raise RowError("the prompt has no user turn")
    return tuple(turns)


def _as_turns(value: object, role: str) -> tuple[Message, ...]:
    if is_turns(value):
        return turns_of(value)
    text = text_of(value)
    if text is None:
        raise RowError(f"expected text or a list of turns, got {_kind(value)}")
    return (Message(role, check_characters(text, f"the {role}'s text")),) if text.strip() else ()


def _joined(parts: Sequence[str]) -> str:
    """The prompt and what follows it, each on its own line."""
    return parts[0] if len(parts) == 1 else "\n".join(part for part in parts if part.strip())


def _cell(record: Record, column: str) -> str:
    text = text_of(record.get(column))
    if text is None:
        raise RowError(
            f"{column} is a {_kind(record[column])}, not text",
            "Each cell must be text or a number; for anything else: --map FUNCTION",
        )
    return text


def _kind(value: object) -> str:
    return type(value).__name__


def text_of(value: object) -> str | None:
    """A cell as text: "" if it has no value (None, NaN, NA), None if neither text nor number."""
    if isinstance(value, str):
        return value
    if no_value(value):
        return ""
    if type(value).__name__ in ("bool", "bool_"):
        return str(bool(value))
    try:
        return str(value) if isinstance(value, Number) else None
    except ValueError:  # more digits than Python converts
        return None


def _label_text(value: object) -> str:
    """A label as text; a whole number without ".0", which frames add where a value is missing."""
    text = text_of(value)
    if text is None:
        raise RowError(f"the label is a {_kind(value)}, expected a name or a number")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return text.strip()


def parsed(lines: Iterable[tuple[int, str]], errors: RowErrors) -> Iterator[tuple[int, Any]]:
    """The JSON value on each line that is not blank; what is not JSON is added to `errors`."""
    for number, line in lines:
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                errors.add(number, f"not JSON ({why_not_json(error)})")


def objects(items: Iterable[tuple[int, Any]], errors: RowErrors) -> Iterator[tuple[int, Record]]:
    """Those of the values that are objects; the others are added to `errors`."""
    for number, item in items:
        if isinstance(item, Mapping):
            yield number, item
        else:
            errors.add(number, f"expected an object with named fields, got {_kind(item)}")
