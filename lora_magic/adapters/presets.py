"""Rank, alpha and targets for a use: `attach --for style|instructions|domain`, and advice on them.

Knows numbers and names only.
"""

from __future__ import annotations

import textwrap
from itertools import zip_longest
from typing import Any, NamedTuple

#: Virtual tokens of a prefix or prompt by default.
VIRTUAL_TOKENS = 10

#: `--for`: rank, alpha and targets by use; None keeps the base's own targets. A starting point: a
#: style needs few directions, a domain many.
PRESETS: dict[str, tuple[int, float, str | None]] = {
    "style": (8, 16.0, None),
    "instructions": (16, 32.0, None),
    "domain": (32, 64.0, "all-linear"),
}

#: The command in a clone that measures `ADVICE` again.
ADVICE_COMMAND = "python -m tests.benchmarks.paper_tables advice"


class Advice(NamedTuple):
    """A choice, what sources say about it, and what was measured on some rows.

    `measured` are (label, flags of `attach`, held-out loss), as tests/benchmarks/results has them.
    """

    choice: str
    sources: str
    rows: str
    measured: tuple[tuple[str, dict[str, Any], float], ...]

    @property
    def cells(self) -> tuple[str, str, str]:
        """The three cells of its line in the table."""
        found = ", ".join(f"{loss:.2f} ({label})" for label, _, loss in self.measured)
        return self.choice, self.sources, f"{self.rows}: {found}"


def _ranks(losses: dict[int, float], **flags: Any) -> tuple[tuple[str, dict[str, Any], float], ...]:
    """Ranks with α = 2·r."""
    return tuple((f"r{r}", {"rank": r, "alpha": 2 * r, **flags}, x) for r, x in losses.items())


ADVICE = (
    Advice(
        "rank 4 to 8: style, persona",
        "LoRA, table 6: on q, v ranks 1 to 8 do as well as 64",
        "pirate",
        _ranks({4: 0.327, 8: 0.315, 16: 0.303}),
    ),
    Advice(
        "rank 16: instructions, domain",
        "Unsloth's guide: 16 or 32",
        "messages",
        _ranks({8: 0.489, 16: 0.337, 32: 0.234}),
    ),
    Advice(
        "rank 32 to 64: far from what the base knows",
        "QLoRA: 64; LoRA Without Regret: a parameter for each trained token",
        "reversed, all-linear",
        _ranks({8: 2.326, 32: 1.928, 64: 1.899}, targets="all-linear"),
    ),
    Advice(
        "alpha = r or 2·r",
        "LoRA, 4.1: one α for all r; guides: r or 2·r; QLoRA: r / 4",
        "messages, r8",
        (
            ("α 8", {"rank": 8, "alpha": 8}, 0.703),
            ("α 16", {"rank": 8, "alpha": 16}, 0.489),
        ),
    ),
    Advice(
        "dropout 0 to 0.1",
        "QLoRA: 0.1 up to 13B, 0.05 above; Unsloth's guide: 0",
        "messages, r8",
        (
            ("dropout 0", {"rank": 8, "alpha": 16, "dropout": 0.0}, 0.489),
            ("0.1", {"rank": 8, "alpha": 16, "dropout": 0.1}, 0.498),
        ),
    ),
    Advice(
        "attention or all-linear",
        "QLoRA: all linear layers; LoRA Without Regret: better at equal size",
        "messages, equal size",
        (
            ("attention", {"rank": 19, "alpha": 38, "targets": "attention"}, 0.196),
            ("all-linear", {"rank": 8, "alpha": 16, "targets": "all-linear"}, 0.170),
        ),
    ),
)

_HEADER = ("choice", "what sources say", "held-out loss measured here")
_BELOW = (
    "held-out loss: nats per token on 60 rows of the embedded model (weights before 2026-11-30), "
    "q and v, α = 2·r, mean of 3 seeds. Rows: pirate, a style; messages, new questions and a style;"
    " reversed, messages with replies backwards. A larger α takes larger steps: with one α for all "
    f"ranks, r8 does as well as r64 on messages (table 6). Repeat it: {ADVICE_COMMAND}"
)

#: Characters of a line of the table by column.
_WIDTHS = (25, 36, 31)
_NO_BREAK = "\u00a0"


def advice_lines() -> tuple[str, ...]:
    """`ADVICE` as a table, in lines of at most 96 characters."""
    lines = []
    for row in (_HEADER, *(advice.cells for advice in ADVICE)):
        # A loss stays beside its label.
        kept = (cell.replace(" (", f"{_NO_BREAK}(") for cell in row)
        cells = (_wrapped(cell, width) for cell, width in zip(kept, _WIDTHS, strict=True))
        for parts in zip_longest(*cells, fillvalue=""):
            padded = (part.ljust(width) for part, width in zip(parts, _WIDTHS, strict=True))
            lines.append("  ".join(padded).rstrip().replace(_NO_BREAK, " "))
    return (*lines, *_wrapped(_BELOW, sum(_WIDTHS) + 4))


def _wrapped(told: str, width: int) -> list[str]:
    return textwrap.wrap(told, width, break_on_hyphens=False)
