"""Rows of a text and its label: read, encoded, trained on, and counted right."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pandas
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lora_magic.base.recipe import SMALL
from lora_magic.data.row import Row
from lora_magic.data.rows import read_text
from lora_magic.data.sources import read_data
from lora_magic.errors import DataError
from lora_magic.numbers import percent
from lora_magic.training import batches
from lora_magic.training.batches import collate
from lora_magic.training.encode import Encoded, Example, encode_labelled
from lora_magic.training.run import run
from lora_magic.training.spec import TrainSpec, plan
from lora_magic.training.summary import Accuracy
from tests.classifiers import CLASSIFIERS, closing_tokenizer, tiny_classifier
from tests.tiny import tiny_tokenizer
from tests.training.adapted import trainable, weights

TOKENIZER = tiny_tokenizer()
LABELS = ("no", "so-so", "yes")
PAD = 3

#: Of very different lengths, so that padding and a mean over tokens would show.
ROWS = tuple(
    Row("The fox " + "eats mice and berries " * (number % 4) + str(number), LABELS[number % 3])
    for number in range(11)
)


def encoded(rows: Sequence[Row] = ROWS, max_length: int = 128) -> Encoded:
    return encode_labelled(rows, TOKENIZER, LABELS, max_length)


def headed(architecture: str, seed: int = 0) -> Any:
    """A classifier of which the head and the last block are trained."""
    model = tiny_classifier(architecture, 3, seed).requires_grad_(False)
    for name, parameter in model.named_parameters():
        last = any(part in name for part in ("layer.1.", "layers.1.", "h.1."))
        parameter.requires_grad_(last or name.startswith(("classifier", "score")))
    return model


def spec_of(steps: int = 4, batch: int = 4, passes: int = 1, **flags: float) -> TrainSpec:
    recipe = SMALL._replace(batch_size=-(-batch // passes), learning_rate=1e-2)
    return plan(recipe, len(ROWS), steps=steps, batch_size=batch, max_length=128, **flags)


def logits_of(model: Any, example: Example) -> Tensor:
    """One row's logits, read alone: no padding, no mask."""
    found: Tensor = model(input_ids=torch.tensor([example.tokens])).logits[0]
    return found


def example_mean(model: Any, examples: Sequence[Example]) -> Tensor:
    logits = torch.stack([logits_of(model, example) for example in examples])
    labels = torch.tensor([LABELS.index(ROWS[example.row].completion) for example in examples])
    return cross_entropy(logits, labels)


