"""The shapes of data that are recognised by the names of their columns: one table.

`--help`, the errors and the reading all use this table; a name matches in any case. Knows column
names; knows no values, no file and no frame.

What else is read, without names: pairs, texts, lines of `prompt => completion`, lists of turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lora_magic.errors import DataError, listed, near


@dataclass(frozen=True)
class Shape:
    """Columns that mean something together, by their usual names.

    The columns of `asks` and `more` (where they are present) are the prompt, joined by newlines;
    `answer` is the completion, or a text if nothing is asked. `rejected` is the worse answer of a
    pair of preferences; with `turns` the answer is a conversation. `second` is the other text of a
    pair to classify. `ignored` columns repeat what the others say.
    """

    about: str
    asks: tuple[str, ...]
    answer: str
    more: tuple[str, ...] = ()
    rejected: str = ""
    turns: bool = False
    second: str = ""
    ignored: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[str, ...]:
        """The columns without which it is another shape."""
        names = (*self.asks, self.second, self.answer, self.rejected)
        return tuple(name for name in names if name)

    @property
    def line(self) -> str:
        """How `--help` shows it."""
        asked = " + ".join([*self.asks, *([self.second] if self.second else [])])
        asked += "".join(f" [+ {name}]" for name in self.more)
        answer = f"{self.answer}, {self.rejected}" if self.rejected else self.answer
        return f"{f'{asked} => {answer}' if asked else answer:<45} {self.about}".rstrip()


#: Beside every shape but a text: the row's own system message.
SYSTEM = ("system", "system_prompt")

#: The shapes for a model that writes.
SHAPES = (
    Shape(
        "preferences: the better answer and the worse",
        ("prompt",),
        "chosen",
        rejected="rejected",
        ignored=("messages", "text"),
    ),
    Shape(
        "preferences, as two conversations",
        (),
        "chosen",
        rejected="rejected",
        turns=True,
        ignored=("messages", "text"),
    ),
    Shape("texts, or TRL's lists of turns", ("prompt",), "completion"),
    Shape("", ("prompt",), "response"),
    Shape("Alpaca", ("instruction",), "output", ("input", "context"), ignored=("text",)),
    Shape("Dolly", ("instruction",), "response", ("context", "input"), ignored=("text",)),
    Shape("", ("question",), "answer", ("context",)),
    Shape("OpenOrca", ("question",), "response", ("context",)),
    Shape("", ("query",), "response", ("context",)),
    Shape("OpenAI's chat: role, content, weight, tool_calls", (), "messages", turns=True),
    Shape("ShareGPT's: from, value", (), "conversations", turns=True),
    Shape("either of the two", (), "conversation", turns=True),
    Shape("plain text", (), "text"),
)

#: The shapes for a classifier.
LABELLED = (
    Shape("", ("text",), "label"),
    Shape("", ("sentence",), "label"),
    Shape("a pair of texts, as the next ones", ("sentence1",), "label", second="sentence2"),
    Shape("", ("premise",), "label", second="hypothesis"),
    Shape("", ("question",), "label", second="sentence"),
    Shape("", ("question1",), "label", second="question2"),
    Shape("", ("text1",), "label", second="text2"),
    Shape("", ("text",), "label", second="text_pair"),
    *(
        Shape("", (ask,), answer)
        for ask, answer in (
            ("prompt", "completion"),
            ("prompt", "response"),
            ("instruction", "output"),
            ("question", "answer"),
        )
    ),
)


@dataclass(frozen=True)
class ColumnMapping:
    """The columns that are read, by their own names; see `Shape` for what each is.

    `required` are those that each row must have.
    """

    answer: str
    asks: tuple[str, ...] = ()
    rejected: str = ""
    turns: bool = False
    second: str = ""
    system: str = ""
    tools: str = ""
    required: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[str, ...]:
        """Every column that is read."""
        names = (*self.asks, self.second, self.answer, self.rejected, self.system, self.tools)
        return tuple(dict.fromkeys(name for name in names if name))

    def __str__(self) -> str:
        """As `--columns` names it."""
        asked = " + ".join([*self.asks, *([self.second] if self.second else [])])
        answer = f"{self.answer}, {self.rejected}" if self.rejected else self.answer
        return f"{asked} => {answer}" if asked else answer


def candidates(columns: Iterable[str], labelled: bool = False) -> list[ColumnMapping]:
    """Every mapping that the columns' names allow; one whose columns are part of another's gives
    way to that."""
    found = _possible(columns, labelled)
    needed = [{*shape.required} for shape, _ in found]
    left = {name for shape, _ in found for name in shape.ignored}
    return [
        mapping
        for (_, mapping), names in zip(found, needed, strict=True)
        if not any(names < others for others in needed) and not names <= left
    ]


def _possible(columns: Iterable[str], labelled: bool) -> list[tuple[Shape, ColumnMapping]]:
    """The shapes whose columns are all there."""
    own: dict[str, str] = {}
    for name in columns:
        # Of "Prompt" and "prompt" the second is meant.
        if name.lower() not in own or name == name.lower():
            own[name.lower()] = name
    shapes = LABELLED if labelled else SHAPES
    return [(shape, _mapping(shape, own)) for shape in shapes if {*shape.required} <= {*own}]


def _mapping(shape: Shape, own: dict[str, str]) -> ColumnMapping:
    more = [name for name in shape.more if name in own]
    writes = bool(shape.asks or shape.turns) and shape not in LABELLED
    system = next((own[name] for name in SYSTEM if name in own and writes), "")
    return ColumnMapping(
        answer=own[shape.answer],
        asks=tuple(own[name] for name in (*shape.asks, *more)),
        rejected=own.get(shape.rejected, ""),
        turns=shape.turns,
        second=own.get(shape.second, ""),
        system=system,
        tools=own.get("tools", "") if writes else "",
        required=tuple(own[name] for name in shape.required),
    )


def mapping_for(columns: Sequence[str], flag: str | None, labelled: bool = False) -> ColumnMapping:
    """The mapping that `flag` names, else the only one possible.

    `flag` is "question + context => answer" (the first two are joined by a newline; for a
    classifier two are a pair), "prompt => better, worse", or one column of texts or conversations.
    It means these columns and a system message beside them; if they are those that make a shape,
    then that shape. Raises `DataError` that lists the columns and the flag to type.
    """
    if flag is not None:
        return _named(columns, flag, labelled)
    found = candidates(columns, labelled)
    if len(found) == 1:
        return found[0]
    if found:
        ways = " or ".join(f'--columns "{mapping}"' for mapping in found)
        raise DataError(f"columns {listed(columns)} match {len(found)} shapes: type {ways}.")
    if not columns:
        raise DataError(f"the data has no columns: expected {names(labelled)}.")
    example = " => ".join(columns[:2]) if len(columns) > 1 else "".join(columns)
    free = [name for name in usual(labelled) if name not in columns]
    hints = "".join(near(name, free) for name in columns if name not in usual(labelled))
    raise DataError(
        f"columns {listed(columns)}: expected {names(labelled)}.{hints} "
        f'Name yours, as in --columns "{example}", or read them with --map FUNCTION'
    )


def usual(labelled: bool) -> list[str]:
    """The names that make a shape."""
    shapes = LABELLED if labelled else SHAPES
    return list(dict.fromkeys(name for shape in shapes for name in shape.required))


def names(labelled: bool) -> str:
    """What columns are usually called, for a message."""
    if labelled:
        return "text and label, or two texts and a label"
    return "prompt and completion, instruction and output, question and answer, messages or text"


def _named(columns: Sequence[str], flag: str, labelled: bool) -> ColumnMapping:
    left, arrow, right = flag.partition("=>")
    if not arrow:
        left, right = "", flag
    asks = _parts(left, "+", columns) if arrow else []
    answers = _parts(right, ",", columns)
    if not all([*asks, *answers]) or "=>" in right or len(answers) > 2 or (arrow and not asks):
        raise DataError(
            f'--columns "{flag}": expected "prompt column => completion column" or one text '
            f"column; the columns are {listed(columns)}."
        )
    missing = [name for name in (*asks, *answers) if name not in columns]
    if missing:
        hints = "".join(near(name, columns) for name in missing)
        raise DataError(
            f'--columns "{flag}": no column {listed(map(repr, missing))}; the columns are '
            f'{listed(columns, 20)}.{hints} Write two with an arrow: --columns "body => reply".'
        )
    required = (*asks, *answers)
    shaped = [] if labelled else [m for _, m in _possible(columns, labelled)]
    if meant := [mapping for mapping in shaped if mapping.required == required]:
        return meant[0]
    mapping = ColumnMapping(
        answers[0],
        tuple(asks),
        rejected="".join(answers[1:]),
        turns=not asks and len(answers) > 1,
        required=required,
    )
    free = {name.lower(): name for name in columns if name not in mapping.used}
    if labelled:
        # A classifier reads two texts as a pair, not as one text of two lines.
        pair = len(asks) == 2
        return replace(mapping, asks=mapping.asks[:1], second=asks[1]) if pair else mapping
    if not asks and not mapping.turns:
        return mapping
    tools = free.get("tools", "") if mapping.turns else ""
    system = next((free[name] for name in SYSTEM if name in free), "")
    return replace(mapping, system=system, tools=tools)


def _parts(side: str, sign: str, columns: Sequence[str]) -> list[str]:
    """The columns on one side of the arrow; a name may itself contain the sign."""
    whole = side.strip()
    return [whole] if whole in columns else [part.strip() for part in side.split(sign)]
