"""PiSSA (Meng et al. 2024) and OLoRA (Büyükakyüz 2024) on an untouched base, beside PEFT's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from lora_magic.errors import AdapterError
from tests.papers.small import IDS, Bench, factors
from tests.tiny import tiny_model

TARGETS = ["down_proj", "q_proj", "v_proj"]
STEPS, RATE = 20, 3e-3


def trained(model: Any, tensors: Iterable[nn.Parameter]) -> list[float]:
    """The losses of so many steps of Adam on one text."""
    optimizer = torch.optim.AdamW(tensors, lr=RATE, weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def ours(init: str, alpha: float) -> tuple[list[float], Bench, Any]:
    bench = Bench()
    attached = bench.attach(init=init, rank=4, alpha=alpha, targets=",".join(TARGETS))
    with bench.slots.using(attached.replacements), attached.trainable():
        losses = trained(bench.model, [tensor for _, tensor in attached.tensors()])
    return losses, bench, attached


def pefts(init: Any, alpha: float) -> list[float]:
    torch.manual_seed(5)
    config = LoraConfig(r=4, lora_alpha=int(alpha), target_modules=TARGETS, init_lora_weights=init)
    wrapped = get_peft_model(tiny_model(), config).eval()
    return trained(wrapped, [p for p in wrapped.parameters() if p.requires_grad])


def furthest(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("alpha", [4.0, 16.0])
@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_run_follows_peft_s_own_and_leaves_the_base_bit_for_bit(init: str, alpha: float) -> None:
    losses, bench, _ = ours(init, alpha)
    assert furthest(losses, pefts(init, alpha)) < 1e-5, "nats a token, fp32"
    assert losses[-1] < losses[0] - 0.05
    # Another start goes another way: the bound could be broken.
    assert furthest(losses, pefts(True, alpha)) > 1e-2
    assert bench.base.fingerprint.verify()
    assert all(
        torch.equal(p, q)
        for p, q in zip(bench.model.parameters(), tiny_model().parameters(), strict=True)
    )


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_it_starts_at_the_base(init: str) -> None:
    bench = Bench()
    before = bench.logits()
    attached = bench.attach(init=init, targets="all-linear", alpha=16.0)
    assert float((bench.logits(attached) - before).abs().max()) < 1e-5


def dense(bench: Bench, path: str) -> Tensor:
    found: Tensor = bench.model.get_submodule(path).weight.detach().double()
    return found


@pytest.mark.parametrize("alpha", [2.0, 8.0])
def test_pissa_takes_the_r_largest_directions_and_leaves_the_others(alpha: float) -> None:
    """W_res + s·B·A = W and ‖W_res‖² = Σ_{i>r} σᵢ²(W): nothing larger can be taken out."""
    bench = Bench()
    attached = bench.attach(init="pissa", alpha=alpha, targets="all-linear")
    for path, layer in attached.replacements.items():
        a, b, scale = factors(layer)
        weight = dense(bench, path)
        sigma = torch.linalg.svdvals(weight)
        rest = weight - scale * b @ a
        assert float(rest.square().sum()) == pytest.approx(float(sigma[4:].square().sum()), 1e-5)
        # Both carry √(σ/s), so that neither learns faster.
        root = (sigma[:4] / scale).sqrt()
        assert torch.allclose(a.norm(dim=1), root, rtol=1e-5)
        assert torch.allclose(b.norm(dim=0), root, rtol=1e-5)


def test_olora_begins_with_orthonormal_b_and_the_rows_of_a_triangle() -> None:
    bench = Bench()
    attached = bench.attach(init="olora", targets="all-linear")
    for path, layer in attached.replacements.items():
        a, b, _ = factors(layer)
        weight = dense(bench, path)
        assert torch.allclose(b.mT @ b, torch.eye(4, dtype=torch.float64), atol=1e-6)
        assert not a.tril(-1).any()
        # B·A is W's projection on the span of its first r columns.
        basis = torch.linalg.qr(weight[:, :4]).Q
        assert torch.allclose(b @ a, basis @ basis.mT @ weight, atol=1e-6)


@pytest.mark.parametrize("init", ["pissa", "olora"])
@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_a_start_that_stands_on_the_layer_as_it_is_refuses_to_train_its_bias(
    init: str, bias: str
) -> None:
    bench = Bench("gpt2")
    with pytest.raises(AdapterError, match=f"--bias {bias} with --init {init}"):
        bench.attach(init=init, bias=bias, rank=4, alpha=8.0, targets="c_attn")
    assert bench.slots.foreign_paths() == []
