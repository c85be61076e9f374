"""What a verb is: one row of the table that the router, the help and the completion read.

Knows no IPython. A default is read from the session's method; the table describes it only if that
is None.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_magic.state.session import Session


# Kinds turn the typed text into a value. The user sees the text of a `ValueError`.


def text(seen: str) -> str:
    """The text as typed."""
    return seen


def whole(seen: str) -> int:
    """A whole number."""
    try:
        return int(seen)
    except ValueError:
        raise ValueError(f"{seen!r} is not a whole number") from None


def number(seen: str) -> float:
    """A number, `2e-4` too."""
    try:
        return float(seen)
    except ValueError:
        raise ValueError(f"{seen!r} is not a number") from None


def count_share_or_rows(seen: str) -> int | float | str:
    """A whole number is a count, any other number a share; a name or a path stays text."""
    for kind in (int, float):
        try:
            return kind(seen)
        except ValueError:
            continue
    return seen


def rate_or_find(seen: str) -> float | str:
    """A number, or the word `find`."""
    return seen if seen == "find" else number(seen)


def names(seen: str) -> list[str]:
    """Names separated by commas or spaces.

    >>> names("a, b c")
    ['a', 'b', 'c']
    """
    return [name for name in re.split(r"[,\s]+", seen) if name]


def one_or_several(seen: str) -> str | list[str]:
    """A name, or names with commas between them as a list."""
    return names(seen) if "," in seen else seen


def weighted(seen: str) -> str:
    """Names with weights, without spaces.

    >>> weighted("a = 0.7, b=0.3")
    'a=0.7,b=0.3'
    """
    return ",".join(names(re.sub(r"\s*=\s*", "=", seen)))


def each(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Values separated by commas, each of a kind.

    >>> each(whole)("4, 8")
    [4, 8]
    """

    def read(seen: str) -> list[Any]:
        return [kind(part.strip()) for part in seen.split(",") if part.strip()]

    return read


