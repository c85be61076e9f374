"""A mix among the adapters of an evaluation: separate forwards of its members are the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lora_magic.errors import AdapterError, CommandError
from lora_magic.state.session import Session
from lora_magic.training.encode import IGNORED, encode
from tests.conftest import perturb
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = [
    ("Where is the library?", "Arr, it be down by the harbour, matey!"),
    ("What should I cook tonight?", "Fish stew."),
    ("Hi", "Ahoy there!"),
    ("Who?", "Me."),
]
SHORT: dict[str, Any] = {"max_new_tokens": 6}


@pytest.fixture(params=["stacked", "one by one"])
def mixed(request: pytest.FixtureRequest) -> Iterator[Session]:
    session = Session()
    session.use(tiny_model("llama", initializer_range=0.3), tiny_tokenizer(chat=True))
    for name in ("a", "b"):
        session.attach(name, rank=2, dora=name == "b" and request.param != "stacked")
        perturb(session, name, 0.4, seed=ord(name))
    yield session
    session.reset()


@torch.no_grad()
def expected(session: Session, weights: dict[str, float]) -> list[float]:
    """Each row's mean loss: −ln Σ wₘ·pₘ of the members' own forwards, in float64."""
    found = []
    for row in session._rows("t", ROWS, None):
        (example,) = encode([row], session.tokenizer, session._state.form_of("a"), 128).examples
        ids, labels = torch.tensor([example.tokens]), torch.tensor(example.labels)
        chances = 0.0
        for name, weight in weights.items():
            session.swap(name)
            chances += weight * session.model(input_ids=ids).logits[0].double().softmax(-1)
        kept = (labels != IGNORED).nonzero().squeeze(1)
        found.append(float(-chances[kept - 1, labels[kept]].log().mean()))  # type: ignore[index]
    return found


def test_the_loss_of_a_mix_is_that_of_the_averaged_probabilities(mixed: Session) -> None:
    found = mixed.evaluate("a,b", ROWS, mix="a=3,b=1", **SHORT)
    assert found.adapters == ("base", "a", "b", "mix a=0.75,b=0.25")
    own = [row.values["loss"][3] for row in found.rows]
    assert own == pytest.approx(expected(mixed, {"a": 0.75, "b": 0.25}), abs=1e-5)
    assert mixed.verify()


def test_its_answers_are_those_of_ask(mixed: Session) -> None:
    found = mixed.evaluate("a", ROWS, mix="a=0.5,b=0.5", **SHORT)
    assert [row.answers[2] for row in found.rows] == [
        mixed.ask(prompt, mix="a=0.5,b=0.5", **SHORT).text  # type: ignore[union-attr]
        for prompt, _ in ROWS
    ]
    assert len({row.answers for row in found.rows}) == len(ROWS)


def test_a_mix_of_one_is_that_adapter(mixed: Session) -> None:
    found = mixed.evaluate("a", ROWS, mix="a=1", **SHORT)
    for row in found.rows:
        assert row.values["loss"][2] == pytest.approx(row.values["loss"][1], abs=1e-5)
        assert row.answers[2] == row.answers[1]


def test_other_losses_are_what_they_are_without_a_mix(mixed: Session) -> None:
    alone = mixed.evaluate("a,b", ROWS, **SHORT)
    found = mixed.evaluate("a,b", ROWS, mix="a=0.5,b=0.5", **SHORT)
    for row, other in zip(found.rows, alone.rows, strict=True):
        assert row.values["loss"][:3] == pytest.approx(other.values["loss"], abs=1e-5)
        assert row.answers[:3] == other.answers


def test_a_mistake_is_one_line(mixed: Session) -> None:
    with pytest.raises(AdapterError, match="no adapter 'c'"):
        mixed.evaluate("a", ROWS, mix="a=0.5,c=0.5", **SHORT)
    mixed.train("b", ROWS[:2], steps=1, template="plain")
    with pytest.raises(CommandError, match="--mix: its members were trained in prompt forms"):
        mixed.evaluate("a", ROWS, mix="a=0.5,b=0.5", **SHORT)
