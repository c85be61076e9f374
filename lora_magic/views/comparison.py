"""Answers side by side: one grid of panes a prompt, the words that differ from base's marked.

Knows words and numbers; does not know how they were made or compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lora_magic.views import numbers
from lora_magic.views.html import Markup, joined, paragraphs, tag
from lora_magic.views.style import BLUE, GREY, LINE, MARK, MUTED, NOTE, RULE, SMALL, frame, line
from lora_magic.views.text import clean, one_line

Word = tuple[str, bool]
Pane = Mapping[str, object]
BASE = "base"
_GRID = "display:grid;grid-template-columns:repeat(auto-fit, minmax(15rem, 1fr));gap:.75rem"
_PANE = f"border:{RULE};border-radius:6px;padding:.5rem .75rem;display:flex;flex-direction:column"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;margin:.25rem 0 .75rem 0;flex:1"
# A name may be 64 letters without a break.
_NAME = f"{LINE};overflow-wrap:anywhere"
_FOOT = f"margin:0;{SMALL};{MUTED}"


def bundle(*, groups: Sequence[tuple[str, Sequence[Pane]]]) -> dict[str, object]:
    """A comparison's MIME bundle.

    `groups`: each prompt with its panes; a pane has adapter, words [(text, marked)] with their
    white space, tokens, ended, seconds, batched, first_logit_change (None for base) and note.
    """
    parts = [part for prompt, panes in groups for part in _group(prompt, panes)]
    page = frame(*parts, _legend(groups), label="Answers side by side")
    plain = "\n\n".join(_plain(prompt, panes) for prompt, panes in groups)
    return {"text/plain": plain, "text/html": str(page)}


def progress_html(*, prompt: str, panes: Sequence[tuple[str, str | None]]) -> str:
    """The page of answers that are being written: (adapter, text so far, None before its turn)."""
    grid = tag("div", *(_begun(name, text) for name, text in panes), style=_GRID)
    return str(frame(_prompt(prompt, "answering …"), grid, label="Answers being written"))


def answer_bundle(
    *, prompt: str, adapter: str, text: str, tokens: int, seconds: float, ended: bool
) -> dict[str, object]:
    """One answer's MIME bundle; its plain text is the answer and a line below it."""
    pane = {"adapter": adapter, "words": [(text, False)], "tokens": tokens}
    pane |= {"seconds": seconds, "ended": ended}
    page = frame(_prompt(prompt), _pane(pane), label="Answer")
    foot = " · ".join(_facts(pane))
    return {
        "text/plain": f"{clean(text)}\n({one_line(adapter)} · {foot})",
        "text/html": str(page),
    }


def _group(prompt: str, panes: Sequence[Pane]) -> list[Markup]:
    batched = {bool(pane["batched"]) for pane in panes}
    how = {True: "answered in one batched pass", False: "answered one after the other"}
    manner = how[batched.pop()] if len(panes) > 1 and len(batched) == 1 else ""
    grid = tag("div", *(_pane(pane) for pane in panes), style=_GRID)
    return [_prompt(prompt, manner), grid]


def _prompt(prompt: str, manner: str = "") -> Markup:
    small = tag("span", f"  {manner}", style=f"{SMALL};{MUTED}") if manner else ""
    return tag(
        "p", tag("strong", paragraphs(prompt)), " ", small, style=f"{_NAME};margin-top:.5rem"
    )


def _pane(pane: Pane) -> Markup:
    name = str(pane["adapter"])
    note = str(pane.get("note") or "")
    return tag(
        "div",
        tag("p", tag("strong", name), style=_NAME),
        tag("div", *(note_of(note)), style="margin:0") if note else "",
        tag("div", _words(pane), style=_TEXT),
        tag("p", _unbroken(_facts(pane)), style=_FOOT),
        style=f"{_PANE};border-top:3px solid {_colour(name)}",
        role="group",
        aria_label=f"Answer of {one_line(name)}",
    )


def _begun(name: str, text: str | None) -> Markup:
    said = tag("em", "waiting") if text is None else paragraphs(text)
    return tag(
        "div",
        tag("p", tag("strong", name), style=_NAME),
        tag("div", said, style=_TEXT),
        style=f"{_PANE};border-top:3px solid {_colour(name)}",
        role="group",
        aria_label=f"Answer of {one_line(name)}, being written",
    )


def _colour(name: str) -> str:
    return GREY if name == BASE else BLUE


def note_of(note: str) -> list[Markup]:
    """A note that is to be seen."""
    return [tag("p", tag("strong", "Note: "), note, style=NOTE)]


def _words(pane: Pane) -> Markup:
    runs = _runs(_pairs(pane))
    if not "".join(text for text, _ in runs).strip():
        return tag("em", "(an empty answer)")
    return joined(_mark(text) if marked else paragraphs(text) for text, marked in runs)


def _pairs(pane: Pane) -> list[Word]:
    words = pane["words"]
    pairs = words if isinstance(words, Iterable) else ()
    return [(str(text), bool(marked)) for text, marked in pairs]


def _runs(words: Sequence[Word]) -> list[Word]:
    """Neighbours with the same mark as one; blanks between marked words are marked with them."""
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
    """Underlined and tinted. The <b> shows only where a sanitiser has dropped the styles."""
    core = text.strip()
    head, tail = text.split(core, 1)
    bold = tag("b", paragraphs(core), style="font-weight:inherit")
    return joined([paragraphs(head), tag("mark", bold, style=MARK), paragraphs(tail)])


def _legend(groups: Sequence[tuple[str, Sequence[Pane]]]) -> Markup:
    panes = [pane for _, members in groups for pane in members]
    parts: list[str] = []
    if any(marked for pane in panes for _, marked in _pairs(pane)):
        parts += [_mark("marked"), ": words that differ from the base's answer. "]
    if any(pane.get("first_logit_change") is not None for pane in panes):
        parts.append(
            "First logits: the largest change of any token's logit at the first answered position."
        )
    if not parts:
        return Markup("")
    return tag("div", line(*parts, muted=True), style="margin-top:.5rem")


def _unbroken(facts: Sequence[str]) -> str:
    """The facts with breaks between them alone."""
    return " · ".join(fact.replace(" ", "\u00a0") for fact in facts)


def _facts(pane: Pane) -> list[str]:
    tokens = numbers.count(pane["tokens"])
    facts = [f"{tokens} token{'' if tokens == '1' else 's'}", numbers.duration(pane["seconds"])]
    if not pane["ended"]:
        facts.append("did not end by itself")
    change = pane.get("first_logit_change")
    if change is not None and str(pane["adapter"]) != BASE:
        seen = numbers.number(change)
        facts.append(
            f"first logits ±{numbers.figures(seen)}" if seen else "first logits: no change"
        )
    return facts


def _plain(prompt: str, panes: Sequence[Pane]) -> str:
    parts = [f"> {clean(prompt)}"]
    for pane in panes:
        facts = " · ".join(_facts(pane))
        note = f"\nNote: {one_line(str(pane['note']))}" if pane.get("note") else ""
        text = clean("".join(word for word, _ in _pairs(pane))).strip("\n")
        parts.append(f"[{one_line(str(pane['adapter']))}]  {facts}{note}\n{text}")
    return "\n\n".join(parts)
