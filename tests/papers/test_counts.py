"""Counts that the papers print and that come out exactly, and those that explainers get wrong.

Three ways each: plain arithmetic, our plan from shapes alone, and the tensors that attaching makes.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.cost.count import planned
from lora_magic.state.session import Session
from tests.conftest import Saver
from tests.papers.published import CONFIGS, base_parameters, built_parameters, published
from tests.tiny import ARCHITECTURES, tiny_config

SEVEN = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
GPT3, APART = "GPT-3 175B", "GPT-3 175B, q k v apart"


def lora(rank: int, targets: str, **more: Any) -> AdapterSpec:
    return AdapterSpec(rank=rank, alpha=8.0, targets=targets, **more)


def bottleneck(method: str, rank: int) -> AdapterSpec:
    return AdapterSpec(method=method, rank=rank, targets="usual")


def total(model: str, spec: AdapterSpec) -> int:
    return sum(count.formula for count in planned(shapes_of(published(model)), spec))


#: Where it is printed, the model, the method, the number, and the same number by hand.
EXACT = [
    ("table 2", "RoBERTa-base", lora(8, "query,value"), 294_912, 12 * 2 * 2 * 768 * 8),
    ("table 2", "RoBERTa-large", lora(8, "query,value"), 786_432, 24 * 2 * 2 * 1024 * 8),
    ("table 2", "DeBERTa-XXL", lora(16, "query_proj,value_proj"), 4_718_592, 48 * 4 * 1536 * 16),
    (
        "table 2",
        "RoBERTa-large",
        bottleneck("houlsby", 8),
        835_968,
        2 * 24 * (2 * 1024 * 8 + 8 + 1024),
    ),
    (
        "table 3",
        "GPT-2 medium",
        bottleneck("adapter-l", 6),
        368_784,
        24 * (2 * 1024 * 6 + 6 + 1024 + 2 * 1024),
    ),
    ("table 3", "GPT-2 medium", lora(4, "c_attn"), 393_216, 24 * 2 * 2 * 1024 * 4),
    (
        "table 3",
        "GPT-2 large",
        AdapterSpec(method="full"),
        774_030_080,
        (50257 + 1024) * 1280 + 36 * (12 * 1280**2 + 13 * 1280) + 2 * 1280,
    ),
    ("table 4", APART, lora(1, "q_proj,v_proj"), 4_718_592, 96 * 2 * 2 * 12288),
    ("table 4", APART, lora(8, "q_proj,v_proj"), 37_748_736, 96 * 2 * 2 * 12288 * 8),
    (
        "table 4",
        GPT3,
        bottleneck("houlsby", 8),
        40_109_568,
        2 * 96 * (2 * 12288 * 8 + 8 + 12288),
    ),
    # 256 prefixed and 8 infixed tokens: "3.2M".
    (
        "table 4",
        GPT3,
        AdapterSpec(method="prompt", virtual_tokens=264),
        3_244_032,
        12288 * (256 + 8),
    ),
    # Said to be 20.2M: 8 tokens, keys and values, in each of 96 layers.
    (
        "table 4, mended",
        GPT3,
        AdapterSpec(method="prefix", virtual_tokens=8),
        18_874_368,
        96 * 12288 * (8 + 8),
    ),
    # Said to be 14.2M: biases of q, k, v, o, two linear layers, two norms, and the last norm.
    (
        "table 4, mended",
        GPT3,
        AdapterSpec(method="bitfit"),
        12_988_416,
        96 * (4 + 4 + 1 + 2) * 12288 + 12288,
    ),
    ("table 5", APART, lora(8, "q_proj"), 18_874_368, 96 * 2 * 12288 * 8),
    ("table 5", APART, lora(4, "q_proj,v_proj"), 18_874_368, 96 * 2 * 2 * 12288 * 4),
    (
        "table 5",
        APART,
        lora(2, "q_proj,k_proj,v_proj,out_proj"),
        18_874_368,
        96 * 4 * 2 * 12288 * 2,
    ),
    (
        "QLoRA's targets",
        "Llama-3-70B",
        lora(16, "all-linear"),
        207_093_760,
        80 * 16 * (2 * (8192 + 8192) + 2 * (8192 + 1024) + 3 * (8192 + 28672)),
    ),
]


def _id(value: object) -> str:
    return value.line if isinstance(value, AdapterSpec) else str(value)


@pytest.mark.parametrize(("table", "model", "spec", "printed", "by_hand"), EXACT, ids=_id)
def test_a_printed_count_comes_out_by_arithmetic_by_formula_and_by_tensors(
    table: str, model: str, spec: AdapterSpec, printed: int, by_hand: int
) -> None:
    assert by_hand == printed
    assert total(model, spec) == printed
    assert built_parameters(published(model), spec) == printed


@pytest.mark.parametrize(
    ("model", "count"),
    [
        # Published as 125M and 355M; with the layer that guesses words, tied to the embedding.
        ("RoBERTa-base", 124_697_433),
        ("RoBERTa-large", 355_412_057),
        ("GPT-2 large", 774_030_080),
        ("GPT-3 175B", (50257 + 2048) * 12288 + 96 * (12 * 12288**2 + 13 * 12288) + 2 * 12288),
        ("Llama-3-70B", 70_553_706_496),
    ],
)
def test_a_base_has_as_many_parameters_as_its_sizes_give(model: str, count: int) -> None:
    assert base_parameters(published(model)) == count


def test_llama_3_70b_s_base_by_hand() -> None:
    attention = 2 * 8192 * 8192 + 2 * 8192 * 1024
    layer = attention + 3 * 8192 * 28672 + 2 * 8192
    assert 2 * 128256 * 8192 + 80 * layer + 8192 == 70_553_706_496
    assert total("Llama-3-70B", lora(16, SEVEN)) == total("Llama-3-70B", lora(16, "all-linear"))


@pytest.mark.parametrize("model", ["GPT-2 medium", "Llama-3-70B"])
def test_plain_peft_on_the_meta_device_makes_as_many(model: str) -> None:
    targets = "c_attn" if model == "GPT-2 medium" else SEVEN
    with torch.device("meta"):
        fresh = AutoModelForCausalLM.from_config(CONFIGS[model]())
        wrapped = get_peft_model(fresh, LoraConfig(r=16, target_modules=targets.split(",")))
    trainable, every = wrapped.get_nb_trainable_parameters()
    assert trainable == total(model, lora(16, targets))
    assert every - trainable == base_parameters(published(model))


def test_q_and_v_within_gpt_2_s_one_matrix_cost_what_they_cost_apart() -> None:
    """r·(d + 3d) of the whole c_attn is 2·r·(d + d) of q and v, whatever r."""
    for rank in (1, 8):
        assert total(GPT3, lora(rank, "c_attn")) == total(APART, lora(rank, "q_proj,v_proj"))


# Where explainers are wrong


def test_gpt_3_at_r_4_is_18_9_million_and_the_checkpoint_36_mib() -> None:
    """Not 2·96·12288·4 = 9.4M: there are two matrices in each layer."""
    found = total(APART, lora(4, "q_proj,v_proj"))
    assert found == 2 * (2 * 96 * 12288 * 4)
    assert 2 * found == 36 * 2**20, "bytes in fp16: the paper's 35 MB"


def test_10_000_times_fewer_belongs_to_r_4_and_r_1_is_37_000_times() -> None:
    base = base_parameters(published(GPT3))
    assert round(base / 1e6) == 174_604, "not 175,255.8M"
    assert round(base / total(APART, lora(1, "q_proj,v_proj"))) == 37_003
    assert round(base / total(APART, lora(4, "q_proj,v_proj"))) == 9_251


@pytest.mark.parametrize(
    ("model", "rank", "times"), [(APART, 8, 768), (APART, 4, 1536), ("one layer of 4096", 8, 256)]
)
def test_one_matrix_against_its_factors(model: str, rank: int, times: int) -> None:
    """Not 1,536 times for r = 8 at 12288²."""
    count = planned(shapes_of(published(model)), lora(rank, "q_proj"))[0]
    assert count.outputs * count.inputs == times * count.formula


def test_roberta_base_is_not_0_8_million_which_is_roberta_large() -> None:
    base = total("RoBERTa-base", lora(8, "query,value"))
    large = total("RoBERTa-large", lora(8, "query,value"))
    assert (round(base / 1e6, 3), round(large / 1e6, 1)) == (0.295, 0.8)


def test_four_matrices_at_r_2_are_not_more_parameters_than_two_at_r_4() -> None:
    four = total(APART, lora(2, "q_proj,k_proj,v_proj,out_proj"))
    assert four == total(APART, lora(4, "q_proj,v_proj"))


def test_524_thousand_is_a_layer_and_not_a_head() -> None:
    four = "q_proj,k_proj,v_proj,out_proj"
    layer = total("one layer of 4096", lora(16, four))
    assert layer == 4 * 16 * (4096 + 4096) == 524_288
    assert 32 * layer == 16_777_216


def test_the_base_is_350_gb_and_the_checkpoint_a_ten_thousandth_of_it() -> None:
    base = 2 * base_parameters(published(GPT3))
    checkpoint = 2 * total(APART, lora(4, "q_proj,v_proj"))
    assert base / 1e9 == pytest.approx(350, rel=0.01)
    assert base / checkpoint == pytest.approx(10_000, rel=0.1), "not 1/100th"


def test_a_bottleneck_of_gpt_3_is_80_mb_and_not_10() -> None:
    assert 2 * total(GPT3, bottleneck("houlsby", 8)) / 1e6 == pytest.approx(80, rel=0.01)


# A plan is what attaching then makes

PLANS: list[dict[str, Any]] = [
    {"rank": 3, "targets": "all-linear"},
    {"rank": 3, "targets": "attention", "method": "dora"},
    {"rank": 5, "targets": "all-linear", "method": "adalora"},
    {"method": "ia3"},
    {"method": "prefix", "virtual_tokens": 7},
    {"method": "prompt", "virtual_tokens": 7},
    {"method": "houlsby", "rank": 3},
    {"method": "adapter-l", "rank": 3},
    {"method": "full"},
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_plan_of_every_method_is_what_an_adapter_then_has(
    architecture: str, saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model(architecture)))
    plans = [*PLANS, {"method": "bitfit"}] if _has_biases(architecture) else PLANS
    for plan in plans:
        told = session.ratio(**plan)
        record = session.attach("one", replace=True, **plan)
        assert told.trainable_parameters == record.trainable == record.formula, plan
        assert [count.module for count in told.modules] == list(record.modules), plan
        assert record.differing == ()
    session.reset()


def _has_biases(architecture: str) -> bool:
    return architecture in ("qwen2", "phi", "gpt2", "opt", "gpt_neox")


@pytest.mark.parametrize(
    "flags",
    [
        {"rank": 3, "targets": "c_attn", "bias": "all"},
        {"rank": 3, "targets": "c_attn,c_proj", "bias": "lora_only", "norms": True},
        {"rank": 3, "targets": "wte,c_attn", "norms": True},
        {"rank": 3, "targets": "wte,c_fc", "dora": True},
        {"rank": 3, "targets": "c_attn,c_proj", "rank_pattern": {"mlp.c_proj": 5, "c_attn": 2}},
    ],
)
def test_what_is_trained_of_the_base_is_in_the_formula(
    flags: dict[str, Any], saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model("gpt2")))
    record = session.attach("one", **flags)
    spec = record.spec
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(tiny_config("gpt2"))
    by_formula = planned(shapes_of(empty), spec)
    tensors = sum(t.numel() for _, t in session._state.attached["one"].tensors())
    assert sum(count.formula for count in by_formula) == tensors == record.formula
    session.reset()


def test_a_plan_follows_the_active_adapter_unless_told_otherwise(session: Session) -> None:
    session.attach("one", method="dora", rank=2, targets="q_proj")
    doubled = session.ratio(rank=4)
    assert doubled.adapter is None
    # DoRA's magnitudes are one an output, whatever the rank.
    assert doubled.trainable_parameters == 2 * (4 * (32 + 32) + 32)
    assert session.ratio().trainable_parameters == 2 * (2 * (32 + 32) + 32)
    other = session.ratio(method="houlsby", rank=8)
    assert other.trainable_parameters == 2 * 2 * (2 * 32 * 8 + 8 + 32)


def test_the_display_of_a_plan_without_a_rank_draws_no_factors(session: Session) -> None:
    low = session.ratio(rank=8, targets="q_proj")._repr_mimebundle_()
    assert "r·(d + k) = 512 of d·k = 1,024" in str(low["text/html"])
    for plan in PLANS[3:]:
        shown = session.ratio(**plan)
        bundle = shown._repr_mimebundle_()
        assert "r·(d + k) =" not in str(bundle["text/html"]), plan
        assert "rank 0" not in str(bundle["text/plain"])
        assert str(plan["method"]) in shown.line
        assert f"{shown.trainable_parameters:,} = counted" in str(bundle["text/plain"])


def test_all_parameters_are_told_as_all(session: Session) -> None:
    found = session.ratio(method="full")
    assert found.trainable_parameters == found.base_parameters
    assert "(100%, all of them)" in found.line
