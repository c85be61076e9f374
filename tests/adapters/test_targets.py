from __future__ import annotations

import pytest
from peft import LoraConfig, get_peft_model

from lora_magic.adapters.targets import canonical, resolve, shape_of, shortest
from lora_magic.errors import AdapterError
from tests.tiny import ARCHITECTURES, tiny_model


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
    found = resolve(tiny_model(architecture), "all-linear")
    assert set(found) == by_peft(architecture, "all-linear")


def test_names_match_as_in_peft() -> None:
    assert set(resolve(tiny_model(), "q_proj,mlp.up_proj")) == by_peft(
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
    found = resolve(tiny_model(architecture), "attention")
    assert {path.rpartition(".")[2] for path in found} == leaves
    assert not any("mlp" in path for path in found)


def test_a_pattern_chooses_by_path() -> None:
    found = resolve(tiny_model(), r"re:.*layers\.1\..*q_proj")
    assert found == ("model.layers.1.self_attn.q_proj",)
    with pytest.raises(AdapterError, match="regular expression"):
        resolve(tiny_model(), "re:(")


def test_every_name_that_matches_nothing_is_told_with_the_nearest() -> None:
    with pytest.raises(AdapterError) as seen:
        resolve(tiny_model(), "q_prj,v_proj,wombat")
    assert "'q_prj'" in str(seen.value)
    assert "Did you mean 'q_proj'" in str(seen.value)
    assert "'wombat'" in str(seen.value)
    assert "'v_proj'" not in str(seen.value)


def test_a_module_that_cannot_carry_lora_is_named_with_its_kind() -> None:
    with pytest.raises(AdapterError, match="LlamaRMSNorm"):
        resolve(tiny_model(), "input_layernorm")
    with pytest.raises(AdapterError, match="matches no module"):
        resolve(tiny_model(), "")


def test_shapes_are_outputs_by_inputs_whatever_the_layout() -> None:
    gpt2 = tiny_model("gpt2")
    assert shape_of(gpt2.get_submodule("transformer.h.0.attn.c_attn")) == (96, 32)
    assert shape_of(gpt2.get_submodule("transformer.wte")) == (32, 384)
    assert shape_of(tiny_model().get_submodule("model.layers.0.mlp.up_proj")) == (64, 32)


def test_the_names_for_peft_are_short_where_that_is_exact() -> None:
    model = tiny_model()
    assert shortest(model, resolve(model, "q_proj,v_proj")) == ["q_proj", "v_proj"]
    one = resolve(model, r"re:.*layers\.1\..*q_proj")
    assert shortest(model, one) == list(one)


def test_targets_have_one_spelling() -> None:
    assert canonical(" q_proj, v_proj,q_proj ") == "q_proj,v_proj"
    assert canonical(["q_proj", "v_proj"]) == "q_proj,v_proj"
    assert canonical("re:a,b") == "re:a,b"
