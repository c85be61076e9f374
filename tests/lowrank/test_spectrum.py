from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from lora_magic.errors import AdapterError
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.spectrum import effective_rank, energy_rank, spectrum_of, stable_rank


def with_spectrum(sigma: list[float], d: int = 12, k: int = 10) -> LowRank:
    """An update whose singular values are known because it is built from them."""
    generator = torch.Generator().manual_seed(0)
    r = len(sigma)
    left = torch.linalg.qr(torch.randn(d, r, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(k, r, generator=generator, dtype=torch.float64)).Q
    values = torch.tensor(sigma, dtype=torch.float64)
    return LowRank(down=right.mT / 2, up=left * values, scale=2.0)


def untrained() -> LowRank:
    return LowRank(down=torch.ones(4, 10), up=torch.zeros(12, 4), scale=2.0)


@pytest.mark.parametrize("r", [1, 3, 10])
def test_a_flat_spectrum_has_all_its_directions(r: int) -> None:
    sigma = [0.7] * r
    assert effective_rank(sigma) == pytest.approx(r)
    assert stable_rank(sigma) == pytest.approx(r)
    assert energy_rank(sigma) == math.ceil(0.9 * r)


def test_the_measures_of_a_known_spectrum() -> None:
    # σ = 2, 1, 1 has energies 2/3, 1/6, 1/6.
    sigma = [2.0, 1.0, 1.0]
    entropy = -(2 / 3 * math.log(2 / 3) + 2 * (1 / 6) * math.log(1 / 6))
    assert effective_rank(sigma) == pytest.approx(math.exp(entropy))
    assert stable_rank(sigma) == pytest.approx(6 / 4)
    assert [energy_rank(sigma, share) for share in (0.5, 0.8, 0.9, 1.0)] == [1, 2, 3, 3]


@pytest.mark.parametrize("factor", [1e-200, 3.0, 1e180])
def test_the_measures_do_not_depend_on_the_scale(factor: float) -> None:
    sigma = [5.0, 2.0, 0.1, 0.0]
    scaled = [factor * s for s in sigma]
    assert effective_rank(scaled) == pytest.approx(effective_rank(sigma))
    assert stable_rank(scaled) == pytest.approx(stable_rank(sigma))
    assert energy_rank(scaled) == energy_rank(sigma) == 2


@pytest.mark.parametrize("sigma", [[], [0.0], [0.0, 0.0]])
def test_no_update_measures_zero_not_nan(sigma: list[float]) -> None:
    assert (effective_rank(sigma), stable_rank(sigma), energy_rank(sigma)) == (0.0, 0.0, 0)


def test_the_frame_has_one_row_a_value_counted_from_one() -> None:
    spectrum = spectrum_of(
        {"pirate": {"layers.0.q": with_spectrum([3.0, 1.0]), "layers.0.v": with_spectrum([2.0])}}
    )
    frame = spectrum.to_frame()
    assert list(frame.columns) == ["adapter", "module", "index", "sigma"]
    assert frame["module"].tolist() == ["layers.0.q", "layers.0.q", "layers.0.v"]
    assert frame["index"].tolist() == [1, 2, 1]
    assert frame["sigma"].tolist() == pytest.approx([3.0, 1.0, 2.0])


def test_the_summary_measures_each_module_of_each_adapter() -> None:
    module = with_spectrum([3.0, 1.0, 1.0])
    summary = spectrum_of({"a": {"q": module}, "b": {"q": untrained()}}).summary()
    assert summary["adapter"].tolist() == ["a", "b"]
    first, second = summary.to_dict("records")
    dense = torch.linalg.svdvals(module.dense())
    assert first["rank"] == 3
    assert first["sigma_1"] == pytest.approx(float(dense[0]))
    assert first["norm"] == pytest.approx(float(dense.square().sum().sqrt()))
    assert first["stable_rank"] == pytest.approx(11 / 9)
    assert first["energy_90"] == 2
    assert first["note"] == ""
    measures = ("effective_rank", "stable_rank", "energy_90", "sigma_1", "norm")
    assert [second[name] for name in measures] == [0, 0, 0, 0, 0]
    assert second["note"] == "not trained yet: ΔW = 0"


def test_an_untrained_adapter_is_said_in_words() -> None:
    spectrum = spectrum_of({"new": {"q": untrained()}, "old": {"q": with_spectrum([1.0])}})
    assert "new: not trained yet: ΔW = 0" in spectrum.line
    assert "old: 1 module, rank 1, effective rank 1.0" in spectrum.line
    assert "\n" not in spectrum.line
    assert repr(spectrum).startswith(spectrum.line)
    assert "nan" not in repr(spectrum).lower()


def test_the_view_gets_plain_numbers_that_a_log_scale_can_show() -> None:
    spectrum = spectrum_of({"old": {"q": with_spectrum([4.0, 1.0])}, "new": {"q": untrained()}})
    (adapter, module, sigma), (_, _, empty) = spectrum.curves()
    assert (adapter, module, sigma) == ("old", "q", pytest.approx([4.0, 1.0]))
    assert empty == []
    assert [row["adapter"] for row in spectrum.measures()] == ["old", "new"]


def test_the_rounding_of_a_deficient_update_is_not_drawn() -> None:
    twice = LowRank(down=torch.ones(2, 10), up=torch.rand(12, 1).expand(12, 2), scale=1.0)
    spectrum = spectrum_of({"a": {"q": twice}})
    assert len(spectrum.rows) == 2
    assert spectrum.summary()["effective_rank"].tolist() == pytest.approx([1.0])


def test_a_diverged_adapter_is_an_error_that_names_every_module() -> None:
    broken = LowRank(down=torch.full((1, 3), math.nan), up=torch.ones(3, 1), scale=1.0)
    with pytest.raises(AdapterError, match=r"not finite \(bad: q, v\).*%%lora_train bad --lr"):
        spectrum_of({"bad": {"q": broken, "v": broken}})


def test_a_spectrum_is_frozen_and_holds_no_tensor() -> None:
    spectrum = spectrum_of({"a": {"q": with_spectrum([1.0])}})
    with pytest.raises(dataclasses.FrozenInstanceError):
        spectrum.rows = ()  # type: ignore[misc]  # the point of the test
    (row,) = spectrum.rows
    assert [type(value) for value in dataclasses.astuple(row)] == [str, str, int, float]
