"""Rows as tokens and labels: what the model reads, and what the loss covers.

Every row is checked against its tokens. Knows tokenizers through the prompt's form; knows no model
and no run.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lora_magic.base.prompt import Asked, PromptForm, Tokens, Written
from lora_magic.base.template import Turn
from lora_magic.base.tokens import all_token_ids, bare_text, classified_ids, lost_of
from lora_magic.data.row import Message, Refused, Row, numbered
from lora_magic.errors import DataError, PromptError, listed, near

from .sample import sample_line

#: The label of a token that the loss does not cover, in torch's cross entropy and transformers.
IGNORED = -100


@dataclass(frozen=True)
class Example:
    """One sequence: its tokens, their labels (−100 where the loss does not cover them), its row.

    For a classifier `labels` is empty and `label` the index of the one label. `number` is the row's
    own, for messages; its `position` decides whether it is held out. With preferences the example
    is the chosen answer, and has the `rejected` one.
    """

    tokens: tuple[int, ...]
    labels: tuple[int, ...]
    row: int
    label: int | None = None
    number: int = 0
    position: float = 0.0
    rejected: Example | None = None

    @property
    def trained(self) -> int:
        """Tokens that the loss covers, or 1 for a label."""
        own = sum(label != IGNORED for label in self.labels) + (self.label is not None)
        return own + (self.rejected.trained if self.rejected else 0)


@dataclass(frozen=True)
class Encoded:
    """Encoded rows, and how many were cut or left out.

    `cut` examples were longer than `max_length` tokens and lost their end. `empty` ones had nothing
    to train on, and in `full` ones the prompt fills `max_length`: both are left out. `texts` rows
    are plain text. `data_hash` is the sha256 of the rows as read. `classes` are a classifier's
    labels, otherwise (). `lengths` are the examples' tokens before they were cut. `notes` say what
    a reader would not expect, `skipped` which rows were left out, and `sample` shows one example.
    `replay` are examples of other rows,
    which are read beside these. `held_out` are examples of another set of rows, which are measured
    and never trained on; None if some of `examples` are held out.
    """

    examples: tuple[Example, ...]
    cut: int
    empty: int
    data_hash: str
    full: int = 0
    texts: int = 0
    end_token: str | None = None
    classes: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str = ""
    sample: str = ""
    replay: tuple[Example, ...] = ()
    held_out: tuple[Example, ...] | None = None

    def measured_on(self, other: Encoded) -> Encoded:
        """With another set's examples held out; its rows are part of the hash."""
        both = hashlib.sha256((self.data_hash + other.data_hash).encode()).hexdigest()
        return replace(self, held_out=other.examples, data_hash=both)

    def replaying(self, others: Encoded) -> Encoded:
        """These rows with others to replay, which the hash covers."""
        both = f"{self.data_hash} {others.data_hash}".encode()
        digest = hashlib.sha256(both).hexdigest()
        return replace(self, replay=others.examples, data_hash=digest)


#: Rows that are rendered and tokenized together.
_TOGETHER = 512


def encode(
    rows: Sequence[Row],
    tokenizer: Any,
    form: PromptForm,
    max_length: int,
    *,
    skip_bad: bool = False,
    refused: Refused | None = None,
) -> Encoded:
    """Tokens and labels of rows, in the prompt's form.

    The loss covers a completion and one end token, not the prompt; for plain text, every token.
    Each assistant turn of a conversation that is to be trained is one example, with the turns
    before it as its prompt. An example longer than `max_length` is cut at its end. One whose prompt
    alone fills `max_length` is left out and counted as full; one without a token to train is
    counted as empty.

    Raises `DataError` with the numbers of rows that the template refuses or shortens, of rows that
    the tokenizer loses a part of, of those `refused` before, and when no example is left. With
    `skip_bad` such rows are left out, a conversation as a whole, and `skipped` lists them.
    """
    work = _Encoding(rows, tokenizer, form, max_length, refused or Refused())
    for start in range(0, len(rows), _TOGETHER):
        work.add(range(start, min(start + _TOGETHER, len(rows))))
    work.leave_out_refused(skip_bad)
    if not work.examples:
        raise DataError(work.nothing_left())
    encoded = Encoded(
        examples=tuple(work.examples),
        cut=sum(length > max_length for length in work.lengths),
        empty=work.count("empty", "untrained", "short"),
        full=work.count("full"),
        texts=sum(row.prompt is None and row.messages is None for row in rows),
        end_token=form.end_token,
        data_hash=digest_of(rows),
        lengths=tuple(work.lengths),
        notes=tuple(work.notes()),
        skipped=work.refused.note,
    )
    return replace(encoded, sample=sample_line(encoded, tokenizer))


