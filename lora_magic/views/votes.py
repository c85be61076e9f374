"""Blind votes: two answers without names while voting, the result with names afterwards.

Knows texts, and the record of the votes; does not know who voted or how sides were chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views.comparison import sides
from lora_magic.views.html import tag
from lora_magic.views.style import code, details, frame, heading, line
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.evaluation.votes import Pair, Votes

#: Votes that are shown, and the characters of one cell.
SHOWN, WIDE = 50, 240
_PAIRS = ("Adapter", "Against", "Won", "Rate", "95% interval", "p", "More votes", "Ties, both bad")
_VOTES = ("Prompt", "Left", "Its answer", "Right", "Its answer", "Vote")


def bundle(votes: Votes) -> dict[str, object]:
    """The result's MIME bundle: sentences, a table of pairs if there are several, every vote."""
    first, *rest = [one_line(text) for text in votes.lines] or ["No votes."]
    several = len(votes.pairs) > 1
    pairs = [_pair(pair) for pair in votes.pairs]
    caption = "Decisive votes of each pair; interval and p are for that pair alone"
    shown = [
        [shortened(one_line(text), WIDE) for text in row]
        for row in (
            (vote.prompt, vote.left, vote.left_text, vote.right, vote.right_text, vote.vote)
            for vote in votes.votes[:SHOWN]
        )
    ]
    more = len(votes.votes) - SHOWN
    page = frame(
        heading(first),
        *map(line, rest),
        table(caption, _PAIRS, pairs, left=2) if several else "",
        details(
            "Every vote, with the answers",
            table("The votes", _VOTES, shown, left=len(_VOTES)) if shown else "",
            line(f"{more:,} more in ", code(".answers"), muted=True) if more > 0 else "",
        ),
        label="Blind votes",
    )
    plain = [first, *rest, *([plain_table(_PAIRS, pairs, left=2)] if several else [])]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def ballot_html(count: str, prompt: str, left: str, right: str) -> str:
    """The page of one prompt to vote on; `count` says how far it is."""
    # A status is read out when it changes.
    told = tag("div", line(count, muted=True), role="status")
    return str(frame(told, sides(prompt, left, right), label="Blind comparison"))


def _pair(pair: Pair) -> list[str]:
    low, high = (f"{100 * end:.0f}" for end in pair.interval)
    return [
        one_line(pair.winner),
        one_line(pair.other),
        f"{pair.wins} of {pair.decisive}",
        numbers.MISSING if pair.rate is None else f"{100 * pair.rate:.0f}%",
        f"{low} to {high}%",
        f"{pair.p_value:.2g}",
        numbers.MISSING if pair.more is None else f"{pair.more:,}",
        f"{pair.ties}, {pair.both_bad}",
    ]
