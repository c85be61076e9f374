"""Rank, alpha and targets for a use: `attach --for style|instructions|domain`, and advice on them.

Knows numbers and names only.
"""

from __future__ import annotations

import textwrap
from itertools import zip_longest

#: Virtual tokens of a prefix or prompt by default.
VIRTUAL_TOKENS = 10

#: `--for`: rank, alpha and targets by use; None keeps the base's own targets. A starting point: a
#: style needs few directions, a domain many.
PRESETS: dict[str, tuple[int, float, str | None]] = {
    "style": (8, 16.0, None),
    "instructions": (16, 32.0, None),
    "domain": (32, 64.0, "all-linear"),
}

#: What `ADVICE` measured, and the command in a clone that measures it again.
ADVICE_COMMAND = "python -m tests.benchmarks.paper_tables advice"
_MEASURED_ON = (
    "held out: nats per token on 60 rows of the embedded model, mean of 3 seeds, 40 steps on q, v; "
    f"its 95 % interval and the rows: {ADVICE_COMMAND}"
)

#: A choice, what sources say about it, and what was measured here: losses that
#: tests/benchmarks/results/paper_tables.txt contains.
ADVICE: tuple[tuple[str, str, str], ...] = (
    (
        "rank 4 to 8: style, persona",
        "LoRA, table 6: ranks 1 to 8 on q, v do as well as 64",
        "@PIRATE@",
    ),
    (
        "rank 16: instructions, domain",
        "Unsloth's guide: 16 or 32",
        "@MESSAGES@",
    ),
    (
        "rank 32 to 64: far from what the base knows",
        "QLoRA: 64; LoRA Without Regret: a parameter for each trained token",
        "@REVERSED@",
    ),
    (
        "alpha = r or 2·r",
        "LoRA, 4.1: fixed while r varies; guides: r or 2·r; QLoRA: r / 4",
        "@ALPHA@",
    ),
    (
        "dropout 0 to 0.1",
        "QLoRA: 0.1 up to 13B, 0.05 above; Unsloth's guide: 0",
        "@DROPOUT@",
    ),
    (
        "attention or all-linear",
        "QLoRA, LoRA Without Regret: all linear layers, at equal size too",
        "@LAYERS@",
    ),
)

#: Characters of a line of the table by column.
_WIDTHS = (26, 34, 32)


def advice_lines() -> tuple[str, ...]:
    """`ADVICE` as a table of lines of at most 96 characters."""
    header = ("choice", "what sources say", "held-out loss measured here")
    lines = [*textwrap.wrap(_MEASURED_ON, sum(_WIDTHS) + 4)]
    for row in (header, *ADVICE):
        cells = (textwrap.wrap(cell, width) for cell, width in zip(row, _WIDTHS, strict=True))
        for parts in zip_longest(*cells, fillvalue=""):
            padded = (part.ljust(width) for part, width in zip(parts, _WIDTHS, strict=True))
            lines.append("  ".join(padded).rstrip())
    return tuple(lines)
