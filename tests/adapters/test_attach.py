from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from lora_magic.adapters import attach
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.load import use
from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer


def spec(**changes: object) -> AdapterSpec:
    fields: dict[str, object] = {
        "rank": 4,
        "alpha": 8.0,
        "dropout": 0.0,
        "targets": "all-linear",
        "seed": 5,
    }
    return AdapterSpec(**{**fields, **changes})  # type: ignore[arg-type]  # by name


def based(architecture: str = "llama", **changes: object) -> tuple[BaseModel, Slots]:
    base = use(tiny_model(architecture, **changes), tiny_tokenizer())
    return base, Slots(base.model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_capture_leaves_no_trace_on_the_base(architecture: str) -> None:
    base, slots = based(architecture)
    tree = dict(base.model.named_modules())
    attributes = dict(vars(base.model))
    config = base.model.config.to_dict()
    hooks = [dict(m._forward_hooks) for m in base.model.modules()]
    attach.create(base, slots, "one", spec())
    assert dict(base.model.named_modules()) == tree
    assert vars(base.model) == attributes
    assert base.model.config.to_dict() == config
    assert [dict(m._forward_hooks) for m in base.model.modules()] == hooks
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert base.fingerprint.verify()


def test_gradient_checkpointing_leaves_no_hook_behind() -> None:
    base, slots = based()
    base.model.gradient_checkpointing_enable()
    before = sum(len(module._forward_hooks) for module in base.model.modules())
    attach.create(base, slots, "one", spec())
    assert sum(len(module._forward_hooks) for module in base.model.modules()) == before


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_b_zero_the_adapter_gives_the_bases_output_bit_for_bit(architecture: str) -> None:
    base, slots = based(architecture)
    ids = torch.arange(10, 30)[None]
    with torch.no_grad():
        before = base.model(ids).logits
        attached = attach.create(base, slots, "one", spec())
        with slots.using(attached.replacements):
            assert torch.equal(base.model(ids).logits, before)


def test_a_is_drawn_from_the_seed_and_the_global_generator_is_spared() -> None:
    base, slots = based()
    state = torch.get_rng_state()
    one = attach.create(base, slots, "one", spec()).state()
    again = attach.create(base, slots, "two", spec()).state()
    other = attach.create(base, slots, "three", spec(seed=6)).state()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_the_start_is_pefts_own_for_the_same_seed() -> None:
    base, slots = based()
    attached = attach.create(base, slots, "one", spec(targets="q_proj,v_proj"))
    torch.manual_seed(5)
    reference = get_peft_model(
        tiny_model(),
        LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    expected = {k: v for k, v in reference.named_parameters() if "lora_" in k}
    found = attached.state()
    assert {f"base_model.model.{key}" for key in found} == set(expected)
    assert all(torch.equal(found[key], expected[f"base_model.model.{key}"]) for key in found)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_count_by_formula_is_the_count_by_tensors(architecture: str) -> None:
    base, slots = based(architecture)
    record = attach.create(base, slots, "one", spec()).record()
    expected = 0
    for path in record.modules:
        rows, columns = base.model.get_submodule(path).weight.shape
        expected += 4 * (rows + columns)
    assert record.trainable == record.formula == expected
    assert record.differing == ()
    assert record.checkpoint_bytes == 4 * expected


def test_the_adapter_of_a_half_precision_base_is_float32() -> None:
    base, slots = based(dtype=torch.bfloat16)
    attached = attach.create(base, slots, "one", spec())
    assert {tensor.dtype for _, tensor in attached.tensors()} == {torch.float32}


def test_a_rank_beyond_the_matrix_is_refused_with_the_most_that_fits() -> None:
    base, slots = based()
    with pytest.raises(AdapterError, match=r"rank 17.*k_proj.*16 × 32.*at most 16"):
        attach.create(base, slots, "one", spec(rank=17, targets="k_proj"))
    assert slots.foreign_paths() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"rank_pattern": (("k_proj", 17),)},
        {"rank_pattern": (("k_proj", 17),), "init": "pissa"},
        {"rank_pattern": (("q_proj", 2),), "rank": 17},
        {"method": "adalora", "rank": 17},
    ],
)
def test_so_is_one_that_a_pattern_gives_and_one_that_adalora_is_to_end_with(
    fields: dict[str, object],
) -> None:
    base, slots = based()
    with pytest.raises(AdapterError, match=r"rank 17.*k_proj.*16 × 32.*at most 16"):
        attach.create(base, slots, "one", spec(**{"targets": "q_proj,k_proj", **fields}))
    assert slots.foreign_paths() == []


@pytest.mark.parametrize("dora", [False, True])
def test_an_embedding_that_counts_in_its_own_way_is_refused(dora: bool) -> None:
    base, slots = based("opt")
    ids = torch.arange(3)[None]
    positions = base.model.get_submodule("model.decoder.embed_positions")
    assert torch.equal(positions(torch.ones_like(ids))[0], positions.weight[2:5]), "not from 0"
    with pytest.raises(AdapterError, match=r"embed_positions is OPTLearned.*other rows"):
        attach.create(base, slots, "one", spec(targets="embed_positions", dora=dora))
    assert slots.foreign_paths() == []
    scaled = based("gemma")
    attach.create(*scaled, "one", spec(targets="embed_tokens"))


def test_whole_numbers_are_no_weights() -> None:
    expected = {"a": torch.zeros(2), "b": torch.zeros(2)}
    found = {"a": torch.zeros(2, dtype=torch.int32), "b": torch.zeros(2, dtype=torch.float64)}
    assert attach.faults_of(expected, found) == ["a holds int32, expected fp32, fp16 or bf16"]


def test_a_failure_within_peft_leaves_the_tree_pristine(monkeypatch: pytest.MonkeyPatch) -> None:
    base, slots = based()
    from peft.tuners.lora.layer import LoraLayer

    calls = []
    real = LoraLayer.update_layer

    def failing(self: object, *args: object, **options: object) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("half way")
        real(self, *args, **options)

    monkeypatch.setattr(LoraLayer, "update_layer", failing)
    with pytest.raises(AdapterError, match="half way"):
        attach.create(base, slots, "one", spec())
    assert len(calls) == 4
    assert slots.foreign_paths() == []
    assert base.fingerprint.verify()


def test_no_gradient_ever_reaches_the_base_and_b_gets_one_at_step_one_but_a_not() -> None:
    base, slots = based()
    attached = attach.create(base, slots, "one", spec())
    ids = torch.arange(10, 30)[None]
    with slots.using(attached.replacements), attached.trainable():
        base.model(input_ids=ids, labels=ids).loss.backward()
        gradients = {name: tensor.grad for name, tensor in attached.tensors()}
        for name, gradient in gradients.items():
            assert gradient is not None
            assert bool(gradient.any()) == ("lora_B" in name), name
        assert all(p.grad is None for p in base.model.parameters() if not p.requires_grad)
    assert all(tensor.grad is None for _, tensor in attached.tensors())
