"""A run's rows as a script has them, and the lines that make their tokens.

The lines are run here on every row: one whose tokens would be others is written as token ids.
Knows rows, prompt forms and tokenizers; knows no model and no run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Row
from lora_magic.training.encode import IGNORED, Example

#: One row of a script: the object that a line of its JSONL has.
Record = dict[str, Any]

#: Characters of rows that a script has itself; more go into a file beside it.
INLINE = 6000


@dataclass(frozen=True, eq=False)
class Reader:
    """The lines of a script that make tokens of its rows.

    `form` is None for a classifier, with its `labels`.
    """

    tokenizer: Any
    form: PromptForm | None
    max_length: int
    start: tuple[int, ...]
    labels: tuple[str, ...] = ()

    def records(self, rows: Sequence[Row], examples: Iterable[Example]) -> list[Record]:
        """The examples' rows, in their order; each record makes one example."""
        names: dict[str, Any] = {"tokenizer": self.tokenizer}
        exec(self.code(), names)
        left: dict[int, list[Record]] = {}
        found = []
        for example in examples:
            if example.row not in left:
                left[example.row] = list(self._candidates(rows[example.row]))
            found.append(self._first(left[example.row], example, names["encode"]))
        return found

    def _first(self, candidates: list[Record], example: Example, encode: Any) -> Record:
        """The first candidate that makes the example; without one, its token ids.

        A row's candidates are used up in their order, as its examples are.
        """
        for place, record in enumerate(candidates):
            if _makes(encode, record, example):
                del candidates[: place + 1]
                return record
        return _ids_of(example)

    def _candidates(self, row: Row) -> Iterator[Record]:
        if self.form is None:
            yield {"text": row.prompt, "label": row.completion.strip()}
        elif row.rejected is not None:
            for one, other in zip(
                self._answers(row, row.completion),
                self._answers(row, row.rejected),
                strict=True,
            ):
                yield {"chosen": one, "rejected": other}
        elif row.messages is not None:
            for at, turn in enumerate(row.messages):
                if turn.role == "assistant" and turn.trained:
                    before = [message.plain() for message in row.messages[:at]]
                    yield from self._conversation(row, before, turn.content)
        elif row.prompt is None:
            text = f"{row.system}\n{row.completion}" if row.system else row.completion
            yield {"text": text}
        else:
            yield from self._answers(row, row.completion)

    def _answers(self, row: Row, answer: str) -> Iterator[Record]:
        """The records of a row with one answer; templates strip an answer, or leave it."""
        if row.messages is not None:
            before = [message.plain() for message in row.messages[:-1]]
            yield from self._conversation(row, before, answer)
        elif row.system or row.tools:
            user = {"role": "user", "content": row.prompt or ""}
            yield from self._conversation(row, [user], answer)
        else:
            for said in (answer, answer.strip()):
                yield {"prompt": row.prompt, "completion": said}

    def _conversation(self, row: Row, turns: list[Any], answer: str) -> Iterator[Record]:
        assert self.form is not None  # a classifier has no conversations
        system = row.system if row.system and row.system.strip() else None
        given = [dict(turn) for turn in self.form.conversation(turns, system)]
        tools = {"tools": list(row.tools)} if row.tools else {}
        for said in (answer, answer.strip()):
            yield {"prompt": given, "completion": said, **tools}

    def code(self, records: Iterable[Record] | None = None) -> str:
        """The function `encode`, with only the lines that these records need; None for all."""
        kinds = _KINDS if records is None else {kind for one in records for kind in _kinds(one)}
        lines = [f"MAX_LENGTH = {self.max_length}"]
        if self.form is None:
            lines += [f"LABELS = {literal(list(self.labels))}", "", "", *self._classify(kinds)]
        else:
            lines += [*self._constants(kinds), "", "", *self._continue(kinds)]
        return "\n".join(lines)

    def _constants(self, kinds: set[str]) -> Iterator[str]:
        assert self.form is not None  # only a classifier has none
        if self.form.end_token is not None:
            yield f"END = [tokenizer.convert_tokens_to_ids({literal(self.form.end_token)})]"
        else:
            yield "END = []  # the tokenizer has no end token"
        if self.start:
            yield f"START = {list(self.start)}  # what the tokenizer writes before a text"
        if self.form.system is not None and "prompt" in kinds:
            yield f"SYSTEM = {literal(self.form.system)}"

    def _continue(self, kinds: set[str]) -> Iterator[str]:
        assert self.form is not None  # only a classifier has none
        yield "def encode(row):"
        yield '    """Tokens and labels: the loss covers the answer and its end token."""'
        if "tokens" in kinds:
            yield '    if "tokens" in row:  # the lines below would make others'
            yield '        tokens, start = row["tokens"], row["start"]'
            yield f"        return tokens, [{IGNORED}] * start + tokens[start:]"
        if "text" in kinds:
            text = self._text()
            if kinds & {"prompt", "turns"}:
                yield '    if "text" in row:'
                text = indent(text, " " * 4)
            yield text
        if kinds & {"prompt", "turns"}:
            # A template writes what comes before a text itself.
            start = "START + " if self.start and self.form.kind == "plain" else ""
            yield from self._before(kinds)
            yield '    prompt = tokenizer(before, add_special_tokens=False)["input_ids"]'
            yield '    whole = tokenizer(before + row["completion"], add_special_tokens=False)'
            yield '    answer = whole["input_ids"][len(prompt) :] + END'
            yield f"    tokens = {start}prompt + answer"
            yield f"    labels = [{IGNORED}] * (len(tokens) - len(answer)) + answer"
            yield "    return tokens[:MAX_LENGTH], labels[:MAX_LENGTH]"

    def _text(self) -> str:
        start = "START + " if self.start else ""
        return (
            '    ids = tokenizer(row["text"], add_special_tokens=False)["input_ids"]\n'
            f"    tokens = ({start}ids + END)[:MAX_LENGTH]\n"
            f"    return tokens, [{IGNORED}] + tokens[1:]"
        )

    def _before(self, kinds: set[str]) -> Iterator[str]:
        """The lines that make the text before an answer."""
        assert self.form is not None  # only a classifier has none
        chat = self.form.kind == "chat"
        system = self.form.system is not None
        user = '{"role": "user", "content": row["prompt"]}'
        alone = f'[{{"role": "system", "content": SYSTEM}}, {user}]' if system else f"[{user}]"
        if "turns" not in kinds:
            if not chat:
                yield '    before = row["prompt"] + "\\n"'
                return
            yield f"    turns = {alone}"
        elif "prompt" not in kinds:
            yield '    turns = row["prompt"]'
        else:
            yield '    turns = row["prompt"]'
            yield "    if isinstance(turns, str):"
            yield f"        turns = {alone}"
        if chat:
            tools = ', tools=row.get("tools")' if "tools" in kinds else ""
            call = f"turns, tokenize=False, add_generation_prompt=True{tools}"
            if tools:
                call = f"\n        {call}\n    "
            yield f"    before = tokenizer.apply_chat_template({call})"
        else:
            yield '    before = "\\n".join(turn["content"] for turn in turns) + "\\n"'

    def _classify(self, kinds: set[str]) -> Iterator[str]:
        yield "def encode(row):"
        yield '    """The tokens of a text, and the place of its label."""'
        if "tokens" in kinds:
            yield '    if "tokens" in row:  # the lines below would make others'
            yield '        return row["tokens"], row["label"]'
        if "text" in kinds:
            cut = "truncation=True, max_length=MAX_LENGTH"
            yield f'    tokens = tokenizer(row["text"], {cut})["input_ids"]'
            yield '    return tokens, LABELS.index(row["label"])'


