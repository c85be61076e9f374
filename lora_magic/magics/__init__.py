"""The only room that knows IPython: a line becomes a call on the session, and its value a display.

extension   what is put into a shell, and taken out again
router      `%lora`, `%%lora`, `%%lora_train`: parse, call, show
verb        what a row of the table of verbs says
verbs/      the table of verbs
aliases     words people try, and the verb each leads to
words       a line into words: quotes, comments, `{name}`
parser      words into arguments; help with every default; near misses
prompts     a prompt as it was typed, and notes on it
variables   objects that a line names
lines       what a cell's text needs before IPython reads it
completion  what TAB offers; `completer` is how IPython asks
places      whether the value of a magic is used
show        receipts at once, values where nobody else would show them, controls below
panel       controls over a session: ratio, spectrum, comparison
progress    a training run, followed in one place
shell       the session that a shell keeps
"""
