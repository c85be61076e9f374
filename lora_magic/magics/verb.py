"""What a verb is: a name, one line about it, its arguments, and the call on the session it makes.

Knows no IPython and no parser: the router, the help and the completion all read this table.
"""

from __future__ import annotations

import enum
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_magic.state.session import Session


def text(seen: str) -> str:
    """A value that is taken as typed."""
    return seen


def whole(seen: str) -> int:
    """A whole number."""
    try:
        return int(seen)
    except ValueError:
        raise ArgumentTypeError(f"{seen!r} is not a whole number") from None


def number(seen: str) -> float:
    """A number, `2e-4` too."""
    try:
        return float(seen)
    except ValueError:
        raise ArgumentTypeError(f"{seen!r} is not a number") from None


def count_or_share(seen: str) -> int | float:
    """A whole number counts, any other number is a share."""
    try:
        return int(seen)
    except ValueError:
        return number(seen)


def names(seen: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in seen.split(",") if name.strip()]


_PLACEHOLDERS: dict[Any, str] = {
    text: "TEXT",
    whole: "N",
    number: "X",
    count_or_share: "N|SHARE",
    names: "A,B",
}


class Thing(enum.Enum):
    """What a notebook or a disk has names for, so that TAB can offer them."""

    ADAPTER = "an adapter"
    MODULE = "the last part of a module's path, as q_proj"
    MODEL = "a variable that holds a model"
    TOKENIZER = "a variable that holds a tokenizer"
    VARIABLE = "any variable"
    SAVED = "an adapter that was saved at home"
    FOLDER = "a folder"
    FILE = "a folder or a file"


@dataclass(frozen=True)
class Completes:
    """What TAB offers for a word, or for a flag's value.

    `words` stand as they are and alone; `below` stands in their place where the cell holds rows.
    `things` are names that the notebook has; `several` of them go with commas, and with `weighed`
    each has a number behind an equals sign.
    """

    words: tuple[str, ...] = ()
    things: tuple[Thing, ...] = ()
    below: tuple[str, ...] | None = None
    several: bool = False
    weighed: bool = False


AN_ADAPTER = Completes(things=(Thing.ADAPTER,))
A_FOLDER = Completes(things=(Thing.FOLDER,))


@dataclass(frozen=True)
class Argument:
    """One word (`NAME`) or one flag (`--batch-size`) of a verb.

    `kind` turns what was typed into a value; None is a switch, which takes none.
    `many` is argparse's count: "?" at most one, "*" any number, "+" at least one. `short_for` makes
    a switch the short way to give another flag a value, by that flag's keyword: `--4bit` is
    `--bits 4`. `completes` is what TAB offers for it.
    """

    name: str
    help: str
    kind: Callable[[str], Any] | None = text
    many: str | None = None
    placeholder: str | None = None
    short_for: tuple[str, Any] | None = None
    completes: Completes = Completes()

    @property
    def is_flag(self) -> bool:
        """Whether it is typed with two dashes."""
        return self.name.startswith("--")

    @property
    def key(self) -> str:
        """Its name as a keyword argument of the session's method."""
        if self.short_for is not None:
            return self.short_for[0]
        plain = self.name.lstrip("-").lower().replace("-", "_")
        return f"{plain}_" if iskeyword(plain) else plain

    @property
    def shape(self) -> str:
        """How it looks in a usage line."""
        if not self.is_flag:
            shapes = {"?": f"[{self.name}]", "*": f"[{self.name} …]", "+": f"{self.name} …"}
            return shapes.get(self.many or "", self.name)
        return f"[{self.name}]" if self.kind is None else f"[{self.name} {self.value_shape}]"

    @property
    def value_shape(self) -> str:
        """What stands for a flag's value in help."""
        return self.placeholder or _PLACEHOLDERS.get(self.kind, "VALUE")


@dataclass(frozen=True)
class Call:
    """One line as the person meant it.

    `words` and `flags` hold only what was given, by keyword; `prompt` is the raw rest of the line,
    `body` the cell below it, `variables` what the notebook has defined, `reporter` what follows a
    training run.
    """

    session: Session
    words: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""
    body: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    reporter: Any = None


@dataclass(frozen=True)
class Verb:
    """`%lora NAME …`.

    `changes` says that it leaves the session changed and so prints a receipt; `prompt` that what
    follows the flags is text, not words; `body` what the cell under `%%lora NAME` holds, or None
    where there is nothing to hold; `trains` that a run is to be followed while it lasts; `controls`
    makes the controls that stand beside its record. `notes` are lines at the end of its help.
    """

    name: str
    summary: str
    run: Callable[[Call], object]
    arguments: tuple[Argument, ...] = ()
    changes: bool = False
    prompt: bool = False
    body: str | None = None
    trains: bool = False
    controls: Callable[[Call], object] | None = None
    examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """The line to type, with everything that may stand in it."""
        flags = [argument.shape for argument in self.arguments if argument.is_flag]
        words = [argument.shape for argument in self.arguments if not argument.is_flag]
        order = [*flags, "PROMPT"] if self.prompt else [*words, *flags]
        return " ".join(["%lora", self.name, *order])


# What `ask` and `compare` share.
ANSWERING = (
    Argument("--max-new-tokens", "tokens of an answer, at most", whole),
    Argument("--temperature", "0 takes the likeliest token each time", number),
    Argument("--seed", "of the draw, where the temperature is above 0", whole),
)
