"""The 140 answers that two readers judged are the shipped weights', and few of them fail."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from lora_magic import demo
from lora_magic.demo.judge import judge
from lora_magic.demo.texts import tasks

READING = Path(__file__).parent / "reading"
READERS = ("first", "second")
MOST = 12
BASE_FORMS = {"plain", "negative", "positive"}


@pytest.fixture(scope="module")
def answers() -> list[dict[str, str]]:
    record: dict[str, Any] = json.loads((READING / "answers.json").read_text(encoding="utf-8"))
    # What was read was written by the weights that ship.
    assert record["weights"] in (demo.WEIGHTS / "SHA256SUMS").read_text()
    found: list[dict[str, str]] = record["answers"]
    return found


def _sheet(reader: str) -> list[dict[str, str]]:
    with (READING / f"{reader}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _fails(row: dict[str, str], adapter: str) -> bool:
    """Whether a column of a sheet speaks against the answer."""
    marks = [row[column] for column in ("subject", "property", "grammar")]
    assert set(marks) <= {"yes", "no"}
    wanted = BASE_FORMS if adapter == "base" else {adapter}
    return "no" in marks or row["form"] not in wanted


def test_both_read_every_answer_to_every_prompt(answers: list[dict[str, str]]) -> None:
    names = ("base", *demo.ADAPTERS)
    prompts = [question.prompt for question in tasks.shown(20)]
    expected = [(prompt, name) for name in names for prompt in prompts]
    assert [(answer["prompt"], answer["adapter"]) for answer in answers] == expected
    for reader in READERS:
        assert [int(row["id"]) for row in _sheet(reader)] == list(range(1, 141))


def test_at_most_twelve_fail_where_one_reader_is_enough(answers: list[dict[str, str]]) -> None:
    failed = {
        int(row["id"])
        for reader in READERS
        for row in _sheet(reader)
        if _fails(row, answers[int(row["id"]) - 1]["adapter"])
    }
    assert len(failed) <= MOST, sorted(failed)


def test_the_judge_agrees_with_the_readers(answers: list[dict[str, str]]) -> None:
    asked = {question.prompt: question for question in tasks.shown(20)}
    for reader in READERS:
        agreed = sum(
            judge(asked[answer["prompt"]], answer["text"]).right
            == (row["subject"] == row["property"] == "yes")
            for answer, row in zip(answers, _sheet(reader), strict=True)
        )
        assert agreed >= 133, reader
