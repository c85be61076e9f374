"""Adapters evaluated on rows: scores, intervals, votes and the board. Knows no notebook.

This file imports nothing, so that a line can be completed before anything is read.
"""

#: The columns of the board.
COLUMNS = (
    *("adapter", "method", "rank", "parameters", "bytes", "steps", "data"),
    *("held_out", "base_held_out", "gain", "subject", "truth", "guard", "seconds", "when", "saved"),
)
