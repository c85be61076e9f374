"""The verb about what is not loaded yet: plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lora_magic.base import DEMO
from lora_magic.cost.cards import CARDS, HERE
from lora_magic.cost.known import KNOWN
from lora_magic.errors import CommandError
from lora_magic.magics.variables import name_of, variable
from lora_magic.magics.verb import Argument, Call, Thing, Verb, number, text, whole
from lora_magic.magics.verbs.adapters import ATTACH
from lora_magic.magics.verbs.base import LOAD
from lora_magic.training.spec import OPTIMIZERS

_MODEL = "model"

#: The flags of load that a plan reads, and those of attach.
_OF_LOAD = tuple(
    argument
    for argument in LOAD.arguments
    if argument.name not in ("MODEL", "--device", "--home", "--replace")
)
_OF_ATTACH = tuple(
    argument
    for argument in ATTACH.arguments
    if argument.name not in ("NAME", "--seed", "--replace", "--dropout", "--alpha-pattern")
)


def named(typed: str, variables: Mapping[str, Any]) -> Any:
    """The variable of that name, else the name itself, which the session looks up.

    A known name, a folder and the embedded model come before a variable, unless that is a model or
    a config itself.
    """
    first, *rest = typed.split(".")
    if first not in variables or not all(part.isidentifier() for part in (first, *rest)):
        return typed
    is_name = typed in (DEMO, *KNOWN) or os.path.isdir(typed)
    if is_name and not _is_model(variables[first]):
        return typed
    return variable(typed, variables)


def _is_model(value: object) -> bool:
    """Is this a model or a config, by what it has?"""
    return hasattr(value, "config") or hasattr(value, "model_type")


def _words(call: Call) -> dict[str, Any]:
    """The model, if one was typed. Raises `CommandError` for a variable that is None."""
    found = {key: named(typed, call.variables) for key, typed in call.words.items()}
    for key, value in found.items():
        if value is None:
            raise CommandError(
                f"{call.words[key]} is None; expected a model, a config or a name, for example: "
                "%lora plan llama-3-8b"
            )
    return found


def _plan(call: Call) -> object:
    """Plan a model by its name, or by what the notebook calls it."""
    words = _words(call)
    found = call.session.plan(**words, **call.flags)
    given = words.get(_MODEL, "")
    return found if isinstance(given, str) else found.called(call.words[_MODEL])


def _below(call: Call) -> dict[str, Any]:
    """What the controls below a plan begin with: objects by what the notebook calls them."""
    flags = {key: name_of(value, call.variables) or value for key, value in call.flags.items()}
    return {_MODEL: None, **call.words, **flags}


PLAN = Verb(
    "plan",
    "show what a model, an adapter and a run will cost, before any weight is read",
    (
        Argument(
            "MODEL",
            text,
            "a hub id, a folder, a name such as gpt3-175b, sizes, or a variable",
            "the loaded base",
            (DEMO, *KNOWN),
            (Thing.MODEL, Thing.FOLDER),
            "?",
        ),
        *_OF_LOAD,
        *_OF_ATTACH,
        Argument("--batch-size", whole, "rows in one optimizer step", "the recipe's"),
        Argument("--max-length", whole, "tokens in a row", "the recipe's"),
        Argument("--optimizer", text, "the run's optimizer", "the recipe's", OPTIMIZERS),
        Argument("--checkpointing", None, "with gradient checkpointing"),
        Argument("--tokens", number, "tokens that the run reads", "one million", shape="N"),
        Argument("--trained-tokens", number, "those of them with a label", "all", shape="N"),
        Argument("--tasks", whole, "adapters to store", "1,000"),
        Argument(
            "--gpu",
            text,
            "the card to plan for, or here to measure this machine",
            "this machine, not measured",
            (HERE, *CARDS),
        ),
        Argument("--price", number, "what an hour on one card costs", "none"),
    ),
    (
        "%lora plan gpt3-175b --rank 4",
        "%lora plan owner/model --bits 4 --gpu h100 --price 2.5 --tokens 10e6",
        "%lora plan layers=32,width=4096 --method full",
    ),
    run=_plan,
    controls=_below,
    imports=False,
)
