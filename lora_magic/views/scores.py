"""Scored answers: perplexities, and the tokens whose probability an adapter changes.

Knows scores; does not know how they were computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import clean, one_line
from lora_magic.views.html import Markup, escaped, tag
from lora_magic.views.style import BLUE, ORANGE, code, details, frame, line
from lora_magic.views.table import rows_of, table
from lora_magic.views.text import plain_table

if TYPE_CHECKING:
    from lora_magic.compare.scores import ScoredAnswer, Scores

#: Prompts whose perplexities are shown.
SHOWN = 10
#: Changes of ln p from which an underline is 1, 2 and 4 px thick.
STEPS = ((4.0, 4), (2.0, 2), (0.5, 1))
#: Tokens of one answer that are marked: those with the largest changes. And those named.
MARKED, NAMED = 60, 5
_TOKENS = "margin:.25rem 0;line-height:1.9;overflow-wrap:anywhere;white-space:pre-wrap"

LEGEND = (
    "Perplexity: exp of the mean −ln p of an answer's tokens, with the end token if the answer "
    "ended itself; ln p is the model's at temperature 1, after each adapter's own prompt form."
)
_MISSING = (
    f" {numbers.MISSING}: the answer is longer than the context after that prompt form, or its "
    "logits are not finite."
)
_MARKS = (
    f" Marked tokens (at most {MARKED}): the adapter changes their ln p by 0.5 or more against the "
    "base; solid is higher, dotted lower, thicker from 2 and from 4; a tooltip has both values."
)


def bundle(scores: Scores) -> dict[str, object]:
    """The MIME bundle of scores: for each prompt the perplexity of every answer everywhere."""
    groups = [(prompt, list(found)) for prompt, found in groupby(scores.answers, _prompt_of)]
    more = len(groups) - SHOWN
    rest = f"{more} more prompts in " if more > 0 else "All tokens in "
    parts: list[Markup] = []
    plain = [one_line(scores.line)]
    for prompt, answers in groups[:SHOWN]:
        parts.append(line(tag("strong", one_line(prompt))))
        parts += _tables(answers)
        header, rows = _cells(answers, answers[0].adapters)
        plain += [f"> {clean(prompt)}", plain_table(header, rows, indent="  ")]
    page = frame(
        line(tag("strong", scores.line)),
        *parts,
        line(about(scores), muted=True),
        line(rest, code(".to_frame()"), muted=True),
        label="Scores",
    )
    return {"text/plain": "\n".join([*plain, f"{rest}.to_frame()"]), "text/html": str(page)}


def legend(scores: Scores) -> str:
    """What the numbers and the marks are."""
    return about(scores) + _MARKS


def about(scores: Scores) -> str:
    """What the numbers are."""
    missing = any(
        math.isnan(one.perplexity(adapter)) for one in scores.answers for adapter in one.adapters
    )
    stopped = " Not all answers are scored: stopped by you." if scores.stopped else ""
    return LEGEND + _MISSING * missing + stopped


def facts(scored: ScoredAnswer) -> list[str]:
    """The perplexity of an answer under its own adapter and under the base."""
    own = f"perplexity {numbers.figures(scored.perplexity(scored.answer_of))}"
    base = scored.adapters[0]
    if scored.answer_of == base:
        return [own]
    return [own, f"under {base} {numbers.figures(scored.perplexity(base))}"]


def matrix(answers: Sequence[ScoredAnswer]) -> Markup:
    """The perplexity of each answer to one prompt under every adapter, folded."""
    return details("Perplexity of each answer under each adapter", *_tables(answers))


def tokens(scored: ScoredAnswer) -> Markup:
    """An answer's tokens, folded, with those marked that its adapter makes more or less likely."""
    base, own = (scored.under(name) for name in (scored.adapters[0], scored.answer_of))
    order = sorted(range(len(own)), key=lambda at: -_size(base[at], own[at]))
    marked = {at for at in order[:MARKED] if _size(base[at], own[at]) >= STEPS[-1][0]}
    if not marked:
        return Markup("")
    shown = (
        _mark(token, base[at], own[at]) if at in marked else escaped(_visible(token))
        for at, token in enumerate(scored.tokens)
    )
    named = [
        f"“{_visible(scored.tokens[at])}” {_signed(own[at] - base[at])}" for at in order[:NAMED]
    ]
    largest = line(f"Largest changes of ln p: {', '.join(named)}.", muted=True)
    return details("Tokens against base", tag("p", *shown, style=_TOKENS), largest)


def _prompt_of(one: ScoredAnswer) -> str:
    return one.prompt


def _tables(answers: Sequence[ScoredAnswer]) -> Iterator[Markup]:
    if not answers:
        return
    for columns in rows_of(answers[0].adapters):
        header, rows = _cells(answers, columns)
        cells = [
            [name, *(_bold(cell, name == of) for cell, of in zip(row, columns, strict=True))]
            for name, *row in rows
        ]
        yield table(
            "A row for each answer, a column for each adapter; its own in bold", header, cells
        )


def _cells(
    answers: Sequence[ScoredAnswer], columns: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    rows = [
        [one.answer_of, *(numbers.figures(one.perplexity(name)) for name in columns)]
        for one in answers
    ]
    return ["answer of", *columns], rows


def _bold(cell: str, own: bool) -> str:
    return tag("strong", cell) if own else cell


def _size(base: float, own: float) -> float:
    """How much ln p changes; 0 for a token that is not scored."""
    change = abs(own - base)
    return 0.0 if math.isnan(change) else change


def _mark(token: str, base: float, own: float) -> Markup:
    thick = next(width for least, width in STEPS if abs(own - base) >= least)
    colour, kind = (BLUE, "solid") if own > base else (ORANGE, "dotted")
    return tag(
        "span",
        _visible(token),
        title=f"{_signed(base)} → {_signed(own)}",
        style=f"background:{_tint(colour)};border-bottom:{thick}px {kind}",
    )


def _tint(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},.2)"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _visible(token: str) -> str:
    """A token's text on one line."""
    return clean(token).replace("\n", "↵").replace("\t", "⇥")
