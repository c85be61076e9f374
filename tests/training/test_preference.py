"""Preferences: the loss against TRL's, the pairs, and what a run of them reports."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lora_magic.data.row import Message, Row
from lora_magic.errors import CommandError, DataError
from lora_magic.state.session import Session
from lora_magic.training.encode import IGNORED, Encoded
from lora_magic.training.preference import are_preferences, encode_preferences
from lora_magic.training.run import run
from lora_magic.training.spec import TrainSpec
from tests.training.adapted import FORM, TOKENIZER, adapted, trainable

ROWS = [
    Row(f"What is {n}?", "It is " + "arr, " * (1 + n), line=n + 1, rejected="No " * (6 - n) + "!")
    for n in range(5)
]


def pairs(rows: list[Row] = ROWS, max_length: int = 128) -> Encoded:
    return encode_preferences(rows, TOKENIZER, FORM, max_length)


def spec(passes: int = 1, **more: Any) -> TrainSpec:
    given = {
        "steps": 6,
        "epochs": 6.0,
        "learning_rate": 0.02,
        "batch_size": 5,
        "accumulation": passes,
        "max_length": 128,
        "seed": 0,
        "eval": 0,
        "beta": 0.3,
    }
    return TrainSpec(**{**given, **more})


def vector(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainable(model)])


def trl_run(model: nn.Module, settings: TrainSpec, folder: Path) -> list[float]:
    """TRL's own run on the same pairs, all of them in each step; its losses."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Tokenized(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *args: Any, **rest: Any) -> Any:
            return dataset

    def ids(example: Any) -> tuple[list[int], list[int]]:
        asked = sum(label == IGNORED for label in example.labels)
        return list(example.tokens[:asked]), list(example.tokens[asked:])

    rows = [
        {"prompt_ids": asked, "chosen_ids": chosen, "rejected_ids": ids(example.rejected)[1]}
        for example in pairs().examples
        for asked, chosen in [ids(example)]
    ]
    optimizer = torch.optim.AdamW(trainable(model), lr=settings.learning_rate, weight_decay=0.0)
    trainer = Tokenized(
        model=model,
        ref_model=copy.deepcopy(model),
        args=DPOConfig(
            output_dir=str(folder),
            beta=settings.beta,
            per_device_train_batch_size=5,
            max_steps=settings.steps,
            max_grad_norm=1.0,
            report_to=[],
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            disable_tqdm=True,
            max_length=None,
            gradient_checkpointing=False,
            remove_unused_columns=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=TOKENIZER,
        optimizers=(
            optimizer,
            torch.optim.lr_scheduler.LambdaLR(optimizer, settings.rate),
        ),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.filterwarnings("ignore")  # of TRL's and the libraries that it imports
def test_a_run_equals_trl_s(passes: int, tmp_path: Path) -> None:
    model = adapted()
    twin = copy.deepcopy(model)
    start = vector(model)
    summary = run("a", model, TOKENIZER, pairs(), spec(passes))
    assert list(summary.losses) == pytest.approx(trl_run(twin, spec(), tmp_path), abs=1e-6)
    far = (vector(model) - vector(twin)).norm() / (vector(twin) - start).norm()
    assert float(far) < 1e-5


def test_the_first_loss_is_that_of_a_coin() -> None:
    """The adapter is its own reference."""
    summary = run("a", adapted(), TOKENIZER, pairs(), spec())
    assert summary.losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert summary.losses[-1] < summary.losses[0]


def test_held_out_pairs_are_counted_by_which_answer_became_likelier() -> None:
    summary = run("a", adapted(), TOKENIZER, pairs(), spec(eval=2, batch_size=3))
    assert summary.held_out_before == pytest.approx(math.log(2), abs=1e-6)
    assert summary.preferred in (0.0, 0.5, 1.0)
    assert summary.examples == 3
    assert "of the held-out pairs, 3 pairs" in summary.line
    assert dict(summary.facts)["β"] == "0.3"


def test_the_dropout_of_the_run_is_not_in_the_reference() -> None:
    with_dropout = adapted(dropout=0.5)
    summary = run("a", with_dropout, TOKENIZER, pairs(), spec(eval=2, batch_size=3))
    assert summary.held_out_before == pytest.approx(math.log(2), abs=1e-6)


def test_a_pair_has_one_prompt_and_two_answers() -> None:
    for row, example in zip(ROWS, pairs().examples, strict=True):
        assert example.rejected is not None
        asked = FORM.encode(TOKENIZER, row.prompt or "")
        for one, answer in ((example, row.completion), (example.rejected, row.rejected)):
            trained = [label for label in one.labels if label != IGNORED]
            assert list(one.tokens) == asked + trained
            assert TOKENIZER.decode(trained[:-1]) == answer
            assert trained[-1] == FORM.end_token_id


def test_in_a_conversation_only_the_last_answer_is_a_pair() -> None:
    turns = tuple(
        Message(role, text)
        for role, text in (("user", "hi"), ("assistant", "yo"), ("user", "so?"), ("assistant", "A"))
    )
    (example,) = pairs([Row(None, "A", turns, rejected="B")]).examples
    assert example.rejected is not None
    trained = [
        TOKENIZER.decode([label for label in one.labels if label != IGNORED][:-1])
        for one in (example, example.rejected)
    ]
    assert trained == ["A", "B"]
    assert "yo" in TOKENIZER.decode(example.tokens)


def test_a_pair_with_an_empty_side_is_left_out() -> None:
    found = pairs([*ROWS, Row("q", "a", line=6, rejected=" "), Row("q", "", line=7, rejected="b")])
    assert len(found.examples) == len(ROWS)
    assert found.empty + found.full == 2


def test_the_hash_covers_the_rejected_answers() -> None:
    other = [replace(ROWS[0], rejected="Something else."), *ROWS[1:]]
    assert pairs(other).data_hash != pairs().data_hash


def test_equal_answers_are_refused_with_their_rows() -> None:
    with pytest.raises(DataError, match="row 2: chosen and rejected are the same"):
        pairs([ROWS[0], Row("q", "same", line=2, rejected="same")])


def test_some_rows_without_a_rejected_answer_are_refused_with_their_numbers() -> None:
    with pytest.raises(DataError, match="row 9: no rejected answer, but other rows have one"):
        are_preferences([*ROWS, Row("q", "a", line=9)])
    assert are_preferences(ROWS)
    assert not are_preferences([Row("q", "a")])


def test_beta_belongs_to_preferences() -> None:
    session = Session()
    session.load("demo")
    session.attach("a", rank=2)
    with pytest.raises(CommandError, match=r"--beta 0.2 is for preferences"):
        session.train("a", [("q", "a")], steps=1, beta=0.2)
    for beta in (0, -1, math.inf, True):
        with pytest.raises(CommandError, match="--beta"):
            session.train("a", ROWS, steps=1, beta=beta)
    session.reset()


def test_a_session_prefers_on_top_of_a_trained_adapter() -> None:
    """With --continue the reference is the adapter as it was trained, not the base."""
    session = Session()
    session.load("demo")
    session.attach("a", rank=2)
    session.train("a", [(row.prompt, row.completion) for row in ROWS], steps=5)
    session.train("a", ROWS, steps=3, continue_=True)
    summary = session.train("a", ROWS, steps=3, continue_=True)
    assert summary.losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert session.adapters["a"].history.steps == 11
    assert session.verify()
    session.reset()


def test_a_preview_shows_both_answers() -> None:
    session = Session()
    session.load("demo")
    preview = session.preview(None, ROWS, rows=2)
    assert [row.rejected for row in preview.rows] == [False, True, False, True]
    assert [row.number for row in preview.rows] == [1, 1, 2, 2]
    texts = ["".join(token.text for token in row.tokens if token.trained) for row in preview.rows]
    assert "arr" in texts[0]
    assert "No" in texts[1]
    assert "row 1 (rejected)" in repr(preview)
    session.reset()
