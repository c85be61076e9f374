"""Answers side by side: a grid of panes per prompt, with words that differ from the base's marked.

Knows comparisons and answers; does not know how they were made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from lora_magic import numbers
from lora_magic.printable import clean, one_line
from lora_magic.views.html import Markup, joined, paragraphs, tag
from lora_magic.views.style import BLUE, GREY, LINE, MARK, MUTED, NOTE, RULE, SMALL, frame, line

if TYPE_CHECKING:
    from lora_magic.compare.ask import Answer
    from lora_magic.compare.comparison import Comparison, Pane

    Marked = tuple[Pane, Sequence["Word"]]

#: A word, or the white space between two, and whether it differs from the base's.
Word = tuple[str, bool]
BASE = "base"
#: With more adapters than `MANY` the base is repeated before every `ROW` of them, so that it stays
#: in view; base and `ROW` adapters fill the width of a page.
MANY, ROW = 4, 3
#: Prompts that are shown while the last of them is answered.
STILL = 4
Column = TypeVar("Column")
_GRID = (
    "display:grid;grid-template-columns:repeat(auto-fit, minmax(15rem, 1fr));gap:.75rem;"
    "margin-bottom:.75rem"
)
_PANE = f"border:{RULE};border-radius:6px;padding:.5rem .75rem;display:flex;flex-direction:column"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;margin:.25rem 0 .75rem 0;flex:1"
# A name may be 64 letters without a break.
_NAME = f"{LINE};overflow-wrap:anywhere"
_FOOT = f"margin:0;{SMALL};{MUTED}"


def bundle(comparison: Comparison) -> dict[str, object]:
    """A comparison's MIME bundle."""
    groups = comparison.marked()
    rest = left_out(comparison.left_out)
    parts = [part for prompt, panes in groups for part in _group(prompt, panes)]
    note = [line(rest, muted=True)] if rest else []
    page = frame(*parts, *note, _legend(groups), label="Answers side by side")
    plain = [_plain(prompt, panes) for prompt, panes in groups]
    return {"text/plain": "\n\n".join([*plain, *filter(None, [rest])]), "text/html": str(page)}


#: Unfinished answers of one prompt: (adapter, text so far, or None before its turn).
Begun = tuple[str, Sequence[tuple[str, str | None]]]


def progress_bundle(begun: Sequence[Begun], total: int = 1) -> dict[str, object]:
    """The MIME bundle of unfinished answers: the prompt answered now and those just before it."""
    parts, plain = [], []
    if total > 1:
        count = f"{len(begun)} of {total} prompts"
        parts.append(line(count, muted=True))
        plain.append(count)
    for place, (prompt, panes) in enumerate(begun[-STILL:], start=1):
        now = place == len(begun[-STILL:])
        rows = (tag("div", *(_begun(*pane) for pane in row), style=_GRID) for row in rows_of(panes))
        parts += [_prompt(prompt, "answering …" if now else ""), *rows]
        texts = [(name, clean(text)) for name, text in panes if text is not None]
        plain += [f"> {clean(prompt)}", *(f"[{one_line(name)}]\n{text}" for name, text in texts)]
    page = frame(*parts, label="Answers in progress")
    return {"text/html": str(page), "text/plain": "\n\n".join(plain)}


def sides(prompt: str, left: str, right: str) -> Markup:
    """Two answers to one prompt, without the names of those who gave them."""
    answers = {"Left": left, "Right": right}
    panes = (
        _pane(side, tag("div", _words([(text, False)]), style=_TEXT))
        for side, text in answers.items()
    )
    return joined([_prompt(prompt), tag("div", *panes, style=_GRID)])


def left_out(names: Sequence[str]) -> str:
    """The line about the adapters that a comparison left out; empty if there are none."""
    if not names:
        return ""
    return one_line(f"Untrained adapters left out: {', '.join(names)}; name them with --adapters.")


def rows_of(columns: Sequence[Column]) -> list[list[Column]]:
    """The base's column and the adapters': in one row, or if there are many, in several rows that
    each begin with the base's."""
    base, *others = columns
    if len(others) <= MANY:
        return [[*columns]]
    return [[base, *others[at : at + ROW]] for at in range(0, len(others), ROW)]


def answer_bundle(answer: Answer) -> dict[str, object]:
    """One answer's MIME bundle; its plain text is the answer and a line below it."""
    text = tag("div", _words([(answer.text, False)]), style=_TEXT)
    foot = _facts(answer)
    pane = _pane(answer.adapter, text, tag("p", _unbroken(foot), style=_FOOT))
    turns = "1 turn" if answer.before == 1 else f"{answer.before} turns"
    page = frame(
        _prompt(answer.prompt, f"after {turns}" if answer.before else ""), pane, label="Answer"
    )
    line = " · ".join([one_line(answer.adapter), *foot])
    return {"text/plain": f"{clean(answer.text)}\n({line})", "text/html": str(page)}


