"""Turns words into a verb's arguments: types, help with every default, one error per line.

Knows the table of verbs; knows no IPython and no session. Not `argparse`: it would split a prompt
into words, guess at unknown flags and end the process.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_magic.errors import CommandError, near
from lora_magic.magics.verb import Argument, Thing, Verb, text
from lora_magic.magics.words import next_word, split, unquoted

_OUT = Argument("--out", text, "the variable that gets the result", "none", shape="NAME")
_NUMBER = re.compile(r"-\.?\d")

#: Other libraries' flags whose names are too unlike ours for a near miss.
_ELSEWHERE = {
    "--r": "--rank",
    "-r": "--rank",
    "--lora-r": "--rank",
    "--target-modules": "--targets",
    "--modules": "--targets",
    "--init-lora-weights": "--init",
    "--learning-rate": "--lr",
    "--num-train-epochs": "--epochs",
    "--max-steps": "--steps",
    "--load-in-4bit": "--4bit",
    "--adapter": "--adapters",
}


@dataclass(frozen=True)
class Parsed:
    """A parsed line: values by keyword, the prompt, notes to print, or a request for help."""

    words: dict[str, Any]
    flags: dict[str, Any]
    prompt: str = ""
    out: str | None = None
    notes: tuple[str, ...] = ()
    help: bool = False


@dataclass
class _Line:
    """A split line: flags with their text (None without a value), words, the raw prompt."""

    flags: list[tuple[Argument, str | None]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    prompt: str = ""
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    help: bool = False


def arguments_of(verb: Verb, *, cell: bool) -> tuple[Argument, ...]:
    """The verb's arguments, and for `%%lora` also `--out`, since a cell cannot be assigned."""
    return (*verb.arguments, _OUT) if cell else verb.arguments


def parse(verb: Verb, rest: str, expand: Callable[[str], str], *, cell: bool) -> Parsed:
    """Read what follows the verb's name; `cell` says that a body follows.

    `expand` replaces variables in a word; it is not called on a prompt.
    Raises one `CommandError` for everything that is wrong on the line.
    """
    arguments = arguments_of(verb, cell=cell)
    line = _scan(verb, arguments, rest)
    if line.help:
        return Parsed({}, {}, help=True)
    if line.unknown:
        raise CommandError(_unknown(verb, line.unknown, arguments))
    faults: list[str] = []
    flags = _flags(line.flags, expand, faults)
    words = _words(verb, [expand(word) for word in line.words], bool(flags), faults)
    out = flags.pop(_OUT.key, None)
    if out is not None and not out.isidentifier():
        faults.append(f"--out {out!r} is not a variable's name; type --out answer")
    if faults:
        raise CommandError(f"%lora {verb.name}: {'; '.join(faults)}. Type %lora {verb.name} --help")
    return Parsed(words, flags, unquoted(line.prompt.strip()), out, tuple(line.notes))


def help_for(verb: Verb) -> str:
    """What `%lora VERB --help` prints: every argument with its default."""
    arguments = arguments_of(verb, cell=bool(verb.body))
    parts = [_wrapped(verb.usage, 92, "        "), verb.summary]
    if verb.body:
        parts[1] += f"\n%%lora {verb.name} takes {verb.body} in the cell below it."
    lines = []
    for argument in arguments:
        default = verb.default(argument)
        about = argument.help + (f" (default: {default})" if default else "")
        indent = f"  {argument.typed:<24}  "
        lines.append(indent + _wrapped(about, 100 - len(indent), " " * len(indent)))
    examples = ["examples:", *(f"  {line}" for line in verb.examples)]
    notes, ending = ([f"  {line}" for line in told] for told in (verb.notes, verb.ending))
    blocks = (lines, notes, examples, ending)
    return "\n\n".join([*parts, *("\n".join(block) for block in blocks if block)])


def _wrapped(line: str, width: int, indent: str) -> str:
    lines = textwrap.wrap(line, width, break_on_hyphens=False, break_long_words=False)
    return f"\n{indent}".join(lines)


