"""From rows to a trained adapter: rows, tokens and masks, a run on transformers' Trainer.

Knows no notebook, no session and nothing of an adapter but which parameters require a gradient.
"""
