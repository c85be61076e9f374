"""PiSSA's and OLoRA's start: numpy's decompositions and plain PEFT are the references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from lora_magic.adapters.inits import Residual, orthonormal, principal
from tests.adapters.shared import answer, based, made, moved
from tests.tiny import tiny_model


def weight(rows: int = 12, columns: int = 9) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scaling", [0.5, 2.0])
def test_pissa_starts_from_the_best_approximation_of_its_rank(scaling: float) -> None:
    w = weight()
    start = principal(w, 3, scaling)
    sigma = np.linalg.svd(w.double().numpy(), compute_uv=False)
    left = w.double().numpy() - start.dense(torch.float64).numpy()
    # Eckart and Young: nothing of rank 3 leaves less than the singular values beyond the third.
    assert np.linalg.norm(left) ** 2 == pytest.approx(float((sigma[3:] ** 2).sum()), rel=1e-5)
    assert start.scale == scaling
    # The root of Σ goes to each side, so that both factors begin of one size.
    assert torch.allclose(start.up.norm(dim=0), start.down.norm(dim=1), rtol=1e-5)


@pytest.mark.parametrize("scaling", [0.5, 2.0])
def test_olora_starts_from_the_first_columns_of_q_and_rows_of_r(scaling: float) -> None:
    w = weight()
    start = orthonormal(w, 3, scaling)
    q, r = np.linalg.qr(w.double().numpy())
    assert np.allclose(start.dense(torch.float64).numpy(), scaling * q[:, :3] @ r[:3], atol=1e-5)
    assert torch.allclose(start.up.mT @ start.up, torch.eye(3), atol=1e-6)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_the_start_and_what_training_makes_of_it_are_plain_pefts(init: str, rslora: bool) -> None:
    base, slots = based()
    attached = made(base, slots, rank=4, alpha=8, init=init, rslora=rslora, targets="q_proj,v_proj")
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        use_rslora=rslora,
        init_lora_weights=init,
        target_modules=["q_proj", "v_proj"],
    )
    plain = tiny_model()
    plain.load_state_dict(base.model.state_dict())
    theirs = get_peft_model(plain, config).eval()
    layers: dict[str, Any] = {
        path: theirs.base_model.model.get_submodule(path) for path in attached.replacements
    }
    for path, layer in layers.items():
        ours: Any = attached.replacements[path]
        # The sign of a singular pair is anybody's choice: their product is not.
        product = ours.lora_B["default"].weight @ ours.lora_A["default"].weight
        assert torch.allclose(product, layer.get_delta_weight("default") / _scale(layer), atol=1e-5)
    ids = torch.arange(10, 26)[None]
    for size in (0.0, 0.05):
        moved(attached, size)
        for path, layer in layers.items():
            trained: Any = attached.replacements[path]
            layer.lora_A["default"].weight.data.copy_(trained.lora_A["default"].weight)
            layer.lora_B["default"].weight.data.copy_(trained.lora_B["default"].weight)
        with torch.no_grad():
            expected = theirs(input_ids=ids).logits
        assert torch.allclose(answer(base, slots, attached), expected, atol=1e-5)


def _scale(layer: Any) -> float:
    scale: float = layer.scaling["default"]
    return scale


@pytest.mark.parametrize("init", ["pissa", "olora"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_before_training_the_answer_is_the_bases_and_the_base_is_untouched(
    init: str, architecture: str
) -> None:
    base, slots = based(architecture)
    before = answer(base, slots)
    attached = made(base, slots, rank=4, init=init)
    assert torch.allclose(answer(base, slots, attached), before, atol=1e-5)
    assert base.fingerprint.verify()
    assert torch.equal(answer(base, slots), before)
    # Its start is no parameter: it is neither counted nor trained.
    record = attached.record()
    assert record.trainable == record.formula
    assert record.differing == ()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_start_is_the_bases_to_the_bit(dtype: torch.dtype) -> None:
    base, slots = based(dtype=dtype)
    attached = made(base, slots, rank=4, init="pissa", targets="q_proj")
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(1)).to(dtype)
    for path, layer in attached.replacements.items():
        with torch.no_grad():
            expected, seen = slots.original(path)(x), layer(x)
        # PEFT's own rounds W_res to bf16 and is off by that at every product.
        assert seen.dtype == dtype
        assert torch.equal(seen, expected)


def test_the_layer_within_can_be_read_through_it() -> None:
    original = nn.Linear(9, 12)
    layer = Residual(original, principal(original.weight.detach(), 2, 1.0))
    assert layer.weight is original.weight
    assert layer.in_features == 9
    assert list(dict(layer.named_parameters())) == ["base_layer.weight", "base_layer.bias"]
    x = torch.randn(4, 9)
    taken = layer.negated.dense()
    assert torch.allclose(layer(x), original(x) + x @ taken.mT, atol=1e-5)
