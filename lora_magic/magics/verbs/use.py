"""`%lora use VAR [TOKENIZER]`."""

from __future__ import annotations

from lora_magic.magics.variables import variable
from lora_magic.magics.verb import Argument, Call, Completes, Thing, Verb


def run(call: Call) -> object:
    """Take a live model; `use pirate` with an adapter's name swaps to it, which loses nothing."""
    name = call.words["var"]
    is_adapter = name not in call.variables and (name == "base" or name in call.session.adapters)
    if is_adapter and "tokenizer" not in call.words:
        return call.session.swap(name)
    given = [
        variable(call.words[word], call.variables)
        for word in ("var", "tokenizer")
        if word in call.words
    ]
    return call.session.use(*given, **call.flags)


VERB = Verb(
    name="use",
    summary="a base model that already lives in a variable",
    run=run,
    changes=True,
    arguments=(
        Argument(
            "VAR",
            "the variable that holds the model",
            completes=Completes(things=(Thing.MODEL, Thing.VARIABLE)),
        ),
        Argument(
            "TOKENIZER",
            "the variable that holds its tokenizer",
            many="?",
            completes=Completes(things=(Thing.TOKENIZER, Thing.VARIABLE)),
        ),
        Argument("--replace", "even if trained adapters are not saved", kind=None),
    ),
    examples=("%lora use model tokenizer",),
)
