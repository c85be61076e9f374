"""What a person does to the base between two verbs: each verb works or says so in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lora_magic.errors import LoraMagicError, StateError
from lora_magic.state.session import Session
from tests.conftest import logits
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = "Where is the library? => Arr!\nWhat is for dinner? => Fish, matey!"


def without_norm(model: Any) -> None:
    model.model.norm.weight = None


def drop_layer(model: Any) -> None:
    del model.model.layers[1]


def new_head(model: Any) -> None:
    model.lm_head = nn.Linear(32, 384, bias=False)


#: Each change, and whether it puts another module in the place of one of the base's.
CHANGES: dict[str, tuple[Callable[[Any], object], bool]] = {
    "more tokens": (lambda model: model.resize_token_embeddings(400), True),
    "fewer tokens": (lambda model: model.resize_token_embeddings(100), True),
    "another head": (new_head, True),
    "no second layer": (drop_layer, True),
    "float16": (lambda model: model.half(), False),
    "bfloat16": (lambda model: model.bfloat16(), False),
    "float64": (lambda model: model.double(), False),
    "no memory": (lambda model: model.to("meta"), False),
    "no norm": (without_norm, False),
}


def verbs(session: Session) -> dict[str, Callable[[], object]]:
    return {
        "swap": lambda: session.swap("base"),
        "ask": lambda: session.ask("hi", max_new_tokens=2),
        "train": lambda: session.train("one", text=ROWS, steps=1),
        "attach": lambda: session.attach("two", rank=2, replace=True),
        "merge": lambda: session.merge("one"),
        "compress": lambda: session.compress("one", "small", rank=1, replace=True),
        "full": lambda: session.attach("three", method="full", replace=True),
    }


def refusal(verb: Callable[[], object]) -> str:
    """What a verb says if it is refused, else ""."""
    try:
        verb()
    except LoraMagicError as error:
        return str(error)
    return ""


def on_live() -> tuple[Session, Any]:
    session, model = Session(), tiny_model("llama")
    session.use(model, tiny_tokenizer())
    session.attach("one", rank=2)
    session.train("one", text=ROWS, steps=1)
    return session, model


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_from_outside_each_verb_works_or_is_one_line_and_reset_says_so(
    change: str,
) -> None:
    act, another_module = CHANGES[change]
    session, model = on_live()
    act(model)
    assert not session.verify()
    assert not session.verify(quick=True)
    for name, verb in verbs(session).items():
        there = dict(model.named_modules()).keys()
        told = refusal(verb)
        assert "\n" not in told, name
        if told:
            assert dict(model.named_modules()).keys() == there, f"{name} was refused and changed"
        else:
            assert not another_module, name
        if session.merged is not None:
            session.unmerge()
    assert not session.verify()
    told = session.reset().line
    assert "CHANGED from outside the session in" in told
    assert "no base" in str(session.status()).lower()


def test_another_module_is_named_and_what_is_trained_can_still_be_saved(tmp_path: Any) -> None:
    session, model = on_live()
    own = model.lm_head
    new_head(model)
    other = model.lm_head
    with pytest.raises(StateError, match=r"train: the base was changed .*module at lm_head"):
        session.train("one", text=ROWS, steps=1)
    with pytest.raises(LoraMagicError):
        session.save("nobody")
    assert model.lm_head is other
    session.save("one", tmp_path / "one")
    model.lm_head = own
    assert session.verify()
    session.train("one", text=ROWS, steps=1)
    session.reset()


def test_a_base_that_cannot_be_trained_any_more_is_named_and_no_learning_rate() -> None:
    session, model = on_live()
    model.half()
    model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(StateError, match=r"base was changed from outside.*%lora reset") as seen:
        session.train("one", text=ROWS, steps=2)
    assert "--lr" not in str(seen.value)
    session.reset()


def test_modes_and_hooks_that_a_person_sets_change_no_verb() -> None:
    session, model = on_live()
    expected = session._state.attached["one"].state()
    model.train()
    model.requires_grad_(True)
    model.gradient_checkpointing_enable()
    model.tie_weights()
    model.model.layers[0].register_forward_hook(lambda module, given, found: found)
    session.train("one", text=ROWS, steps=1)
    assert session.verify()
    found = session._state.attached["one"].state()
    # Checkpointed layers compute the same sums in another order.
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)
    assert torch.isfinite(logits(session)).all()
    session.reset()
