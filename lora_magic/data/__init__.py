"""The user's data as rows: frames, lists, datasets, files and typed text, in the usual shapes.

Knows no tokenizer, no model and no session.
"""