def bare_loop(model: Any, examples: Sequence[Example], spec: TrainSpec) -> list[float]:
    """What a run has to do, without a Trainer, padding or passes."""
    optimizer = torch.optim.AdamW(trainable(model), lr=spec.learning_rate, weight_decay=0.0)
    losses = []
    for number, step in enumerate(batches.steps(len(examples), spec)):
        optimizer.param_groups[0]["lr"] = spec.learning_rate * spec.rate(number)
        loss = example_mean(model, [examples[index] for index in chain.from_iterable(step)])
        loss.backward()
        nn.utils.clip_grad_norm_(trainable(model), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def test_a_cell_holds_lines_or_objects_of_a_text_and_its_label() -> None:
    lines = read_text("It was grand => yes\nIt was bad => no", labelled=True)
    objects = [{"text": "It was grand", "label": "yes"}, {"text": "It was bad", "label": "no"}]
    typed = read_text("\n".join(map(json.dumps, objects)), labelled=True)
    framed = read_data(pandas.DataFrame(objects), labelled=True)
    listed = read_data([("It was grand", "yes"), ("It was bad", "no")], labelled=True)
    assert lines == typed == framed == listed
    assert [(row.prompt, row.completion) for row in lines] == [
        ("It was grand", "yes"),
        ("It was bad", "no"),
    ]


def test_columns_are_named_where_their_names_do_not_say_it(tmp_path: Any) -> None:
    frame = pandas.DataFrame({"mail": ["Hi", "Buy!"], "spam": [0, 1]})
    with pytest.raises(DataError, match=r'expected text and label.*--columns "mail => spam"'):
        read_data(frame, labelled=True)
    rows = read_data(frame, columns="mail => spam", labelled=True)
    assert [(row.prompt, row.completion) for row in rows] == [("Hi", "0"), ("Buy!", "1")]
    frame.rename(columns={"mail": "Text", "spam": "label"}).to_csv(tmp_path / "r.csv", index=False)
    again = read_data(tmp_path / "r.csv", labelled=True)
    assert [(row.prompt, row.completion) for row in again] == [("Hi", "0"), ("Buy!", "1")]


def test_a_column_named_label_beside_a_text_means_nothing_to_a_model_that_writes() -> None:
    (row,) = read_data([{"text": "It was grand", "label": "yes"}])
    assert (row.prompt, row.completion) == (None, "It was grand")


def test_an_object_without_a_label_is_told_with_the_fields_expected() -> None:
    with pytest.raises(DataError, match=r"line 1: fields text, lable, not text and label.*label"):
        read_text('{"text": "It was grand", "lable": "yes"}', labelled=True)


def test_unknown_labels_are_refused_with_rows_near_misses_and_the_labels_there_are() -> None:
    rows = [Row("a", "yes", line=1), Row("b", "Yes", line=4), Row("c", "maybe", line=7)]
    with pytest.raises(DataError) as seen:
        encoded([*rows, Row(None, "only a text", line=9)])
    told = str(seen.value)
    assert "row 4: unknown label 'Yes' (Did you mean 'yes'?); row 7" in told
    assert "row 7: unknown label 'maybe'" in told
    assert "row 9: a text without a label" in told
    assert "no, so-so, yes" in told
    assert "row 1:" not in told


def test_an_example_is_the_tokenizers_tokens_and_the_place_of_the_label() -> None:
    data = encoded()
    assert [e.tokens for e in data.examples] == [
        tuple(TOKENIZER(row.prompt)["input_ids"]) for row in ROWS
    ]
    assert [e.label for e in data.examples] == [number % 3 for number in range(11)]
    assert (data.classes, data.cut, data.empty) == (LABELS, 0, 0)
    assert [example.trained for example in data.examples] == [1] * 11


def test_a_long_text_loses_its_end_but_not_the_special_tokens() -> None:
    tokenizer = closing_tokenizer()
    whole = tokenizer("The fox " * 30)["input_ids"]
    data = encode_labelled([Row("The fox " * 30, "no"), Row("Hi", "yes")], tokenizer, LABELS, 12)
    assert data.cut == 1
    assert data.examples[0].tokens == (*whole[:11], whole[-1])
    assert data.examples[1].tokens == tuple(tokenizer("Hi")["input_ids"])


def test_rows_without_a_text_or_label_are_counted_and_left_out() -> None:
    data = encoded([Row("", "no"), Row("a", ""), Row("b", " yes ")])
    assert (data.empty, [e.row for e in data.examples]) == (2, [2])
    with pytest.raises(DataError, match="no label in rows 1, 2"):
        encoded([Row("", "no"), Row("a", "")])


def test_a_batch_has_one_label_a_row() -> None:
    data = encoded()
    batch = collate(data.examples[:3], PAD)
    assert batch["labels"].tolist() == [0, 1, 2]
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    lengths = [len(example.tokens) for example in data.examples[:3]]
    assert batch["attention_mask"].sum(1).tolist() == lengths


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_padding_does_not_change_a_rows_probabilities(architecture: str) -> None:
    model, data = tiny_classifier(architecture, 3), encoded()
    batch = collate(data.examples, PAD)
    assert int(batch["attention_mask"].sum(1).min()) < batch["input_ids"].shape[1] / 2
    with torch.no_grad():
        together = model(**batch).logits.softmax(-1)
        alone = torch.stack([logits_of(model, e).softmax(-1) for e in data.examples])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_losses_and_weights_are_those_of_a_bare_loop(architecture: str, passes: int) -> None:
    """Five examples in three passes are two, two and one: a mean of means would be off."""
    data, spec = encoded(), spec_of(steps=6, batch=5, passes=passes)
    # In float64: AdamW makes steps of the rounding where a gradient is zero, as of a key's bias.
    ours, theirs = headed(architecture).double(), headed(architecture).double()
    summary = run("mood", ours, TOKENIZER, data, spec)
    wanted = bare_loop(theirs, data.examples, spec)
    assert summary.losses == pytest.approx(wanted, abs=1e-6)
    assert wanted[-1] != pytest.approx(wanted[0], abs=1e-2)
    for name, tensor in weights(theirs).items():
        torch.testing.assert_close(weights(ours)[name], tensor, atol=1e-6, rtol=0)


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_the_models_own_padding_token_is_used_and_not_the_tokenizers(architecture: str) -> None:
    model = tiny_classifier(architecture, 3)
    model.config.pad_token_id = 9
    if architecture == "roberta":  # It counts positions from its padding token, fixed when made.
        model = tiny_classifier(architecture, 3, pad_token_id=9, max_position_embeddings=138)
    data, spec = encoded(), spec_of(steps=1, batch=11)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(("classifier", "score")))
    wanted = float(example_mean(model, data.examples).detach())
    (loss,) = run("mood", model, TOKENIZER, data, spec).losses
    assert loss == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_accuracy_by_label_is_a_hand_count_on_the_held_out_rows(architecture: str) -> None:
    model, data = headed(architecture), encoded()
    before = copy.deepcopy(model)
    spec = spec_of(steps=12, batch=4, eval=5)
    summary = run("mood", model, TOKENIZER, data, spec)
    _, held = batches.split(data.examples, spec)
    assert len(held) == summary.held_out == 5
    for seen, found in ((before, summary.accuracy_before), (model, summary.accuracy_after)):
        assert found is not None
        right = dict.fromkeys(LABELS, 0)
        total = dict.fromkeys(LABELS, 0)
        with torch.no_grad():
            for example in held:
                true = ROWS[example.row].completion
                given = LABELS[int(logits_of(seen, example).argmax())]
                total[true] += 1
                right[true] += given == true
        assert found.right == tuple(right.values())
        assert found.total == tuple(total.values())
        assert found.overall == sum(right.values()) / 5
        for label in LABELS:
            share = right[label] / total[label] if total[label] else None
            assert found[label] == share
    with torch.no_grad():
        loss = float(example_mean(model, held))
    assert summary.held_out_after == pytest.approx(loss, abs=2e-5)


