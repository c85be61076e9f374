"""A base comes in, live or from a folder, and goes back as it was found."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from lora_magic.errors import (
    BaseModelError,
    PromptError,
    StateError,
)
from lora_magic.state.session import Session
from tests.conftest import Saver, logits
from tests.state.shared import ROWS, snapshot
from tests.tiny import tiny_model, tiny_tokenizer


def test_the_same_load_is_instant_and_keeps_the_adapters(
    session: Session, saved_model: Saver
) -> None:
    session.attach("one", rank=2)
    model = session.model
    session.load(str(saved_model()))
    assert session.model is model
    assert list(session.adapters) == ["one"]


def test_another_load_is_refused_while_a_trained_adapter_is_unsaved(
    session: Session, saved_model: Saver
) -> None:
    session.attach("one", rank=2)
    session.train("one", text=ROWS, steps=1)
    other = str(saved_model("gpt2"))
    before = snapshot(session)
    with pytest.raises(StateError, match=r"would lose one, trained and not saved.*--replace"):
        session.load(other)
    assert snapshot(session) == before
    session.save("one")
    session.load(other)
    assert type(session.model).__name__ == "GPT2LMHeadModel"
    assert dict(session.adapters) == {}


def test_a_failed_load_leaves_the_base_that_was_there(session: Session) -> None:
    session.attach("one", rank=2)
    before = snapshot(session)
    with pytest.raises(BaseModelError):
        session.load("./nowhere")
    assert snapshot(session) == before


def test_model_is_the_very_object_that_was_given_and_comes_back_as_it_was() -> None:
    model, tokenizer = tiny_model(), tiny_tokenizer()
    model.train()
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    tree = dict(model.named_modules())
    session = Session()
    session.use(model, tokenizer)
    session.attach("one", rank=2)
    assert session.model is model
    session.reset()
    session.reset()
    assert dict(model.named_modules()) == tree
    assert {name: p.requires_grad for name, p in model.named_parameters()} == wanted
    assert all(module.training for module in model.modules())
    with pytest.raises(StateError, match="%lora load demo"):
        _ = session.model


def test_a_peft_model_is_adopted_with_its_adapters() -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    wrapped = get_peft_model(tiny_model(), config, adapter_name="mine").eval()
    wrapped.add_adapter("other", LoraConfig(r=3, target_modules="all-linear"))
    ids = torch.arange(10, 26)[None]
    with torch.no_grad():
        expected = wrapped(input_ids=ids).logits
    session = Session()
    session.use(wrapped, tiny_tokenizer())
    assert list(session.adapters) == ["mine", "other"]
    assert session.active == "mine"
    assert torch.equal(logits(session), expected)
    session.swap("base")
    with torch.no_grad():
        assert torch.equal(logits(session), tiny_model()(ids).logits)


def test_reset_gives_a_peft_model_back_with_its_layers_and_what_they_learned() -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    wrapped = get_peft_model(tiny_model(), config).eval()
    ids = torch.arange(10, 26)[None]
    with torch.no_grad():
        expected = wrapped(input_ids=ids).logits
    trainable = [name for name, p in wrapped.named_parameters() if p.requires_grad]
    session = Session()
    session.use(wrapped, tiny_tokenizer())
    assert session.adapters["default"].history.line == "trained elsewhere"
    session.train("default", text=ROWS, steps=1)
    session.swap("base")
    session.reset()
    with torch.no_grad():
        assert torch.equal(wrapped(input_ids=ids).logits, expected)
    assert [name for name, p in wrapped.named_parameters() if p.requires_grad] == trainable
    session.use(wrapped, tiny_tokenizer())
    assert torch.equal(logits(session), expected)


@pytest.mark.parametrize("tokenizer", [5, "broken template"])
def test_a_use_that_fails_leaves_session_and_model_as_they_were(
    session: Session, tokenizer: object
) -> None:
    session.attach("one", rank=2)
    before = snapshot(session)
    if tokenizer == "broken template":
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = "{{ raise_exception('no') }}"  # type: ignore[attr-defined]
    model = tiny_model()
    wrapped = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["q_proj"]))
    layers = [type(module) for module in wrapped.modules()]
    model.train()
    for given in (model, wrapped, session.model):
        with pytest.raises((BaseModelError, PromptError)):
            session.use(given, tokenizer, replace=True)
    assert snapshot(session) == before
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert [type(module) for module in wrapped.modules()] == layers


def test_reset_says_what_was_lost_and_what_was_changed_from_outside(session: Session) -> None:
    session.attach("one", rank=2)
    session.train("one", text=ROWS, steps=1)
    with torch.no_grad():
        session.model.lm_head.weight.add_(1)
    told = session.reset().line
    assert "CHANGED from outside the session in 1 tensor;" in told
    assert "trained and not saved: one" in told


def test_a_tokenizer_of_another_model_is_told_before_anything_runs() -> None:
    session = Session()
    session.use(tiny_model(vocab_size=64), tiny_tokenizer())
    session.attach("one", rank=2)
    for verb in (
        lambda: session.ask("Where?"),
        lambda: session.compare("Where?"),
        lambda: session.train("one", text=ROWS),
    ):
        with pytest.raises(PromptError, match=r"token \d+, but the model has 64 embeddings"):
            verb()


def test_a_merged_peft_model_and_an_injected_one_are_refused() -> None:
    wrapped = get_peft_model(tiny_model(), LoraConfig(target_modules=["q_proj"]))
    inner = wrapped.get_base_model()
    session = Session()
    with pytest.raises(BaseModelError, match="has adapter layers"):
        session.use(inner)
    wrapped.merge_adapter()
    with pytest.raises(BaseModelError, match="merged"):
        session.use(wrapped)


@pytest.mark.gpu
def test_memory_is_back_to_its_level_after_reset(saved_model: Saver) -> None:
    # The first pass allocates workspaces that torch keeps for the process: measured after one.
    levels = []
    for _ in range(3):
        session = Session()
        session.load(str(saved_model()))
        session.attach("one", rank=2)
        session.train("one", text=ROWS, steps=2)
        session.merge()
        held = torch.cuda.memory_allocated()
        session.reset()
        levels.append(torch.cuda.memory_allocated())
        assert held > levels[-1]
    assert levels[1] == levels[2]
    assert levels[2] <= levels[0]


def test_reset_rereads_every_byte_before_it_says_as_it_was_found(session: Session) -> None:
    session.model.lm_head.weight.data[0, 0] += 1
    assert "CHANGED from outside the session" in session.reset().line


def test_a_dtype_of_torch_is_taken_too(saved_model: Saver) -> None:
    session = Session()
    assert session.load(str(saved_model()), dtype=torch.bfloat16).dtype == "bf16"
