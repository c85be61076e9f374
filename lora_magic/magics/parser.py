"""Words into a verb's arguments: types, help, near misses, every fault of a line in one error.

argparse knows types and help; the flags are found here, since argparse guesses at unknown ones.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from lora_magic.errors import CommandError, near
from lora_magic.magics.verb import Argument, Verb, text
from lora_magic.magics.words import next_word, split, unquoted

OUT = Argument("--out", "the variable that gets the result", text, placeholder="NAME")
_NUMBER = re.compile(r"-\.?\d")

#: What other libraries call a flag, where the spelling alone does not lead to ours.
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
    """What a line says: values by keyword, the prompt, or that help is wanted."""

    words: dict[str, Any]
    flags: dict[str, Any]
    prompt: str = ""
    out: str | None = None
    help: bool = False


class _Parser(argparse.ArgumentParser):
    """argparse that neither prints an error nor ends the process."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (\S+?):", r"\1:", message)
        missing = re.match(r"the following arguments are required: (.*)", message)
        if missing:
            message = f"{missing[1]} is missing"
        raise CommandError(f"{self.prog}: {message}. Type {self.prog} --help for all it takes.")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        self.error(message or f"ended with status {status}")


def parse(verb: Verb, rest: str, expand: Callable[[str], str], *, cell: bool) -> Parsed:
    """Read what follows the verb's name.

    `expand` puts variables into a word; it is never given a prompt. `cell` says that a body
    follows, where `--out NAME` stands in for an assignment.
    Raises `CommandError` in one line for everything that is wrong with the flags.
    """
    arguments = (*verb.arguments, OUT) if cell else verb.arguments
    flags, words, prompt = _scan(verb, arguments, rest)
    if "--help" in flags:
        return Parsed({}, {}, help=True)
    # A value may begin with a dash: --alpha=-1 cannot be taken for a flag.
    ready = [expand(flag) for flag in flags] + ["--"] * bool(words) + [expand(w) for w in words]
    space, extra = _parser(verb, arguments).parse_known_args(ready)
    extra = [word for word in extra if word != "--"]
    if extra:
        # Behind a flag it is most often the rest of that flag's value.
        mend = "several go with commas, what holds a space in quotes"
        mend = mend if flags else "what holds a space goes in quotes"
        raise CommandError(
            f"%lora {verb.name}: {' '.join(extra)!r} is more than it takes ({mend}). "
            f"Type: {verb.usage}"
        )
    given = {key: value for key, value in vars(space).items() if value is not None}
    out = given.pop(OUT.key, None) if cell else None
    keys = {argument.key for argument in arguments if argument.is_flag}
    return Parsed(
        words={key: value for key, value in given.items() if key not in keys},
        flags={key: value for key, value in given.items() if key in keys},
        prompt=unquoted(prompt.strip()),
        out=_variable(out, verb),
    )


def help_for(verb: Verb) -> str:
    """What `%lora VERB --help` prints."""
    arguments = (*verb.arguments, OUT) if verb.body else verb.arguments
    return _parser(verb, arguments).format_help()


def _parser(verb: Verb, arguments: tuple[Argument, ...]) -> _Parser:
    body = f"\n%%lora {verb.name} takes {verb.body} in the cell below it." if verb.body else ""
    examples = "\n".join(["examples:", *(f"  {line}" for line in verb.examples)])
    notes = "\n".join(f"  {line}" for line in verb.notes)
    parser = _Parser(
        prog=f"%lora {verb.name}",
        usage=verb.usage.replace("%", "%%"),
        description=verb.summary + body,
        epilog="\n\n".join(part for part in (notes, examples) if part) or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        add_help=False,
        allow_abbrev=False,
    )
    # Two flags for one keyword exclude each other: `--bits 8 --4bit` is an error.
    ways = {argument.key: parser.add_mutually_exclusive_group() for argument in arguments}
    for argument in arguments:
        about = argument.help.replace("%", "%%")
        if not argument.is_flag:
            parser.add_argument(
                argument.key,
                metavar=argument.name,
                help=about,
                nargs=argument.many,
                type=argument.kind or text,
                default=None,
            )
        elif argument.short_for is not None:
            key, value = argument.short_for
            ways[key].add_argument(
                argument.name, help=about, action="store_const", dest=key, const=value
            )
        elif argument.kind is None:
            parser.add_argument(argument.name, help=about, action="store_true", dest=argument.key)
        else:
            # The keyword, since --for is `for_` in Python.
            ways[argument.key].add_argument(
                argument.name,
                help=about,
                type=argument.kind,
                metavar=argument.value_shape,
                dest=argument.key,
            )
    return parser


def _scan(
    verb: Verb, arguments: tuple[Argument, ...], rest: str
) -> tuple[list[str], list[str], str]:
    """Flags as `--name` or `--name=value`, plain words, and for a prompt verb the raw rest."""
    known = {argument.name: argument for argument in arguments if argument.is_flag}
    flags: list[str] = []
    words: list[str] = []
    unknown: list[str] = []
    if not verb.prompt:
        pending = split(rest)
        while pending:
            word = pending.pop(0)
            if word == "--":
                words += pending
                break
            if not _is_flag(word):
                words.append(word)
            elif _takes_next(word, known, flags, unknown):
                flags.append(f"{word}={pending.pop(0)}" if pending else word)
        tail = ""
    else:
        tail = rest.lstrip()
        while tail.startswith("--") or tail == "-h":
            word, tail = next_word(tail)
            tail = tail.lstrip()
            if word == "--":
                break
            if _takes_next(word, known, flags, unknown):
                value, tail = next_word(tail)
                tail = tail.lstrip()
                flags.append(f"{word}={value}" if value else word)
    if unknown and "--help" not in flags:
        raise CommandError(_unknown(verb, unknown, known))
    return flags, words, tail


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not _NUMBER.match(word)


def _takes_next(
    word: str, known: dict[str, Argument], flags: list[str], unknown: list[str]
) -> bool:
    """Whether the word after this flag is its value; a flag that is whole by itself is filed."""
    name, equals, _ = word.partition("=")
    if word in ("--help", "-h"):
        flags.append("--help")
    elif name not in known:
        unknown.append(name)
    elif equals or known[name].kind is None:
        flags.append(word)
    else:
        return True
    return False


def _unknown(verb: Verb, unknown: list[str], known: dict[str, Argument]) -> str:
    if OUT.name in unknown:
        return f"--out belongs to a cell with a body; on a line type: NAME = %lora {verb.name} …"
    told = " ".join(f"No flag {name!r}.{_ours(name, known)}" for name in unknown)
    way_out = " -- ends the flags where a prompt begins with dashes." if verb.prompt else ""
    return f"%lora {verb.name}: {told} Type %lora {verb.name} --help for all it takes.{way_out}"


def _ours(name: str, known: dict[str, Argument]) -> str:
    """The flag that was probably meant, as a sentence to append, or nothing."""
    meant = _ELSEWHERE.get(name.lower().replace("_", "-"))
    return f" Did you mean {meant!r}?" if meant in known else near(name, known)


def _variable(out: str | None, verb: Verb) -> str | None:
    if out is not None and not out.isidentifier():
        raise CommandError(
            f"%lora {verb.name}: --out {out!r} is not a variable's name. Type: --out answer"
        )
    return out
