"""Operations against torch's own count of a step, hours and cards against arithmetic by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from lora_magic.adapters.spec import AdapterSpec
from lora_magic.cost import compute
from lora_magic.cost.config import model_of
from lora_magic.cost.memory import Memory
from lora_magic.cost.setting import Setting

ROWS, LENGTH, RANK = 2, 24, 4

#: Each with more than one block, since the first block's inputs may need no gradient.
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 64,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 96,
        "vocab_size": 160,
    },
    "gpt2": {"n_embd": 64, "n_layer": 8, "n_head": 4, "vocab_size": 160, "n_positions": 64},
    "qwen2": {
        "hidden_size": 48,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 80,
        "vocab_size": 200,
        "tie_word_embeddings": True,
    },
}


def config_of(kind: str) -> Any:
    return AutoConfig.for_model(kind, **CONFIGS[kind])


def built(kind: str) -> Any:
    """A model whose attention multiplies in plain products, which torch counts."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config_of(kind), attn_implementation="eager")


def counted(model: Any, *, backward: bool) -> int:
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward):
        logits = model(input_ids=ids, use_cache=False).logits
        if backward:
            logits.sum().backward()
    return int(counter.get_total_flops())


def planned(kind: str, **what: Any) -> float:
    setting = Setting(rows=ROWS, length=LENGTH, **what)
    model = model_of(config_of(kind))
    spec = setting.spec
    trained = 0
    if spec is not None and spec.method == "lora":
        sides = (m.sides for p, m in model.shapes.modules.items() if p.endswith(ENDS[kind]))
        trained = sum(spec.rank * (d + k) for d, k in sides)
    return compute.operations(model, setting, trained, ROWS * LENGTH)


ENDS = {"llama": ("q_proj", "v_proj"), "qwen2": ("q_proj", "v_proj"), "gpt2": ("c_attn",)}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_forward_pass_takes_what_torch_counts(kind: str) -> None:
    assert planned(kind, training=False) == counted(built(kind), backward=False)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_step_of_full_fine_tuning_takes_what_torch_counts(kind: str) -> None:
    found = planned(kind, spec=AdapterSpec(method="full"))
    assert found == counted(built(kind), backward=True)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_of_lora_takes_what_torch_counts(kind: str, checkpointing: bool) -> None:
    from peft import LoraConfig, get_peft_model

    model = built(kind)
    model.config.use_cache = False
    ends = list(ENDS[kind])
    config = LoraConfig(r=RANK, target_modules=ends, fan_in_fan_out=kind == "gpt2")
    adapted = get_peft_model(model, config).train()
    if checkpointing:
        # The embedding's output needs a gradient, as in our own runs.
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    spec = AdapterSpec(rank=RANK, alpha=8, targets=",".join(ends))
    found = planned(kind, spec=spec, checkpointing=checkpointing)
    # Without checkpointing the first block's inputs have no gradient; with it torch skips the last
    # product of a block if nothing after it needs the result.
    assert found == pytest.approx(counted(adapted, backward=True), rel=0.06)


def test_tokens_without_a_label_have_no_logits() -> None:
    model, setting = (
        model_of(config_of("llama")),
        Setting(length=LENGTH, spec=AdapterSpec(rank=4, alpha=8)),
    )
    every = compute.operations(model, setting, 0, 1000)
    some = compute.operations(model, setting, 0, 1000, labelled=250)
    # Forward and backward of 750 rows of the output layer [160, 64].
    assert every - some == pytest.approx(750 * 2 * 2 * 160 * 64)


def test_a_mixture_of_experts_computes_with_those_that_are_chosen() -> None:
    from dataclasses import replace

    model = model_of(config_of("llama"))
    fewer = replace(model, inactive=100_000)
    change = compute.forward(model, LENGTH).total - compute.forward(fewer, LENGTH).total
    assert change == 2 * 100_000


def test_hours_are_operations_over_the_speed_of_all_cards() -> None:
    assert compute.hours(3.6e18, 1e14, None) == pytest.approx(10)
    assert compute.hours(3.6e18, 1e14, 5) == pytest.approx(2)
    assert compute.hours(3.6e18, None, 1) is None


@pytest.mark.parametrize(
    ("weights", "activations", "room", "cards"),
    [
        (10, 5, 20, 1),
        (15, 5, 20, 1),
        (16, 5, 20, 2),
        (1120, 0, 80, 14),  # 70B with Adam at 16 bytes a parameter, on cards of 80 GB
        (280, 0, 80, 4),  # its weights and gradients in 16 bits alone
        (10, 20, 20, None),  # no card holds its own pass
    ],
)
def test_cards_share_the_weights_and_each_has_its_own_pass(
    weights: int, activations: int, room: int, cards: int | None
) -> None:
    found = Memory((("weights", weights), ("activations", activations)))
    assert compute.cards(found, room) == cards


def test_how_many_cards_is_unknown_where_the_memory_is() -> None:
    assert compute.cards(Memory((("weights", 1),)), None) is None
