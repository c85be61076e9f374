"""Fifty short texts that tokenizers disagree on, to compare two tokenizers by their ids.

Each is about one thing that a pre-tokenizer, a normaliser or a table of merges decides. Knows no
tokenizer: `texts` is given its special tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

_PLAIN = (
    "Hello",
    " Hello",
    "  Hello",
    "Hello ",
    "Hello  ",
    "   ",
    "\n",
    "\n\n",
    "\n\n\n\n",
    "\t",
    " \n",
    "\r\n",
    "a\r\nb",
    "a\n b",
    "a \n b",
    "a\n\n\tb  c",
    "two  spaces   three",
    "I've it's we'll they'd you're don't",
    "I'VE IT'S DON'T",
    "it’s ‘quoted’ “twice”",
    "0",
    "12345 67",
    "1234567890",
    "3.14159, -2e10, 1,000,000.50",
    "24 h at 7:30, 2024-02-29",
    "x=1;y=2;",
    "for i in range(10):\n    print(i)\n",
    '{"key": ["value", 1.5, null]}',
    "<b>bold</b> &amp; more",
    "https://example.org/a_b?c=d&e=%20f#g",
    "snake_case camelCase PascalCase SCREAMING",
    "...!!!???",
    "(a) [b] {c} <d>",
    "a/b\\c|d",
    "café naïve über Straße",
    "cafe\u0301",
    "ﬁne ½ ² Å Ａ",
    "Привет, мир",
    "Γειά σου Κόσμε",
    "שלום עולם",
    "مرحبا بالعالم ٣",
    "नमस्ते दुनिया",
    "你好，世界。",
    "こんにちは世界 カタカナ",
    "안녕하세요 세계",
    "🙂 👩‍👩‍👧 🇺🇳",
    "a\u00a0b\u200bc\u3000d",
)

#: Added tokens that are tried: some tokenizers have thousands that are not used.
_MOST = 100

#: What is written around a special token: nothing, spaces, and letters.
_AROUND = ("a{}b", " {} ", "{}{}\n{} The")

#: A text of some hundred tokens, in which positions matter that short prompts lack.
LONG = " ".join([text.strip() for text in _PLAIN if text.isascii() and text.strip()] * 2)


def texts(specials: Sequence[str]) -> tuple[str, ...]:
    """The fifty texts; the last three hold special tokens, if there are any."""
    named = list(specials) or [""]
    around = (
        one.format(*(named[(place + n) % len(named)] for n in range(3)))
        for place, one in enumerate(_AROUND)
    )
    return (*_PLAIN, *around)


def added(tokens: Sequence[str]) -> tuple[str, ...]:
    """A text with each of a tokenizer's added tokens: `_MOST` of them at most, evenly spread."""
    step = -(-len(tokens) // _MOST) or 1
    return tuple(f"a{token}b {token} " for token in tokens[::step])