def test_accuracy_of_a_label_without_examples_is_none_and_not_zero() -> None:
    found = Accuracy.of(("a", "b", "c"), [(0, 0), (0, 1), (1, 1), (0, 0)])
    assert (found.right, found.total) == ((2, 1, 0), (3, 1, 0))
    assert found.overall == 0.75
    assert (found["a"], found["b"], found["c"]) == (2 / 3, 1.0, None)
    frame = found.to_frame()
    assert list(frame.columns) == ["label", "right", "total", "accuracy"]
    assert frame["accuracy"].isna().tolist() == [False, False, True]


def test_a_summary_tells_the_accuracy_and_counts_no_tokens() -> None:
    summary = run("mood", headed("bert"), TOKENIZER, encoded(), spec_of(steps=2, eval=4))
    before, after = summary.accuracy_before, summary.accuracy_after
    assert before is not None
    assert after is not None
    told = f"accuracy {percent(before.overall)} → {percent(after.overall)}"
    assert told in summary.line
    facts = dict(summary.facts)
    assert {f"accuracy of {label}" for label in LABELS} <= set(facts)
    assert facts["accuracy of no"].endswith(f" of {after.total[0]}")
    assert "token" not in summary.line
    assert not any("token" in name for name in facts)
    bundle = summary._repr_mimebundle_()
    assert told.replace("accuracy ", "") in str(bundle["text/html"])


def test_without_held_out_rows_there_is_no_accuracy() -> None:
    summary = run("mood", headed("bert"), TOKENIZER, encoded(), spec_of(steps=1))
    assert (summary.accuracy_before, summary.accuracy_after) == (None, None)
    assert "accuracy" not in summary.line
