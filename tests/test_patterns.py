"""Patterns from files: what they match, and that they end."""

from __future__ import annotations

import re
import time

import pytest

from lora_magic import patterns
from lora_magic.patterns import PatternError, matching

PATHS = [f"model.layers.{layer}.self_attn.{name}" for layer in range(8) for name in "qkvo"]


@pytest.mark.parametrize(
    "pattern", [r".*\.[qv]", r"(.*\.)?(layers\.0\.self_attn\.q)", "model", "", r".*layers\.\d+.*"]
)
def test_it_matches_as_the_standard_library_does(pattern: str) -> None:
    assert matching(pattern, PATHS) == [path for path in PATHS if re.fullmatch(pattern, path)]


@pytest.mark.parametrize(
    "pattern", [r"(\w|\.|\w\w)+(?<=\d\d\d)", r"(.+)(.+)(.+)(.+)(.+)\5\4\3\2\1"]
)
def test_a_pattern_that_takes_exponential_time_ends(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "LIMIT", 0.05)
    texts = ["model.layers.0.self_attn.q_proj.and.more.of.it" * 20] * 1000
    began = time.monotonic()
    with pytest.raises(PatternError, match="more than"):
        matching(pattern, texts)
    assert time.monotonic() - began < 60, "it ended, where re would run for ever"


@pytest.mark.parametrize("pattern", ["(((", "[", "(?P<a>x)(?P<a", "a{99999999999999999999}"])
def test_an_invalid_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError, match=r"invalid|repeats too often"):
        matching(pattern, PATHS)
