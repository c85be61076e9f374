"""Answers side by side: a grid of panes per prompt, with what differs from the base's answer.

Knows comparisons and answers; does not know how they were made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import clean, one_line
from lora_magic.views import scores as scoring
from lora_magic.views.html import Markup, joined, paragraphs, tag
from lora_magic.views.style import (
    BLUE,
    GREY,
    LINE,
    MARK,
    MISSED,
    MUTED,
    NOTE,
    RULE,
    SAME,
    SMALL,
    frame,
    line,
)
from lora_magic.views.table import rows_of

if TYPE_CHECKING:
    from lora_magic.compare.ask import Answer
    from lora_magic.compare.comparison import Comparison, Marked, Pane
    from lora_magic.compare.scores import Scores

#: A word, or the white space between two, and whether it is "same", "added" or "missing".
Word = tuple[str, str]
BASE = "base"
#: Prompts that are shown, and those shown while the last of them is answered.
SHOWN, STILL = 10, 4
#: In an answer that shares few words with the base's, more added words than these are not marked.
READABLE = 40
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
    groups, scores = comparison.marked(SHOWN), comparison.scores
    parts = [part for prompt, panes in groups for part in _group(prompt, panes, scores)]
    notes = [
        not_shown(len(comparison.prompts) - len(groups)),
        *comparison.notes,
        left_out(comparison.left_out),
        scoring.legend(scores) if scores is not None else "",
    ]
    said = [one_line(note) for note in notes if note]
    below = (line(note, muted=True) for note in said)
    page = frame(*parts, *below, _legend(groups), label="Answers side by side")
    plain = [_plain(prompt, panes, scores) for prompt, panes in groups]
    texts = [*plain, "\n".join(said)] if said else plain
    return {"text/plain": "\n\n".join(texts), "text/html": str(page)}


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
        _pane(side, tag("div", _words([(text, "same")]), style=_TEXT))
        for side, text in answers.items()
    )
    return joined([_prompt(prompt), tag("div", *panes, style=_GRID)])


def not_shown(prompts: int) -> str:
    """The line about the prompts beyond those that are shown; empty if there are none."""
    noun = "prompt is" if prompts == 1 else "prompts are"
    return f"{prompts:,} more {noun} not shown; .to_frame() has them all." if prompts > 0 else ""


def left_out(names: Sequence[str], remedy: str = "name them with --adapters") -> str:
    """The line about the adapters that a comparison left out; empty if there are none."""
    if not names:
        return ""
    return one_line(f"Untrained adapters left out: {', '.join(names)}; {remedy}.")


def answer_bundle(answer: Answer) -> dict[str, object]:
    """One answer's MIME bundle; its plain text is the answer and a line below it."""
    text = tag("div", _words([(answer.text, "same")]), style=_TEXT)
    foot = _facts(answer)
    pane = _pane(answer.adapter, text, tag("p", _unbroken(foot), style=_FOOT))
    turns = "1 turn" if answer.before == 1 else f"{answer.before} turns"
    page = frame(
        _prompt(answer.prompt, f"after {turns}" if answer.before else ""), pane, label="Answer"
    )
    line = " · ".join([one_line(answer.adapter), *foot])
    return {"text/plain": f"{clean(answer.text)}\n({line})", "text/html": str(page)}


def _group(prompt: str, panes: Sequence[Marked], scores: Scores | None) -> list[Markup]:
    begun = [one.pane for one in panes if one.pane.tokens or not one.pane.stopped]
    batched = {pane.batched for pane in begun}
    how = {True: "answered in one batched pass", False: "answered one after the other"}
    passes = how[batched.pop()] if len(begun) > 1 and len(batched) == 1 else ""
    rows = (
        tag("div", *(_answered(one, scores) for one in row), style=_GRID) for row in rows_of(panes)
    )
    found = [] if scores is None else [one for one in scores.answers if one.prompt == prompt]
    return [_prompt(prompt, passes), *rows, *[scoring.matrix(found)][: len(found)]]


def _prompt(prompt: str, passes: str = "") -> Markup:
    small = tag("span", f"  {passes}", style=f"{SMALL};{MUTED}") if passes else ""
    return tag(
        "p", tag("strong", paragraphs(prompt)), " ", small, style=f"{_NAME};margin-top:.5rem"
    )


