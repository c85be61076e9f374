"""A path that is printed can be typed as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_magic.errors import CommandError
from lora_magic.magics.words import expand, split
from lora_magic.paths import path_of, quoted


@pytest.mark.parametrize(
    "path",
    [
        "a/b",
        "my adapters/p one",
        'say "hi"/p',
        "it's/p",
        "#dir",
        "{x}/p",
        "{{y}}/p",
        "-d/p",
        "a\tb",
    ],
)
def test_a_quoted_path_is_one_word_that_means_the_path(path: str) -> None:
    (word,) = split(quoted(path))
    assert Path(expand(word, {})) == Path(path)


@pytest.mark.parametrize(
    "given", [5, None, "", "  ", "~nobody-of-this-name/x", "x" * 300, "a\0b", "a\ud83d"]
)
def test_what_is_no_path_is_one_line(given: object) -> None:
    with pytest.raises(CommandError, match=r"^save"):
        path_of(given, "save")
