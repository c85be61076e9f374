"""The verb that writes how an adapter was made as a program: script."""

from __future__ import annotations

from lora_magic.magics.verb import Argument, Thing, Verb, text
from lora_magic.magics.verbs.adapters import A_NAME

SCRIPT = Verb(
    "script",
    "write what made an adapter as a program that needs only transformers and peft",
    (
        A_NAME,
        Argument(
            "FILE",
            text,
            "the file to write",
            "NAME.py, with --notebook NAME.ipynb",
            (),
            (Thing.FILE,),
            "?",
        ),
        Argument("--notebook", None, "write a notebook"),
        Argument("--replace", None, "overwrite the file"),
    ),
    ("%lora script", "%lora script pirate train_pirate.py", "%lora script pirate --notebook"),
    changes=True,
    notes=(
        "A run on a CPU with --plain-step is repeated bit for bit, any other one nearly. For a",
        "blend or a compression the script has the runs of its parents, and then what was made of",
        "them. Long rows go into a file beside it.",
    ),
)
