"""Other words that people type for a verb.

If nothing can be lost, such a word runs the verb. If it could mean something else, or the verb
removes something, an error names the command to type.
"""

from __future__ import annotations

from collections.abc import Iterable

from lora_magic.errors import CommandError, near

# Words that run a verb.
SAME = {
    "generate": "ask",
    "chat": "ask",
    "prompt": "ask",
    "sample": "ask",
    "activate": "swap",
    "switch": "swap",
    "set_adapter": "swap",
    "list": "status",
    "ls": "status",
    "info": "status",
    "check": "doctor",
    "diagnose": "doctor",
    "health": "doctor",
    "version": "doctor",
    "versions": "doctor",
    "tune": "sweep",
    "grid": "sweep",
    "grid_search": "sweep",
    "search": "sweep",
    "hpo": "sweep",
    "eval": "evaluate",
    "score": "evaluate",
    "benchmark": "evaluate",
    "diff": "compare",
    "leaderboard": "board",
    "svd": "spectrum",
    "intruders": "spectrum",
    "learned": "lens",
    "logit_lens": "lens",
    "rank": "compress",
    "phi": "similarity",
    "overlap": "similarity",
    "amplification": "similarity",
    "conflict": "similarity",
    "print_trainable_parameters": "ratio",
    "parameters": "ratio",
    "cost": "plan",
    "estimate": "plan",
    "memory": "plan",
    "vram": "plan",
    "server": "serve",
    "endpoint": "serve",
    "api": "serve",
    "load_adapter": "open",
    "unmerge_adapter": "unmerge",
}

# Words that are errors, and what to type instead.
INSTEAD = {
    "fit": "%%lora_train NAME with rows below it, or %lora train NAME --data VAR",
    "finetune": "%%lora_train NAME with rows below it, or %lora train NAME --data VAR",
    "fine_tune": "%%lora_train NAME with rows below it, or %lora train NAME --data VAR",
    "add": "%lora attach NAME",
    "new": "%lora attach NAME",
    "create": "%lora attach NAME",
    "add_adapter": "%lora attach NAME",
    "remove": "%lora detach NAME",
    "delete": "%lora detach NAME",
    "delete_adapter": "%lora detach NAME",
    "discard": "%lora detach NAME --discard",
    "disable": "%lora swap base",
    "disable_adapter": "%lora swap base",
    "merge_and_unload": "%lora export NAME --to merged, or %lora merge for this notebook alone",
    "push_to_hub": "%lora export NAME --to peft --push OWNER/NAME",
    "push": "%lora export NAME --to peft --push OWNER/NAME",
    "upload": "%lora export NAME --to peft --push OWNER/NAME",
    "publish": "%lora export NAME --to peft --push OWNER/NAME",
    "convert": "%lora export NAME --to gguf (or merged, peft, vllm)",
    "merge_adapter": "%lora merge",
    "add_weighted_adapter": "%lora blend NEW a=0.7 b=0.3",
    "mix": "%lora blend NEW a=0.7 b=0.3 for a new adapter, %lora swap a=0.7,b=0.3 for both at once",
    "vote": "%lora compare --blind PROMPT",
    "blind": "%lora compare --blind PROMPT",
    "undo": "%lora unmerge to undo a merge, %lora detach NAME to remove an adapter",
    "unload": "%lora detach NAME for one adapter, %lora reset for everything",
    "close": "%lora reset",
    "save_pretrained": "%lora save NAME for the adapter, %lora export NAME --to merged for a model",
    "from_pretrained": "%lora load MODEL for a base, %lora open FOLDER for an adapter",
}


def verb_for(word: str, verbs: Iterable[str]) -> str:
    """The verb that `word` names, itself or as an alias.

    Raises `CommandError` with the command to type for any other word.
    """
    known = list(verbs)
    if word in known:
        return word
    plain = word.lower().replace("-", "_")
    if plain in SAME:
        return SAME[plain]
    if plain in INSTEAD:
        raise CommandError(f"%lora has no verb {word!r}. Type {INSTEAD[plain]}.")
    raise CommandError(
        f"%lora has no verb {word!r}.{near(word, [*known, *SAME])}"
        " Type %lora --help for the verbs, or %lora ask PROMPT to ask the model."
    )
