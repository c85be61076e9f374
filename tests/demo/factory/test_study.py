"""The study of shapes gives each the same time, and says what it ran on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_magic.demo.factory import corpus, study, vocabulary
from lora_magic.errors import TrainingError


def test_twice_the_time_buys_twice_the_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(0, 1000, 8))
    monkeypatch.setattr(study, "Run", lambda plan, work: None)
    monkeypatch.setattr(study, "train", lambda run, every, stop: None)
    monkeypatch.setattr(study.time, "process_time", lambda: next(clock))
    # Forty steps take eight seconds of this clock.
    assert study.steps_within("192x4", 80) == 400
    assert study.steps_within("192x4", 160) == 800


def test_a_shape_is_trained_to_its_end_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(study.SHAPES, "tiny", (32, 1, 2, 48))
    monkeypatch.setattr(study, "steps_within", lambda name, seconds: 8)
    plain = study.train
    monkeypatch.setattr(study, "train", lambda run, every: plain(run, every, compiled=False))
    (tmp_path / "tiny").mkdir()
    tokenizer = vocabulary.train_tokenizer(0, documents_read=500)
    tokenizer.save(str(tmp_path / "tiny" / "tokenizer.json"))
    study.main(["--shapes", "tiny", "--work", str(tmp_path)])
    result = json.loads((tmp_path / "tiny.json").read_text())
    assert result["steps"] == 8
    assert [point["step"] for point in result["curve"]] == list(range(1, 9))
    assert result["corpus"] == corpus.fingerprint(0)
    with pytest.raises(TrainingError, match="already holds a run"):
        study.main(["--shapes", "tiny", "--work", str(tmp_path)])
    assert result["parameters"] == 3072 * 32 + 4 * 32 * 32 + 3 * 32 * 48 + 3 * 32


def test_no_plan_is_larger_than_what_may_ship() -> None:
    for name, (hidden, layers, heads, inner) in study.SHAPES.items():
        parameters = 3072 * hidden + layers * (4 * hidden**2 + 3 * hidden * inner)
        assert 2 * parameters < 11_700_000, name
        assert hidden % heads == 0
