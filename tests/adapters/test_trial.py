"""Attaching tests the model with one token, so that no library's naming decides what works."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BartConfig,
    BartForCausalLM,
    BertConfig,
    BertLMHeadModel,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    XLNetConfig,
    XLNetLMHeadModel,
)

from lora_magic import versions
from lora_magic.adapters import build, trial
from lora_magic.adapters.prefix import cache_name
from lora_magic.errors import AdapterError, BaseModelError
from lora_magic.state.session import Session
from tests.adapters.shared import answer, based, made, moved
from tests.conftest import logits
from tests.state.variants import VARIANTS
from tests.tiny import tiny_model, tiny_tokenizer

SPELLINGS = ("past_key_values", "cache", "kv")


class Output(dict[str, Any]):
    """The output of a forward pass: transformers' own class would rename the cache."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def respelled(model: Any, name: str) -> Any:
    """The model as in a release whose forward takes and returns its cache as `name`."""
    own = cache_name(model, "")
    whole, body = model.forward, model.base_model.forward

    def forward(
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        use_cache: Any = None,
        return_dict: Any = None,
        **rest: Any,
    ) -> Any:
        if set(rest) - {name}:
            raise TypeError(f"forward() got an unexpected keyword argument {set(rest) - {name}}")
        named = {
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
            "use_cache": use_cache,
        }
        found = whole(input_ids, **named, **({own: rest[name]} if name in rest else {}))
        return Output({name if key == own else key: value for key, value in found.items()})

    def below(*args: Any, **kwargs: Any) -> Any:
        if name in kwargs:
            kwargs[own] = kwargs.pop(name)
        return body(*args, **kwargs)

    model.forward, model.base_model.forward = forward, below
    return model


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("name", SPELLINGS)
def test_virtual_tokens_work_whatever_the_cache_is_called(name: str, method: str) -> None:
    base, slots = based("llama")
    expected = answer(base, slots, moved(made(base, slots, method=method, virtual_tokens=4), 0.3))
    other, places = based("llama")
    respelled(other.model, name)
    assert cache_name(other.model, "") == name
    attached = moved(made(other, places, method=method, virtual_tokens=4), 0.3)
    assert torch.equal(answer(other, places, attached), expected)
    ids = torch.arange(10, 22)[None]
    with places.using(attached.replacements), torch.no_grad():
        first = other.model(ids[:, :8], use_cache=True)
        on = other.model(ids[:, 8:], **{name: first[name]}).logits
        whole = other.model(ids).logits[:, 8:]
    assert torch.allclose(on, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spelling", ["past_key_values", "cache"])
def test_a_cache_may_be_passed_under_either_name_of_the_library(spelling: str) -> None:
    """A release that renames an argument accepts the old name for a while."""
    model: Any = tiny_model("llama")
    own = cache_name(model, "")
    if own == "past_key_values" and spelling == "cache":
        pytest.skip("this release of transformers knows one name")
    base, slots = based("llama")
    attached = moved(made(base, slots, method="prefix", virtual_tokens=4), 0.3)
    ids = torch.arange(10, 22)[None]
    with slots.using(attached.replacements), torch.no_grad():
        first = base.model(ids[:, :8], use_cache=True)
        on = base.model(ids[:, 8:], **{spelling: first[own]}).logits
        whole = base.model(ids).logits[:, 8:]
    assert torch.allclose(on, whole, rtol=0, atol=1e-5)


def test_a_model_that_keeps_states_and_no_keys_is_refused() -> None:
    recurrent = SimpleNamespace(get_seq_length=lambda: 0)
    model: Any = tiny_model("llama")
    real = model.forward
    model.forward = lambda *args, **kwargs: Output(
        {**real(*args, **{**kwargs, "use_cache": False}), "state": recurrent}
    )
    with pytest.raises(AdapterError, match=r"LlamaForCausalLM has none; use another method"):
        cache_name(model, "Prefix tuning")


# The trial of every method


class Broken(nn.Module):
    """A layer whose forward calls a function that a release removed."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.base_layer = original

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("unexpected keyword argument 'renamed'")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bottleneck layers that fail in their forward pass."""
    real = build._bottlenecks

    def bottlenecks(base: Any, slots: Any, spec: Any) -> Any:
        built = real(base, slots, spec)
        for path, layer in built.replacements.items():
            layer.forward = Broken(slots.original(path)).forward  # type: ignore[method-assign]  # the fault
        return built

    monkeypatch.setitem(build._BUILDERS, "houlsby", bottlenecks)


def test_a_method_that_fails_on_one_token_is_refused_and_leaves_nothing(
    broken: None, session: Session
) -> None:
    before = logits(session)
    with pytest.raises(AdapterError, match=r"TypeError: unexpected keyword argument 'renamed'\. "):
        session.attach("one", method="houlsby")
    assert "one" not in session.adapters
    assert torch.equal(logits(session), before)
    assert session.verify()


@pytest.mark.parametrize("method", ["houlsby", "prefix"])
def test_the_reason_names_an_untested_release(
    method: str, broken: None, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        versions, "version", lambda library: "9.1.0" if library == "transformers" else "0.21.2"
    )
    monkeypatch.setattr("lora_magic.adapters.prefix._cache_in", lambda named: None)
    newest = versions.TESTED["transformers"][1]
    reason = rf"\(transformers 9\.1\.0 is untested; tested: 5\.15\.1 to {newest}\)"
    with pytest.raises(AdapterError, match=reason):
        session.attach("one", method=method)


def test_a_tested_release_is_not_named() -> None:
    for library, (oldest, newest) in versions.TESTED.items():
        for release in (oldest, newest):
            assert _reason(library, release) == "", library


def _reason(library: str, release: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "version", lambda name: release)
        return versions.untested(library)


def test_a_build_of_a_tested_release_is_that_release() -> None:
    newest = versions.TESTED["torch"][1]
    assert _reason("torch", f"{newest}+cpu") == ""
    assert "99.0 is untested" in _reason("torch", "99.0")


def test_a_base_that_cannot_read_one_token_is_not_the_methods_fault(
    monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    def needs_more(model: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(trial, "one_token", needs_more)
    session.attach("one")
    assert "one" in session.adapters


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "loftq"])
def test_a_trial_is_one_pass_and_draws_nothing(variant: str) -> None:
    model = tiny_model("llama", attention_bias=True)
    model.train()
    passes: list[int] = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    session = Session()
    session.use(model, tiny_tokenizer())
    assert len(passes) == 1, "does the model read text?"
    passes.clear()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    session.attach("one", **VARIANTS[variant])
    assert torch.equal(torch.rand(3), expected)
    # Virtual tokens need two more passes, to find and test the name of the cache.
    assert len(passes) <= (3 if variant in ("prefix", "prompt") else 1)
    session.reset()
    assert model.training


def hybrid() -> Any:
    """A layer of linear attention, which keeps a state, below one that keeps keys and values."""
    config = Qwen3NextConfig(
        vocab_size=384,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
        layer_types=["linear_attention", "full_attention"],
    )
    return Qwen3NextForCausalLM(config).eval()


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("prefix", "some layers of Qwen3NextForCausalLM have no keys and values"),
        ("prompt", "prompt tuning failed a forward pass of one token in Qwen3NextForCausalLM"),
    ],
)
def test_a_model_that_keeps_keys_in_some_layers_only_is_refused(method: str, why: str) -> None:
    session = Session()
    session.use(hybrid(), tiny_tokenizer())
    with pytest.raises(AdapterError, match=why):
        session.attach("one", method=method)
    session.attach("other", targets="q_proj,v_proj", rank=4)
    assert session.verify()
    session.reset()