def shared(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """One value, where other flags of the same verb take several."""

    def read(seen: str) -> Any:
        if "," in seen:
            raise ValueError(
                f"expected one value, which all arms share, got {seen!r}; lists are for flags such "
                "as --rank and --lr"
            )
        return kind(seen)

    return read


_SHAPES: dict[Any, str] = {
    whole: "N",
    number: "X",
    count_share_or_rows: "N|SHARE|VAR|PATH",
    rate_or_find: "X|find",
    names: "A,B",
}


class Thing(enum.Enum):
    """The kinds of name that TAB can offer."""

    ADAPTER = "an adapter"
    MODULE = "the last part of a module's path, as q_proj"
    MODEL = "a model's variable"
    TOKENIZER = "a tokenizer's variable"
    VARIABLE = "any variable"
    KEPT = "rows that %%lora data keeps"
    SAVED = "an adapter that was saved in the home folder"
    FOLDER = "a folder"
    FILE = "a folder or a file"


AN_ADAPTER = (Thing.ADAPTER,)


@dataclass(frozen=True)
class Argument:
    """One word (`NAME`) or one flag (`--batch-size`) of a verb.

    `kind` turns the typed text into a value; None makes a switch, which takes no value. `default`
    describes what the session's default None means. Exactly one word is needed unless `many` is "?"
    (at most one), "*" (any number) or "+" (at least one); many words are one text, read by `kind`.

    TAB offers `words` (in a cell with rows, `below` instead) and the notebook's `things`; with
    `several` another one after a comma, with `weighed` each followed by an equals sign. A flag that
    is `repeated` has a list of values, to which each time that it is typed adds.

    With `asks` it gives the prompt, in place of text.

    `shape` is the value's placeholder in help. `reads` turns the value into an object, given the
    notebook's variables. `short_for` makes a switch short for another flag's keyword and value:
    `--4bit` is `--bits 4`. `was` is an old spelling, which still works.
    """

    name: str
    kind: Callable[[str], Any] | None
    about: str
    default: str = ""
    words: tuple[str, ...] = ()
    things: tuple[Thing, ...] = ()
    many: str = ""
    several: bool = False
    weighed: bool = False
    repeated: bool = False
    below: tuple[str, ...] | None = None
    shape: str = ""
    reads: Callable[[Any, Mapping[str, Any]], Any] | None = None
    short_for: tuple[str, Any] | None = None
    was: str = ""
    asks: bool = False

    @property
    def help(self) -> str:
        """What it is, with the possible values."""
        choices = self.words if not self.things else ()
        return f"{self.about}: {', '.join(choices)}" if choices else self.about

    @property
    def is_flag(self) -> bool:
        """Whether it is typed with two dashes."""
        return self.name.startswith("--")

    @property
    def needed(self) -> bool:
        """Whether it is a required word."""
        return not self.is_flag and self.many in ("", "+")

    @property
    def key(self) -> str:
        """Its name as a keyword argument of the session's method."""
        if self.short_for is not None:
            return self.short_for[0]
        plain = self.name.lstrip("-").lower().replace("-", "_")
        # `map` is no keyword, but a function that everybody uses.
        return f"{plain}_" if iskeyword(plain) or plain == "map" else plain

    @property
    def typed(self) -> str:
        """How it is typed: a flag with its value's placeholder."""
        if not self.is_flag or self.kind is None:
            return self.name
        plain = self.name.lstrip("-").rpartition("-")[2].upper()
        return f"{self.name} {self.shape or _SHAPES.get(self.kind, plain)}"

    @property
    def usage(self) -> str:
        """How it looks in a usage line."""
        words = {"": "{}", "?": "[{}]", "*": "[{} …]", "+": "{} …"}
        return ("[{}]" if self.is_flag else words[self.many]).format(self.typed)


@dataclass(frozen=True)
class Call:
    """One parsed line.

    `words` and `flags` contain only what was given, by keyword; `prompts` are those on the line or
    in the cell, `body` is the cell's text, `variables` what the notebook has defined, `reporter`
    shows a training run's progress, or says what a verb is doing.
    """

    session: Session
    words: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    prompts: Sequence[str] = ()
    body: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    reporter: Any = None


@dataclass(frozen=True)
class Verb:
    """`%lora NAME …`.

    `run` is the call that it makes, by default the session's method of its name. `changes` says
    that it changes the session and so prints a receipt; `prompt` that free text follows the flags:
    "one", or "several" with blank lines between them in a cell; `body` what the cell under
    `%%lora NAME` contains, empty if it takes none; `trains` that it shows a run's progress,
    `answers` that answers are shown while they are generated, `announces` that a line says what it
    is doing. `controls` gives the initial values of the controls below its record, None for no
    controls. With a flag in `alone`, by its keyword, it needs no base and no libraries. One that
    does not say `imports` imports itself what it needs.
    `notes` are lines of its help before its examples, `ending` those after them.
    """

    name: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    examples: tuple[str, ...] = ()
    changes: bool = False
    prompt: str = ""
    body: str = ""
    trains: bool = False
    answers: bool = False
    announces: bool = False
    run: Callable[[Call], object] | None = None
    controls: Callable[[Call], Mapping[str, Any] | None] | None = None
    notes: tuple[str, ...] = ()
    ending: tuple[str, ...] = ()
    alone: frozenset[str] = frozenset()
    imports: bool = True

    def __call__(self, call: Call) -> object:
        """Call the session with what was typed: required words by position, the rest by keyword."""
        if self.run is not None:
            return self.run(call)
        places: list[Any] = []
        keywords = dict(call.flags)
        for argument in self.arguments:
            if argument.key not in call.words or argument.is_flag:
                continue
            value = call.words[argument.key]
            if isinstance(value, list):
                places += value
            elif argument.many == "?":
                keywords[argument.key] = value
            else:
                places.append(value)
        return getattr(call.session, self.name)(*places, *call.prompts, **keywords)

    @property
    def usage(self) -> str:
        """The line to type, with everything that can be on it."""
        flags = [argument.usage for argument in self.arguments if argument.is_flag]
        words = [argument.usage for argument in self.arguments if not argument.is_flag]
        order = [*flags, "PROMPT"] if self.prompt else [*words, *flags]
        return " ".join(["%lora", self.name, *order])

    def default(self, argument: Argument) -> str:
        """The default in words; empty for a required word, or if there is no default to mention."""
        from lora_magic.state.session import Session

        if argument.needed or argument.short_for:
            return ""
        if argument.kind is None:
            return "off"
        known = signature(getattr(Session, self.name)).parameters.get(argument.key)
        value = known.default if known and known.default is not known.empty else None
        if value is None:
            return argument.default
        return f"{value:g}" if isinstance(value, float) else str(value)
