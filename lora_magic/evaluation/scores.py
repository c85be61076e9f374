"""What is measured on one answer: is it the reference, how near is it, how long, how repetitive?

Knows texts and numbers; knows no model and no rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lora_magic.checks import is_number
from lora_magic.errors import CommandError, DataError, sentence

#: A person's own metric: (prompt, answer, reference) → a number; higher is better.
Metric = Callable[[str, str, str | None], Any]

#: Words that repeat make an answer repetitive in runs of so many.
RUN = 4

#: The sum of a person's values over all rows, and its square, must be numbers, too.
_LARGEST = 1e100

_ASCII = re.compile(r"[a-z0-9]+")
#: Scripts that are written without spaces: each character is a word.
_ALONE = (
    ("\u3040", "\u30ff"),
    ("\u3400", "\u9fff"),
    ("\uf900", "\ufaff"),
    ("\U00020000", "\U0003ffff"),
)


def exact_match(answer: str, reference: str) -> float:
    """1 if the texts are equal without the white space at their ends, else 0.

    Nothing else is normalised: case, punctuation and inner white space count.
    """
    return float(answer.strip() == reference.strip())


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L: F1 of the longest common subsequence of words (Lin 2004, section 3.1), 0 to 1.

    F1 = 2PR/(P + R), P = LCS/|answer|, R = LCS/|reference|; 0 if a text has no word. Words are
    those of `words`, without stemming. On ASCII texts it is rouge-score's `rougeL`, which drops all
    other letters; here they count.
    """
    own, other = words(answer), words(reference)
    common = _common(own, other)
    return 2 * common / (len(own) + len(other)) if common else 0.0


def repetition(answer: str) -> float:
    """The share of an answer's runs of 4 words that are repeats of an earlier one, 0 to 1.

    1 − (different runs)/(runs), as seq-rep-4 of Welleck et al. 2020 (arXiv 1908.04319), over
    `words`. 0 for fewer than 5 words.
    """
    said = words(answer)
    runs = [tuple(said[at : at + RUN]) for at in range(len(said) - RUN + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def words(text: str) -> list[str]:
    """Runs of letters, digits and combining marks, in lower case.

    A Chinese or Japanese character is a word by itself. Everything else separates words.

    >>> words("Café: 3 foxes' don't")
    ['café', '3', 'foxes', 'don', 't']
    """
    lowered = unicodedata.normalize("NFC", text.lower())
    if lowered.isascii():
        return _ASCII.findall(lowered)
    return "".join(map(_spaced, lowered)).split()


def _spaced(character: str) -> str:
    """A character of a word as it is, one that is a word between spaces, any other as a space."""
    if any(low <= character <= high for low, high in _ALONE):
        return f" {character} "
    part = character.isalnum() or unicodedata.category(character)[0] == "M"
    return character if part else " "


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence.

    A row of the usual table is one integer whose zeros are its steps (Hyyrö 2004), so 200 words
    take 200 operations, not 40,000.
    """
    places: dict[str, int] = {}
    for at, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << at
    full = row = (1 << len(first)) - 1
    for word in second:
        shared = row & places.get(word, 0)
        row = ((row + shared) | (row - shared)) & full
    return len(first) - row.bit_count()


def own_metrics(given: Any, taken: Sequence[str]) -> dict[str, Metric]:
    """A person's metrics by name: a function, several in a list, or a mapping with names.

    Raises `CommandError` for what cannot be called, and for a name that another metric has.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        named = [(str(name), function) for name, function in given.items()]
    else:
        several = given if isinstance(given, list | tuple) else [given]
        named = [(getattr(one, "__name__", type(one).__name__), one) for one in several]
    found: dict[str, Metric] = {}
    for name, function in named:
        if not callable(function):
            shown = repr(function) if isinstance(function, str) else type(function).__name__
            raise CommandError(
                f"--metric: expected a function from prompt, answer and reference to a number, got "
                f"{shown}"
            )
        if name in found or name in taken:
            raise CommandError(
                f"--metric {name}: there is already a metric of that name; define yours under "
                "another one."
            )
        found[name] = function
    return found


def own_value(
    name: str, metric: Metric, row: int, prompt: str, answer: str, reference: str | None
) -> float:
    """The value of a person's metric; True is 1 and False 0.

    Raises `DataError` with the row for an error in the function, and for what is no number of at
    most 1e100.
    """
    try:
        value = metric(prompt, answer, reference)
    except Exception as error:
        why = f"{type(error).__name__}: {sentence(error)}"
        raise DataError(f"--metric {name}: row {row}: {why}. Nothing was recorded.") from error
    # numpy's bool is neither a bool nor a number.
    whole = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
    if whole or is_number(value):
        try:
            number = float(value)
        except (OverflowError, ValueError):
            number = float("inf")
        if abs(number) <= _LARGEST:
            return number
    raise DataError(
        f"--metric {name}: row {row}: expected a finite number up to 1e100 (or True or "
        f"False), got {_shown(value)}. Nothing was recorded."
    )


def _shown(value: object) -> str:
    """A value for a message; it may be long, or have no text at all."""
    if value is None or isinstance(value, str | float):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:39]}…"
    return f"an object of type {type(value).__name__}"
