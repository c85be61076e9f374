"""What TAB offers: from the text before the cursor to candidates and the fragment they replace.

Knows our magics' syntax and the verbs' table, and gets names from an object with one method; knows
no IPython, no session and no disk. For text that is not ours it returns None, and other completers
run; for free text in our magics (a prompt, a number, a new name) it returns an empty offer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lora_magic.errors import CommandError
from lora_magic.magics.aliases import verb_for
from lora_magic.magics.parser import arguments_of
from lora_magic.magics.verb import Argument, Thing, Verb
from lora_magic.magics.words import next_word
from lora_magic.paths import quoted

_CELL = re.compile(r"%%lora(_train)?(?:\s+(.*))?$")
_LINE = re.compile(r"\s*(?:([^=#]+)=\s*)?%lora(_train)?\s+(.*)$")
_FIRST = re.compile(r"(\S*)(\s*)(.*)")
_OPEN_BRACE = re.compile(r"(?<!\{)\{(\w*)$")

#: IPython's cell magics whose body is Python, so it may contain a line of ours.
_PYTHON_BELOW = ("%%capture", "%%prun", "%%time", "%%timeit")

_ON_DISK = (Thing.SAVED, Thing.FOLDER, Thing.FILE)

#: What front ends call each kind, to choose its icon.
_KINDS = {
    **dict.fromkeys(_ON_DISK, "path"),
    Thing.MODULE: "module",
}


class Names(Protocol):
    """A source of the names that exist now."""

    def names(self, thing: Thing, begun: str) -> Iterable[str]:
        """All names of that kind; folders and files only if they continue `begun`."""
        ...


@dataclass(frozen=True)
class Candidate:
    """One completion, and what front ends call its kind."""

    text: str
    kind: str


@dataclass(frozen=True)
class Offer:
    """The completions that can replace `fragment`, the end of the text."""

    fragment: str = ""
    candidates: tuple[Candidate, ...] = ()


NOTHING = Offer()


def offer(before: str, verbs: Mapping[str, Verb], known: Names) -> Offer | None:
    """What TAB offers at the end of `before`, which is the cell up to the cursor.

    None if the line is not one of ours.
    """
    lines = before.split("\n")
    top = next((i for i, line in enumerate(lines) if _is_code(line)), len(lines) - 1)
    above = lines[top].lstrip() if top < len(lines) - 1 else ""
    if _CELL.match(above):
        return NOTHING
    if above.startswith("%%") and above.split()[0] not in _PYTHON_BELOW:
        return None
    cell = _CELL.match(lines[top].lstrip()) if not above else None
    if cell is not None and cell[2] is None:
        return None  # the magic's name may be incomplete
    typed = _typed(cell[1], cell[2]) if cell else _on_a_line(lines)
    return None if typed is None else _offer(typed, cell is not None, verbs, known)


def _is_code(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _on_a_line(lines: Sequence[str]) -> str | None:
    """What was typed after `%lora`, with the preceding lines that end in a backslash."""
    first = len(lines) - 1
    while first and lines[first - 1].endswith("\\"):
        first -= 1
    joined = " ".join([*(line[:-1] for line in lines[first:-1]), lines[-1]])
    found = _LINE.match(joined)
    return None if found is None or _is_inside(found[1] or "") else _typed(found[2], found[3])


def _is_inside(left: str) -> bool:
    """Is a bracket open before the equals sign? Then it assigns nothing: `f(a=%lora`."""
    pairs = (("(", ")"), ("[", "]"), ("{", "}"))
    return any(left.count(opening) > left.count(closing) for opening, closing in pairs)


def _typed(train: str | None, rest: str) -> str:
    """`%lora_train x` is `%lora train x`."""
    return f"train {rest}" if train else rest


def _offer(typed: str, cell: bool, verbs: Mapping[str, Verb], known: Names) -> Offer:
    parts = _FIRST.match(typed)
    assert parts is not None  # every part may be empty
    word, gap, rest = parts.groups()
    if not gap:
        names = [name for name, verb in verbs.items() if verb.body or not cell]
        names += ["--help"] if word.startswith("-") and not cell else []
        return _matching(word, ((name, "function") for name in names))
    try:
        verb = verbs[verb_for(word, verbs)]
    except CommandError:
        return NOTHING
    return _AfterVerb(verb, cell, known).offer(rest)


def _matching(fragment: str, candidates: Iterable[tuple[str, str]]) -> Offer:
    """The candidates that begin with the fragment, each once, in their order."""
    begun = fragment.lower()
    fitting = (pair for pair in candidates if pair[0].lower().startswith(begun))
    return Offer(fragment, tuple(Candidate(*pair) for pair in dict.fromkeys(fitting)))


class _AfterVerb:
    """What follows a verb, read word by word up to the cursor."""

    def __init__(self, verb: Verb, cell: bool, known: Names) -> None:
        self._verb, self._cell, self._known = verb, cell, known
        arguments = arguments_of(verb, cell=cell)
        self._flags = {argument.name: argument for argument in arguments if argument.is_flag}
        self._places = [argument for argument in arguments if not argument.is_flag]
        self._words: list[str] = []
        self._given: set[str] = set()
        self._ended = False

    def offer(self, rest: str) -> Offer:
        """The completions at the end of `rest`."""
        done, typed = _words_of(rest)
        if any(word.startswith("#") for word in [*done, typed]) and not self._verb.prompt:
            return NOTHING
        waiting = self._read(done)
        if waiting is not None:
            return self._value(waiting, typed)
        is_flag = typed.startswith("-") and not self._ended
        if self._verb.prompt and (self._words or (typed and not is_flag)):
            return NOTHING
        return self._flag(typed) if is_flag else self._word(typed)

    def _read(self, done: Iterable[str]) -> Argument | None:
        """Read the complete words; returns the flag that still needs its value."""
        waiting: Argument | None = None
        for word in done:
            name, equals, _ = word.partition("=")
            if waiting is not None:
                # A list that ends in a comma continues.
                continues = waiting.several and word.endswith(",")
                waiting = waiting if continues else None
            elif self._ended or not word.startswith("--"):
                self._words.append(word)
            elif word == "--":
                self._ended = True
            elif name in self._flags:
                flag = self._flags[name]
                if not flag.repeated:
                    self._given.add(flag.key)
                waiting = None if equals or flag.kind is None else flag
        return waiting

    def _flag(self, typed: str) -> Offer:
        name, equals, value = typed.partition("=")
        if equals:
            flag = self._flags.get(name)
            return self._value(flag, value) if flag and flag.kind else NOTHING
        return _matching(typed, [*self._left(), ("--help", "param")])

    def _left(self) -> list[tuple[str, str]]:
        """The flags that can still be given, under any of their names."""
        return [(name, "param") for name, f in self._flags.items() if f.key not in self._given]

    def _word(self, typed: str) -> Offer:
        at = min(len(self._words), len(self._places) - 1)
        place = self._places[at] if self._places else None
        if place is None or (at < len(self._words) and place.many not in ("*", "+")):
            return NOTHING if typed or self._ended else _matching("", self._left())
        before = self._words[at:]
        found = self._value(place, typed, before)
        needed = place.needed and not before
        if typed or self._ended or (needed and found.candidates):
            return found
        flags = _matching("", self._left())
        return Offer("", found.candidates + flags.candidates)

    def _value(self, argument: Argument, typed: str, before: Sequence[str] = ()) -> Offer:
        """The completions of a word or a flag's value; `before` are earlier words of its list."""
        unquoted = _unquoted(typed)
        if unquoted is None:
            return NOTHING
        fragment, value, is_open = unquoted
        brace = _OPEN_BRACE.search(value)
        if brace is not None:
            found = _matching(brace[1], self._things((Thing.VARIABLE,), brace[1]))
        elif set(argument.things) & set(_ON_DISK):
            found = self._on_disk(argument, fragment, value, is_open)
        else:
            found = self._names(argument, value, before)
        return found if typed.endswith(found.fragment) else NOTHING

    def _names(self, argument: Argument, value: str, before: Sequence[str]) -> Offer:
        head, comma, begun = value.rpartition(",") if argument.several else ("", "", value)
        parts = [part for word in [*before, head] for part in word.split(",")]
        taken = {part.partition("=")[0].strip() for part in parts}
        sign = "=" if argument.weighed else ""
        things = self._things(argument.things, begun)
        names = [(name + sign, kind) for name, kind in things if name not in taken]
        alone = [] if comma or before else [(word, "keyword") for word in self._fixed(argument)]
        return _matching(begun.lstrip(), [*alone, *names])

    def _on_disk(self, argument: Argument, fragment: str, value: str, is_open: bool) -> Offer:
        """Names on disk, quoted if needed; a brace in one is doubled."""
        begun = value.replace("{{", "{").replace("}}", "}")
        names = [(word, "keyword") for word in self._fixed(argument)]
        names += self._things(argument.things, begun)
        fitting = [
            (_doubled(name) if is_open else _in_quotes(name, begun, fragment), kind)
            for name, kind in names
            if name.lower().startswith(begun.lower())
        ]
        return Offer(fragment, tuple(Candidate(*pair) for pair in dict.fromkeys(fitting)))

    def _fixed(self, argument: Argument) -> Sequence[str]:
        under_rows = self._cell and argument.below is not None
        return argument.below or () if under_rows else argument.words

    def _things(self, things: Iterable[Thing], begun: str) -> list[tuple[str, str]]:
        return [
            (name, _KINDS.get(thing, "instance"))
            for thing in things
            for name in self._known.names(thing, begun)
        ]


