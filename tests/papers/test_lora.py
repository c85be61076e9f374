"""LoRA (Hu et al. 2021): h = W0·x + s·B·A·x, where it starts, and where gradients go."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lora_magic.state.session import Session
from tests.conftest import perturb
from tests.papers.small import IDS, Bench, factors, fill
from tests.state.shared import ROWS

#: Every method and variant that begins as the base, and the architectures that it fits.
STARTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"init": "gaussian"}),
    ("llama", {"init": "eva"}),
    ("llama", {"rslora": True, "targets": "all-linear"}),
    ("llama", {"targets": "embed_tokens,v_proj"}),
    ("llama", {"dora": True, "targets": "all-linear"}),
    ("llama", {"dora": True, "targets": "embed_tokens,v_proj"}),
    ("gpt2", {"targets": "c_attn,c_proj", "bias": "all", "norms": True}),
    ("gpt2", {"targets": "c_attn,c_proj", "dora": True}),
    ("llama", {"method": "adalora", "rank": 4, "alpha": 8.0, "targets": "all-linear"}),
    ("llama", {"method": "ia3", "targets": "usual"}),
    ("gpt2", {"method": "ia3", "targets": "usual"}),
    ("llama", {"method": "houlsby", "rank": 4, "targets": "usual"}),
    ("gpt2", {"method": "adapter-l", "rank": 4, "targets": "usual"}),
    ("gpt2", {"method": "bitfit"}),
    ("llama", {"method": "full"}),
]
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"init": "pissa"}),
    ("llama", {"init": "olora"}),
    ("llama", {"method": "prefix", "virtual_tokens": 3}),
    ("gpt2", {"method": "prompt", "virtual_tokens": 3}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("architecture", "fields"), STARTS, ids=str)
def test_an_adapter_begins_as_the_base_bit_for_bit(
    architecture: str, fields: dict[str, Any], dtype: torch.dtype
) -> None:
    bench = Bench(architecture, dtype=dtype)
    before = bench.logits()
    attached = bench.attach(**fields)
    assert torch.equal(bench.logits(attached), before)
    fill(attached)
    assert not torch.equal(bench.logits(attached), before), "else the test would see nothing"


@pytest.mark.parametrize(("architecture", "fields"), [*STARTS, *OTHERS], ids=str)
def test_no_gradient_ever_reaches_the_base(architecture: str, fields: dict[str, Any]) -> None:
    bench = Bench(architecture)
    attached = bench.attach(**fields)
    fill(attached)
    gradients = bench.gradients(attached)  # asserts it of every parameter of the base
    assert gradients.keys() == {name for name, _ in attached.tensors()}
    assert all(bool(gradient.any()) for gradient in gradients.values())
    assert bench.base.fingerprint.verify()


@pytest.mark.parametrize(
    ("architecture", "path"),
    [
        ("llama", "model.layers.1.mlp.down_proj"),
        ("gpt2", "transformer.h.1.attn.c_attn"),
        ("opt", "model.decoder.layers.0.fc1"),
    ],
)
def test_h_is_w0_x_plus_s_b_a_x(architecture: str, path: str) -> None:
    bench = Bench(architecture, dtype=torch.float64)
    layer: Any = bench.attach(targets=path, rank=3, alpha=7.0).replacements[path]
    original = bench.slots.original(path)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_(generator=generator)
    a, b, scale = factors(layer)
    dense: torch.Tensor = original.weight.detach()  # type: ignore[assignment]
    dense = dense.mT if architecture == "gpt2" else dense
    x = torch.randn(5, dense.shape[1], generator=generator, dtype=torch.float64)
    bias = getattr(original, "bias", None)
    expected = x @ (dense + (7.0 / 3) * b @ a).mT + (0 if bias is None else bias)
    with torch.no_grad():
        assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)
    assert scale == 7.0 / 3


# Where it starts


def drawn(init: str, rank: int = 16) -> dict[int, torch.Tensor]:
    """All entries of A by the width of its inputs."""
    bench = Bench(hidden_size=128, intermediate_size=256)
    attached = bench.attach(rank=rank, targets="all-linear", init=init)
    found: dict[int, list[torch.Tensor]] = {}
    for layer in attached.replacements.values():
        a, b, _ = factors(layer)
        found.setdefault(a.shape[1], []).append(a.flatten())
        assert not b.any(), "B starts at zero"
    return {width: torch.cat(parts) for width, parts in found.items()}


def test_a_is_kaiming_uniform_with_a_root_5_unless_told_otherwise() -> None:
    """Uniform within ±1/√k: √(6 / ((1 + a²)·k)) with a² = 5."""
    for width, entries in drawn("default").items():
        bound = 1 / math.sqrt(width)
        assert float(entries.abs().max()) <= bound
        assert float(entries.abs().max()) > 0.999 * bound
        assert float(entries.var()) == pytest.approx(bound**2 / 3, rel=0.05)
        # Of a uniform distribution 9/5, of a normal one 3.
        assert float((entries**4).mean() / entries.var() ** 2) == pytest.approx(1.8, rel=0.05)


@pytest.mark.parametrize("rank", [4, 16])
def test_a_is_gaussian_with_std_1_over_r_when_asked(rank: int) -> None:
    for entries in drawn("gaussian", rank).values():
        assert float(entries.std()) == pytest.approx(1 / rank, rel=0.05)
        assert abs(float(entries.mean())) < 0.05 / rank
        assert float((entries**4).mean() / entries.var() ** 2) == pytest.approx(3, rel=0.15)


def test_for_an_embedding_the_roles_swap() -> None:
    bench = Bench()
    layer: Any = bench.attach(targets="embed_tokens").replacements["model.embed_tokens"]
    assert not layer.lora_embedding_A["default"].any()
    assert float(layer.lora_embedding_B["default"].std()) == pytest.approx(1, rel=0.2)


# Gradients

PATH = "model.layers.0.self_attn.q_proj"


def test_at_step_one_a_gets_no_gradient_and_b_that_of_the_formula() -> None:
    """∂L/∂B = s·G·Aᵀ and ∂L/∂A = s·Bᵀ·G for G = ∂L/∂W; with B = 0 the second is 0, exactly."""
    bench = Bench(dtype=torch.float64)
    attached = bench.attach(targets=PATH)
    a, _, scale = factors(attached.replacements[PATH])
    found = bench.gradients(attached)
    expected = scale * bench.dense_gradient(PATH) @ a.mT
    down, up = found[f"{PATH}.lora_A.default.weight"], found[f"{PATH}.lora_B.default.weight"]
    assert not down.any()
    assert torch.allclose(up, expected, rtol=1e-9, atol=1e-14)
    assert float(up.abs().min()) > 0


def test_with_a_zero_too_nothing_would_ever_learn() -> None:
    bench = Bench()
    attached = bench.attach(targets=PATH)
    with torch.no_grad():
        for _, tensor in attached.tensors():
            tensor.zero_()
    assert not any(bool(gradient.any()) for gradient in bench.gradients(attached).values())


def test_later_gradients_are_those_of_finite_differences_and_of_the_formula() -> None:
    # OPT's layers keep to float64 throughout; Llama's norms are taken in float32.
    path = "model.decoder.layers.0.self_attn.q_proj"
    bench = Bench("opt", dtype=torch.float64)
    attached = bench.attach(targets=path)
    fill(attached)
    found = bench.gradients(attached)
    a, b, scale = factors(attached.replacements[path])
    # The formula wants G where the model stands: at W0 + s·B·A.
    moved = Bench("opt", dtype=torch.float64)
    with torch.no_grad():
        moved.model.get_submodule(path).weight += scale * b @ a
    dense = moved.dense_gradient(path)
    expected = {"lora_A": scale * b.mT @ dense, "lora_B": scale * dense @ a.mT}
    generator = torch.Generator().manual_seed(3)
    for name, tensor in attached.tensors():
        kind = name.split(".")[-3]
        assert torch.allclose(found[name], expected[kind], rtol=1e-8, atol=1e-13)
        way = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                tensor += step * way
                ends.append(float(bench.loss(attached)))
                tensor -= step * way
        slope = (ends[0] - ends[1]) / 2e-5
        assert slope == pytest.approx(float((found[name] * way).sum()), rel=1e-6)


def test_a_moves_from_the_second_step_on(session: Session) -> None:
    record = session.attach("one", rank=2, targets="q_proj")
    start = session._state.attached["one"].state()
    for steps in (1, 2):
        session.train("one", text=ROWS, steps=steps)
        for name, tensor in session._state.attached["one"].tensors():
            moved = not torch.equal(tensor, start[name])
            assert moved == ("lora_B" in name or steps == 2), (name, steps)
    assert record.trainable == sum(tensor.numel() for tensor in start.values())
    assert session.verify()


# The scale


@pytest.mark.parametrize("rank", [1, 4, 16])
@pytest.mark.parametrize("rslora", [False, True], ids=["lora", "rslora"])
def test_the_scale_is_alpha_by_r_or_by_its_root_in_the_layer_and_in_the_merged_weight(
    rank: int, rslora: bool, session: Session
) -> None:
    scale = 12.0 / (math.sqrt(rank) if rslora else rank)
    session.attach("one", rank=rank, alpha=12.0, rslora=rslora, targets="q_proj")
    perturb(session, "one", size=0.1)
    layer: Any = session._state.attached["one"].replacements[PATH]
    a, b, told = factors(layer)
    assert told == pytest.approx(scale, rel=1e-12)
    before = session._state.slots.original(PATH).weight.detach().double().clone()  # type: ignore[operator]
    with torch.no_grad():
        apart = session.model(input_ids=IDS).logits
    session.merge()
    merged = session.model.get_submodule(PATH).weight.detach().double()
    assert torch.allclose(merged - before, scale * b @ a, rtol=0, atol=1e-7)
    with torch.no_grad():
        together = session.model(input_ids=IDS).logits
    assert torch.allclose(together, apart, rtol=0, atol=1e-5)