@dataclass(frozen=True)
class _Piece:
    """What one example is made of: a prompt and its answer, or a text."""

    row: int
    asked: Asked | None
    text: str = ""


@dataclass
class _Encoding:
    """Examples of rows, with what was left out and why, by the rows' numbers."""

    rows: Sequence[Row]
    tokenizer: Any
    form: PromptForm
    max_length: int
    refused: Refused
    examples: list[Example] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    left_out: dict[str, list[int]] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)

    def add(self, places: Iterable[int]) -> None:
        """Encode the rows at these places."""
        pieces = [piece for place in places for piece in self._pieces(place)]
        texts: list[str | Written | PromptError] = [piece.text for piece in pieces]
        asked = [(at, p.asked) for at, p in enumerate(pieces) if p.asked is not None]
        written = self.form.write(self.tokenizer, [one for _, one in asked])
        for (at, _), made in zip(asked, written, strict=True):
            texts[at] = made
        tokens = self._tokens(texts)
        said = [(p, t, ids) for p, t, ids in zip(pieces, texts, tokens, strict=True)]
        good: list[tuple[int, str, Tokens]] = []
        for piece, text, ids in said:
            if isinstance(ids, PromptError):
                self._refuse(piece.row, str(ids))
            else:
                good.append((piece.row, str(text), ids))
        self._check(good)
        for place, _, ids in good:
            self._keep(place, ids.prompt, ids.answer)

    def _tokens(self, texts: Sequence[str | Written | PromptError]) -> list[Tokens | PromptError]:
        """The tokens of each text, all those of a kind at once; an error stays."""
        found: dict[int, Tokens | PromptError] = {}
        pairs = [(at, text) for at, text in enumerate(texts) if isinstance(text, Written)]
        alone = [(at, text) for at, text in enumerate(texts) if isinstance(text, str)]
        made = self.form.tokens(self.tokenizer, [text for _, text in pairs])
        made += self.form.whole(self.tokenizer, [text for _, text in alone])
        for (at, _), ids in zip([*pairs, *alone], made, strict=True):
            found[at] = ids
        found |= {at: text for at, text in enumerate(texts) if isinstance(text, PromptError)}
        return [found[at] for at in range(len(texts))]

    def _pieces(self, place: int) -> Iterator[_Piece]:
        """The examples of one row; a row without any is left out."""
        row, found = self.rows[place], 0
        if place in self.refused.places:
            return
        system = row.system if row.system and row.system.strip() else None
        try:
            if row.messages is not None:
                turns = [message.plain() for message in row.messages]
                for at, message in enumerate(row.messages):
                    if _is_answer(message) and message.trained and _is_prompted(turns[:at]):
                        found += 1
                        before = self.form.conversation(turns[:at], system)
                        yield _Piece(place, Asked(before, turns[at], row.tools))
            elif row.prompt is None and not row.empty:
                found = 1
                yield _Piece(
                    place, None, f"{system}\n{row.completion}" if system else row.completion
                )
            elif row.prompt is not None and not row.empty:
                found = 1
                turns = [{"role": "user", "content": row.prompt}]
                answer = {"role": "assistant", "content": row.completion}
                asked = Asked(self.form.conversation(turns, system), answer, row.tools)
                yield _Piece(place, asked)
        except PromptError as error:
            self._refuse(place, str(error))
            return
        if not found:
            answers = filter(_is_answer, row.messages or ())
            untrained = any(not answer.trained for answer in answers)
            self._leave_out(place, "untrained" if untrained else "empty")

    def _keep(self, place: int, prefix: list[int], answer: list[int]) -> None:
        example = _example(prefix, answer, self.max_length, place)
        if example is not None:
            number, position = self._number(place), self.rows[place].position
            self.examples.append(replace(example, number=number, position=position))
            self.lengths.append(len(prefix) + len(answer))
        elif len(prefix) >= self.max_length:
            self._leave_out(place, "full")
        else:
            self._leave_out(place, "short" if answer else "empty")

    def _check(self, made: Sequence[tuple[int, str, Tokens]]) -> None:
        """Refuse rows of whose text the tokens lose a part; note those with unknown tokens."""
        texts = [text for _, text, _ in made]
        lost = lost_of(self.tokenizer, texts, [ids.read for *_, ids in made])
        for (place, *_), what in zip(made, lost, strict=True):
            if what:
                self._refuse(place, _loses(what))
            elif what is not None:
                self.unknown.add(place)

    def _number(self, place: int) -> int:
        return self.rows[place].line or place + 1

    def _refuse(self, place: int, why: str) -> None:
        self.refused.add(place, self._number(place), why)

    def _leave_out(self, place: int, why: str) -> None:
        self.left_out.setdefault(why, []).append(self._number(place))

    def count(self, *reasons: str) -> int:
        """How many examples were left out for one of these reasons."""
        return sum(len(self.left_out.get(why, ())) for why in reasons)

    def leave_out_refused(self, skip: bool) -> None:
        """Drop what rows made that were refused in part. Raises `DataError` unless `skip`."""
        self.refused.raise_any(len(self.rows), skip)
        bad = self.refused.places
        good = [at for at, example in enumerate(self.examples) if example.row not in bad]
        self.examples = [self.examples[at] for at in good]
        self.lengths = [self.lengths[at] for at in good]
        self.unknown -= bad

    def nothing_left(self) -> str:
        """Why there is nothing to train on."""
        full, short = self.left_out.get("full"), self.left_out.get("short")
        if full:
            return _nothing_left(full, len(full), self.max_length)
        if untrained := self.left_out.get("untrained"):
            rows = numbered("row", untrained)
            return (
                f"nothing to train on: every answer in {rows} has weight 0; give the turns to "
                "train weight 1."
            )
        if short:
            return (
                f"nothing to train on: {numbered('row', short)} has one token, which nothing "
                "comes before; write longer texts, or prompts with completions."
            )
        return _nothing_left(self.left_out.get("empty", []), 0, self.max_length)

    def notes(self) -> Iterator[str]:
        """What a reader of the rows would not expect."""
        if self.unknown:
            yield _unknown(len(self.unknown))
        if untrained := self.count("untrained"):
            yield f"{untrained} row{'s' * (untrained != 1)} with weight 0 read but not trained"
        plain = self.form.kind == "plain"
        if plain and any(row.system and row.system.strip() for row in self.rows):
            yield "each system message on a line before its prompt"