def _words_of(rest: str) -> tuple[list[str], str]:
    """The complete words, without their quotes, and the one being typed, with them."""
    done: list[str] = []
    rest = rest.lstrip()
    while rest:
        try:
            word, left = next_word(rest)
        except CommandError:
            return done, rest  # a quote is open
        if not left:
            return done, rest
        done.append(word)
        rest = left.lstrip()
    return done, ""


def _unquoted(typed: str) -> tuple[str, str, bool] | None:
    """The fragment to replace, its value, and whether a quote is open before it.

    >>> _unquoted('"my fol')
    ('my fol', 'my fol', True)
    """
    if typed[:1] in ("'", '"') and typed[0] not in typed[1:]:
        return typed[1:], typed[1:], True
    try:
        return typed, next_word(typed)[0], False
    except CommandError:
        return None  # a quote is open in the middle


def _in_quotes(name: str, begun: str, typed: str) -> str:
    """A path as a word; quotes already closed stay, so the result continues what was typed.

    >>> _in_quotes("my data/rows.csv", "my data/", '"my data/"')
    '"my data/"rows.csv'
    """
    rest = name.removeprefix(begun)
    continues = name != rest and quoted(rest) == rest and typed != begun
    return typed + rest if continues else quoted(name)


def _doubled(name: str) -> str:
    return name.replace("{", "{{").replace("}", "}}")
