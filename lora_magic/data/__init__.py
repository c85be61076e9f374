"""The user's data as rows: frames, lists, datasets, files and typed text, in the usual shapes.

Knows no tokenizer, no model and no session. Here are the names that a person types: this file
imports nothing, so that a line can be completed before anything is read.
"""

#: The forms of typed rows.
FORMATS = ("arrow", "jsonl", "text")

#: Values of `--format` for a file; "text" and "arrow" read it as a cell's body.
FILE_FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "arrow", "text")
