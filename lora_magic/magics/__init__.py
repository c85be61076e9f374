"""The only room that knows IPython: a line becomes a call on the session, and its value a display.

extension   what is put into a shell, and taken out again
router      `%lora`, `%%lora`, `%%lora_train`: parse, call, show
verb        what a verb is; `verbs/` holds one small file for each
leads       words people try, and the verb each leads to
words       a line into words: quotes, comments, `{name}`
parser      words into arguments, with help and near misses
lines       what a cell's text needs before IPython reads it
completion  what TAB offers; `completer` is how IPython asks
places      whether anybody uses a magic's value
show        receipts at once, values where nobody else would show them
panels      where controls are shown, and which of them live
live        a training run, followed in one place
shell       the session that a shell keeps
"""