_KINDS = {"tokens", "text", "prompt", "turns", "tools"}


def _kinds(record: Record) -> Iterator[str]:
    if "chosen" in record:
        yield from _kinds(record["chosen"])
        yield from _kinds(record["rejected"])
    elif "prompt" in record:
        yield "prompt" if isinstance(record["prompt"], str) else "turns"
        yield from ("tools",) if "tools" in record else ()
    else:
        yield "tokens" if "tokens" in record else "text"


def _ids_of(example: Example) -> Record:
    tokens = list(example.tokens)
    if example.label is not None:
        return {"tokens": tokens, "label": example.label}
    own: Record = {"tokens": tokens, "start": sum(label == IGNORED for label in example.labels)}
    if example.rejected is None:
        return own
    return {"chosen": own, "rejected": _ids_of(example.rejected)}


def _makes(encode: Any, record: Record, example: Example) -> bool:
    if example.rejected is not None:
        alone = Example(example.tokens, example.labels, example.row)
        return _makes(encode, record["chosen"], alone) and _makes(
            encode, record["rejected"], example.rejected
        )
    try:
        tokens, labels = encode(record)
    except Exception:  # noqa: BLE001 - a template may fail with any error: then its ids are written
        return False
    expected = list(example.labels) if example.label is None else example.label
    return bool(list(tokens) == list(example.tokens) and labels == expected)


def as_code(name: str, records: Sequence[Record], file: str) -> tuple[str, dict[str, str]]:
    """The line that defines a list of rows, and the files that it reads."""
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    if sum(map(len, lines)) > INLINE:
        code = (
            f'with open(HERE / "{file}", encoding="utf-8") as lines:\n'
            f"    {name} = [json.loads(line) for line in lines]"
        )
        return code, {file: "".join(f"{line}\n" for line in lines)}
    each = "".join(f"    {literal(record)},\n" for record in records)
    return f"{name} = [\n{each}]", {}


def literal(value: Any) -> str:
    """A value as Python writes it, with double quotes where that is possible."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
