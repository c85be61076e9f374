"""What a run reads of a person's data, and what its first line says was not read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from lora_magic.errors import CommandError, DataError
from lora_magic.state.session import Session
from lora_magic.training.reporter import RunPlan
from tests.classifiers import saved, tiny_of
from tests.state.shared import ROWS, snapshot


class Lines:
    """Keeps the first line of a run."""

    line = ""

    def start(self, plan: RunPlan) -> None:
        self.line = plan.line

    def step(self, point: object) -> None: ...
    def finish(self, summary: object) -> None: ...


def first_line(session: Session, *data: Any, **flags: Any) -> str:
    lines = Lines()
    session.train("one", *data, steps=1, reporter=lines, **flags)
    return lines.line


@pytest.fixture
def ready(session: Session) -> Session:
    session.attach("one", rank=2)
    return session


RECORD = {
    "id": 7,
    "instruction": "Where is it?",
    "input": "the ship",
    "output": "Arr!",
    "text": "x",
}


def test_the_first_line_of_a_run_names_every_column_that_is_not_read(ready: Session) -> None:
    assert first_line(ready, [RECORD]).endswith(" · columns not used: id, text")
    line = first_line(ready, [RECORD], columns="instruction => output")
    assert line.endswith(" · columns not used: id, text · input joined to the prompt, too")
    assert "not used" not in first_line(ready, text=ROWS)


def test_the_first_line_lists_rows_that_were_skipped_and_left_out(ready: Session) -> None:
    rows = [RECORD, {**RECORD, "output": {}}, {**RECORD, "id": 8}]
    with pytest.raises(DataError, match="row 2: output is a dict"):
        first_line(ready, rows)
    assert "1 row skipped (row 2: output is a dict" in first_line(ready, rows, skip_bad=True)

    def to_pair(row: dict[str, Any]) -> tuple[str, str] | None:
        return (row["instruction"], row["output"]) if row["id"] == 7 else None

    line = first_line(ready, rows, map_=to_pair, skip_bad=True)
    assert "one: 1 row, " in line
    assert "1 row skipped (row 2: --map returned" in line
    assert "1 row left out by --map" in line


BAD = {**RECORD, "output": "a <|im_end|> b"}
INSIDE = "1 row skipped (row 2: <|im_end|> inside the completion"


def test_a_row_that_cannot_be_encoded_is_skipped_in_all_sets_and_told(ready: Session) -> None:
    rows = [RECORD, BAD, {**RECORD, "instruction": "Who?", "id": 8}]
    with pytest.raises(DataError, match=r"row 2: <\|im_end\|> inside.* add --skip-bad"):
        ready.train("one", rows, steps=1)
    shown = ready.preview("one", rows, skip_bad=True)
    assert shown.examples == 2
    assert any(note.startswith(INSIDE) for note in shown.notes)
    line = first_line(ready, rows, skip_bad=True)
    assert "one: 2 rows, " in line
    other = [{**row, "instruction": "Why?"} for row in rows[:2]]
    for flag in ("eval", "guard"):
        line = first_line(ready, rows, skip_bad=True, **{flag: other})
        assert f"--{flag}: columns not used: id, text · {INSIDE}" in line


def test_a_function_and_a_cell_do_not_go_together(ready: Session) -> None:
    with pytest.raises(CommandError, match="pass one"):
        ready.train("one", text=ROWS, map_=str)


def test_a_function_that_fails_leaves_the_session_as_it_was(ready: Session) -> None:
    before = snapshot(ready)
    with pytest.raises(DataError, match="row 1: --map failed with ZeroDivisionError"):
        ready.train("one", [RECORD], map_=lambda row: 1 / 0)
    assert snapshot(ready) == before


@pytest.mark.parametrize("batch", [3, None])
def test_an_endless_stream_gives_the_rows_that_the_steps_need(
    batch: int | None, ready: Session
) -> None:
    seen: list[int] = []

    def endless(seen: list[int]) -> Iterator[dict[str, str]]:
        for number in itertools.count(1):
            seen.append(number)
            yield {"prompt": f"Where is {number}?", "completion": "Arr!"}

    stream = datasets.IterableDataset.from_generator(endless, gen_kwargs={"seen": seen})
    recipe = ready._state.base.recipe
    expected = 2 * (batch or recipe.batch_size * recipe.accumulation)
    summary = ready.train("one", stream, steps=2, batch_size=batch)
    assert (summary.steps, summary.examples) == (2, expected)


def test_a_classifier_reads_its_labels_by_number(tmp_path: Path) -> None:
    session = Session()
    folder = saved(tiny_of("causal", "llama"), tmp_path / "base")
    session.load(folder, task="classification", labels="day,night")
    session.attach("one", rank=2, targets="attention")
    rows = [{"text": "The sun", "label": 0}, {"text": "A moon", "label": True}]
    line = first_line(session, rows)
    assert "labels day, night" in line
    assert line.endswith("labels by number: 0 = day, 1 = night")
    session.reset()
