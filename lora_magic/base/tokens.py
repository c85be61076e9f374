"""Texts as token ids, and what a tokenizer adds to them or loses of them.

Knows tokenizers; knows no template and no prompt form.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from lora_magic.errors import PromptError, sentence


def token_ids(tokenizer: Any, text: str, special: bool = False) -> list[int]:
    """A text's token ids, without the tokenizer's warning about its length.

    Raises `PromptError` for a text that the tokenizer cannot encode.
    """
    try:
        return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])
    except Exception as error:
        # The tokenizers library raises plain `Exception`.
        raise PromptError(
            f"the tokenizer cannot encode {text[:40]!r} ({sentence(error)}): its files are "
            "incomplete or belong to another model. Type: %lora use model tokenizer"
        ) from error


def all_token_ids(
    tokenizer: Any, texts: Sequence[str], special: bool = False
) -> list[list[int] | PromptError]:
    """The token ids of many texts at once, or why a text has none."""
    if not texts:
        return []
    try:
        made = tokenizer(
            list(texts),
            add_special_tokens=special,
            verbose=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        return [list(ids) for ids in made["input_ids"]]
    except Exception:  # noqa: BLE001  # one text of many; which one, the next lines find
        return [_ids_or_error(tokenizer, text, special) for text in texts]


def _ids_or_error(tokenizer: Any, text: str, special: bool) -> list[int] | PromptError:
    try:
        return token_ids(tokenizer, text, special)
    except PromptError as error:
        return error


def special_ids(tokenizer: Any) -> set[int]:
    """The ids with a meaning of their own: named, or added as special."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).items()
    return {*tokenizer.all_special_ids, *(i for i, token in added if token.special)}


def added_ids(tokenizer: Any, text: str) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer adds before and after a text."""
    bare, full = token_ids(tokenizer, text), token_ids(tokenizer, text, special=True)
    for at in range(len(full) - len(bare) + 1):
        if full[at : at + len(bare)] == bare:
            return full[:at], full[at + len(bare) :]
    return [], []


def without_double_start(tokenizer: Any, ids: list[int]) -> list[int]:
    """Ids with one beginning token, where template, row and tokenizer each bring one."""
    start = tokenizer.bos_token_id
    at = 0
    while start is not None and ids[at : at + 2] == [start, start]:
        at += 1
    return ids[at:]


def stripped(text: str, starts: Sequence[str | None], ends: Sequence[str | None]) -> str:
    """A text without the special tokens that it brings at its beginning and its end."""
    while start := next((t for t in starts if t and text.lstrip().startswith(t)), ""):
        text = text.lstrip()[len(start) :]
    while end := next((t for t in ends if t and text.rstrip().endswith(t)), ""):
        text = text.rstrip()[: -len(end)]
    return text


def bare_text(tokenizer: Any, text: str) -> str:
    """A text to classify, without the special tokens that the tokenizer will add."""
    starts = (tokenizer.bos_token, tokenizer.cls_token)
    return stripped(text, starts, (tokenizer.eos_token, tokenizer.sep_token))


def classified_ids(
    tokenizer: Any, text: str, second: str | None = None, *, most: int
) -> tuple[list[int], bool]:
    """Token ids of a text, or of a pair, for a classifier, at most `most`; was it truncated?

    Truncation keeps the tokenizer's special tokens.
    """
    bare = bare_text(tokenizer, text)
    if second is None:
        pair: tuple[str, ...] = ()
        ids = token_ids(tokenizer, bare, special=True)
    else:
        pair = (bare_text(tokenizer, second),)
        ids = list(tokenizer(bare, *pair, verbose=False)["input_ids"])
    if len(ids) <= most:
        return ids, False
    return list(tokenizer(bare, *pair, truncation=True, max_length=most)["input_ids"]), True


def lost_of(tokenizer: Any, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> list[str | None]:
    """What each text's tokens lost of it: None if nothing, "" if unknown tokens stand for it.

    `ids` are without the tokens that the tokenizer adds. They are decoded and compared with the
    text: as it is, or without case, accents and white space, as some tokenizers change them, or
    after the tokenizer's own normalisation. Where the decoder is not the inverse of the encoder,
    each character must be covered by a token.
    """
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if inner is not None:
        # Without the checks of each id, which take longer than decoding.
        decoded = inner.decode_batch([list(one) for one in ids], skip_special_tokens=False)
    else:
        decoded = tokenizer.batch_decode(ids, clean_up_tokenization_spaces=False)
    return [
        None if text == back else _lost(tokenizer, text, back)
        for text, back in zip(texts, decoded, strict=True)
    ]


def _lost(tokenizer: Any, text: str, back: str) -> str | None:
    unknown = tokenizer.unk_token
    for normal in (str, _normalizer(tokenizer)):
        said, read = _loose(normal(text)), _loose(normal(back))
        if said == read:
            return None
        if unknown and _fits(said, read.split(_loose(normal(unknown)))):
            return ""
    return _uncovered(tokenizer, text, back)


def _normalizer(tokenizer: Any) -> Any:
    """The tokenizer's own normalisation of a text."""
    inner = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    return str if inner is None else inner.normalize_str


def _loose(text: str) -> str:
    """A text without case, accents, white space and the sign that stands for a space."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(
        c for c in plain if not (c.isspace() or c == "▁" or unicodedata.category(c) in _MARKS)
    )


#: Accents, controls and invisible signs.
_MARKS = frozenset({"Mn", "Cc", "Cf"})


def _fits(text: str, pieces: Sequence[str]) -> bool:
    """Is the text these pieces in order, with something between each two?"""
    first, *rest = pieces
    if not rest or not text.startswith(first):
        return False
    at = len(first)
    for piece in rest[:-1]:
        at = text.find(piece, at + 1) + len(piece) if piece else at + 1
        if at < len(piece):
            return False
    return text.endswith(rest[-1]) and len(text) - len(rest[-1]) > at


def _uncovered(tokenizer: Any, text: str, back: str) -> str | None:
    """The first part of a text that is lost; None if tokens cover all of it."""
    if getattr(tokenizer, "is_fast", False):
        made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        covered = bytearray(len(text))
        for start, end in made["offset_mapping"]:
            covered[start:end] = b"\1" * (end - start)
        if all(seen or not _loose(text[at]) for at, seen in enumerate(covered)):
            return "" if tokenizer.unk_token_id in made["input_ids"] else None
    # After a lost character the offsets are no longer right.
    said, read = _loose(text), _loose(back)
    pairs = enumerate(zip(said, read, strict=False))
    at = next((n for n, (one, other) in pairs if one != other), min(len(said), len(read)))
    end = said.find(read[at : at + 8], at) if at < len(read) else len(said)
    places = [place for place, c in enumerate(text) for _ in _loose(c)]
    lost = places[at : end if end > at else at + 40]
    return text[lost[0] : lost[-1] + 1][:40] if lost else text[:40]
