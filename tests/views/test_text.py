"""Text for terminals: what is made visible, and tables that stand straight."""

from __future__ import annotations

import pytest

from lora_magic.printable import clean, message, one_line
from lora_magic.views.text import plain_table, shortened, width


@pytest.mark.parametrize(
    ("seen", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("bell\x07", "bell␇"),
        ("\x00", "␀"),
        ("\x7f", "␡"),
        ("a\u202eb", "a<U+202E>b"),
        ("a\u2066b\u2069", "a<U+2066>b<U+2069>"),
        ("\x9b31m", "<U+009B>31m"),
        ("\ud800", "<U+D800>"),
        ("\uffff", "<U+FFFF>"),
        ("a\r\nb", "a\nb"),
        ("over\rwritten", "over␍written"),
        ("a\u2028b", "a\nb"),
    ],
)
def test_a_control_character_is_made_visible(seen: str, shown: str) -> None:
    assert clean(seen) == shown


@pytest.mark.parametrize("text", ["plain", "two\nlines\tand a tab", "Zoë, 日本語, עברית, 👩‍🍳", ""])
def test_ordinary_text_in_any_script_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_what_is_cleaned_twice_is_cleaned_once() -> None:
    everything = "".join(map(chr, range(0x3000)))
    assert clean(clean(everything)) == clean(everything)
    clean(everything).encode()


def test_one_line_has_no_newline_and_no_double_blank() -> None:
    assert one_line(" a\n\n b\t c ") == "a b c"


def test_columns_stand_under_each_other_with_wide_characters_too() -> None:
    lines = plain_table(["name", "n"], [["日本", "1"], ["pirate", "10"], ["e\u0301", "7"]]).split(
        "\n"
    )
    assert {width(line) for line in lines} == {10}
    assert lines[2].startswith("pirate")
    assert lines[2].endswith("10")


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abcde", 5) == "abcde"


def test_a_message_is_short_whatever_it_quotes_and_keeps_its_cause_and_its_remedy() -> None:
    shown = message(f"the cause {'x' * 1_000_000} type: %lora open DIR")
    assert len(shown) < 2000
    assert shown.startswith("the cause x")
    assert shown.endswith("x type: %lora open DIR")
