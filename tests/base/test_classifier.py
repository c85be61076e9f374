"""Classifiers from folders: which modules are the head, which of it is drawn, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_magic.base.load import load, use
from lora_magic.errors import BaseModelError
from tests.classifiers import (
    CLASSIFIERS,
    DECODERS,
    saved,
    tiny_classifier,
    tiny_of,
)
from tests.tiny import tiny_tokenizer

#: What is saved, and of the classifier made from it the head and what of that is new.
HEADS = [
    ("body", "bert", ("classifier",), ("classifier",)),
    ("masked", "bert", ("bert.pooler.dense", "classifier"), ("bert.pooler.dense", "classifier")),
    ("body", "albert", ("classifier",), ("classifier",)),
    ("masked", "albert", ("albert.pooler", "classifier"), ("albert.pooler", "classifier")),
    *(
        (kind, "roberta", ("classifier.dense", "classifier.out_proj"), None)
        for kind in ("body", "masked")
    ),
    ("masked", "distilbert", ("pre_classifier", "classifier"), None),
    ("masked", "electra", ("classifier.dense", "classifier.out_proj"), None),
    ("masked", "deberta-v2", ("pooler.dense", "classifier"), None),
    ("masked", "modernbert", ("head.dense", "head.norm", "classifier"), ("classifier",)),
    *(("causal", decoder, ("score",), None) for decoder in DECODERS),
]


def classifier(folder: str, labels: Any = "no,yes", **flags: Any) -> Any:
    return load(folder, task="classification", labels=labels, **flags)


def tensors(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(("kind", "architecture", "head", "fresh"), HEADS)
def test_the_head_is_found_and_only_what_no_file_holds_is_new(
    kind: str,
    architecture: str,
    head: tuple[str, ...],
    fresh: tuple[str, ...] | None,
    tmp_path: Path,
) -> None:
    ids = {"eos_token_id": 0, "cls_token_id": 0, "sep_token_id": 0, "bos_token_id": 0}
    changes = ids if architecture == "modernbert" else {}
    if architecture == "distilbert":
        changes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    base = classifier(saved(tiny_of(kind, architecture, **changes), tmp_path))
    assert set(base.task.head) == set(head)
    assert set(base.task.fresh) == set(head if fresh is None else fresh)
    for path in head:
        owned = list(base.model.get_submodule(path).parameters(recurse=False))
        assert owned
        assert all(bool(torch.isfinite(parameter).all()) for parameter in owned)


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_all_but_the_head_is_what_the_files_hold(architecture: str, tmp_path: Path) -> None:
    kind = "causal" if architecture in DECODERS else "masked"
    base = classifier(saved(tiny_of(kind, architecture), tmp_path))
    body = base.model.base_model_prefix
    held = {
        name.partition(".")[2]: tensor
        for name, tensor in load_file(tmp_path / "model.safetensors").items()
        if name.startswith(f"{body}.")
    }
    drawn = tuple(f"{path}." for path in base.task.fresh)
    for name, tensor in base.model.state_dict().items():
        if not name.startswith(drawn):
            assert torch.equal(tensor, held[name.removeprefix(f"{body}.")]), name


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_the_same_load_draws_the_same_bits_and_leaves_the_generator_alone(
    architecture: str, tmp_path: Path
) -> None:
    folder = saved(tiny_of("body", architecture), tmp_path)
    torch.manual_seed(1)
    one = tensors(classifier(folder).model)
    drawn = torch.randn(3)
    torch.manual_seed(2)
    two = tensors(classifier(folder).model)
    assert all(torch.equal(one[name], two[name]) for name in one)
    torch.manual_seed(1)
    assert torch.equal(torch.randn(3), drawn)
    heads = [
        one[n] for n in one if n.endswith(("score.weight", "classifier.weight", "out_proj.weight"))
    ]
    assert float(heads[0].std()) > 0


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_a_trained_head_is_kept_and_brings_its_labels(architecture: str, tmp_path: Path) -> None:
    model = tiny_classifier(architecture, 3, id2label={0: "low", 1: "mid", 2: "high"})
    base = classifier(saved(model, tmp_path), labels=None)
    assert base.task.labels == ("low", "mid", "high")
    assert base.task.fresh == ()
    assert base.task.head
    found = tensors(base.model)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors(model).items())


def test_the_names_of_a_trained_head_keep_its_order_and_others_are_told(tmp_path: Path) -> None:
    folder = saved(tiny_classifier("bert", id2label={0: "NEGATIVE", 1: "POSITIVE"}), tmp_path)
    assert classifier(folder, "positive,negative").task.labels == ("negative", "positive")
    other = classifier(folder, "joy,anger")
    assert other.task.labels == ("joy", "anger")
    assert other.task.fresh == ()
    assert "its head was trained for NEGATIVE, POSITIVE" in other.reason
    assert "its head" not in classifier(folder, None).reason


def test_a_head_for_another_number_of_labels_is_drawn_anew(tmp_path: Path) -> None:
    folder = saved(tiny_classifier("roberta", 2), tmp_path)
    base = classifier(folder, 3)
    assert base.task.fresh == ("classifier.out_proj",)
    assert base.model.classifier.out_proj.weight.shape == (3, 32)
    assert base.model.config.id2label == {0: "0", 1: "1", 2: "2"}
    assert base.model.config.label2id == {"0": 0, "1": 1, "2": 2}
    assert "its head is new and untrained (classifier.out_proj)" in base.reason
    assert "labels 0, 1, 2" in base.record("plain", None).line


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_anything_else_that_is_missing_or_misshapen_is_refused(
    architecture: str, tmp_path: Path
) -> None:
    folder = saved(tiny_classifier(architecture), tmp_path)
    file = tmp_path / "model.safetensors"
    held = load_file(file)
    name = next(n for n in sorted(held) if "layer" in n or ".h." in n)
    save_file({n: t for n, t in held.items() if n != name}, file, {"format": "pt"})
    with pytest.raises(BaseModelError, match="would stay random") as seen:
        classifier(folder)
    assert name in str(seen.value)
    save_file({**held, name: held[name][..., :-1].clone()}, file, {"format": "pt"})
    with pytest.raises(BaseModelError, match="other shapes") as seen:
        classifier(folder)
    assert name in str(seen.value)


def test_a_model_without_labels_asks_for_them_with_the_line_to_type(tmp_path: Path) -> None:
    folder = saved(tiny_of("masked", "bert"), tmp_path)
    with pytest.raises(BaseModelError, match=r"--task classification --labels negative,positive"):
        classifier(folder, None)


def test_a_classifier_loaded_to_write_says_what_it_is(tmp_path: Path) -> None:
    folder = saved(tiny_classifier("llama"), tmp_path)
    with pytest.raises(BaseModelError, match=r"It is a classifier: type %lora load .*--task cl"):
        load(folder)


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_a_checkpoint_that_gives_no_single_label_is_refused(kind: str, tmp_path: Path) -> None:
    folder = saved(tiny_classifier("bert", problem_type=kind), tmp_path)
    with pytest.raises(BaseModelError, match=kind):
        classifier(folder, None)


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_decoder_without_a_padding_token_takes_the_tokenizers(
    architecture: str, tmp_path: Path
) -> None:
    model = tiny_of("causal", architecture, pad_token_id=None)
    folder = saved(model, tmp_path / "with", tiny_tokenizer())
    assert classifier(folder).model.config.pad_token_id == tiny_tokenizer().pad_token_id
    folder = saved(model, tmp_path / "without", tiny_tokenizer(pad=False))
    assert classifier(folder).model.config.pad_token_id == tiny_tokenizer().eos_token_id


def test_a_live_classifier_is_taken_with_its_labels_and_given_back_as_it_was() -> None:
    model = tiny_classifier("gpt2", pad_token_id=None, id2label={0: "no", 1: "yes"})
    base = use(model, tiny_tokenizer())
    assert base.task.labels == ("no", "yes")
    assert base.model is model
    assert model.config.pad_token_id == tiny_tokenizer().pad_token_id
    base.release()
    assert model.config.pad_token_id is None


def test_a_model_that_neither_writes_nor_classifies_is_refused() -> None:
    with pytest.raises(BaseModelError, match="AutoModelForSequenceClassification"):
        use(tiny_of("body", "bert"), tiny_tokenizer())


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_a_text_as_long_as_the_context_can_be_read_and_not_one_token_more(
    architecture: str, tmp_path: Path
) -> None:
    base = classifier(saved(tiny_of("body", architecture), tmp_path))
    assert base.context == 128
    base.model(input_ids=torch.full((1, base.context), 10))
    if architecture != "llama":  # Its positions are computed, so that none is the last.
        with pytest.raises((IndexError, RuntimeError)):
            base.model(input_ids=torch.full((1, base.context + 1), 10))
