from __future__ import annotations

import random

import pytest

from lora_magic.compare.diff import ADDED, MISSING, SAME, difference


def marked(base: str, text: str) -> list[str]:
    return [piece for piece, kind in difference(base, text).pieces if kind == ADDED]


def read(base: str, text: str) -> str:
    """The text as it is shown: +added+ and -missing-."""
    signs = {SAME: "", ADDED: "+", MISSING: "-"}
    pieces = difference(base, text).pieces
    return "".join(f"{signs[kind]}{piece}{signs[kind]}" for piece, kind in pieces)


def words(text: str) -> list[str]:
    """The words and the punctuation of a text."""
    return [piece for piece, _ in difference("", text).pieces if not piece.isspace()]


def test_words_that_differ_are_marked_and_those_that_stay_are_not() -> None:
    base = "A fox eats mice and berries."
    assert marked(base, "Arr, a fox eats mice and grog.") == ["Arr", ",", "a", "grog"]
    assert marked(base, base) == []


def test_punctuation_does_not_make_a_word_another() -> None:
    assert marked("It eats mice.", "It eats mice!") == ["!"]
    assert marked("Don't go", '"Don\'t go"') == ['"', '"']


def test_inner_apostrophes_and_hyphens_stay_in_their_word() -> None:
    assert marked("", "It's well-known") == ["It's", "well-known"]


def test_against_an_empty_answer_every_word_is_marked() -> None:
    assert difference("", "two words").pieces == (("two", ADDED), (" ", SAME), ("words", ADDED))
    assert difference("two words", "").pieces == ()
    assert difference("", "").pieces == ()
    assert not difference("", "two words").unlike


def test_white_space_alone_is_never_a_difference() -> None:
    assert marked("one two", "one\n\n two ") == []


def test_scripts_without_spaces_are_marked_by_character() -> None:
    assert marked("我喜欢猫。", "我喜欢狗。") == ["狗"]


def test_frequent_words_of_a_long_text_still_count() -> None:
    # difflib drops words in more than 1 % of a text of 200 or more, unless told not to.
    base = "the fox saw the hen " * 60
    assert marked(base, "again " + base) == ["again"]


@pytest.mark.parametrize(
    ("base", "text", "shown"),
    [
        ("A fox eats.", "A hen eats.", "A -fox -+hen+ eats."),
        ("one two three four", "two three four", "-one -two three four"),
        ("one two three four", "one three four", "one -two -three four"),
        ("one two three four", "one two three", "one two three- four-"),
        ("one two\n\nthree", "one", "one- two three-"),
        ("(a b c)", "(a c d)", "(a -b -c +d+)"),
        ("x (a) y", "x (b) y", "x (-a -+b+) y"),
        ("我喜欢猫。", "我喜欢狗。", "我喜欢-猫-+狗+。"),
    ],
)
def test_missing_words_are_before_what_replaces_them(base: str, text: str, shown: str) -> None:
    assert read(base, text) == shown


def test_texts_that_share_few_words_show_no_missing_ones() -> None:
    base = "The fox mostly eats berries and mice."
    few = difference(base, "Arr, it devours mice!")
    assert not few.unlike
    assert MISSING in {kind for _, kind in few.pieces}
    many = difference(f"{base} So it does.", "Arr, it devours mice!")
    assert many.unlike
    assert MISSING not in {kind for _, kind in many.pieces}
    assert (many.added, many.missing) == (5, 11)


@pytest.mark.parametrize("seed", range(40))
def test_pieces_join_to_the_text_and_unmarked_words_come_from_the_base_in_order(seed: int) -> None:
    draw = random.Random(seed)
    alphabet = ["fox", "hen", "a-b", "¡", "...", "é́", "狐", "\n", "  ", "\t", "’tis", "(x)", "🦊"]
    base, text = (" ".join(draw.choices(alphabet, k=draw.randrange(30))) for _ in range(2))
    found = difference(base, text)
    shown = [piece for piece, kind in found.pieces if kind != MISSING]
    added = [piece for piece, kind in found.pieces if kind == ADDED]
    kept = [piece for piece, kind in found.pieces if kind == SAME and not piece.isspace()]
    assert "".join(shown) == text
    assert not any(piece.isspace() for piece in added)
    assert (len(added), len(kept)) == (found.added, len(words(text)) - found.added)
    assert found.missing == len(words(base)) - len(kept)
    most = max(len(words(base)), len(words(text)))
    assert found.unlike is (3 * len(kept) < most and (found.missing > 8 or not words(text)))
    left = iter(words(base))
    assert all(piece in left for piece in kept)  # each search goes on where the last one ended
    if not found.unlike:
        of_base = [w for piece, kind in found.pieces if kind != ADDED for w in words(piece)]
        assert of_base == words(base), "without the added words it is the base's text"
