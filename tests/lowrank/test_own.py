"""W's own spectrum against a dense decomposition in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lora_magic.lowrank import own
from lora_magic.lowrank.own import EXACT, FIRST, own_spectrum

SIDE = 600


def orthogonal(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q


def with_values(sigma: Tensor) -> Tensor:
    return orthogonal(len(sigma), 1) @ torch.diag(sigma) @ orthogonal(len(sigma), 2).mT


def decaying(power: float) -> Tensor:
    return torch.arange(1, SIDE + 1, dtype=torch.float64) ** -power


WEIGHTS = {
    "random": torch.randn(SIDE, 2 * SIDE, generator=torch.Generator().manual_seed(0)),
    "tall": torch.randn(2 * SIDE, SIDE, generator=torch.Generator().manual_seed(0)),
    "orthogonal": orthogonal(SIDE, 3),
    "slowly falling": with_values(decaying(0.1)),
    "falling": with_values(decaying(1.0)),
    "two levels": with_values(torch.tensor([3.0] * 40 + [1.0] * (SIDE - 40)).double()),
    "rank 3": with_values(torch.tensor([3.0, 2.0, 1.0] + [0.0] * (SIDE - 3)).double()),
    "rank 1": torch.ones(SIDE, SIDE),
    "zero": torch.zeros(SIDE, SIDE),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_first_of_a_large_weight_are_those_of_a_dense_decomposition(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "EXACT", SIDE - 1)
    weight = WEIGHTS[name]
    found = own_spectrum(weight)
    dense = torch.linalg.svdvals(weight.double())
    assert not found.exact
    assert len(found.sigma) == FIRST
    assert float((found.sigma - dense[:FIRST]).abs().max()) <= 1e-6 * float(dense[0])
    # ‖W‖² is the sum of all squared singular values, not only of those found.
    assert found.norm == pytest.approx(math.hypot(*dense.tolist()))


def test_up_to_a_smaller_side_of_1024_every_singular_value_is_computed() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(48, 1100, generator=generator)
    found = own_spectrum(weight)
    dense = torch.linalg.svdvals(weight.double())
    assert found.exact
    assert torch.allclose(found.sigma, dense, atol=1e-12)
    assert EXACT == 1024
    assert not own_spectrum(torch.ones(1025, 1025)).exact


def test_a_weight_is_decomposed_the_same_way_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "EXACT", SIDE - 1)
    first, second = (own_spectrum(WEIGHTS["falling"]).sigma for _ in range(2))
    assert torch.equal(first, second)
