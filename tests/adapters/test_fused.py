"""Fused layers against PEFT's own on the same tensors: losses, gradients, what stays plain."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from transformers import AutoConfig, AutoModelForCausalLM

from lora_magic.adapters.fused import Fused
from lora_magic.adapters.slots import Slots
from lora_magic.base.load import use
from lora_magic.base.model import BaseModel
from lora_magic.base.restore import namespaces, restoring
from tests.adapters.shared import based, made, moved, uneven
from tests.adapters.test_targets import MIXTURES, mixture
from tests.counts import ops, saved_bytes
from tests.tiny import ARCHITECTURES, tiny_tokenizer

SMALL: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 3,
}
#: Fused q/k/v and gate/up, norms between a projection and the next, latent attention, convolutions.
OTHERS: dict[str, dict[str, Any]] = {
    "phi3": {**SMALL, "eos_token_id": 0},
    "qwen3": {**SMALL, "head_dim": 8},
    "olmo2": SMALL,
    "deepseek_v3": {
        **SMALL,
        "num_key_value_heads": 4,
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 16,
        "first_k_dense_replace": 1,
    },
}
KINDS = (*ARCHITECTURES, *OTHERS, *MIXTURES)
#: One layer for q, k and v, or another layer between those that share an input.
SEPARATE = ("gpt_neox", "phi3", "deepseek_v3")


def attached(
    kind: str = "llama", dtype: torch.dtype = torch.float32, **flags: Any
) -> tuple[BaseModel, Slots, dict[str, nn.Module]]:
    """A base with a LoRA adapter in force whose B is not zero, and the adapter's layers."""
    if kind in ARCHITECTURES:
        base, slots = based(kind, dtype=dtype)
    else:
        model = mixture(kind) if kind in MIXTURES else _other(kind)
        uneven(model)
        base = use(model.to(dtype), tiny_tokenizer())
        slots = Slots(base.model)
    adapter = moved(made(base, slots, **{"rank": 3, "alpha": 6, "targets": "all-linear", **flags}))
    slots.write(adapter.replacements)
    for _, tensor in adapter.tensors():
        tensor.requires_grad_()
    return base, slots, adapter.replacements


def _other(kind: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **OTHERS[kind])).eval()


def batch() -> dict[str, Tensor]:
    ids = torch.randint(10, 380, (2, 12), generator=torch.Generator().manual_seed(5))
    return {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}


def loss_of(model: Any) -> Tensor:
    found: Tensor = model(**batch(), use_cache=False).loss
    return found


def step(model: Any) -> tuple[float, dict[str, Tensor]]:
    """The loss, and the gradients, which are then cleared."""
    loss = loss_of(model)
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return float(loss.detach()), found


