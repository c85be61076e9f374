"""Text that is safe to show: control characters made visible.

Names, messages and answers can come from files and from models. ESC and the like control a
terminal; the bidirectional controls make text read in another order than it is stored; surrogates
cannot be written as UTF-8. Knows characters; knows no view. Every room may import it.
"""

from __future__ import annotations

import unicodedata

_BIDI = frozenset([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
#: Characters of a message: its cause comes first, its remedy last. A name from a file can be long.
_FIRST, _LAST = 1_200, 600
_SEPARATORS = frozenset([0x2028, 0x2029, 0x85])


def clean(value: str) -> str:
    """`value` with every control character made visible; newlines and tabs stay.

    ESC becomes ␛, a right-to-left override becomes the seven characters <U+202E>.
    """
    unified = value.replace("\r\n", "\n")
    return "".join(map(_shown, unified)) if not unified.isascii() or _controls(unified) else unified


def one_line(value: str) -> str:
    """`clean`, with each run of white space as one space."""
    return " ".join(clean(value).split())


def message(value: str) -> str:
    """`clean` on one line, spaces kept: a newline becomes ␊, so that a path can still be read.

    The middle of a long message is left out.
    """
    if len(value) > _FIRST + _LAST:
        value = f"{value[:_FIRST]} … {value[-_LAST:]}"
    return clean(value).strip("\n").replace("\n", "␊").replace("\t", "␉")


def _controls(value: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in value)


def _shown(character: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return character
    if code in _SEPARATORS:
        return "\n"
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "␡"
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    if code in _BIDI or noncharacter or unicodedata.category(character) in {"Cc", "Cs"}:
        return f"<U+{code:04X}>"
    return character
