"""Labels side by side: the probabilities are softmax of the model's own logits, text by text."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from lora_magic.adapters.slots import Slots
from lora_magic.base.prompt import PromptForm
from lora_magic.compare.classify import (
    BROKEN,
    UNCHANGED,
    UNTRAINED,
    classify,
    compare,
    refuse_flags,
)
from lora_magic.compare.prediction import Classification, Prediction
from lora_magic.compare.stack import Variant
from lora_magic.errors import PromptError
from tests.classifiers import (
    CLASSIFIERS,
    closing_tokenizer,
    logits_alone,
    tiny_classifier,
)

TOKENIZER = closing_tokenizer()
FORM = PromptForm.of(TOKENIZER, "plain")
LABELS = ("no", "so-so", "yes")
TEXTS = ["What does a fox eat?", "Arr", "The quick brown fox jumps over the lazy dog."]
HEADS = {"bert": "classifier", "roberta": "classifier.out_proj", "gpt2": "score", "llama": "score"}


def variants_of(model: Any, architecture: str) -> tuple[list[Variant], dict[str, Any]]:
    """The base, a variant with another head, one with the same; and each as a model of its own."""
    path = HEADS[architecture]
    other = copy.deepcopy(model.get_submodule(path))
    with torch.no_grad():
        other.weight.normal_(0, 1.0, generator=torch.Generator().manual_seed(9))
    changed = copy.deepcopy(model)
    changed.set_submodule(path, copy.deepcopy(other))
    made = {
        "base": {},
        "moody": {path: other},
        "same": {path: copy.deepcopy(model.get_submodule(path))},
    }
    variants = [Variant(name, modules, None, FORM) for name, modules in made.items()]
    return variants, {"base": model, "moody": changed, "same": model}


def softmax(logits: torch.Tensor) -> list[float]:
    weights = [math.exp(value) for value in logits.tolist()]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_probabilities_are_softmax_of_the_logits_of_each_adapters_own_model(
    architecture: str,
) -> None:
    model = tiny_classifier(architecture, 3)
    variants, alone = variants_of(model, architecture)
    found = compare(model, Slots(model), TOKENIZER, variants, TEXTS, LABELS)
    assert found.prompts == tuple(TEXTS)
    assert found.adapters == ("base", "moody", "same")
    for prediction in found.predictions:
        expected = softmax(logits_alone(alone[prediction.adapter], TOKENIZER, prediction.prompt))
        assert prediction.probabilities == pytest.approx(expected, abs=1e-6)
        assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-12)
        assert prediction.label == LABELS[expected.index(max(expected))]
    moved = [v.probabilities for v in found.predictions if v.prompt == TEXTS[0]]
    assert abs(moved[0][0] - moved[1][0]) > 1e-3


def test_a_text_has_the_same_prediction_whatever_the_other_texts() -> None:
    model = tiny_classifier("bert", 3)
    variants, _ = variants_of(model, "bert")
    slots = Slots(model)
    together = compare(model, slots, TOKENIZER, variants, TEXTS, LABELS).predictions
    alone = [
        compare(model, slots, TOKENIZER, variants, [text], LABELS).predictions for text in TEXTS
    ]
    assert together == tuple(prediction for found in alone for prediction in found)


def test_the_model_is_left_as_it_was_found() -> None:
    model = tiny_classifier("roberta", 3)
    variants, _ = variants_of(model, "roberta")
    model.train()
    modules, slots = dict(model.named_modules()), Slots(model)
    compare(model, slots, TOKENIZER, variants, TEXTS, LABELS)
    assert dict(model.named_modules()) == modules
    assert all(module.training for module in model.modules())


def test_an_untrained_head_is_told_and_an_adapter_that_changes_nothing() -> None:
    model = tiny_classifier("gpt2", 3)
    variants, _ = variants_of(model, "gpt2")
    found = compare(model, Slots(model), TOKENIZER, variants, ["Hi"], LABELS, untrained={"base"})
    assert [prediction.note for prediction in found.predictions] == [UNTRAINED, "", UNCHANGED]
    assert UNTRAINED in repr(found)
    trained = compare(model, Slots(model), TOKENIZER, variants, ["Hi"], LABELS)
    assert trained.predictions[0].note == ""


def test_weights_that_have_diverged_are_told() -> None:
    model = tiny_classifier("bert", 3)
    nn.init.constant_(model.classifier.weight, math.nan)
    prediction = classify(model, TOKENIZER, "Hi", LABELS, adapter="moody")
    assert prediction.note == BROKEN
    assert "–" in repr(Classification((prediction,)))


def test_of_a_text_beyond_the_context_the_beginning_is_read_and_told() -> None:
    model = tiny_classifier("bert", 3)
    text = "fox " * 200
    ids = TOKENIZER(text)["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*ids[:127], ids[-1]]])).logits[0]
    prediction = classify(model, TOKENIZER, text, LABELS, adapter="base")
    assert prediction.probabilities == pytest.approx(softmax(logits), abs=1e-6)
    assert "first 128 tokens" in prediction.note


def test_what_is_no_text_is_refused_before_anything_runs() -> None:
    model = tiny_classifier("bert", 3)
    variants, _ = variants_of(model, "bert")
    model.forward = lambda *_, **__: pytest.fail("ran")
    for prompts, told in (([], "no text"), (["a", " "], "empty"), (["a", 3], "int")):
        with pytest.raises(PromptError, match=told):
            compare(model, Slots(model), TOKENIZER, variants, prompts, LABELS)
    model.resize_token_embeddings(20)
    with pytest.raises(PromptError, match="the model has 20 embeddings"):
        classify(model, TOKENIZER, "What?", LABELS, adapter="base")


def test_flags_of_a_written_answer_are_refused_all_at_once() -> None:
    refuse_flags(None, 0.0, 0)
    with pytest.raises(PromptError, match=r"--max-new-tokens 5, --temperature 0\.7: a classifier"):
        refuse_flags(5, 0.7, 0)


def test_a_prediction_is_frozen_and_its_text_is_the_label() -> None:
    prediction = Prediction("Hi", "moody", LABELS, (0.2, 0.1, 0.7), "a note")
    assert str(prediction) == "yes"
    assert repr(prediction) == "yes 70.0% · moody · a note"
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.note = ""  # type: ignore[misc]
    frame = prediction.to_frame()
    assert list(frame.columns) == ["prompt", "adapter", "label", "probability", "chosen"]
    assert frame["probability"].tolist() == [0.2, 0.1, 0.7]
    assert frame["chosen"].tolist() == [False, False, True]


def test_a_frame_has_one_row_a_text_adapter_and_label() -> None:
    made = [
        Prediction(text, adapter, LABELS, (0.5, 0.25, 0.25))
        for text in ("a", "b")
        for adapter in ("base", "moody")
    ]
    frame = Classification(tuple(made)).to_frame()
    assert len(frame) == 12
    assert frame.groupby(["prompt", "adapter"])["chosen"].sum().tolist() == [1, 1, 1, 1]
    assert Classification(tuple(made)).line == "base | moody · 2 texts · no, so-so, yes"
