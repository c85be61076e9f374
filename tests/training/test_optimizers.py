"""Optimizers: LoRA+'s two rates by name, paged AdamW's steps, and runs over a quantised base."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from lora_magic.base.load import load
from lora_magic.base.model import BaseModel
from lora_magic.base.quantise import dequantised, quantised_bits
from lora_magic.base.recipe import LARGE, SMALL
from lora_magic.errors import CommandError
from lora_magic.training import optimizers
from lora_magic.training.run import run
from lora_magic.training.spec import OPTIMIZERS, TrainSpec, plan
from tests.conftest import Saver
from tests.tiny import tiny_model
from tests.training.adapted import ROWS, TOKENIZER, adapted, encoded, trainable, weights


def spec_of(steps: int = 4, **flags: Any) -> TrainSpec:
    recipe = SMALL._replace(batch_size=7, learning_rate=1e-2)
    return plan(recipe, len(ROWS), steps=steps, batch_size=7, max_length=128, **flags)


def named(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


# LoRA+


def test_without_a_ratio_there_is_one_rate() -> None:
    (group,) = optimizers.groups(named(adapted()), spec_of())
    assert group["lr"] == 1e-2
    assert len(group["params"]) == len(trainable(adapted()))


def test_lora_plus_gives_b_its_own_rate_and_leaves_nothing_out() -> None:
    model = adapted()
    slow, fast = optimizers.groups(named(model), spec_of(lora_plus=16.0))
    assert (slow["lr"], fast["lr"]) == (1e-2, pytest.approx(0.16))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all("lora_A" in names[id(p)] for p in slow["params"])
    assert all("lora_B" in names[id(p)] for p in fast["params"])
    together = {id(p) for p in (*slow["params"], *fast["params"])}
    assert together == {id(p) for p in trainable(model)}


def test_of_an_embedding_it_is_the_a_that_begins_at_zero_and_learns_faster() -> None:
    model = tiny_model()
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["embed_tokens"]), model)
    pairs = named(model)
    assert {name.split(".")[-2] for name, _ in pairs} == {"lora_embedding_A", "lora_embedding_B"}
    slow, fast = optimizers.groups(pairs, spec_of(lora_plus=4.0))
    assert all(float(p.abs().max()) == 0 for p in fast["params"])
    assert all(float(p.abs().max()) > 0 for p in slow["params"])


def test_what_is_neither_a_nor_b_learns_at_the_plain_rate() -> None:
    model = tiny_model()
    config = LoraConfig(r=2, target_modules=["q_proj"], use_dora=True)
    inject_adapter_in_model(config, model)
    pairs = [*named(model), ("lm_head.weight", nn.Parameter(torch.ones(2)))]
    slow, fast = optimizers.groups(pairs, spec_of(lora_plus=8.0))
    slow_names = {name for name, p in pairs if any(p is other for other in slow["params"])}
    assert "lm_head.weight" in slow_names
    assert any("magnitude" in name for name in slow_names)
    assert len(fast["params"]) == 2


def test_adam_s_first_step_moves_b_by_exactly_the_ratio_more() -> None:
    before = adapted()
    for ratio in (1.0, 16.0):
        model = adapted()
        run("it", model, TOKENIZER, encoded(), spec_of(steps=1, lora_plus=ratio))
        moved = {
            name: float((after - start).abs().max())
            for (name, after), start in zip(
                weights(model).items(), weights(before).values(), strict=True
            )
        }
        # Adam's first step is lr·g/(|g| + ε): lr itself wherever a gradient is not tiny.
        for name, size in moved.items():
            if "lora_B" in name:
                assert size == pytest.approx(1e-2 * ratio, rel=1e-2), name
            elif "lora_" not in name:
                assert size == 0, name


def test_lora_plus_without_a_and_b_is_refused_before_anything_runs() -> None:
    model = tiny_model()
    before = weights(model)
    model.requires_grad_(False)
    model.get_submodule("model.norm").requires_grad_()
    with pytest.raises(CommandError, match=r"--lora-plus 16 needs LoRA's A and B.*norm\.weight"):
        run("it", model, TOKENIZER, encoded(), spec_of(lora_plus=16.0))
    assert all(torch.equal(now, before[name]) for name, now in weights(model).items())


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"lora_plus": 0.5}, "--lora-plus 0.5: expected a number of at least 1"),
        ({"lora_plus": float("nan")}, "--lora-plus nan: expected a number of at least 1"),
        ({"lora_plus": "16"}, "--lora-plus '16': expected a number"),
        ({"lora_plus": 5000.0}, "B would learn at 50, expected at most 10"),
        ({"optimizer": "paged-adam"}, "Did you mean 'paged-adamw'"),
        ({"optimizer": "sgd"}, "expected one of adamw, paged-adamw, paged-adamw-8bit"),
    ],
)
def test_flags_that_cannot_be_are_named(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(CommandError, match=told.replace(".", r"\.")):
        spec_of(**flags)


def test_the_first_line_of_a_run_names_what_is_not_usual() -> None:
    assert "adamw" not in spec_of().line
    line = spec_of(lora_plus=16.0, optimizer="paged-adamw").line
    assert "lr 0.01 (B 16 times that)" in line
    assert ", paged-adamw, seed 0" in line


# Paged optimizers


@pytest.mark.parametrize(("optimizer", "near"), [("paged-adamw", 1e-5), ("paged-adamw-8bit", 0.02)])
def test_a_paged_optimizer_steps_as_adamw_does(optimizer: str, near: float) -> None:
    def stepped(kind: str, steps: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        parameter = nn.Parameter(torch.randn(128, 64, generator=generator))
        spec = spec_of(optimizer=kind)
        made = optimizers.make(optimizers.groups([("w", parameter)], spec), spec)
        for _ in range(steps):
            parameter.grad = torch.randn(128, 64, generator=generator)
            made.step()
        return parameter.detach()

    start = stepped("adamw", 0)
    for steps in (1, 3):
        expected = stepped("adamw", steps) - start
        found = stepped(optimizer, steps) - start
        # 8 bits keep each moment to about 1 % of its block's largest.
        worst = near if steps == 1 else 5 * near
        assert float((found - expected).norm() / expected.norm()) < worst
        assert float(expected.norm()) > 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_brings_the_loss_down_and_twice_the_same_way(optimizer: str) -> None:
    losses = []
    for _ in range(2):
        summary = run("it", adapted(), TOKENIZER, encoded(), spec_of(steps=12, optimizer=optimizer))
        losses.append(summary.losses)
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] - 0.1, "nats a token"


# A quantised base


def on_quantised(folder: str, bits: int) -> tuple[BaseModel, nn.Module]:
    """A quantised base with a LoRA in float32, and a dense twin of the same dequantised weights."""
    base = load(folder, bits=bits)
    twin = tiny_model()
    for path, module in base.model.named_modules():
        if quantised_bits(module) is not None:
            twin.get_submodule(path).weight.data = dequantised(module)
    for model in (base.model, twin):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            inject_adapter_in_model(LoraConfig(r=2, target_modules=["q_proj", "v_proj"]), model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
    return base, twin.eval()


@pytest.mark.parametrize("bits", [4, 8])
def test_lora_on_a_quantised_base_trains_like_on_the_dequantised_weights(
    bits: int, saved_model: Saver
) -> None:
    base, twin = on_quantised(str(saved_model()), bits)
    spec = spec_of(steps=12, optimizer="paged-adamw")
    modules = list(base.model.named_modules())
    flags = {name: getattr(base.model, name, None) for name in ("_hf_peft_config_loaded",)}
    found = run("it", base.model, TOKENIZER, encoded(), spec)
    expected = run("it", twin, TOKENIZER, encoded(), spec)
    assert found.losses[-1] < found.losses[0] - 0.1, "nats a token"
    # int8 rounds what comes into a layer too, to 1 part in 254 of its largest.
    assert found.losses == pytest.approx(expected.losses, rel=1e-3 if bits == 4 else 3e-2)
    assert base.fingerprint.verify()
    quantised = [p for n, p in base.model.named_parameters() if "lora_" not in n]
    assert all(p.grad is None and not p.requires_grad for p in quantised)
    assert [name for name, _ in base.model.named_modules()] == [name for name, _ in modules]
    assert flags == {name: getattr(base.model, name, None) for name in flags}
    assert all(p.dtype is torch.float32 for p in trainable(base.model))


def test_training_answering_and_training_again_gives_the_same_bits(saved_model: Saver) -> None:
    """CPUs with AVX512-BF16 would repack the weights in between, and drop their gradients."""
    ends = []
    for answers in (False, True):
        base, _ = on_quantised(str(saved_model()), 4)
        for part in range(2):
            run("it", base.model, TOKENIZER, encoded(), spec_of(seed=part))
            base.model.eval()
            if answers:
                with torch.no_grad():
                    base.model(input_ids=torch.arange(10, 26)[None])
        ends.append([p.detach().clone() for p in trainable(base.model)])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_a_quantised_base_s_recipe_is_paged_and_spares_memory_on_large_ones_only(
    saved_model: Saver,
) -> None:
    assert load(str(saved_model()), bits=4).recipe.optimizer == "paged-adamw"
    assert load(str(saved_model())).recipe.optimizer == "adamw"
    demo = load("demo", bits=4).recipe
    assert (demo.optimizer, demo.learning_rate, demo.steps) == ("paged-adamw", 3e-3, 60)
    assert plan(demo, 20).optimizer == "paged-adamw"
    assert plan(demo, 20, optimizer="adamw").optimizer == "adamw"
    large = LARGE.on_quantised(7_000_000_000, cuda=True)
    assert (large.batch_size, large.accumulation, large.checkpointing) == (2, 8, True)
    assert not LARGE.on_quantised(7_000_000_000, cuda=False).checkpointing
    assert not SMALL.on_quantised(500_000_000, cuda=True).checkpointing
    assert plan(large, 100).checkpointing


# Checkpointing


@pytest.mark.parametrize("bits", [None, 4])
def test_activations_computed_anew_give_the_same_run_and_leave_no_trace(
    bits: int | None, saved_model: Saver
) -> None:
    def one(checkpointing: bool) -> tuple[tuple[float, ...], nn.Module]:
        model = adapted() if bits is None else on_quantised(str(saved_model()), bits)[0].model
        hooks = [len(module._forward_hooks) for module in model.modules()]
        spec = replace(spec_of(), checkpointing=checkpointing)
        losses = run("it", model, TOKENIZER, encoded(), spec).losses
        assert not model.is_gradient_checkpointing
        assert [len(module._forward_hooks) for module in model.modules()] == hooks
        return losses, model

    (kept, first), (anew, second) = one(False), one(True)
    assert anew == pytest.approx(kept, rel=1e-6)
    for one_end, other in zip(trainable(first), trainable(second), strict=True):
        assert torch.allclose(one_end, other, atol=1e-6)
