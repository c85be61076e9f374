"""From rows to a trained adapter: rows, tokens and masks, a run on transformers' Trainer.

Knows no notebook and no session; of an adapter only which parameters require a gradient.
"""
