"""One example as the model reads it: its tokens by their texts, and which of them are trained.

Knows a tokenizer and an example; knows no row and no page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lora_magic.base.tokens import special_ids
from lora_magic.printable import clean

if TYPE_CHECKING:
    from .encode import Encoded, Example

#: What stands around the trained part where there is no other mark.
OPENS, CLOSES = "⟦", "⟧"

#: Characters of a sample's line.
_LONGEST = 120


@dataclass(frozen=True)
class ReadToken:
    """One token: its text with white space made visible, its id, and what it is.

    `trained` tokens are covered by the loss; `special` ones have a meaning of their own, and their
    text is their name.
    """

    text: str
    id: int
    trained: bool
    special: bool


def read_tokens(example: Example, tokenizer: Any) -> tuple[ReadToken, ...]:
    """An example's tokens, in order.

    A character of several tokens is the text of the last of them, the others have "". For a
    classifier no token is trained.
    """
    special = special_ids(tokenizer)
    trained = [label >= 0 for label in example.labels] or [False] * len(example.tokens)
    texts = _texts(example.tokens, tokenizer, special)
    return tuple(
        ReadToken(text, token, covered, token in special)
        for text, token, covered in zip(texts, example.tokens, trained, strict=True)
    )


def _texts(ids: Sequence[int], tokenizer: Any, special: set[int]) -> Iterable[str]:
    """The text of each token, as it continues those before it."""
    pending: list[int] = []
    said = ""
    for token in ids:
        if token in special:
            pending, said = [], ""
            yield str(tokenizer.convert_ids_to_tokens(token))
            continue
        pending.append(token)
        text = _decoded(tokenizer, pending)
        if text.endswith("\ufffd"):
            # A character's other tokens follow.
            yield ""
            continue
        piece = str(tokenizer.convert_ids_to_tokens(token))
        shown = text.removeprefix(said)
        if not said and piece.startswith("▁") and not shown.startswith(" "):
            shown = f" {shown}"
        yield shown
        # The last token alone is enough context for the next one's space.
        pending, said = [token], _decoded(tokenizer, [token])


def _decoded(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def visible(text: str) -> str:
    """Text on one line: a newline is ↵, a tab ⇥."""
    return clean(text).replace("\n", "↵").replace("\t", "⇥")


def sample_line(encoded: Encoded, tokenizer: Any) -> str:
    """The first example as the model reads it, in one line of at most 120 characters.

    The trained part is between ⟦ and ⟧; the middle of long parts is left out.
    """
    example = encoded.examples[0]
    tokens = read_tokens(example, tokenizer)
    start = f"row {example.number or example.row + 1} as it is read"
    notes = "".join(f"; {note}" for note in (encoded.skipped, *encoded.notes) if note)
    if example.label is not None:
        room = _LONGEST - len(start) - 40
        text = shortened(visible("".join(token.text for token in tokens)), room)
        return (
            f"{start}: {text} {OPENS}{visible(encoded.classes[example.label])[:30]}{CLOSES}{notes}"
        )
    parts = [
        (covered, visible("".join(token.text for token in run)))
        for covered, run in groupby(tokens, lambda token: token.trained)
    ]
    room = _LONGEST - len(start) - 30
    prompt = "".join(text for covered, text in parts if not covered)
    trained = "".join(text for covered, text in parts if covered)
    half = min(len(trained), max(room // 2, room - len(prompt)))
    line = shortened(prompt, max(room - half, 12)) + OPENS + shortened(trained, half) + CLOSES
    return f"{start}, trained in {OPENS} {CLOSES}: {line}{notes}"


def shortened(text: str, most: int) -> str:
    """A text, its middle left out if it is longer than `most` characters."""
    if len(text) <= most:
        return text
    head = max(most // 3, 1)
    return f"{text[:head]}…{text[len(text) - max(most - head - 1, 1) :]}"