def apart(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """How far the gradients are apart, relative to all of them together."""
    assert ours.keys() == theirs.keys()
    wide = {name: g.double() for name, g in theirs.items()}
    off = sum(float((ours[name].double() - g).square().sum()) for name, g in wide.items())
    return (off / sum(float(g.square().sum()) for g in wide.values())) ** 0.5


def groups(fused: Fused) -> list[tuple[str, ...]]:
    """The layers that are computed together, by the last part of their paths."""
    return [
        tuple(member.path.rpartition(".")[2] for member in (leader, *leader._followers))
        for leader in fused._members
        if leader._followers
    ]


# The same losses and gradients


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_those_of_plain_layers(kind: str) -> None:
    targets = "attention" if kind == "deepseek_v3" else "all-linear"
    base, _, layers = attached(kind, targets=targets)
    model = base.model
    wanted, gradients = step(model)
    assert all(gradient.any() for gradient in gradients.values())
    fused = Fused(layers).install(model)
    # Each alone, then together, then again.
    for _ in range(3):
        loss, found = step(model)
        assert loss == pytest.approx(wanted, rel=1e-6)
        assert apart(found, gradients) < 1e-6
    with torch.no_grad():
        assert float(loss_of(model)) == pytest.approx(wanted, rel=1e-6)
    with torch.inference_mode():
        assert float(loss_of(model)) == pytest.approx(wanted, rel=1e-6)
    if kind == "gpt2":
        assert set(fused.plain) == set(layers)
    else:
        assert fused.plain == {}
        assert bool(groups(fused)) == (kind not in SEPARATE)
    assert fused._ahead is None


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt_neox", "qwen2_moe"])
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing")
@pytest.mark.parametrize("reentrant", [False, True])
def test_they_are_so_with_gradient_checkpointing(kind: str, reentrant: bool) -> None:
    base, _, layers = attached(kind)
    model: Any = base.model
    model.train()
    wanted, gradients = step(model)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        model.enable_input_require_grads()
    fused = Fused(layers).install(model)
    for _ in range(2):
        loss, found = step(model)
        assert loss == pytest.approx(wanted, rel=1e-6)
        assert apart(found, gradients) < 1e-6
    # Groups that are known from before change nothing.
    model.gradient_checkpointing_disable()
    step(model)
    assert bool(groups(fused)) == (kind != "gpt_neox")
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    _, found = step(model)
    assert apart(found, gradients) < 1e-6


@pytest.mark.parametrize("kind", ["phi", "gpt_neox", "opt"])
def test_in_float64_they_are_equal_to_a_dozen_digits(kind: str) -> None:
    base, _, layers = attached(kind, torch.float64)
    wanted, gradients = step(base.model)
    Fused(layers).install(base.model)
    for _ in range(2):
        loss, found = step(base.model)
        assert loss == pytest.approx(wanted, rel=1e-12)
        assert apart(found, gradients) < 1e-10


@pytest.mark.parametrize(
    "flags",
    [
        {"rslora": True, "rank": 5},
        {"alpha": 1},
        {"targets": "q_proj,v_proj,down_proj"},
        {"targets": "lm_head"},
    ],
    ids=str,
)
def test_scales_and_targets_of_any_kind_are_right(flags: dict[str, Any]) -> None:
    base, _, layers = attached(**flags)
    wanted, gradients = step(base.model)
    fused = Fused(layers).install(base.model)
    for _ in range(2):
        loss, found = step(base.model)
        assert loss == pytest.approx(wanted, rel=1e-6)
        assert apart(found, gradients) < 1e-6
    assert fused.plain == {}


def test_ranks_and_scales_may_differ_by_layer() -> None:
    model = based()[0].model
    config = LoraConfig(
        r=2,
        lora_alpha=4,
        target_modules=["q_proj", "k_proj", "v_proj"],
        rank_pattern={"k_proj": 5},
        alpha_pattern={"v_proj": 1},
    )
    layers = injected(model, config)
    wanted, gradients = step(model)
    fused = Fused(layers).install(model)
    for _ in range(2):
        loss, found = step(model)
        assert loss == pytest.approx(wanted, rel=1e-6)
        assert apart(found, gradients) < 1e-6
    assert groups(fused) == [("q_proj", "k_proj", "v_proj")] * 2


def test_over_a_bf16_base_losses_are_within_its_rounding() -> None:
    base, _, layers = attached(dtype=torch.bfloat16)
    wanted, gradients = step(base.model)
    Fused(layers).install(base.model)
    for _ in range(2):
        loss, found = step(base.model)
        assert loss == pytest.approx(wanted, rel=2**-8)
        assert apart(found, gradients) < 0.03


def injected(model: Any, config: LoraConfig, size: float = 0.05) -> dict[str, nn.Module]:
    """PEFT's layers in a model, their factors and biases not zero."""
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        inject_adapter_in_model(config, model)
    drawn = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            noise = torch.randn(parameter.shape, generator=drawn) * size
            parameter.data.add_(noise.to(parameter.dtype))
            parameter.requires_grad_()
    kept = {path: layer for path, layer in model.named_modules() if hasattr(layer, "lora_A")}
    assert kept
    return kept


# Groups


def test_layers_that_share_an_input_are_computed_together_and_save_operations() -> None:
    base, _, layers = attached()
    fused = Fused(layers)
    plain = ops(lambda: step(base.model))
    fused.install(base.model)
    alone = ops(lambda: step(base.model))
    together = ops(lambda: step(base.model))
    assert groups(fused) == [("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")] * 2
    assert together < alone < plain


def test_over_16_bits_a_fused_step_keeps_fewer_bytes_than_pefts_layers() -> None:
    base, _, layers = attached(dtype=torch.bfloat16)
    own = [*base.model.parameters(), *base.model.buffers()]
    plain = saved_bytes(lambda: loss_of(base.model), own)
    Fused(layers).install(base.model)
    # A copy of each of the 8 inputs [24, 32] or [24, 64] in float32, at the least.
    fewer = 2 * 24 * (32 + 32 + 32 + 64) * 4
    assert saved_bytes(lambda: loss_of(base.model), own) <= plain - fewer


class Pair(nn.Module):
    """Two or three layers that a test can call in any way."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            self.a, self.b, self.c = (nn.Linear(6, 6, dtype=torch.float64) for _ in range(3))
        self.turns: Callable[[Any, Tensor], Tensor] = in_turn

    def forward(self, x: Tensor) -> Tensor:
        return self.turns(self, x)


def in_turn(m: Any, x: Tensor) -> Tensor:
    y: Tensor = m.a(x) * m.b(x) + m.c(x)
    return y


def _changed_between(m: Any, x: Tensor) -> Tensor:
    x = x * 1.0
    y = m.a(x).detach()
    x.mul_(3)
    found: Tensor = y + m.b(x) + m.c(x)
    return found


def _weights_changed_between(m: Any, x: Tensor) -> Tensor:
    weight = m.b.lora_B["default"].weight
    y = m.a(x).detach()
    with torch.no_grad():
        weight.mul_(2)
        z = m.b(x)
        weight.div_(2)
    return y + z * m.c(x)


def _no_grad_between(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = m.a(x)
    found: Tensor = y * m.b(x) + m.c(x)
    return found


TURNS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "in turn": in_turn,
    "a member is not called": lambda m, x: m.a(x) * m.b(x),
    "the leader is not called": lambda m, x: m.b(x) * m.c(x),
    "another order": lambda m, x: m.c(x) * m.a(x) + m.b(x),
    "another input": lambda m, x: m.a(x) * m.b(x + 1) + m.c(x),
    "an equal input, another tensor": lambda m, x: m.a(x) * m.b(x.clone()) + m.c(x),
    "twice": lambda m, x: m.a(x) * m.a(x) + m.b(x) * m.b(x) + m.c(x),
    "one after the other": lambda m, x: m.c(m.b(m.a(x))),
    "the input is changed in place": _changed_between,
    "a weight is changed in place": _weights_changed_between,
    "the first without gradients": _no_grad_between,
    "an output is changed in place": lambda m, x: (
        m.a(x).mul_(2) + m.b(x).clamp_(-0.1, 0.1) * m.c(x)
    ),
    "by name": lambda m, x: m.a(x=x) * m.b(x) + m.c(x=x),
}


def pair() -> tuple[Any, dict[str, nn.Module]]:
    model = Pair()
    layers = injected(model, LoraConfig(r=2, target_modules=["a", "b", "c"]), size=0.5)
    return model, layers


def an_input(seed: int = 3) -> Tensor:
    return torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def results(model: Any, x: Tensor) -> list[Tensor | None]:
    x = x.clone().requires_grad_()
    y = model(x)
    y.square().sum().backward()
    found = [y.detach(), x.grad, *(p.grad for p in model.parameters())]
    for parameter in model.parameters():
        parameter.grad = None
    return found


@pytest.mark.parametrize("turns", TURNS)
def test_however_the_layers_are_called_the_results_are_those_of_plain_ones(turns: str) -> None:
    model, layers = pair()
    x = an_input()
    model.turns = TURNS[turns]
    wanted = results(model, x)
    model.turns = in_turn
    usual = results(model, x)
    fused = Fused(layers).install(model)
    for _ in range(2):
        results(model, x)
    assert groups(fused) == [("a", "b", "c")]
    for calls, expected in ((TURNS[turns], wanted), (TURNS[turns], wanted), (in_turn, usual)):
        model.turns = calls
        for ours, theirs in zip(results(model, x), expected, strict=True):
            # A layer that is not called has no gradient at all: an optimizer then skips it.
            assert (ours is None) == (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours, theirs)


def test_a_second_forward_before_the_backward_pass_changes_nothing() -> None:
    model, layers = pair()
    x, other = (an_input(seed).requires_grad_() for seed in (3, 4))

    def both() -> list[Tensor]:
        loss = model(x).square().sum() + model(other).sum()
        return list(torch.autograd.grad(loss, [x, other, *layers_factors(layers)]))

    wanted = both()
    Fused(layers).install(model)
    for _ in range(2):
        for ours, theirs in zip(both(), wanted, strict=True):
            torch.testing.assert_close(ours, theirs)


def layers_factors(layers: dict[str, nn.Module]) -> list[Tensor]:
    return [p for layer in layers.values() for p in layer.parameters() if p.requires_grad]


def test_nothing_is_kept_alive_once_all_members_were_called() -> None:
    model, layers = pair()
    fused = Fused(layers).install(model)
    gc.disable()
    try:
        for _ in range(3):
            x = an_input()
            outputs = [layer(x) for layer in layers.values()]
            kept = [weakref.ref(tensor) for tensor in (x, *outputs)]
            del x, outputs
            assert [ref() for ref in kept] == [None] * 4
    finally:
        gc.enable()
    assert groups(fused) == [("a", "b", "c")]


def test_what_was_computed_for_a_member_that_is_not_called_goes_with_the_next_call() -> None:
    model, layers = pair()
    fused = Fused(layers).install(model)
    x = an_input()
    model(x)
    model.a(x)
    assert fused._ahead is not None
    ref = weakref.ref(x)
    model.a(an_input())
    del x
    assert ref() is None
    # From then on only those are computed together that are called together.
    assert groups(fused) == []
    model.a(y := an_input())
    assert fused._ahead is None
    fused.remove()
    assert y is not None


@pytest.mark.parametrize("place", ["a", "b"])
@pytest.mark.parametrize("kind", ["input", "output", "in place", "backward"])
def test_hooks_on_a_layer_see_and_change_what_they_do_on_a_plain_one(kind: str, place: str) -> None:
    model, layers = pair()
    x = an_input()
    seen: list[Tensor] = []

    def on_output(_: Any, inputs: Any, y: Tensor) -> Tensor:
        seen.append(y)
        return y.mul_(2) if kind == "in place" else y + 1

    def register() -> Any:
        layer = getattr(model, place)
        if kind == "input":
            return layer.register_forward_pre_hook(lambda _, inputs: (inputs[0] + 1,))
        if kind == "backward":
            return layer.register_full_backward_hook(lambda _, into, out: (into[0] * 2,))
        return layer.register_forward_hook(on_output)

    handle = register()
    wanted, held = results(model, x), [y.detach().clone() for y in seen]
    handle.remove()
    Fused(layers).install(model)
    for _ in range(2):
        results(model, x)
    seen.clear()
    handle = register()
    for _ in range(2):
        for ours, theirs in zip(results(model, x), wanted, strict=True):
            torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(seen, held, strict=False):
        torch.testing.assert_close(ours.detach(), theirs)


@pytest.mark.parametrize("part", ["base_layer", "lora_A", "lora_B"])
def test_a_change_in_place_before_the_backward_pass_raises_as_in_plain_layers(part: str) -> None:
    model, layers = pair()
    x = an_input().requires_grad_()
    for install in (False, True):
        if install:
            Fused(layers).install(model)
        for _ in range(2):
            loss = model(x).sum()
            owner = (
                model.b.base_layer if part == "base_layer" else getattr(model.b, part)["default"]
            )
            with torch.no_grad():
                owner.weight.mul_(1)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.backward()


# What keeps PEFT's own forward


def of_lora(model: Any) -> dict[str, nn.Module]:
    return injected(model, LoraConfig(r=2, target_modules=["a", "b", "c"]), size=0.5)


def by_config(**changes: Any) -> Callable[[Any], dict[str, nn.Module]]:
    targets = ["a", "b", "c"]
    return lambda model: injected(model, LoraConfig(r=2, target_modules=targets, **changes), 0.5)


def after(change: Callable[[Any], Any]) -> Callable[[Any], dict[str, nn.Module]]:
    """The layers of a plain LoRA after something was done to layer b."""

    def make(model: Any) -> dict[str, nn.Module]:
        layers = of_lora(model)
        with torch.no_grad():
            change(model.b)
        return layers

    return make


def _twice(_: Any, inputs: Any, y: Tensor) -> Tensor:
    return 2 * y


def _second(layer: Any) -> None:
    layer.update_layer("second", 2, lora_alpha=4, config=LoraConfig(r=2))
    layer.double()
    for factor in (layer.lora_A["second"], layer.lora_B["second"]):
        nn.init.constant_(factor.weight, 0.5)
    layer.set_adapter(["default", "second"])


def _replaced(layer: Any) -> None:
    own = layer.base_layer.forward
    layer.base_layer.forward = lambda x: 2 * own(x)


def _computed(layer: Any) -> None:
    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    nn.utils.parametrize.register_parametrization(layer.base_layer, "weight", Doubled())


def _own_forward(layer: Any) -> None:
    class Squared(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).square()

    layer.base_layer.__class__ = Squared


def _other_factor(layer: Any) -> None:
    class Bounded(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).tanh()

    layer.lora_A["default"].__class__ = Bounded


def _narrow(layer: Any) -> None:
    layer.lora_A["default"].to(torch.bfloat16)
    layer.lora_B["default"].to(torch.bfloat16)


#: What can be done to layer b, and why it then stays plain.
LATER: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a trained bias": (lambda b: b.base_layer.bias.requires_grad_(), "its base layer is"),
    "a trained weight": (lambda b: b.base_layer.weight.requires_grad_(), "its base layer"),
    "merged": (lambda b: (b.merge(), b.lora_B["default"].weight.mul_(3)), "merged"),
    "disabled": (lambda b: b.enable_adapters(False), "disabled"),
    "no active adapter": (lambda b: b.set_adapter([]), "0 active adapters"),
    "two active adapters": (_second, "2 active adapters"),
    "a hook on the base": (lambda b: b.base_layer.register_forward_hook(_twice), "hooks on"),
    "a hook on A": (
        lambda b: b.lora_A["default"].register_forward_hook(_twice),
        "hooks on",
    ),
    "a hook on B's input": (
        lambda b: b.lora_B["default"].register_forward_pre_hook(lambda _, x: (2 * x[0],)),
        "hooks on",
    ),
    "a hook on B's gradient": (
        lambda b: b.lora_B["default"].register_full_backward_hook(lambda _, x, y: (2 * x[0],)),
        "hooks on",
    ),
    "a replaced forward": (_replaced, "the forward of a part is replaced"),
    "a computed weight": (_computed, "its base layer is no plain linear layer"),
    "a base with its own forward": (_own_forward, "its base layer is no plain linear layer"),
    "factors of another kind": (_other_factor, "its factors are no plain linear layers"),
    "narrow factors": (_narrow, "factors narrower than the weights (bfloat16 and float64)"),
}
#: The same, and what PEFT can be told when it makes the layers.
REASONS: dict[str, tuple[Callable[[Any], dict[str, nn.Module]], str]] = {
    "DoRA": (by_config(use_dora=True), "DoRA"),
    "dropout": (by_config(lora_dropout=0.5), "dropout 0.5"),
    "a bias of B": (by_config(lora_bias=True), "lora_bias"),
    **{name: (after(change), why) for name, (change, why) in LATER.items()},
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_layer_that_computes_something_else_keeps_pefts_forward(reason: str) -> None:
    make, why = REASONS[reason]
    plain, model = Pair(), Pair()
    make(plain)
    fused = Fused(make(model)).install(model)
    same_results(model, plain)
    assert why in fused.plain["b"]


@pytest.mark.parametrize("reason", LATER)
def test_it_does_so_too_if_the_change_comes_when_the_groups_are_known(reason: str) -> None:
    change, why = LATER[reason]
    plain, model = Pair(), Pair()
    of_lora(plain)
    fused = Fused(of_lora(model)).install(model)
    for _ in range(2):
        same_results(model, plain)
    assert groups(fused) == [("a", "b", "c")]
    with torch.no_grad():
        change(plain.b)
        change(model.b)
    same_results(model, plain)
    assert why in fused.plain["b"]


def same_results(model: Any, plain: Any) -> None:
    torch.manual_seed(0)
    ours = results(model, an_input())
    torch.manual_seed(0)
    for one, other in zip(ours, results(plain, an_input()), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("reason", REASONS)
def test_the_plain_formula_would_be_wrong_for_each_of_these_reasons(reason: str) -> None:
    """Otherwise the test above could not fail."""
    layers = REASONS[reason][0](model := Pair())
    layer: Any = layers["b"]
    x = an_input().requires_grad_()
    torch.manual_seed(0)
    y = model.b(x)
    base = layer.base_layer
    stored = base._parameters.get("weight", torch.zeros(6, 6))
    a, b = (getattr(layer, name)["default"].weight.double() for name in ("lora_A", "lora_B"))
    formula = x @ (stored + layer.scaling["default"] * b @ a).mT + base.bias
    differs = not torch.allclose(y, formula, rtol=1e-9, atol=1e-9)
    trained = any(p.requires_grad for p in base.parameters())
    (of_hooks,) = torch.autograd.grad(y.sum(), x)
    (of_formula,) = torch.autograd.grad(formula.sum(), x)
    assert differs or trained or not torch.allclose(of_hooks, of_formula)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"targets": "embed_tokens"}, "an embedding"),
        ({"init": "pissa"}, "its initialisation is subtracted from the base"),
        ({"method": "adalora"}, "not LoRA on a linear layer (adalora.SVDLinear)"),
        ({"dora": True}, "DoRA"),
        ({"dropout": 0.3}, "dropout 0.3"),
    ],
    ids=str,
)
def test_adapters_of_other_kinds_stay_plain_and_say_why(flags: dict[str, Any], why: str) -> None:
    base, _, layers = attached(**flags)
    torch.manual_seed(0)
    wanted, gradients = step(base.model)
    fused = Fused(layers).install(base.model)
    torch.manual_seed(0)
    loss, found = step(base.model)
    assert loss == wanted
    assert all(torch.equal(found[name], gradients[name]) for name in gradients)
    assert set(fused.plain.values()) == {why}
    assert set(fused.plain) == set(layers)


def test_layers_over_a_trained_bias_stay_plain() -> None:
    base, _, layers = attached("phi", bias="all")
    wanted, gradients = step(base.model)
    fused = Fused(layers).install(base.model)
    loss, found = step(base.model)
    assert loss == wanted
    assert found.keys() == gradients.keys()
    assert any(name.endswith("values.bias") for name in found)
    assert set(fused.plain.values()) == {"it trains parameters of the base"}


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_stays_plain(bits: int) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    made = (
        bnb.nn.Linear4bit(64, 64, bias=False, quant_type="nf4", compute_dtype=torch.float32)
        if bits == 4
        else bnb.nn.Linear8bitLt(64, 64, bias=False, has_fp16_weights=False)
    )
    made.weight.data.copy_(weight)
    model: Any = nn.Sequential(made.to("cpu"))
    setattr(model, f"is_loaded_in_{bits}bit", True)
    layers = injected(model, LoraConfig(r=2, target_modules=["0"]))
    x = torch.randn(4, 64)
    with torch.no_grad():
        wanted = model(x)
        fused = Fused(layers).install(model)
        assert torch.equal(model(x), wanted)
    assert fused.plain == {"0": f"quantised to {bits} bits"}


def test_the_experts_of_a_mixture_stay_plain() -> None:
    model = mixture("mixtral")
    model.requires_grad_(False)
    names = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    config = LoraConfig(r=2, target_modules=["q_proj"], target_parameters=names)
    layers = injected(model, config)
    wanted, gradients = step(model)
    fused = Fused(layers).install(model)
    loss, found = step(model)
    assert loss == pytest.approx(wanted, rel=1e-6)
    assert apart(found, gradients) < 1e-6
    experts = {path for path in layers if "experts" in path}
    assert experts
    assert set(fused.plain) == experts
    assert set(fused.plain.values()) == {"not LoRA on a linear layer (lora.ParamWrapper)"}


def test_under_autocast_layers_are_plain_and_afterwards_not() -> None:
    model, layers = pair()
    x = an_input().float()
    model.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wanted = model(x)
        fused = Fused(layers).install(model)
        assert torch.equal(model(x), wanted)
        assert fused.plain == dict.fromkeys("abc", "autocast")
    model(x)
    assert fused.plain == {}


def test_a_hook_on_every_module_sees_the_parts_of_a_layer() -> None:
    model, layers = pair()
    fused = Fused(layers).install(model)
    seen: list[nn.Module] = []
    handle = register_module_forward_hook(lambda module, _, y: seen.append(module))
    try:
        model(an_input())
    finally:
        handle.remove()
    assert model.b.base_layer in seen
    assert model.b.lora_A["default"] in seen
    assert fused.plain["b"] == "hooks on every module"


def test_further_arguments_go_to_pefts_own_forward() -> None:
    model, layers = pair()
    x, names = an_input(), ["default", "__base__", "default", "__base__"]
    model.eval()
    with torch.no_grad():
        wanted = model.a(x, adapter_names=names)
        Fused(layers).install(model)
        assert torch.equal(model.a(x, adapter_names=names), wanted)
        assert torch.equal(wanted[1], model.a.base_layer(x)[1])


def test_inputs_of_another_format_raise_as_in_a_plain_layer() -> None:
    model, layers = pair()
    with pytest.raises(RuntimeError) as plain:
        model(an_input().float())
    fused = Fused(layers).install(model)
    with pytest.raises(RuntimeError) as seen:
        model(an_input().float())
    assert str(seen.value) == str(plain.value)
    assert fused.plain["a"] == "inputs in float32 for weights in float64"


# Installing


def test_a_layer_with_a_forward_of_someone_else_or_outside_the_model_keeps_its_own() -> None:
    model, layers = pair()

    def own(x: Tensor) -> Tensor:
        return x

    layers["b"].forward = own  # type: ignore[method-assign]
    layers["c"] = copy.deepcopy(layers["c"])
    fused = Fused(layers).install(model)
    assert fused.plain == {"b": "its forward is replaced", "c": "it is not in the model"}
    assert model.b.forward is own
    fused.remove()
    assert model.b.forward is own
    assert "forward" not in vars(model.a)


def test_it_can_be_installed_and_removed_twice_and_leaves_nothing() -> None:
    model, layers = pair()
    before = {path: dict(vars(layer)) for path, layer in layers.items()}
    fused = Fused(layers)
    assert fused.install(model).install(model).plain == {}
    assert all("forward" in vars(layer) for layer in layers.values())
    model(an_input())
    fused.remove()
    fused.remove()
    assert {path: dict(vars(layer)) for path, layer in layers.items()} == before


def test_what_restores_a_model_after_a_run_takes_it_out() -> None:
    model, layers = pair()
    with restoring(*namespaces(model)):
        Fused(layers).install(model)
        assert "forward" in vars(model.a)
    assert "forward" not in vars(model.a)


def test_a_copy_of_the_model_computes_with_its_own_weights() -> None:
    model, layers = pair()
    Fused(layers).install(model)
    x = an_input()
    for _ in range(2):
        wanted = model(x)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for layer in (other.a, other.b, other.c):
            layer.lora_B["default"].weight.zero_()
            layer.base_layer.weight.zero_()
            layer.base_layer.bias.zero_()
    assert not other(x).any()
    assert torch.equal(model(x), wanted)
