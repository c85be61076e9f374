"""(IA)³ (Liu et al. 2022), EVA (Paischer et al. 2024), BitFit and full: what they start from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lora_magic.adapters.training_hooks import EVA
from tests.papers.small import IDS, Bench, factors, fill


def test_ia3_scales_keys_and_values_and_the_feed_forward_s_inner_activations() -> None:
    bench = Bench(dtype=torch.float64)
    attached = bench.attach(method="ia3", targets="usual")
    places = {path.rpartition(".")[2] for path in attached.replacements}
    assert places == {"k_proj", "v_proj", "down_proj"}
    assert all(bool((tensor == 1).all()) for _, tensor in attached.tensors()), "it starts at 1"
    fill(attached, size=1.0)
    generator = torch.Generator().manual_seed(0)
    for path, layer in attached.replacements.items():
        weight: Any = bench.slots.original(path).weight
        scale = layer.ia3_l["default"].detach().flatten()  # type: ignore[index, union-attr]
        x = torch.randn(3, weight.shape[1], generator=generator, dtype=torch.float64)
        inner = path.endswith("down_proj")
        expected = (x * scale) @ weight.mT if inner else (x @ weight.mT) * scale
        with torch.no_grad():
            assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)
    # d_k + d_v + d_ff a layer: 16 + 16 + 64.
    assert sum(tensor.numel() for _, tensor in attached.tensors()) == 2 * (16 + 16 + 64)


@pytest.mark.parametrize("rank", [2, 6])
def test_eva_begins_with_the_main_directions_of_each_target_s_inputs(rank: int) -> None:
    path = "model.layers.1.mlp.down_proj"
    bench = Bench()
    seen: list[Tensor] = []
    module = bench.model.get_submodule(path)
    handle = module.register_forward_pre_hook(lambda _, x: seen.append(x[0].flatten(0, 1)))
    bench.logits()
    handle.remove()
    attached = bench.attach(init="eva", rank=rank, targets=path)
    batch = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": IDS}
    EVA(bench.model, bench.slots, attached).begin(4, lambda: iter([batch] * 4))
    a, b, _ = factors(attached.replacements[path])
    assert not b.any()
    # Centred, as PEFT's incremental PCA has them.
    inputs = torch.cat(seen).double()
    inputs = inputs - inputs.mean(dim=0)
    directions = torch.linalg.svd(inputs, full_matrices=False).Vh[:rank]
    assert torch.allclose(a @ a.mT, torch.eye(rank, dtype=torch.float64), atol=1e-5)
    overlap = (a @ directions.mT).square().sum() / rank
    assert float(overlap) > 0.99, "φ of the two spans; of random ones it is r/64"


def test_bitfit_trains_every_bias_and_nothing_else() -> None:
    bench = Bench("gpt2")
    attached = bench.attach(method="bitfit")
    names = {name.replace(".values.", ".") for name, _ in attached.tensors()}
    assert names == {name for name, _ in bench.model.named_parameters() if name.endswith("bias")}


def test_full_trains_every_parameter_and_keeps_what_is_tied_tied() -> None:
    bench = Bench("gpt2")
    attached = bench.attach(method="full")
    parameters = dict(bench.model.named_parameters())
    assert len(dict(attached.tensors())) == len(parameters)
    assert sum(t.numel() for _, t in attached.tensors()) == sum(
        p.numel() for p in parameters.values()
    )