def _group(prompt: str, panes: Sequence[Marked]) -> list[Markup]:
    begun = [pane for pane, _ in panes if pane.tokens or not pane.stopped]
    batched = {pane.batched for pane in begun}
    how = {True: "answered in one batched pass", False: "answered one after the other"}
    passes = how[batched.pop()] if len(begun) > 1 and len(batched) == 1 else ""
    rows = (tag("div", *map(_answered, row), style=_GRID) for row in rows_of(panes))
    return [_prompt(prompt, passes), *rows]


def _prompt(prompt: str, passes: str = "") -> Markup:
    small = tag("span", f"  {passes}", style=f"{SMALL};{MUTED}") if passes else ""
    return tag(
        "p", tag("strong", paragraphs(prompt)), " ", small, style=f"{_NAME};margin-top:.5rem"
    )


def _answered(marked: Marked) -> Markup:
    pane, words = marked
    return _pane(
        pane.adapter,
        note_of(pane.note) if pane.note else "",
        tag("div", _words(words) if pane.tokens or not pane.stopped else "", style=_TEXT),
        tag("p", _unbroken([*_facts(pane), *_change(pane)]), style=_FOOT),
    )


def _begun(name: str, text: str | None) -> Markup:
    written = tag("em", "waiting") if text is None else paragraphs(text)
    return _pane(name, tag("div", written, style=_TEXT), status=", in progress")


def _pane(name: str, *children: str, status: str = "") -> Markup:
    return tag(
        "div",
        tag("p", tag("strong", name), style=_NAME),
        *children,
        style=f"{_PANE};border-top:3px solid {_colour(name)}",
        role="group",
        aria_label=f"Answer of {one_line(name)}{status}",
    )


def _colour(name: str) -> str:
    return GREY if name == BASE else BLUE


def note_of(note: str) -> Markup:
    """A highlighted note."""
    return tag("p", tag("strong", "Note: "), note, style=NOTE)


def _words(words: Sequence[Word]) -> Markup:
    runs = _runs(words)
    if not "".join(text for text, _ in runs).strip():
        return tag("em", "(an empty answer)")
    return joined(_mark(text) if marked else paragraphs(text) for text, marked in runs)


def _runs(words: Sequence[Word]) -> list[Word]:
    """Adjacent pieces with the same mark, joined; blanks between marked words are marked too."""
    runs: list[Word] = []
    for place, (text, marked) in enumerate(words):
        blank = not text.strip() and "\n" not in text
        between = 0 < place < len(words) - 1 and words[place - 1][1] and words[place + 1][1]
        kind = True if blank and between else marked and bool(text.strip())
        if runs and runs[-1][1] == kind:
            runs[-1] = (runs[-1][0] + text, kind)
        else:
            runs.append((text, kind))
    return runs


def _mark(text: str) -> Markup:
    """Underlined and tinted. The <b> shows only where a sanitiser has removed the styles."""
    core = text.strip()
    head, tail = text.split(core, 1)
    bold = tag("b", paragraphs(core), style="font-weight:inherit")
    return joined([paragraphs(head), tag("mark", bold, style=MARK), paragraphs(tail)])


def _legend(groups: Sequence[tuple[str, Sequence[Marked]]]) -> Markup:
    panes = [pane for _, members in groups for pane in members]
    parts: list[str] = []
    if any(marked for _, words in panes for _, marked in words):
        parts += [_mark("marked"), ": words that differ from the base's answer. "]
    if any(pane.adapter != BASE for pane, _ in panes):
        parts.append("First logits: the largest change of any logit at the first new token.")
    if not parts:
        return Markup("")
    return tag("div", line(*parts, muted=True), style="margin-top:.5rem")


def _unbroken(facts: Sequence[str]) -> str:
    """The facts, with line breaks allowed only between them."""
    return " · ".join(fact.replace(" ", "\u00a0") for fact in facts)


def _facts(answer: Answer | Pane) -> list[str]:
    stopped = getattr(answer, "stopped", False)
    if stopped and not answer.tokens:
        return ["not begun: stopped by you"]
    noun = "token" if answer.tokens == 1 else "tokens"
    facts = [f"{numbers.count(answer.tokens)} {noun}", numbers.duration(answer.seconds)]
    return facts if answer.ended else [*facts, "stopped by you" if stopped else "incomplete"]


def _change(pane: Pane) -> list[str]:
    if pane.adapter == BASE or (pane.stopped and math.isnan(pane.first_logit_change)):
        return []
    change = pane.first_logit_change
    return [f"first logits ±{numbers.figures(change)}" if change else "first logits: no change"]


def _plain(prompt: str, panes: Sequence[Marked]) -> str:
    parts = [f"> {clean(prompt)}"]
    for pane, _ in (column for row in rows_of(panes) for column in row):
        facts = " · ".join([*_facts(pane), *_change(pane)])
        note = f"\nNote: {one_line(pane.note)}" if pane.note else ""
        text = clean(pane.text).strip("\n")
        parts.append(f"[{one_line(pane.adapter)}]  {facts}{note}\n{text}")
    return "\n\n".join(parts)
