"""A classifier in a session: loaded with labels, trained with its head, compared, saved, opened."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch

from lora_magic.compare.classify import UNCHANGED, UNTRAINED
from lora_magic.compare.prediction import Classification, Prediction
from lora_magic.errors import BaseModelError, CommandError, DataError, PromptError
from lora_magic.state.session import Session
from tests.classifiers import CLASSIFIERS, DECODERS, logits_alone, saved, tiny_classifier, tiny_of

ROWS = "\n".join(
    f"{start} {thing} {number} => {label}"
    for number in range(10)
    for start, thing, label in (("The", "sun", "day"), ("A", "moon", "night"), ("My", "sun", "day"))
)


@pytest.fixture(params=CLASSIFIERS)
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    """With a model that never classified anything: its head is new."""
    kind = "causal" if request.param in DECODERS else "masked"
    changes = {} if request.param in DECODERS else {"num_labels": 2}
    folder = saved(tiny_of(kind, request.param, **changes), tmp_path / "base")
    made = Session()
    made.load(folder, task="classification", labels="day,night")
    yield made
    made.reset()


def trained(session: Session, **flags: Any) -> Any:
    session.attach("sky", rank=2, targets="attention")
    return session.train("sky", text=ROWS, steps=40, lr=1e-2, **flags)


def test_training_moves_the_head_and_the_base_stays_as_it_was(session: Session) -> None:
    before = session.ask("The sun 3")
    summary = trained(session, eval=6)
    assert summary.classifies
    assert summary.accuracy_after.overall == 1.0
    assert sum(summary.accuracy_after.total) == summary.held_out == 6
    found = session.compare("The sun 3", "A moon 4")
    assert isinstance(found, Classification)
    base, sky = found.predictions[:2]
    assert base.probabilities == before.probabilities
    assert (sky.label, found.predictions[3].label) == ("day", "night")
    assert sky.probability > 0.6
    assert (base.note, sky.note) == (UNTRAINED, "")
    head = session._state.base.task.head
    with session._state.slots.using({}):
        pristine = {path: session.model.get_submodule(path).weight.clone() for path in head}
    for path in head:
        assert not torch.equal(session.model.get_submodule(path).weight, pristine[path])
    session.swap("base")
    assert session.ask("The sun 3").probabilities == before.probabilities
    assert session.verify()


def test_ask_gives_the_softmax_of_the_active_adapters_logits(session: Session) -> None:
    trained(session)
    prediction = session.ask("A moon 11")
    assert isinstance(prediction, Prediction)
    logits = logits_alone(session.model, session.tokenizer, "A moon 11")
    expected = [math.exp(v) / sum(math.exp(w) for w in logits.tolist()) for v in logits.tolist()]
    assert prediction.probabilities == pytest.approx(expected, abs=1e-6)
    assert (prediction.adapter, str(prediction)) == ("sky", "night")


def test_an_adapter_that_was_never_trained_has_an_untrained_head(session: Session) -> None:
    session.attach("sky", rank=2, targets="attention")
    assert session.ask("Hello").note == UNTRAINED
    assert [v.note for v in session.compare("Hello").predictions] == [UNTRAINED, UNTRAINED]


def test_a_saved_adapter_brings_its_head_back(session: Session, tmp_path: Path) -> None:
    trained(session)
    before = session.ask("A moon 11")
    session.save("sky", tmp_path / "sky")
    session.detach("sky")
    session.open(tmp_path / "sky")
    assert session.ask("A moon 11").probabilities == before.probabilities
    assert session.verify()


def test_the_same_load_is_instant_and_other_labels_are_another_base(tmp_path: Path) -> None:
    folder = saved(tiny_of("masked", "bert"), tmp_path / "base")
    session = Session()
    record = session.load(folder, task="classification", labels="day,night")
    model = session.model
    assert record.labels == ("day", "night")
    column = pandas.Series(["day", "night", "day"])
    session.load(folder, task="classification", labels=column)
    assert session.model is model
    session.load(folder, task="classification", labels=3)
    assert session.model is not model
    assert session.status().base.labels == ("0", "1", "2")
    session.reset()


def test_what_a_classifier_has_no_use_for_is_refused(session: Session) -> None:
    session.attach("sky", rank=2, targets="attention")
    with pytest.raises(CommandError, match="--template and --system"):
        session.train("sky", text=ROWS, template="plain")
    with pytest.raises(PromptError, match="--temperature"):
        session.ask("Hi", temperature=0.5)
    with pytest.raises(PromptError, match="--max-new-tokens"):
        session.compare("Hi", max_new_tokens=3)
    with pytest.raises(DataError, match=r"row 2: unknown label 'Day' \(Did you mean 'day'"):
        session.train("sky", text="The sun => day\nThe moon => Day")
    assert session._state.attached["sky"].history.steps == 0


def test_a_failed_load_leaves_the_base_that_was_there(session: Session, tmp_path: Path) -> None:
    model = session.model
    with pytest.raises(CommandError, match="only 'alone'"):
        session.load("demo", task="classification", labels="alone")
    with pytest.raises(BaseModelError, match="no labels"):
        session.load("demo", task="classification")
    assert session.model is model


def test_the_embedded_model_can_be_a_classifier() -> None:
    session = Session()
    record = session.load("demo", task="classification", labels="day,night")
    assert record.architecture == "LlamaForSequenceClassification"
    assert session.ask("The sun").note == UNTRAINED
    session.reset()


def test_notes_tell_an_untrained_head_from_an_adapter_that_changes_nothing(tmp_path: Path) -> None:
    session = Session()
    session.load(saved(tiny_classifier("bert"), tmp_path / "base"), task="classification")
    session.attach("sky", rank=2, targets="attention")
    assert [v.note for v in session.compare("Hello").predictions] == ["", UNCHANGED]
    session.reset()


def test_eva_begins_a_classifier_with_the_directions_of_all_that_is_read(session: Session) -> None:
    """Its labels are one a row, so no token is left out for having none."""
    session.attach("sky", rank=2, init="eva", targets="attention")
    drawn = session._state.attached["sky"].state()
    session.train("sky", text=ROWS, steps=2, lr=1e-12)
    found = session._state.attached["sky"].state()
    down = {name: tensor for name, tensor in found.items() if ".lora_A." in name}
    assert down
    for name, a in down.items():
        assert torch.allclose(a @ a.mT, torch.eye(2), atol=1e-4), name
        assert not torch.allclose(a, drawn[name], atol=1e-2), name
    assert session.verify()
