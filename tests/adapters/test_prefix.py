"""Prefix and prompt tuning against PEFT's own wrappers, and in every way that a model is called."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
from torch import Tensor
from transformers import DynamicCache

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.prefix import Prefix, Prompt, cache_name, drawn_cache, drawn_words
from lora_magic.adapters.slots import ROOT, Slots
from lora_magic.base.load import use
from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError
from lora_magic.state.session import Session
from tests.adapters.shared import answer, based, made, moved
from tests.classifiers import tiny_of
from tests.conftest import REORDERED
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer

METHODS = ("prefix", "prompt")
TOKENS = 4

#: Llama here has two heads of keys for four of queries.
TWO = ("llama", "gpt2")


def virtual(architecture: str, method: str, **changes: Any) -> tuple[BaseModel, Slots, LiveAdapter]:
    base, slots = based(architecture, **changes)
    attached = moved(made(base, slots, method=method, virtual_tokens=TOKENS), 0.3)
    return base, slots, attached


def root_of(attached: LiveAdapter) -> Any:
    return attached.replacements[ROOT]


def texts(rows: int = 3, length: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(4, 384, (rows, length), generator=generator)


def theirs(base: BaseModel, attached: LiveAdapter, method: str) -> Any:
    kind: Any = PrefixTuningConfig if method == "prefix" else PromptTuningConfig
    config = kind(num_virtual_tokens=TOKENS, task_type="CAUSAL_LM")
    wrapper = get_peft_model(base.model, config).eval()
    weight = wrapper.prompt_encoder["default"].embedding.weight
    assert weight.shape == root_of(attached).embedding.shape
    weight.data.copy_(root_of(attached).embedding)
    return wrapper


@pytest.mark.parametrize("architecture", TWO)
def test_a_prefix_equals_pefts_own_bit_for_bit(architecture: str) -> None:
    base, slots, attached = virtual(architecture, "prefix")
    ids = texts()
    for mask in (None, torch.ones_like(ids)):
        with slots.using(attached.replacements), torch.no_grad():
            ours = base.model(input_ids=ids, attention_mask=mask).logits
        with torch.no_grad():
            expected = theirs(base, attached, "prefix")(input_ids=ids, attention_mask=mask).logits
        assert torch.equal(ours, expected)
    assert not torch.allclose(answer(base, slots, attached), answer(base, slots), atol=1e-2)


@pytest.mark.parametrize("architecture", TWO)
def test_a_prompt_equals_pefts_own_where_the_text_begins(architecture: str) -> None:
    base, slots, attached = virtual(architecture, "prompt")
    ids = texts()
    with slots.using(attached.replacements), torch.no_grad():
        ours = base.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    with torch.no_grad():
        wrapper = theirs(base, attached, "prompt")
        expected = wrapper(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    assert expected.shape[1] == ids.shape[1] + TOKENS
    assert ours.shape[1] == ids.shape[1]
    assert torch.allclose(ours, expected[:, TOKENS:], atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_is_what_the_model_answers_after_the_embeddings(architecture: str) -> None:
    base, slots, attached = virtual(architecture, "prompt")
    ids = texts()
    model: Any = base.model
    words = model.get_input_embeddings()(ids)
    before = root_of(attached).embedding[None].expand(len(ids), -1, -1)
    with torch.no_grad():
        expected = model(inputs_embeds=torch.cat([before, words], dim=1)).logits[:, TOKENS:]
        with slots.using(attached.replacements):
            ours = model(input_ids=ids).logits
    assert torch.allclose(ours, expected, atol=REORDERED)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generating_takes_the_likeliest_token_step_by_step(architecture: str, method: str) -> None:
    base, slots, attached = virtual(architecture, method)
    ids = texts(rows=1)
    model: Any = base.model
    steps = ids
    with slots.using(attached.replacements), torch.no_grad():
        for _ in range(6):
            following = model(input_ids=steps, use_cache=False).logits[:, -1].argmax(-1)
            steps = torch.cat([steps, following[:, None]], dim=1)
        for use_cache in (True, False):
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=6,
                min_new_tokens=6,
                do_sample=False,
                use_cache=use_cache,
                eos_token_id=None,
                pad_token_id=3,
            )
            assert torch.equal(found, steps), use_cache


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt", "gpt_neox", "phi"])
def test_padding_on_the_left_does_not_change_a_rows_answer(architecture: str, method: str) -> None:
    base, slots, attached = virtual(architecture, method)
    long, short = texts(rows=2)
    short = short[:7]
    batch = torch.stack([long, torch.cat([torch.full((5,), 3), short])])
    mask = torch.ones_like(batch)
    mask[1, :5] = 0
    options: dict[str, Any] = {
        "max_new_tokens": 5,
        "do_sample": False,
        "eos_token_id": None,
        "pad_token_id": 3,
    }
    with slots.using(attached.replacements), torch.no_grad():
        model: Any = base.model
        together = model.generate(batch, attention_mask=mask, **options)
        for row, ids in enumerate((long, short)):
            alone = model.generate(ids[None], attention_mask=torch.ones(1, len(ids)), **options)
            assert torch.equal(together[row, -5:], alone[0, -5:]), row


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", TWO)
def test_a_second_pass_goes_on_from_the_cache_that_came_back(
    architecture: str, method: str
) -> None:
    base, slots, attached = virtual(architecture, method)
    ids = texts(rows=2)
    model: Any = base.model
    with slots.using(attached.replacements), torch.no_grad():
        whole = model(input_ids=ids, use_cache=False).logits
        first = model(input_ids=ids[:, :8], use_cache=True)
        assert first.past_key_values.get_seq_length() == TOKENS + 8
        for mask in (None, torch.ones_like(ids)):
            cache = model(input_ids=ids[:, :8], use_cache=True).past_key_values
            second = model(input_ids=ids[:, 8:], past_key_values=cache, attention_mask=mask)
            assert torch.allclose(second.logits, whole[:, 8:], atol=REORDERED)
            # The virtual tokens went in once.
            assert second.past_key_values.get_seq_length() == TOKENS + ids.shape[1]
        given = DynamicCache(config=model.config)
        filled = model(input_ids=ids[:, :8], past_key_values=given)
        assert torch.allclose(filled.logits, whole[:, :8], atol=REORDERED)


@pytest.mark.parametrize("method", METHODS)
def test_with_and_without_a_cache_the_answer_is_one(method: str) -> None:
    base, slots, attached = virtual("llama", method)
    ids = texts()
    with slots.using(attached.replacements), torch.no_grad():
        on = base.model(input_ids=ids, use_cache=True).logits
        off = base.model(input_ids=ids, use_cache=False).logits
        placed = base.model(ids, position_ids=torch.arange(ids.shape[1])[None]).logits
    assert torch.equal(on, off)
    assert torch.equal(on, placed)


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_is_taken_on_the_rows_own_tokens_and_its_gradient_reaches_the_vectors(
    method: str,
) -> None:
    base, slots, attached = virtual("llama", method)
    ids = texts()
    with slots.using(attached.replacements), attached.trainable():
        loss = base.model(input_ids=ids, labels=ids).loss
        loss.backward()
        (gradient,) = [tensor.grad for _, tensor in attached.tensors()]
    assert gradient is not None
    assert all(bool(row.any()) for row in gradient)
    with slots.using(attached.replacements), torch.no_grad():
        logits = base.model(input_ids=ids).logits[:, :-1].double()
    expected = -logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert all(parameter.grad is None for parameter in base.model.parameters())


def test_a_prefix_starts_from_what_the_model_makes_of_words() -> None:
    base, _ = based("llama")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        stacked, layers, heads = drawn_cache(base.model, cache_name(base.model, "prefix"), 5)
        torch.manual_seed(1)
        words = drawn_words(base.model, 5)
    assert (layers, heads, tuple(stacked.shape)) == (2, 2, (5, 2 * 2 * 2 * 8))
    cache = DynamicCache(config=base.model.config)
    with torch.no_grad():
        base.model.base_model(inputs_embeds=words[None], past_key_values=cache, use_cache=True)
    again = DynamicCache(config=base.model.config)
    Prefix(torch.nn.Parameter(stacked), "", layers, heads).fill(base.model, again, 1)
    for one, other in zip(cache.layers, again.layers, strict=True):
        assert torch.equal(one.keys, other.keys)
        assert torch.equal(one.values, other.values)


def test_a_prompt_starts_from_words_of_the_vocabulary() -> None:
    base, slots = based()
    attached = made(base, slots, method="prompt", virtual_tokens=6)
    model: Any = base.model
    table = model.get_input_embeddings().weight
    for vector in root_of(attached).embedding:
        assert (table == vector).all(dim=1).any()
    assert isinstance(root_of(attached), Prompt)
    assert attached.tokens == 6


@pytest.mark.parametrize("method", METHODS)
def test_the_count_is_the_formula(method: str) -> None:
    for architecture in ARCHITECTURES:
        base, slots = based(architecture)
        record = made(base, slots, method=method, virtual_tokens=TOKENS).record()
        assert record.trainable == record.formula, architecture
        assert record.differing == ()
    base, slots = based("llama")
    record = made(base, slots, method=method, virtual_tokens=TOKENS).record()
    assert record.trainable == TOKENS * (32 if method == "prompt" else 2 * 2 * 2 * 8)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_decoder_is_refused_and_so_is_a_whole_context(method: str) -> None:
    encoder = use(tiny_of("classifier", "bert"), None)
    slots = Slots(encoder.model)
    with pytest.raises(AdapterError, match=r"cache of keys and values.*--method lora"):
        made(encoder, slots, method=method)
    assert slots.foreign_paths() == []
    base, slots = based()
    with pytest.raises(AdapterError, match="--virtual-tokens 128: the base's context is 128"):
        made(base, slots, method=method, virtual_tokens=128)
    assert slots.written == {}


@pytest.mark.parametrize("method", METHODS)
def test_no_hook_and_no_tensor_is_left_on_the_base(method: str) -> None:
    base, slots, attached = virtual("llama", method)
    before = answer(base, slots)
    assert len(base.model._forward_pre_hooks) == 0
    with slots.using(attached.replacements):
        assert len(base.model._forward_pre_hooks) == 1
    assert len(base.model._forward_pre_hooks) == 0
    assert torch.equal(answer(base, slots), before)
    assert base.fingerprint.verify()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", TWO)
def test_a_base_that_computes_activations_anew_trains_them_all_the_same(
    architecture: str, method: str
) -> None:
    ended = []
    for anew in (False, True):
        session = Session()
        session.use(tiny_model(architecture), tiny_tokenizer())
        base = session._state.base
        base.recipe = base.recipe._replace(checkpointing=anew)
        session.attach("one", method=method, virtual_tokens=TOKENS)
        start = session._state.attached["one"].state()
        session.train("one", text="Where? => Arr, there!", steps=3)
        ended.append(session._state.attached["one"].state())
        assert any(not torch.equal(ended[-1][name], tensor) for name, tensor in start.items())
        session.reset()
    assert all(torch.equal(ended[0][name], tensor) for name, tensor in ended[1].items())


def test_the_library_gives_a_block_that_is_computed_anew_no_cache() -> None:
    """The day this fails, virtual tokens can be trained with gradient checkpointing."""
    model = tiny_model("llama")
    ids = torch.arange(10, 18)[None]
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]  # transformers' own
    cache = DynamicCache(config=model.config)
    model(input_ids=ids, past_key_values=cache, use_cache=True)
    assert cache.get_seq_length() == 0
