"""Bottleneck adapters: Houlsby et al. 2019, twice a block; Lin et al. 2020, once, behind a norm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.papers.small import IDS, Bench, fill

WIDTH = 32  # of the small models

HOULSBY = {
    "llama": ("self_attn.o_proj", "mlp.down_proj"),
    "gpt2": ("attn.c_proj", "mlp.c_proj"),
    "opt": ("self_attn.out_proj", "fc2"),
}


def parts(layer: Any) -> dict[str, Tensor]:
    return {name: tensor.detach().double() for name, tensor in layer.named_parameters()}


@pytest.mark.parametrize("architecture", HOULSBY)
def test_houlsby_s_stand_behind_attention_and_feed_forward_before_each_sum(
    architecture: str,
) -> None:
    bench = Bench(architecture)
    attached = bench.attach(method="houlsby", rank=3, targets="usual")
    ends = [path.split(".") for path in attached.replacements]
    assert len(ends) == 4, "two in each of two blocks"
    for place, (path, layer) in enumerate(attached.replacements.items()):
        assert path.endswith(f".{place // 2}.{HOULSBY[architecture][place % 2]}")
        # The projection's own output, before it is added to the stream.
        assert layer.base_layer is bench.slots.original(path)


@pytest.mark.parametrize("architecture", HOULSBY)
def test_lin_s_stand_behind_each_whole_block(architecture: str) -> None:
    bench = Bench(architecture)
    attached = bench.attach(method="adapter-l", rank=3, targets="usual")
    assert [path.rpartition(".")[2] for path in attached.replacements] == ["0", "1"]


@pytest.mark.parametrize(("method", "norm"), [("houlsby", False), ("adapter-l", True)])
def test_they_begin_with_a_narrow_gaussian_zeros_and_no_change(method: str, norm: bool) -> None:
    bench = Bench(hidden_size=256, intermediate_size=64)
    attached = bench.attach(method=method, rank=64, targets="usual")
    for layer in attached.replacements.values():
        held: dict[str, Tensor] = {
            n: t for n, t in layer.named_parameters() if not n.startswith("base_layer")
        }
        names = {"down.weight", "down.bias", "up.weight", "up.bias"}
        assert held.keys() == names | ({"norm.weight", "norm.bias"} if norm else set())
        assert float(held["down.weight"].std()) == pytest.approx(256**-0.5, rel=0.05)
        for zero in ("down.bias", "up.weight", "up.bias"):
            assert not held[zero].any()
        if norm:
            assert bool((held["norm.weight"] == 1).all())
            assert not held["norm.bias"].any()


@pytest.mark.parametrize("architecture", HOULSBY)
def test_houlsby_s_answer_is_h_plus_up_of_relu_of_down(architecture: str) -> None:
    bench = Bench(architecture)
    attached = bench.attach(method="houlsby", rank=3, targets="usual")
    fill(attached, size=0.3)
    generator = torch.Generator().manual_seed(0)
    for layer in attached.replacements.values():
        original: Any = layer.base_layer
        x = torch.randn(5, _inputs(original), generator=generator)
        with torch.no_grad():
            h = original(x).double()
            held = parts(layer)
            inner = (h @ held["down.weight"].mT + held["down.bias"]).clamp_min(0)
            expected = h + inner @ held["up.weight"].mT + held["up.bias"]
            assert torch.allclose(layer(x).double(), expected, rtol=0, atol=1e-5)
            assert float((expected - h).abs().max()) > 0.1


def _inputs(original: Any) -> int:
    return int(original.weight.shape[0] if hasattr(original, "nf") else original.in_features)


def test_lin_s_answer_is_h_plus_up_of_relu_of_down_of_the_norm_of_h() -> None:
    bench = Bench("gpt2")
    attached = bench.attach(method="adapter-l", rank=3, targets="usual")
    fill(attached, size=0.3)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    for path, layer in attached.replacements.items():

        def keep(
            module: Any, inputs: Any, output: Any, path: str = path, layer: Any = layer
        ) -> None:
            with torch.no_grad():
                first = layer.base_layer(*inputs)
            h = first[0] if isinstance(first, tuple) else first
            seen[path] = (h, output[0] if isinstance(output, tuple) else output)

        handles.append(layer.register_forward_hook(keep))
    bench.logits(attached)
    for handle in handles:
        handle.remove()
    assert len(seen) == 2
    for path, (before, after) in seen.items():
        held = parts(attached.replacements[path])
        h = before.double()
        centred = h - h.mean(dim=-1, keepdim=True)
        normed = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
        normed = normed * held["norm.weight"] + held["norm.bias"]
        inner = (normed @ held["down.weight"].mT + held["down.bias"]).clamp_min(0)
        expected = h + inner @ held["up.weight"].mT + held["up.bias"]
        assert h.shape == (*IDS.shape, WIDTH)
        assert torch.allclose(after.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["houlsby", "adapter-l"])
def test_at_step_one_only_what_begins_at_zero_behind_the_bend_gets_a_gradient(method: str) -> None:
    bench = Bench()
    attached = bench.attach(method=method, rank=3, targets="usual")
    for name, gradient in bench.gradients(attached).items():
        assert bool(gradient.any()) == (".up." in name), name