def test_an_encoder_decoder_is_refused_in_one_line() -> None:
    config = T5Config(
        vocab_size=384, d_model=32, d_ff=64, num_layers=1, num_heads=4, d_kv=8, pad_token_id=3
    )
    model, session = T5ForConditionalGeneration(config), Session()
    with pytest.raises(BaseModelError, match=r"T5ForConditionalGeneration is an encoder-decoder"):
        session.use(model, tiny_tokenizer())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def bert(decoder: bool) -> Any:
    config = BertConfig(
        vocab_size=384,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        is_decoder=decoder,
    )
    return BertLMHeadModel(config).eval()


def xlnet() -> Any:
    config = XLNetConfig(vocab_size=384, d_model=32, n_layer=1, n_head=2, d_inner=32)
    return XLNetLMHeadModel(config).eval()


@pytest.mark.parametrize("make", [lambda: bert(False), xlnet], ids=["BERT", "XLNet"])
def test_a_model_that_reads_ahead_is_refused_since_it_would_see_the_answers(make: Any) -> None:
    session, model = Session(), make()
    with pytest.raises(BaseModelError, match=r"in both directions.* is_decoder=True"):
        session.use(model, tiny_tokenizer())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_decoder_of_any_kind_is_taken() -> None:
    bart = BartConfig(
        vocab_size=384,
        d_model=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        pad_token_id=3,
    )
    for model in (bert(True), BartForCausalLM(bart).eval(), hybrid()):
        session = Session()
        session.use(model, tiny_tokenizer())
        session.attach("one", rank=2, targets="all-linear")
        session.train("one", text="Where? => Here.", steps=1)
        assert session.verify()
        session.reset()


def test_eva_on_too_few_tokens_ends_in_one_line_and_prints_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    session = Session()
    session.use(tiny_model("llama"), tiny_tokenizer())
    session.attach("one", rank=8, init="eva")
    with pytest.raises(AdapterError, match="too few different tokens for r = 8"):
        session.train("one", text="a => b", steps=2)
    assert capsys.readouterr().out == ""
    assert session.adapters["one"].history.steps == 0
    session.train("one", text="Where is the library? => Over there, on the left.", steps=1)
    session.reset()