def _answered(marked: Marked, scores: Scores | None) -> Markup:
    pane = marked.pane
    scored = None if scores is None else scores.of(pane.prompt, pane.adapter)
    words = _words(_shown(marked)) if pane.tokens or not pane.stopped else ""
    note = note_of(pane.note) if pane.note else ""
    return _pane(
        pane.adapter,
        tag("p", tag("strong", _same(pane)), style=SAME) if marked.same else note,
        tag("div", words, style=_TEXT),
        "" if scored is None else scoring.tokens(scored),
        tag("p", _unbroken(_all_facts(marked, scores)), style=_FOOT),
    )


def _shown(marked: Marked) -> Sequence[Word]:
    """The words with their marks, unless nearly all of a long answer would be marked."""
    words = marked.words
    plain = words.unlike and words.added > READABLE
    return [(marked.pane.text, "same")] if plain else words.pieces


def _same(pane: Pane) -> str:
    """What an answer that equals the base's says first, with a note on the pane."""
    return f"Same answer as base; {pane.note}" if pane.note else "Same answer as base"


def _all_facts(marked: Marked, scores: Scores | None) -> list[str]:
    """The facts of a pane, without what it says above them."""
    pane, words = marked.pane, marked.words
    facts = _facts(pane)
    said = "first logits" in pane.note
    facts += [] if said else _change(pane)
    if pane.adapter != BASE and pane.tokens:
        facts += _counted(words.added, words.missing)
    scored = None if scores is None else scores.of(pane.prompt, pane.adapter)
    return facts if scored is None else [*facts, *scoring.facts(scored)]


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


def _counted(added: int, missing: int) -> list[str]:
    """How many words differ from the base's answer."""
    counts = [(added, "added"), (missing, "missing")]
    some = [f"{n} {'word' if n == 1 else 'words'} {kind}" for n, kind in counts if n]
    return [re.sub(r", (\d+) words? ", r", \1 ", ", ".join(some))] if some else []


def _words(words: Sequence[Word]) -> Markup:
    runs = _runs(words)
    if not "".join(text for text, _ in runs).strip():
        return tag("em", "(an empty answer)")
    return joined(_mark(text, kind) for text, kind in runs)


def _runs(words: Sequence[Word]) -> list[Word]:
    """Adjacent pieces of one kind, joined; blanks between added words are marked too."""
    runs: list[Word] = []
    for place, (text, kind) in enumerate(words):
        blank = not text.strip() and "\n" not in text
        around = {other for _, other in words[place - 1 : place + 2 : 2]} if place else set()
        kind = "added" if blank and around == {"added"} and place < len(words) - 1 else kind
        if runs and runs[-1][1] == kind:
            runs[-1] = (runs[-1][0] + text, kind)
        else:
            runs.append((text, kind))
    return runs


def _mark(text: str, kind: str) -> Markup:
    """An added text is underlined and tinted, a missing one struck through."""
    if kind == "same":
        return paragraphs(text)
    core = text.strip()
    head, tail = text.split(core, 1)
    name, style = ("ins", MARK) if kind == "added" else ("del", MISSED)
    return joined([paragraphs(head), tag(name, paragraphs(core), style=style), paragraphs(tail)])


def _legend(groups: Sequence[tuple[str, Sequence[Marked]]]) -> Markup:
    panes = [pane for _, members in groups for pane in members]
    kinds = {kind for one in panes for _, kind in _shown(one)}
    parts: list[str] = []
    if "added" in kinds:
        parts += [_mark("added", "added"), ": words that the base's answer does not have. "]
    if "missing" in kinds:
        parts += [_mark("missing", "missing"), ": words of the base's answer that are not here. "]
    if any(one.words.unlike for one in panes):
        parts.append(
            "An answer that shares few words with the base's shows no missing words; a long one "
            "shows no marks. "
        )
    if any(one.pane.adapter != BASE for one in panes):
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


def _plain(prompt: str, panes: Sequence[Marked], scores: Scores | None) -> str:
    parts = [f"> {clean(prompt)}"]
    for marked in (column for row in rows_of(panes) for column in row):
        pane, facts = marked.pane, " · ".join(_all_facts(marked, scores))
        note = f"\nNote: {one_line(pane.note)}" if pane.note else ""
        note = f"\n{one_line(_same(pane))}" if marked.same else note
        text = clean(pane.text).strip("\n")
        parts.append(f"[{one_line(pane.adapter)}]  {facts}{note}\n{text}")
    return "\n\n".join(parts)
