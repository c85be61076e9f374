from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest

from lora_magic.adapters.fields import record
from lora_magic.adapters.spec import AdapterSpec, check_name, pattern_of, seed_of
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
    assert spec(rank=4).difference(spec(rank=2)) == "rank 4, not 2"


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


@pytest.mark.parametrize(
    ("rank", "alpha", "rslora", "scaling"),
    [(8, 16.0, False, 2.0), (16, 16.0, True, 4.0), (3, 2.0, True, 2 / math.sqrt(3))],
)
def test_the_scale_is_alpha_over_r_or_over_its_root(
    rank: int, alpha: float, rslora: bool, scaling: float
) -> None:
    assert spec(rank=rank, alpha=alpha, rslora=rslora).scaling == pytest.approx(scaling)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"init": "kaiming"}, "init 'kaiming': expected one of default, gaussian, pissa"),
        ({"bias": "some"}, "bias 'some': expected one of none, all, lora_only"),
        ({"rank_pattern": (("q", 0),)}, "rank pattern q=0"),
        ({"rank_pattern": (("q", 2.5),)}, r"rank pattern q=2\.5"),
        ({"alpha_pattern": (("q", -1.0),)}, r"alpha pattern q=-1\.0"),
        ({"alpha": 1e7}, "alpha"),
        ({"seed": -1}, "seed -1"),
        ({"dora": True, "init": "pissa"}, "--dora with --init pissa"),
        ({"dora": True, "init": "loftq"}, "--dora with --init loftq"),
        ({"bias": "all", "init": "olora"}, "--bias all with --init olora"),
        ({"init": "eva", "rank_pattern": (("q", 2),)}, "--init eva with --rank-pattern"),
        ({"virtual_tokens": 3}, "LoRA does not use --virtual-tokens"),
    ],
)
def test_what_cannot_be_is_refused_by_its_flag(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(AdapterError, match=told):
        spec(**changes)


def test_faults_of_range_and_flags_not_read_come_together() -> None:
    with pytest.raises(AdapterError) as seen:
        AdapterSpec(method="prompt", virtual_tokens=0, rank=4, dora=True)
    for fault in ("does not use --rank, --dora", "virtual tokens 0", "--virtual-tokens 10"):
        assert fault in str(seen.value)


@pytest.mark.parametrize("given", ["q_proj=16,v_proj=4", {"v_proj": 4, "q_proj": 16}])
def test_a_pattern_is_typed_or_a_dict_and_has_one_order(given: object) -> None:
    assert pattern_of(given, "rank-pattern", int) == (("q_proj", 16), ("v_proj", 4))


@pytest.mark.parametrize("given", ["q_proj", "q_proj=x", "q_proj=1.5", 3, ["q_proj=1"]])
def test_what_is_no_pattern_names_an_example(given: object) -> None:
    with pytest.raises(AdapterError, match="--rank-pattern q_proj=16"):
        pattern_of(given, "rank-pattern", int)


def test_a_spec_comes_back_from_json_as_it_was() -> None:
    one = spec(rank_pattern=(("v_proj", 2), ("a.b", 16)), alpha_pattern=(("q", 2.5),), rslora=True)
    assert record(AdapterSpec, json.loads(json.dumps(asdict(one)))) == one
    assert one.rank_pattern == (("a.b", 16), ("v_proj", 2))


def test_differences_of_methods_are_named() -> None:
    prefix = AdapterSpec(method="prefix", virtual_tokens=5)
    told = spec().difference(prefix)
    assert "method lora, not prefix" in told
    assert "virtual_tokens 0, not 5" in told
