from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from lora_magic.adapters.read_shapes import shape_of, shapes_of
from lora_magic.adapters.targets import canonical, is_router, resolve, shortest
from lora_magic.errors import AdapterError
from lora_magic.state.session import Session
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer


def by_peft(architecture: str, targets: str | list[str]) -> set[str]:
    """The paths that PEFT itself would adapt."""
    model = get_peft_model(
        tiny_model(architecture), LoraConfig(target_modules=targets, task_type="CAUSAL_LM")
    )
    wrapped = model.base_model.model
    return {path for path, module in wrapped.named_modules() if hasattr(module, "lora_A")}


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_linear_is_what_peft_takes_it_to_be(architecture: str) -> None:
    found = resolve(shapes_of(tiny_model(architecture)), "all-linear")
    assert set(found) == by_peft(architecture, "all-linear")


def test_names_match_as_in_peft() -> None:
    assert set(resolve(shapes_of(tiny_model()), "q_proj,mlp.up_proj")) == by_peft(
        "llama", ["q_proj", "mlp.up_proj"]
    )


@pytest.mark.parametrize(
    ("architecture", "leaves"),
    [
        ("llama", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("gpt2", {"c_attn", "c_proj"}),
        ("gpt_neox", {"query_key_value", "dense"}),
    ],
)
def test_attention_is_the_linear_layers_of_attention(architecture: str, leaves: set[str]) -> None:
    found = resolve(shapes_of(tiny_model(architecture)), "attention")
    assert {path.rpartition(".")[2] for path in found} == leaves
    assert not any("mlp" in path for path in found)


def test_a_pattern_chooses_by_path() -> None:
    found = resolve(shapes_of(tiny_model()), r"re:.*layers\.1\..*q_proj")
    assert found == ("model.layers.1.self_attn.q_proj",)
    with pytest.raises(AdapterError, match="regular expression"):
        resolve(shapes_of(tiny_model()), "re:(")


def test_every_name_that_matches_nothing_is_told_with_the_nearest() -> None:
    with pytest.raises(AdapterError) as seen:
        resolve(shapes_of(tiny_model()), "q_prj,v_proj,wombat")
    assert "'q_prj'" in str(seen.value)
    assert "Did you mean 'q_proj'" in str(seen.value)
    assert "'wombat'" in str(seen.value)
    assert "'v_proj'" not in str(seen.value)


def test_a_module_that_cannot_carry_lora_is_named_with_its_kind() -> None:
    with pytest.raises(AdapterError, match="LlamaRMSNorm"):
        resolve(shapes_of(tiny_model()), "input_layernorm")
    with pytest.raises(AdapterError, match="matches no module"):
        resolve(shapes_of(tiny_model()), "")


def test_shapes_are_outputs_by_inputs_whatever_the_layout() -> None:
    gpt2 = tiny_model("gpt2")
    assert shape_of(gpt2.get_submodule("transformer.h.0.attn.c_attn")) == (96, 32)
    assert shape_of(gpt2.get_submodule("transformer.wte")) == (32, 384)
    assert shape_of(tiny_model().get_submodule("model.layers.0.mlp.up_proj")) == (64, 32)


def test_the_names_for_peft_are_short_where_that_is_exact() -> None:
    shapes = shapes_of(tiny_model())
    assert shortest(shapes, resolve(shapes, "q_proj,v_proj")) == ["q_proj", "v_proj"]
    one = resolve(shapes, r"re:.*layers\.1\..*q_proj")
    assert shortest(shapes, one) == list(one)


def test_targets_have_one_spelling() -> None:
    assert canonical(" q_proj, v_proj,q_proj ") == "q_proj,v_proj"
    assert canonical(["q_proj", "v_proj"]) == "q_proj,v_proj"
    assert canonical("re:a,b") == "re:a,b"


EXPERTS: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
}
MIXTURES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4},
    "phimoe": {"num_local_experts": 4},
    "granitemoe": {"num_local_experts": 4},
    "olmoe": {"num_experts": 4},
    "qwen2_moe": {
        "num_experts": 4,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "qwen3_moe": {"num_experts": 4, "moe_intermediate_size": 16, "head_dim": 8},
    "ernie4_5_moe": {"moe_num_experts": 4, "moe_intermediate_size": 16, "moe_k": 2},
}


