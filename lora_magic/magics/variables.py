"""Objects that a line names: a variable of the notebook, or a file.

Knows names and paths, and a model or a tokenizer by the name of its class: no library is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lora_magic.errors import CommandError, near
from lora_magic.magics.words import names_of

MODELS = ("PreTrainedModel", "PeftModel")
TOKENIZERS = ("PreTrainedTokenizerBase",)


def variable(name: str, variables: Mapping[str, Any]) -> Any:
    """The variable of that name, or an attribute of one (`s.model`).

    Raises `CommandError` with the nearest name where there is none.
    """
    first, *attributes = name.split(".")
    if attributes and first in variables:
        found = variables[first]
        for attribute in attributes:
            if not hasattr(found, attribute):
                raise CommandError(f"{name}: {type(found).__name__} has no {attribute!r}.")
            found = getattr(found, attribute)
        return found
    if name not in variables:
        raise CommandError(
            f"{name!r} is no variable of this notebook.{near(name, names_of(variables))}"
            f" Define it first: {name if name.isidentifier() else 'model'} = …"
        )
    return variables[name]


def data(source: str, variables: Mapping[str, Any]) -> Any:
    """The variable of that name, else the path as it was typed.

    A bare name that is neither a variable nor a file is a `CommandError`; a path that is not there
    is left to whoever reads it.
    """
    if source in variables:
        return variables[source]
    if source.partition(".")[0] in variables and not os.path.exists(source):
        return variable(source, variables)
    if not os.path.exists(source) and any(sign in source for sign in "()[]"):
        raise CommandError(
            f"--data {source!r} is a calculation; give it a name first: rows = {source}"
            " and then --data rows"
        )
    if source.isidentifier() and not os.path.exists(source):
        raise CommandError(
            f"--data {source!r} is neither a variable of this notebook nor a file."
            f"{near(source, names_of(variables))} Type --data VAR or --data PATH"
        )
    return source


def labels(source: str, variables: Mapping[str, Any]) -> Any:
    """The variable of that name, else names or a number as they were typed.

    One bare name that is no variable is a `CommandError`: one label tells nothing apart.
    """
    if source in variables or source.partition(".")[0] in variables:
        return variable(source, variables)
    if any(sign in source for sign in "()[]"):
        raise CommandError(
            f"--labels {source!r} is a calculation; give it a name first: labels = {source}"
            " and then --labels labels"
        )
    if "," not in source and not source.isdecimal():
        raise CommandError(
            f"--labels {source!r} is no variable of this notebook, and one label is too few."
            f"{near(source, names_of(variables))} Type --labels negative,positive or --labels VAR"
        )
    return source


def models_in(variables: Mapping[str, Any]) -> list[str]:
    """What `%lora use` could take: each model's name, with a tokenizer's if there is just one."""
    models = of_class(variables, MODELS)
    tokenizers = of_class(variables, TOKENIZERS)
    with_it = f" {tokenizers[0]}" if len(tokenizers) == 1 else ""
    return [name + with_it for name in models]


def of_class(variables: Mapping[str, Any], classes: tuple[str, ...]) -> list[str]:
    """The variables that hold an object of one of these classes, which are known by name."""
    return [
        name
        for name in names_of(variables)
        if any(base.__name__ in classes for base in type(variables[name]).__mro__)
    ]
