from __future__ import annotations

from typing import Any

import pytest

from lora_magic.adapters.spec import AdapterSpec, check_name, seed_of
from lora_magic.errors import AdapterError


def spec(**changes: object) -> AdapterSpec:
    fields: dict[str, object] = {
        "rank": 8,
        "alpha": 16.0,
        "dropout": 0.0,
        "targets": "q_proj",
        "seed": 0,
    }
    return AdapterSpec(**{**fields, **changes})  # type: ignore[arg-type]  # wrong ones are the test


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"alpha": "x"}, "alpha 'x'"),
        ({"alpha": float("nan")}, "alpha nan"),
        ({"seed": "x"}, "seed 'x'"),
        ({"dropout": None}, "dropout None"),
        ({"rank": 2.5}, "rank 2.5"),
    ],
)
def test_what_is_no_number_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(AdapterError, match=fault):
        spec(**changes)


def test_equal_numbers_are_equal_specs_and_differences_are_named() -> None:
    assert spec(rank=4, alpha=16) == spec(rank=4, alpha=16.0)
    assert spec(rank=4).against(spec(rank=2)) == "rank 4, asked for 2"


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(AdapterError) as seen:
        spec(rank=0, alpha=-1.0, dropout=1.0)
    for fault in ("rank 0", "alpha -1.0", "dropout 1.0", "--rank 8", "--alpha 16"):
        assert fault in str(seen.value)


@pytest.mark.parametrize("rank", [True, 2.5, -3])
def test_a_rank_is_a_whole_number(rank: object) -> None:
    with pytest.raises(AdapterError, match="rank"):
        spec(rank=rank)


@pytest.mark.parametrize("alpha", [0.0, float("nan"), float("inf")])
def test_an_alpha_is_positive_and_finite(alpha: float) -> None:
    with pytest.raises(AdapterError, match="alpha"):
        spec(alpha=alpha)


@pytest.mark.parametrize("name", ["a/b", "a.b", "", "8ball", "a b", "../up", "käse"])
def test_a_name_that_cannot_be_is_refused_with_one_that_can(name: str) -> None:
    with pytest.raises(AdapterError, match=r"%lora attach \w+"):
        check_name(name)


def test_base_is_taken() -> None:
    with pytest.raises(AdapterError, match="base"):
        check_name("base")


def test_two_names_have_two_seeds_and_each_always_the_same() -> None:
    assert seed_of("cheerful") != seed_of("grumpy")
    assert seed_of("123456789") == 0xCBF43926  # the check value of CRC-32


def test_numpys_whole_numbers_are_whole_numbers() -> None:
    import numpy as np

    assert spec(rank=np.int64(8), seed=np.int64(0)) == spec(rank=8, seed=0)
    with pytest.raises(AdapterError, match="rank '8': expected a whole number"):
        spec(rank="8")
