"""A pretraining run that is interrupted ends with the same weights, bit for bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lora_magic import demo
from lora_magic.demo.checksums import verify_checksums
from lora_magic.demo.factory import corpus, measure, pretrain, vocabulary, worded
from lora_magic.demo.factory.plan import SIZES, Plan
from lora_magic.demo.factory.run import Run, loss_of, train, validation
from lora_magic.demo.texts import split
from lora_magic.errors import TrainingError

TINY = Plan(
    steps=6, hidden=32, layers=1, heads=2, inner=48, rows=2, length=64, shard_steps=2, judged=2
)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    work = tmp_path_factory.mktemp("straight")
    # A small vocabulary's training text: the real one takes ten seconds.
    vocabulary.train_tokenizer(0, documents_read=2000).save(str(work / "tokenizer.json"))
    run = Run(TINY, work)
    train(run, every=3, compiled=False)
    return run


def test_a_resumed_run_gives_the_weights_of_one_that_never_stopped(
    straight: Run, tmp_path: Path
) -> None:
    shutil.copy(straight.work / "tokenizer.json", tmp_path)
    stopped = Run(TINY, tmp_path)
    stopped.start_session()
    train(stopped, every=3, stop=3, compiled=False)
    resumed = Run(TINY, tmp_path)
    assert resumed.step == 3
    assert resumed.sessions == stopped.sessions
    train(resumed, every=3, compiled=False)
    for name, tensor in straight.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert resumed.tokens == straight.tokens
    assert [point.step for point in resumed.curve] == [3, 6]


def test_a_checkpoint_of_another_plan_is_refused(straight: Run) -> None:
    with pytest.raises(TrainingError, match="--work"):
        Run(replace(TINY, hidden=64), straight.work)


def test_a_checkpoint_of_other_texts_is_refused(
    straight: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "fingerprint", lambda seed: "other")
    with pytest.raises(TrainingError, match="other texts"):
        Run(TINY, straight.work)


def test_a_pause_keeps_every_step(straight: Run, tmp_path: Path) -> None:
    shutil.copy(straight.work / "tokenizer.json", tmp_path)
    paused = Run(TINY, tmp_path)
    train(paused, every=100, stop=4, compiled=False)
    again = Run(TINY, tmp_path)
    assert again.step == 4
    assert again.smooth == paused.smooth


def test_only_the_run_that_ships_writes_over_what_ships(tmp_path: Path) -> None:
    assert pretrain.flags_of([]).out == demo.WEIGHTS
    for typed in (["--steps", "100"], ["--size", "larger"], ["--work", "x", "--steps", "9"]):
        flags = pretrain.flags_of(typed)
        assert flags.out == flags.work / "weights"
    assert pretrain.flags_of(["--out", str(tmp_path)]).out == tmp_path


@pytest.mark.parametrize("typed", [["--steps", "0"], ["--every", "0"], ["--stop", "-3"]])
def test_flags_that_make_no_run_are_refused(
    typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        pretrain.flags_of(typed)
    assert "expected 1 or more" in capsys.readouterr().err


def test_the_command_pauses_goes_on_and_writes(
    straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pretrain.SIZES, "shipped", TINY)
    plain = pretrain.train
    monkeypatch.setattr(pretrain, "train", lambda *a, **k: plain(*a, **{**k, "compiled": False}))
    monkeypatch.setattr(pretrain.probe, "test_questions", lambda: validation(4))
    (tmp_path / "work").mkdir()
    shutil.copy(straight.work / "tokenizer.json", tmp_path / "work")
    typed = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), "--every", "3"]
    pretrain.main([*typed, "--stop", "2"])
    assert not (tmp_path / "out").exists()
    pretrain.main(typed)
    verify_checksums(tmp_path / "out")
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["command"] == "python -m lora_magic.demo.factory.pretrain --threads 2"
    assert [session["from_step"] for session in record["sessions"]] == [0, 2]
    assert record["test"]["prompts"] == 4
    with pytest.raises(SystemExit, match="already at step 6"):
        pretrain.main([*typed, "--steps", "5"])


def test_fewer_steps_than_planned_end_with_a_measured_score(straight: Run, tmp_path: Path) -> None:
    shutil.copy(straight.work / "tokenizer.json", tmp_path)
    train(Run(TINY, tmp_path), every=100, stop=4, compiled=False)
    shortened = Run(replace(TINY, steps=4), tmp_path)
    train(shortened, every=100, compiled=False)
    assert [point.step for point in shortened.curve] == [4]
    assert shortened.best
    assert Run(replace(TINY, steps=4), tmp_path).best


def test_a_run_of_several_plans_does_not_write_over_what_ships(
    straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pretrain.SIZES, "shipped", TINY)
    monkeypatch.setattr(demo, "WEIGHTS", tmp_path / "shipped")
    shutil.copy(straight.work / "tokenizer.json", tmp_path)
    typed = ["--work", str(tmp_path), "--eager"]
    pretrain.main([*typed, "--steps", "20", "--stop", "2", "--out", str(tmp_path / "out")])
    with pytest.raises(TrainingError, match="planned for 20 steps"):
        pretrain.main(typed)
    assert not (tmp_path / "shipped").exists()


def test_a_vocabulary_of_other_texts_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        vocabulary,
        "train_tokenizer",
        partial(vocabulary.train_tokenizer, documents_read=200),
    )
    Run(TINY, tmp_path)
    first = (tmp_path / "tokenizer.json").stat().st_mtime_ns
    Run(TINY, tmp_path)
    assert (tmp_path / "tokenizer.json").stat().st_mtime_ns == first
    monkeypatch.setattr(corpus, "fingerprint", lambda seed: "other")
    Run(TINY, tmp_path)
    assert (tmp_path / "tokenizer.json").stat().st_mtime_ns > first


def test_weights_go_to_a_folder_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "note").write_text("mine")
    for folder in (tmp_path, tmp_path / "note"):
        with pytest.raises(SystemExit):
            pretrain.flags_of(["--out", str(folder)])
        assert "expected a folder" in capsys.readouterr().err
    (tmp_path / "new").mkdir()
    assert pretrain.flags_of(["--out", str(tmp_path / "new")]).out == tmp_path / "new"


def test_training_lowers_the_loss(straight: Run, tmp_path: Path) -> None:
    shutil.copy(straight.work / "tokenizer.json", tmp_path)
    run = Run(replace(TINY, steps=61, warmup=4, shard_steps=61), tmp_path)
    first = loss_of(run.model, run.batch()).item()
    train(run, every=100, stop=60, compiled=False)
    run.step = 0
    assert loss_of(run.model, run.batch()).item() < first - 1


def test_the_rate_warms_up_stays_and_falls_to_a_fiftieth() -> None:
    plan = Plan(steps=1000, warmup=10, steady=0.4)
    assert plan.factor(0) == pytest.approx(0.1)
    assert {plan.factor(step) for step in range(10, 400)} == {1.0}
    assert plan.factor(700) == pytest.approx(0.5)
    assert plan.factor(999) == pytest.approx(0.02)
    falling = [plan.factor(step) for step in range(400, 1000)]
    assert falling == sorted(falling, reverse=True)


def test_validation_prompts_are_of_the_validation_split_and_have_a_right_answer() -> None:
    asked = validation(100)
    assert len(set(asked)) == 100
    assert all(split.split_of(question) == "validation" for question in asked[:25])
    assert {*asked[25:]} == {*worded.questions("validation", 75)}
    assert all(measure.has_right_answer(question) for question in asked)
    assert 15 < sum(question.family == "unknown" for question in asked) < 30


def test_what_is_written_is_loaded_by_transformers_and_verified(
    straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain.probe, "test_questions", lambda: validation(4))
    pretrain.write(straight, tmp_path, "a command")
    verify_checksums(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(str(tmp_path), dtype="auto")
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, straight.best[name].to(torch.bfloat16)), name
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert AutoTokenizer.from_pretrained(str(tmp_path)).eos_token == corpus.END
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["steps"] == 6
    assert record["tokens"] == straight.tokens
    assert [point["step"] for point in record["curve"]] == [3, 6]
    larger = json.loads((tmp_path / "larger.json").read_text())
    assert Plan(**larger["plan"]) == SIZES["larger"]
    # Embeddings once, since they are tied; per layer four of h × h, three of h × f, two norms.
    hidden, inner, layers = 512, 1408, 9
    each = 4 * hidden**2 + 3 * hidden * inner + 2 * hidden
    assert larger["parameters"] == 3072 * hidden + layers * each + hidden == 30_483_968
    assert ElementTree.parse(tmp_path / "record.svg").getroot().tag.endswith("svg")
