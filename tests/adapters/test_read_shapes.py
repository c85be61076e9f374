"""Shapes read from models: the same live, on the meta device and quantised, against torch's own."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PrefixTuningConfig, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.shapes import CONV1D, EMBEDDING, LINEAR, Cache, Shapes
from lora_magic.base.load import load
from tests.adapters.shared import VARIANTS, based, made
from tests.conftest import Saver
from tests.tiny import ARCHITECTURES, tiny_config, tiny_model

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
FALCON: dict[str, Any] = {**SMALL, "alibi": False}

#: Models whose layers keep keys and values in another number than their heads, or not all of them.
CACHES: dict[str, tuple[str, dict[str, Any]]] = {
    "grouped": ("llama", {**SMALL, "num_key_value_heads": 2, "intermediate_size": 64}),
    "size apart": ("qwen3", {**SMALL, "num_key_value_heads": 2, "head_dim": 16}),
    "one head": ("gpt_bigcode", {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}),
    "one head of Falcon": ("falcon", {**FALCON, "multi_query": True}),
    "repeated heads": ("falcon", {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "without a mark": ("bloom", {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "with recurrent layers": (
        "qwen3_next",
        {
            **SMALL,
            "num_key_value_heads": 2,
            "intermediate_size": 64,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
    "recurrent": ("mamba", {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2}),
}


def on_meta(config: Any) -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def same(one: Shapes, other: Shapes) -> bool:
    names = ("modules", "ties", "output", "blocks", "width", "cache", "experts", "architecture")
    return all(getattr(one, name) == getattr(other, name) for name in names)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_has_the_shapes_of_torchs_own_lists_live_and_on_the_meta_device(
    architecture: str,
) -> None:
    model = tiny_model(architecture)
    found = shapes_of(model)
    assert same(found, shapes_of(on_meta(tiny_config(architecture))))
    own = {
        path: {name: tuple(p.shape) for name, p in module.named_parameters(recurse=False)}
        for path, module in model.named_modules()
        if path
    }
    assert {path: dict(module.parameters) for path, module in found.modules.items()} == own
    assert list(found.modules) == list(own)
    once = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert {f"{path}.{name}": shape for path, name, shape in found.owned} == once
    assert found.total == sum(p.numel() for p in model.parameters())
    head: Any = model.get_output_embeddings()
    assert found.output is not None
    assert model.get_submodule(found.output) is head
    assert found.blocks == tuple(f"{found.blocks[0][:-2]}.{layer}" for layer in (0, 1))


@pytest.mark.parametrize("name", CACHES)
def test_the_cache_is_what_the_model_then_keeps(name: str) -> None:
    kind, sizes = CACHES[name]
    config = AutoConfig.for_model(kind, **sizes)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        kept = model(input_ids=torch.arange(5)[None], use_cache=True)
    cache = next(value for value in kept.values() if hasattr(value, "layers"))
    parts = [getattr(layer, part, None) for layer in cache.layers for part in ("keys", "values")]
    shapes = {None if part is None else tuple(part.shape) for part in parts}
    expected = None
    if None not in shapes and len(shapes) == 1:
        _, heads, _, size = shapes.pop()  # type: ignore[misc]  # not None
        expected = Cache(len(cache.layers), heads, size)
    assert shapes_of(model).cache == shapes_of(on_meta(config)).cache == expected


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "deberta-v2", "electra"])
def test_an_encoder_keeps_nothing(kind: str) -> None:
    config = AutoConfig.for_model(kind)
    config.num_hidden_layers = 2
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    found = shapes_of(model)
    assert found.cache is None
    assert found.output is None
    assert found.total == sum(p.numel() for p in model.parameters())


def test_keys_and_values_of_different_sizes_are_no_common_cache() -> None:
    config = AutoConfig.for_model("deepseek_v3", num_hidden_layers=2, first_k_dense_replace=1)
    assert shapes_of(on_meta(config)).cache is None


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_quantised_model_has_the_shapes_from_before_and_its_bits(
    architecture: str, bits: int, saved_model: Saver
) -> None:
    model = load(str(saved_model(architecture)), bits=bits).model
    found, plain = shapes_of(model), shapes_of(tiny_model(architecture))
    assert found.total == plain.total
    assert list(found.modules) == list(plain.modules)
    for path, module in plain.modules.items():
        changed = found.modules[path]
        inside = module.kind in (LINEAR, CONV1D) and path != plain.output
        assert changed.bits == (bits if inside else None), path
        if module.carries_lora:
            assert changed.sides == module.sides, path


def test_ties_are_by_identity_and_a_shared_module_is_one() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3, bias=False)})
    model["b"].weight = model["a"].weight
    model["c"] = model["a"]
    model.register_parameter("scale", nn.Parameter(torch.ones(2)))
    found = shapes_of(model)
    assert found.ties == {"b.weight": "a.weight"}
    assert list(found.modules) == ["", "a", "b"]
    assert found.total == 9 + 3 + 2 == sum(p.numel() for p in model.parameters())


def test_a_parametrised_layer_has_the_sides_of_its_weight() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)))
    found = shapes_of(model)
    assert found.modules["0"].sides == (3, 5)
    assert found.total == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=2, target_modules=["q_proj", "lm_head"], modules_to_save=["norm"]),
        IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    ],
)
def test_a_model_with_pefts_layers_has_the_shapes_of_its_base(config: Any) -> None:
    wrapped = get_peft_model(tiny_model(), copy.deepcopy(config))
    assert same(shapes_of(wrapped), shapes_of(tiny_model()))


@pytest.mark.parametrize("name", ["dora and bias", "houlsby", "full", "norms", "prefix"])
def test_a_model_with_our_layers_has_the_shapes_of_its_base(name: str) -> None:
    base, slots = based("gpt2")
    attached = made(base, slots, **VARIANTS[name])
    with slots.using(attached.replacements):
        assert same(shapes_of(base.model), slots.shapes)
    assert same(slots.shapes, shapes_of(tiny_model("gpt2")))


class TwoTexts:
    """A config of two text models, with a width for each layer."""

    hidden_size = (3, 5)
    num_attention_heads = None

    def get_text_config(self) -> None:
        raise ValueError("two texts")


class Foreign(nn.Module):
    """A model that answers no question, or answers it oddly."""

    config = TwoTexts()

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.Linear(3, 3)
        self.attn.is_causal = True  # type: ignore[assignment]  # a mark

    def get_output_embeddings(self) -> None:
        raise NotImplementedError


def test_a_foreign_model_is_read_without_what_it_does_not_say() -> None:
    for model in (Foreign(), nn.Linear(3, 4), nn.ModuleList([nn.Linear(2, 2)] * 2)):
        found = shapes_of(model)
        assert found.total == sum(p.numel() for p in model.parameters())
        assert (found.width, found.cache, found.output) == (0, None, None)


def test_kinds_are_those_of_the_layers() -> None:
    kinds = {path: module.kind for path, module in shapes_of(tiny_model("gpt2")).modules.items()}
    assert kinds["transformer.wte"] == EMBEDDING
    assert kinds["transformer.h.0.attn.c_attn"] == CONV1D
    assert kinds["lm_head"] == LINEAR


#: Run alone: other tests have imported torch already.
WITHOUT_TORCH = """
import sys
from lora_magic.adapters.shapes import LINEAR, ModuleShape, Shapes
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.adapters import coverage, targets
from lora_magic.cost.count import planned

modules = [ModuleShape("a.q_proj", LINEAR, (("weight", (3, 5)),)), ModuleShape("a.norm", "other")]
shapes = Shapes({module.path: module for module in modules})
assert targets.resolve(shapes, "all-linear") == ("a.q_proj",)
assert coverage.left_out(shapes, ["a.q_proj"]) == ()
assert planned(shapes, AdapterSpec(rank=2, alpha=1, targets="q_proj"))[0].formula == 2 * (3 + 5)
heavy = ("torch", "transformers", "peft", "numpy", "pandas")
assert not [name for name in heavy if name in sys.modules]
"""


def test_targets_coverage_and_counts_on_shapes_need_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-600:]


def test_reading_a_model_asks_peft_only_for_what_is_looked_up() -> None:
    found = shapes_of(on_meta(AutoConfig.for_model("mamba", **CACHES["recurrent"][1])))
    assert "out_proj" in found.refused
    assert "in_proj" not in found.refused
    assert set(found.refused) == {"out_proj"}
    assert list(shapes_of(tiny_model("llama")).scaled) == ["k_proj", "v_proj", "down_proj"]
