"""What an adapter learned, as tokens: two readings side by side, each with what it cannot show.

Knows a record; does not know how it was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views.html import Markup, joined, tag
from lora_magic.views.style import CODE, LINE, RULE, code, frame, line
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.compare.lens import Lens, LensToken

#: Layers that are shown, spread over the model, and tokens of each.
LAYERS, TOKENS = 6, 8
#: Characters of a word.
WORD = 40
#: Width of the longest bar, in em.
_WIDE = 6

_GRID = (
    "display:grid;grid-template-columns:repeat(auto-fit, minmax(20rem, 1fr));gap:.75rem;"
    "align-items:start"
)
_PANE = f"border:{RULE};border-radius:6px;padding:.5rem .75rem;overflow-x:auto"
_BAR = "display:inline-block;height:.7em;background:#2683C1;border-radius:2px"

HEADER = ("layer", "moved", "its direction", "a random direction")
NONE = "no change"
FROM_ANSWERS = "From its answers"
FROM_STATES = "From its states (weaker)"
SCORE = (
    "Nats per token: mean of p·max(0, ln p/q) at each of the first 24 tokens of its answers, p "
    "under the adapter, q under the base."
)
ANSWERS_LIMIT = (
    "It shows what the adapter says to these questions and the base does not: nothing that only "
    "other questions bring out, and no reason why."
)
STATES_LIMIT = (
    "The mean change of the states before the answer, as a share of their length, and its tokens "
    "through final norm and head. It shows only what changes in the same way for all questions, "
    "roughly in early layers, and neither how likely a token is nor when it comes. A random "
    "direction of equal length gives tokens too: only tokens that differ from those may mean "
    "something."
)


def bundle(lens: Lens) -> dict[str, object]:
    """The MIME bundle of a lens."""
    rest = "All tokens and layers in "
    parts = [tag("div", _answers(lens), _states(lens), style=_GRID)] if lens.tokens else []
    more = [line(rest, code(".to_frame()"), muted=True)] if lens.tokens else []
    page = frame(line(tag("strong", lens.line)), *parts, *more, label="What an adapter learned")
    plain = [one_line(lens.line)]
    if lens.tokens:
        plain += [*_plain(lens), f"{rest}.to_frame()"]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def _answers(lens: Lens) -> Markup:
    found = lens.of("answers")
    most = max((one.score for one in found), default=1.0)
    rows = [[_word(one.word), joined([_bar(one.score / most), " ", _nats(one)])] for one in found]
    body = [table("Words it says more often than the base", ["word", "nats"], rows, left=2)]
    if not found:
        body = [line(_sentence(lens.no_words))]
    return _pane(FROM_ANSWERS, *body, line(SCORE, muted=True), line(ANSWERS_LIMIT, muted=True))


def _states(lens: Lens) -> Markup:
    if lens.no_states:
        return _pane(FROM_STATES, line(f"n/a: {lens.no_states}."))
    rows = [
        [str(layer), _moved(lens, layer), _tokens(own), _tokens(other)]
        for layer, own, other in _layers(lens)
    ]
    body = table("The first tokens of each direction", HEADER, rows, left=4)
    return _pane(FROM_STATES, body, line(STATES_LIMIT, muted=True))


def _pane(name: str, *children: str) -> Markup:
    title = tag("p", tag("strong", name), style=LINE)
    return tag("div", title, *children, style=_PANE, role="group", aria_label=name)


def _layers(lens: Lens) -> list[tuple[int, Sequence[LensToken], Sequence[LensToken]]]:
    """Some layers from the first to the last, with the tokens of both directions."""
    every = [one.layer for one in lens.layers]
    steps = min(LAYERS, len(every))
    chosen = [every[round(i * (len(every) - 1) / max(1, steps - 1))] for i in range(steps)]
    return [
        (layer, lens.of("states", layer)[:TOKENS], lens.of("random", layer)[:TOKENS])
        for layer in chosen
    ]


def _moved(lens: Lens, layer: int) -> str:
    """How far the states after a layer move, as a share of their length."""
    return numbers.percent(next(one.change for one in lens.layers if one.layer == layer))


def _tokens(found: Sequence[LensToken]) -> Markup:
    if not found:
        return Markup(NONE)
    parts: list[str] = []
    for one in found:
        parts += [_word(one.word), " · "]
    return joined(parts[:-1])


def _listed(found: Sequence[LensToken]) -> str:
    return " · ".join(one.word or "␣" for one in found) or NONE


def _word(word: str) -> Markup:
    return tag("code", shortened(one_line(word) or "␣", WORD), style=CODE)


def _bar(share: float) -> Markup:
    return tag("span", style=f"{_BAR};width:{_WIDE * share:.2f}em", aria_hidden="true")


def _nats(one: LensToken) -> str:
    return numbers.figures(one.score)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _plain(lens: Lens) -> list[str]:
    found = lens.of("answers")
    rows = [[shortened(one.word, WORD), _nats(one)] for one in found]
    answers = [plain_table(["word", "nats"], rows, indent="  ")] if found else [lens.no_words]
    if lens.no_states:
        states = [f"  n/a: {one_line(lens.no_states)}."]
    else:
        cells = [
            [str(layer), _moved(lens, layer), *map(_listed, parts)]
            for layer, *parts in _layers(lens)
        ]
        states = [plain_table(HEADER, cells, left=4, indent="  "), STATES_LIMIT]
    return [f"{FROM_ANSWERS}:", *answers, SCORE, ANSWERS_LIMIT, f"{FROM_STATES}:", *states]