def _scan(verb: Verb, arguments: Sequence[Argument], rest: str) -> _Line:
    """Split a line; a prompt begins at the first word that is not a flag, and stays as it is."""
    known = {name: a for a in arguments if a.is_flag for name in (a.name, a.was) if name}
    found = _Line()
    rest = rest.lstrip()
    while rest:
        if verb.prompt and not (rest.startswith("--") or rest == "-h"):
            break
        word, rest = _take(rest, comments=not verb.prompt)
        name, equals, value = word.partition("=")
        flag = known.get(name)
        if word == "--":
            if not verb.prompt:
                found.words += split(rest)
                rest = ""
            break
        if not _is_flag(word):
            found.words += [word] if word else []
        elif word in ("--help", "-h"):
            found.help = True
        elif flag is None:
            found.unknown.append(name)
        else:
            typed = value if equals else None
            if flag.kind and not equals and rest:
                typed, rest = _value(flag, rest, comments=not verb.prompt)
            found.flags.append((flag, typed))
            if name == flag.was:
                found.notes.append(f"{name} is now {flag.name}; the old spelling still works.")
    found.prompt = rest
    return found


def _take(rest: str, *, comments: bool) -> tuple[str, str]:
    """The first word and what follows it; with `comments` a `#` ends the line."""
    if comments and rest.startswith("#"):
        return "", ""
    word, rest = next_word(rest)
    return word, rest.lstrip()


def _value(flag: Argument, rest: str, *, comments: bool) -> tuple[str, str]:
    """The text of a flag's value; around a comma a list continues with the next word."""
    value, rest = _take(rest, comments=comments)
    while rest and flag.several and (value.endswith(",") or rest.startswith(",")):
        more, rest = _take(rest, comments=comments)
        value += more
    return value, rest


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not _NUMBER.match(word)


def _flags(
    given: Sequence[tuple[Argument, str | None]], expand: Callable[[str], str], faults: list[str]
) -> dict[str, Any]:
    """The flags' values by keyword; what is wrong goes into `faults`."""
    values: dict[str, Any] = {}
    by: dict[str, Argument] = {}
    for flag, typed in given:
        if flag.kind is None:
            values[flag.key] = flag.short_for[1] if flag.short_for else True
            if typed is not None:
                faults.append(f"{flag.name} takes no value, got {typed!r}")
        elif typed is None:
            faults.append(f"{flag.name}: expected a value")
        else:
            value = _converted(flag, expand(typed), faults)
            before = values.get(flag.key) if flag.repeated else None
            values[flag.key] = [*before, *(value or [])] if before else value
        other = by.setdefault(flag.key, flag)
        if other is not flag:
            faults.append(f"{other.name} and {flag.name} set the same value; keep one")
    return values


def _words(verb: Verb, words: list[str], flags: bool, faults: list[str]) -> dict[str, Any]:
    """The words' values by keyword, in the order of the verb's arguments."""
    values: dict[str, Any] = {}
    for place in (argument for argument in verb.arguments if not argument.is_flag):
        if place.needed and not words:
            faults.append(f"{place.name} is missing")
        elif place.many in ("*", "+"):
            values[place.key] = _converted(place, " ".join(words), faults)
            words = []
        elif words and "," in words[0] and Thing.ADAPTER in place.things and not place.several:
            faults.append(f"expected one adapter, got {' '.join(words)!r}")
            words = []
        elif words:
            word, words = words[0], words[1:]
            while place.several and words and (word.endswith(",") or words[0].startswith(",")):
                word, words = word + words[0], words[1:]
            values[place.key] = _converted(place, word, faults)
    if words:
        # After a flag it is most often the rest of that flag's value.
        several = "separate several values with commas and " if flags else ""
        # It may be a token whose flag was forgotten, and the notebook keeps its errors.
        secret = any(argument.name == "--token" for argument in verb.arguments)
        typed = "" if secret else f" {' '.join(words)!r}"
        faults.append(f"unexpected argument{typed} ({several}quote a value with a space)")
    return values


def _converted(argument: Argument, typed: str, faults: list[str]) -> Any:
    assert argument.kind is not None  # a switch has no value
    try:
        return argument.kind(typed)
    except ValueError as error:
        faults.append(f"{argument.name}: {error}")
        return None


def _unknown(verb: Verb, unknown: Sequence[str], arguments: Sequence[Argument]) -> str:
    if _OUT.name in unknown:
        return f"--out is for a cell with a body; on a line type: NAME = %lora {verb.name} …"
    known = [argument.name for argument in arguments if argument.is_flag]
    errors = " ".join(f"Unknown flag {name!r}.{_ours(name, known)}" for name in unknown)
    way_out = " Type -- before a prompt that begins with dashes." if verb.prompt else ""
    return f"%lora {verb.name}: {errors} Type %lora {verb.name} --help for its flags.{way_out}"


def _ours(name: str, known: Sequence[str]) -> str:
    """The flag that was probably meant, as a sentence to append, or nothing."""
    meant = _ELSEWHERE.get(name.lower().replace("_", "-"))
    return f" Did you mean {meant!r}?" if meant in known else near(name, known)
