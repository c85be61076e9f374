"""Objects that a line names: a variable of the notebook, or a file.

Knows names and paths, and a model or a tokenizer by the name of its class: no library is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from lora_magic.errors import CommandError, near
from lora_magic.magics.words import attribute_of, names_of

MODELS = ("PreTrainedModel", "PeftModel")
TOKENIZERS = ("PreTrainedTokenizerBase",)


def variable(name: str, variables: Mapping[str, Any]) -> Any:
    """The variable of that name, or an attribute of one (`s.model`).

    Raises `CommandError` with the nearest name if it is not defined.
    """
    first, *attributes = name.split(".")
    if first not in variables:
        raise CommandError(
            f"{name!r} is not defined in this notebook.{near(name, names_of(variables))}"
            f" Assign it first: {name if name.isidentifier() else 'model'} = …"
        )
    return attribute_of(variables[first], attributes, name)


def model(source: str, variables: Mapping[str, Any]) -> Any:
    """The variable of that name, else the name, path or sizes of a model as typed."""
    first = source.partition(".")[0]
    return variable(source, variables) if first in variables else source


def data(source: str, variables: Mapping[str, Any], flag: str = "--data") -> Any:
    """The variable of that name, else the rows kept under it, else the path as typed after `flag`.

    `variables` has the kept rows after the notebook's variables. A bare name that is none of the
    three is a `CommandError`; other paths are checked when they are read.
    """
    if source in variables:
        return variables[source]
    if os.path.exists(source):
        return source
    if source.partition(".")[0] in variables:
        return variable(source, variables)
    _refuse_expression(f"{flag} rows", source)
    if source.isidentifier():
        raise CommandError(
            f"{flag} {source!r} is neither a variable nor a file, nor kept rows (the verb data)."
            f"{near(source, names_of(variables))} Type {flag} VAR or {flag} PATH"
        )
    return source


def name_of(value: Any, variables: Mapping[str, Any]) -> str:
    """What the notebook calls an object, or ""; numbers and texts are typed as they are."""
    if value is None or isinstance(value, str | int | float):
        return ""
    named = (name for name, one in variables.items() if one is value and name[0] != "_")
    return next(named, "")


def guard(source: str, variables: Mapping[str, Any]) -> Any:
    """As `data`, for --guard."""
    return data(source, variables, "--guard")


def held_out(source: float | str, variables: Mapping[str, Any]) -> Any:
    """A number as it is, else `data`."""
    return data(source, variables, "--eval") if isinstance(source, str) else source


def function(source: str, variables: Mapping[str, Any]) -> Callable[[Any], Any]:
    """The notebook's function of that name (`to_row`, or `helpers.to_row`), for --map."""
    expected = "a function from a row (a dict) to a pair, turns, a text or None"
    return _function(source, variables, "--map", "to_row(row)", expected)


def metrics(sources: list[str], variables: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """The notebook's functions of these names, by the name, for --metric."""
    expected = "a function from prompt, answer and reference to a number"
    example = "score(prompt, answer, reference)"
    return {
        source: _function(source, variables, "--metric", example, expected) for source in sources
    }


def _function(
    source: str, variables: Mapping[str, Any], flag: str, example: str, expected: str
) -> Callable[..., Any]:
    """A function that a flag names; `example` is how one is defined.

    Raises `CommandError` if there is none, for an expression, and for what cannot be called.
    """
    name, arguments = example.split("(", 1)
    if not all(part.isidentifier() for part in source.split(".")):
        raise CommandError(
            f"{flag} {source!r} is an expression; define it first (def {example}: …), then type "
            f"{flag} {name}"
        )
    if source.partition(".")[0] not in variables:
        raise CommandError(
            f"{flag} {source!r} is not defined in this notebook."
            f"{near(source, names_of(variables))} Define it first: def {source}({arguments}: …"
        )
    found = variable(source, variables)
    if not callable(found):
        raise CommandError(f"{flag} {source}: expected {expected}, got {type(found).__name__}.")
    return found  # type: ignore[no-any-return]  # whatever can be called


def labels(source: str, variables: Mapping[str, Any]) -> Any:
    """The variable of that name, else names or a number as they were typed.

    One bare name that is not a variable is a `CommandError`: a single label cannot classify.
    """
    if source.partition(".")[0] in variables:
        return variable(source, variables)
    _refuse_expression("--labels labels", source)
    if "," not in source and not source.isdecimal():
        raise CommandError(
            f"--labels {source!r} is not defined, and a single label cannot classify."
            f"{near(source, names_of(variables))} Type --labels negative,positive or --labels VAR"
        )
    return source


def _refuse_expression(typed: str, source: str) -> None:
    """Raise `CommandError` for an expression in place of a name; `typed` is what to type."""
    if any(sign in source for sign in "()[]"):
        flag, name = typed.split()
        raise CommandError(
            f"{flag} {source!r} is an expression; assign it first ({name} = …), then type {typed}"
        )


def models_in(variables: Mapping[str, Any]) -> list[str]:
    """The arguments for `%lora use`: each model's name, with the tokenizer's if there is one."""
    models = of_class(variables, MODELS)
    tokenizers = of_class(variables, TOKENIZERS)
    with_it = f" {tokenizers[0]}" if len(tokenizers) == 1 else ""
    return [name + with_it for name in models]


def of_class(variables: Mapping[str, Any], classes: tuple[str, ...]) -> list[str]:
    """The variables whose object is of one of these classes, given by name."""
    return [
        name
        for name in names_of(variables)
        if any(base.__name__ in classes for base in type(variables[name]).__mro__)
    ]