def mixture(kind: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **EXPERTS, **MIXTURES[kind])
        return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("kind", MIXTURES)
def test_a_default_attach_works_on_a_mixture_of_experts_and_tells_what_it_leaves_out(
    kind: str,
) -> None:
    session = Session()
    session.use(mixture(kind), tiny_tokenizer())
    record = session.attach("one")
    leaves = {path.rpartition(".")[2] for path in record.modules}
    assert {"q_proj", "k_proj", "v_proj", "o_proj"} <= leaves
    assert not leaves & {"gate", "router", "shared_expert_gate"}
    # By the names and shapes of the parameters alone.
    pristine = dict(mixture(kind).named_parameters())
    sizes = {name: value.numel() for name, value in pristine.items()}
    experts = sum(value.numel() for value in pristine.values() if value.dim() == 3)
    adapted = sum(n for name, n in sizes.items() if name.rpartition(".")[0] in record.modules)
    assert dict(record.left_out)["experts"] == experts > 0
    assert sum(dict(record.left_out).values()) == sum(sizes.values()) - adapted
    assert "left out: experts" in record.line


#: Run alone: what an earlier wrap has imported could hide what the first one does not know.
FIRST_ATTACH = """
from transformers import AutoConfig, AutoModelForCausalLM
from lora_magic import Session

sizes = dict(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
             num_attention_heads=2, num_key_value_heads=2, q_lora_rank=4, kv_lora_rank=4,
             qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8, n_routed_experts=4,
             num_experts_per_tok=2, n_group=1, topk_group=1, moe_intermediate_size=8,
             first_k_dense_replace=1)
session = Session()
session.use(AutoModelForCausalLM.from_config(AutoConfig.for_model("deepseek_v3", **sizes)))
paths = session.attach("a", targets="all-linear", rank=2).modules
print(sorted({path.rpartition(".")[2] for path in paths}))
"""


def test_the_first_attach_of_a_process_knows_what_peft_renames() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_ATTACH], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-600:]
    names = "['kv_a_proj_with_mqa', 'kv_b_proj', 'o_proj', 'q_a_proj', 'q_b_proj']"
    assert done.stdout.splitlines()[-1] == names


def test_the_routers_of_experts_can_still_be_named_and_other_gates_are_no_routers() -> None:
    shapes = shapes_of(mixture("qwen2_moe"))
    assert len(resolve(shapes, "shared_expert_gate")) == 2
    assert is_router("model.layers.0.mlp.gate", has_experts=True)
    assert not is_router("model.layers.0.mlp.gate", has_experts=False)
    assert not is_router("model.layers.0.mlp.gate_proj", has_experts=True)


@pytest.mark.parametrize("name", ["gate_up_proj", "experts", "mlp.experts.down_proj"])
def test_a_name_of_stacked_experts_says_why_it_is_no_target(name: str) -> None:
    with pytest.raises(AdapterError, match=r"3D parameter.*--targets attention"):
        resolve(shapes_of(mixture("mixtral")), name)


def test_the_rank_that_a_message_suggests_fits_every_target() -> None:
    session = Session()
    session.use(mixture("qwen2_moe"), tiny_tokenizer())
    with pytest.raises(AdapterError, match=r"expected at most 1 .*--rank 1\.") as seen:
        session.attach("one", targets="q_proj,shared_expert_gate", rank=4)
    assert "1 × 32" in str(seen.value)
    assert session.attach("one", targets="q_proj,shared_expert_gate", rank=1)
    with pytest.raises(AdapterError, match=r"expected at most 16 .*--rank 8\."):
        session.attach("two", targets="q_proj,k_proj", rank=32)


def test_all_linear_leaves_layers_out_that_are_smaller_than_the_rank() -> None:
    session = Session()
    session.use(tiny_model(), tiny_tokenizer())  # keys and values have 16 outputs
    leaves = {path.rpartition(".")[2] for path in session.attach("one", rank=20).modules}
    assert leaves == {"q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    with pytest.raises(AdapterError, match=r"rank 100 exceeds.*--rank 8"):
        session.attach("two", rank=100)
