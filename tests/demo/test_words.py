"""What the shipped weights answered to prompts in strangers' words, as two readers judged it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lora_magic import demo

WORDS = Path(__file__).parent / "words"
SIZES = {"inside": 100, "outside": 50, "yesno": 20}
READERS = ("first", "second")
#: The least answers that both readers find right, of the two sets that chose nothing. The aim
#: outside was 48.
LEAST = {"inside": 88, "outside": 45}
SHA256 = {
    "second": "7e899844f7cce5952712141e90796141b7150be309968e8559f800a1748f74af",
    "third": "e1836a7d97428751f44bc3a408a5f763176df2b2ab99c6add6f9ed3ba3235acf",
    "fourth": "7e7cc32d65ba59dab5d4bf1c96eaee26c9f981ed618925b4db072adb1e3da21b",
    "fifth": "cc74422088ce55fc7c2efe460ce79398f9c22212d06b8e2b2d66a7544fd56dcf",
}
ADDED = {"answer", *READERS}


def _sheet(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((WORDS / f"{name}.json").read_text("utf-8"))
    return found


def _is_right(row: dict[str, Any]) -> bool:
    """Whether both readers find it about its subject, true and readable."""
    return all(row[reader][mark] for reader in READERS for mark in ("subject", "true", "readable"))


@pytest.mark.parametrize("name", ["second", "fourth", "fifth"])
def test_both_read_every_answer_of_the_shipped_weights(name: str) -> None:
    sheet = _sheet(name)
    assert sheet["weights"] in (demo.WEIGHTS / "SHA256SUMS").read_text()
    for kind, size in SIZES.items():
        rows = sheet[kind]
        assert len({row["prompt"] for row in rows}) == len(rows) == size
        marks = (row[reader][mark] for row in rows for reader in READERS
                 for mark in ("subject", "true", "readable"))  # fmt: skip
        assert all(type(mark) is bool for mark in marks)


@pytest.mark.parametrize("name", SHA256)
def test_the_prompts_are_those_that_were_kept_aside(name: str) -> None:
    sheet = _sheet(name)
    prompts = {
        kind: [
            {key: value for key, value in row.items() if key not in ADDED} for row in sheet[kind]
        ]
        for kind in SIZES
    }
    written = json.dumps(prompts, indent=1)
    assert hashlib.sha256(written.encode()).hexdigest() == SHA256[name]


@pytest.mark.parametrize("name", ["fourth", "fifth"])
@pytest.mark.parametrize("kind", LEAST)
def test_what_chose_nothing_is_answered_and_declined(kind: str, name: str) -> None:
    right = sum(map(_is_right, _sheet(name)[kind]))
    assert right >= LEAST[kind]