def _is_answer(message: Message) -> bool:
    """Is a turn one that the model is to write?"""
    said = message.content.strip() or message.more.get("tool_calls")
    return message.role == "assistant" and bool(said)


def _is_prompted(before: Sequence[Turn]) -> bool:
    return any(turn["role"] not in ("system", "assistant") for turn in before)


def _loses(what: str) -> str:
    return f"the tokenizer loses {what!r}: it has no token for it; remove it, or load another base"


def _unknown(count: int) -> str:
    return f"{count} row{'s' * (count != 1)} with unknown tokens"


def encode_labelled(
    rows: Sequence[Row],
    tokenizer: Any,
    classes: Sequence[str],
    max_length: int,
    *,
    skip_bad: bool = False,
) -> Encoded:
    """Tokens of texts and the index of their label in `classes`.

    A text gets the tokenizer's special tokens; one longer than `max_length` is cut at its end but
    keeps them. A row without a text or a label is left out and counted as empty.

    Raises `DataError` with the numbers of rows whose label is unknown, of rows that the tokenizer
    loses a part of, and when no row is left. With `skip_bad` such rows are left out and listed.
    """
    known = {name: place for place, name in enumerate(classes)}
    refused = Refused()
    kept: list[int] = []
    left_out: list[int] = []
    for place, row in enumerate(rows):
        number, name = row.line or place + 1, row.completion.strip()
        if row.prompt is None:
            refused.add(place, number, "a text without a label")
        elif name and name not in known:
            refused.add(place, number, _no_label(name[:40], known))
        elif row.empty:
            left_out.append(number)
        else:
            kept.append(place)
    labels = f"The labels are {listed(classes, 20)}; type `text => label`."
    remedy = labels if refused.places else ""
    unknown = _unreadable(rows, kept, tokenizer, refused)
    refused.raise_any(len(rows), skip_bad, remedy)
    kept = [place for place in kept if place not in refused.places]
    examples: list[Example] = []
    lengths: list[int] = []
    texts = [bare_text(tokenizer, rows[place].prompt or "") for place in kept]
    for place, ids in zip(kept, all_token_ids(tokenizer, texts, special=True), strict=True):
        row = rows[place]
        length = 0 if isinstance(ids, PromptError) else len(ids)
        if row.second is not None or length > max_length or isinstance(ids, PromptError):
            said = (row.prompt or "", row.second)
            length = len(classified_ids(tokenizer, *said, most=10**9)[0])
            ids, _ = classified_ids(tokenizer, *said, most=max_length)
        if not ids:
            left_out.append(row.line or place + 1)
        else:
            label, number = known[row.completion.strip()], row.line or place + 1
            examples.append(Example(tuple(ids), (), place, label, number, row.position))
            lengths.append(length)
    if not examples:
        raise DataError(_nothing_left(left_out, 0, max_length).replace("completion", "label"))
    encoded = Encoded(
        examples=tuple(examples),
        cut=sum(length > max_length for length in lengths),
        empty=len(left_out),
        data_hash=digest_of(rows),
        classes=tuple(classes),
        lengths=tuple(lengths),
        notes=tuple(_labelled_notes(unknown, [rows[e.row] for e in examples[:1]], tokenizer)),
        skipped=refused.note,
    )
    return replace(encoded, sample=sample_line(encoded, tokenizer))


