"""Adapters evaluated on rows: scores, intervals, votes and the board. Knows no notebook."""
