from __future__ import annotations

import random

import pytest

from lora_magic.compare.diff import marked_words


def marked(base: str, text: str) -> list[str]:
    return [piece for piece, flag in marked_words(base, text) if flag]


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
    assert marked_words("", "two words") == [("two", True), (" ", False), ("words", True)]
    assert marked_words("two words", "") == []


def test_white_space_alone_is_never_a_difference() -> None:
    assert marked("one two", "one\n\n two ") == []


def test_scripts_without_spaces_are_marked_by_character() -> None:
    assert marked("我喜欢猫。", "我喜欢狗。") == ["狗"]


def test_frequent_words_of_a_long_text_still_count() -> None:
    # difflib drops words in more than 1 % of a text of 200 or more, unless told not to.
    base = "the fox saw the hen " * 60
    assert marked(base, "again " + base) == ["again"]


@pytest.mark.parametrize("seed", range(20))
def test_pieces_join_to_the_text_and_unmarked_words_come_from_the_base_in_order(seed: int) -> None:
    draw = random.Random(seed)
    alphabet = ["fox", "hen", "a-b", "¡", "...", "é́", "狐", "\n", "  ", "\t", "’tis", "(x)", "🦊"]
    base, text = (" ".join(draw.choices(alphabet, k=draw.randrange(30))) for _ in range(2))
    pieces = marked_words(base, text)
    assert "".join(piece for piece, _ in pieces) == text
    assert not any(flag for piece, flag in pieces if piece.isspace())
    left = iter(piece for piece, _ in marked_words("", base) if not piece.isspace())
    kept = [piece for piece, flag in pieces if not flag and not piece.isspace()]
    assert all(piece in left for piece in kept)  # each search goes on where the last one ended