def _labelled_notes(unknown: int, first: Sequence[Row], tokenizer: Any) -> Iterator[str]:
    if unknown:
        yield _unknown(unknown)
    for row in first:
        if row.second is not None:
            made = tokenizer(row.prompt or "", row.second, verbose=False)
            if any(made.get("token_type_ids", ())):
                yield "pairs are read without the tokenizer's segment ids"


def _unreadable(rows: Sequence[Row], kept: Sequence[int], tokenizer: Any, refused: Refused) -> int:
    """Refuses rows whose texts have no tokens or lose a part; how many have unknown tokens?"""
    said = [
        (place, bare_text(tokenizer, text))
        for place in kept
        for text in (rows[place].prompt, rows[place].second)
        if text is not None
    ]
    ids = all_token_ids(tokenizer, [text for _, text in said])
    good = [(p, t, i) for (p, t), i in zip(said, ids, strict=True) if isinstance(i, list)]
    lost = lost_of(tokenizer, [text for _, text, _ in good], [one for *_, one in good])
    why = [
        (place, str(one))
        for (place, _), one in zip(said, ids, strict=True)
        if isinstance(one, PromptError)
    ]
    why += [(place, _loses(what)) for (place, *_), what in zip(good, lost, strict=True) if what]
    for place, reason in sorted(why):
        refused.add(place, rows[place].line or place + 1, reason)
    return len(
        {place for (place, *_), what in zip(good, lost, strict=True) if what == ""} - refused.places
    )


def _no_label(name: str, known: Iterable[str]) -> str:
    hint = near(name, known).strip()
    return f"unknown label {name!r}" + (f" ({hint})" if hint else "")


def _nothing_left(rows: list[int], full: int, max_length: int) -> str:
    if full:
        return (
            f"nothing to train on: the prompt alone fills {max_length} tokens in "
            f"{numbered('row', rows)}; shorten it, or raise --max-length."
        )
    empty = f"no completion in {numbered('row', rows)}" if rows else "there are no rows"
    return f"nothing to train on: {empty}."


def _example(prefix: list[int], answer: list[int], max_length: int, row: int) -> Example | None:
    tokens = (prefix + answer)[:max_length]
    labels = ([IGNORED] * len(prefix) + answer)[:max_length]
    # Nothing predicts the first token. With its label ignored here, the count that the Trainer
    # divides by is right in all its versions.
    labels[:1] = [IGNORED] * len(labels[:1])
    example = Example(tuple(tokens), tuple(labels), row)
    return example if example.trained else None


def measured_hash(examples: Iterable[Example], *also: object) -> str:
    """sha256 over the tokens of examples, in any order, and which of them the loss covers.

    Losses can be compared where this is equal: unlike `Encoded.data_hash` it depends on the prompt
    form and on the greatest length. `also` is what else a loss depends on: the base, β.
    """
    each = sorted(hashlib.sha256(_said(example)).digest() for example in examples)
    return hashlib.sha256(b"".join(each) + json.dumps(also).encode()).hexdigest()


def _said(example: Example) -> bytes:
    """The tokens, what the loss covers, the label, and the same of a rejected answer."""
    label = -1 if example.label is None else example.label
    own = array("q", [len(example.tokens), label, *example.tokens, *example.labels]).tobytes()
    return own + (_said(example.rejected) if example.rejected else b"")


def digest_of(rows: Sequence[Row]) -> str:
    """sha256 over what the rows say, in order, without their line numbers."""
    digest = hashlib.sha256()
    for row in rows:
        turns = None
        if row.messages is not None:
            turns = [m.plain() if m.trained else {**m.plain(), "weight": 0} for m in row.messages]
        said: list[Any] = [row.prompt, row.completion, turns]
        more = {
            "system": row.system,
            "tools": row.tools,
            "rejected": row.rejected,
            "second": row.second,
        }
        if given := {name: value for name, value in more.items() if value is not None}:
            said.append(given)
        digest.update(json.dumps(said).encode() + b"\n")
    return digest.hexdigest()
