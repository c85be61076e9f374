"""The only room that knows IPython: a line becomes a call on the session, and its value a display.

extension   what `%load_ext` adds to a shell, and `%unload_ext` removes
router      `%lora`, `%%lora`, `%%lora_train`: parse, call, show
verb        the fields of a row in the table of verbs
verbs/      the table of verbs
aliases     other words for verbs, and the verb for each
words       splits a line into words: quotes, comments, `{name}`
parser      turns words into arguments; help with every default; near misses
prompts     finds the prompts of a line or cell, and notes likely mistakes
variables   the variables and files that a line names
lines       rewrites a cell's text before IPython reads it
completion  what TAB offers; `completer` connects it to IPython
places      whether the value of a magic is used
show        displays receipts, values and controls
panel       controls over a session: ratio, spectrum, comparison, board
ballots     a blind comparison in a cell: buttons, then the result in their place
front_end   which notebook this is, for doctor
progress    displays a training run's progress
shell       the session that a shell keeps
"""
