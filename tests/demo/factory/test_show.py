"""The page that shows base and adapters beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_magic import demo
from lora_magic.demo.factory import adapters, measure, show
from lora_magic.demo.texts import tasks
from lora_magic.errors import BaseModelError


def _found() -> dict[str, tuple[measure.Answered, ...]]:
    asked = tasks.shown(2)
    return {
        name: tuple(measure.Answered(q, f"{name} on {i}\n" + "long " * 40, True) for i, q in pairs)
        for name in ("base", "json")
        for pairs in [list(enumerate(asked))]
    }


@pytest.mark.parametrize(("width", "beside"), [(20, 1), (59, 1), (60, 2), (200, 2)])
def test_each_prompt_has_its_answers_side_by_side(width: int, beside: int) -> None:
    text = show.page(_found(), width)
    columns = [line for line in text.splitlines() if not line.startswith("»")]
    assert max(map(len, columns)) <= width
    for place, question in enumerate(tasks.shown(2)):
        lines = text.split("» ")[place + 1].splitlines()
        assert lines[0] == question.prompt
        heads = [line.split() for line in lines if line.isupper()]
        assert heads == ([["BASE", "JSON"]] if beside == 2 else [["BASE"], ["JSON"]])
        for name in ("base", "json"):
            assert f"{name} on {place}" in text
        both = any(f"base on {place}" in line and f"json on {place}" in line for line in lines)
        assert both == (beside == 2)
        # Nothing of an answer is lost in the columns.
        assert sum(line.split().count("long") for line in lines) == 80


def test_the_file_holds_every_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "answers", lambda weights: _found())
    show.main(["--json", str(tmp_path / "x.json")])
    record = json.loads((tmp_path / "x.json").read_text())
    assert record["weights"] in (demo.WEIGHTS / "SHA256SUMS").read_text()
    assert [(row["adapter"], row["text"].split("\n")[0]) for row in record["answers"]] == [
        ("base", "base on 0"),
        ("base", "base on 1"),
        ("json", "json on 0"),
        ("json", "json on 1"),
    ]
    assert "» " in capsys.readouterr().out


def test_twenty_prompts_and_six_adapters() -> None:
    assert show.PROMPTS == len(set(tasks.shown(show.PROMPTS))) == 20
    assert len(demo.ADAPTERS) == 6
    assert set(demo.ADAPTERS) <= set(tasks.TASKS)
    assert adapters.ROWS == 150


def test_a_folder_that_is_not_there_is_reported_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        show.main(["--json", str(tmp_path / "none" / "x.json")])
    assert "there is no folder" in capsys.readouterr().err
    with pytest.raises(BaseModelError, match="no weights in"):
        show.main(["--weights", str(tmp_path)])
