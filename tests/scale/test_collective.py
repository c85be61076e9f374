"""Sums over the workers of a group, against sums that are computed here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from lora_magic.scale import collective
from lora_magic.scale.engines import started
from lora_magic.scale.work import Work, Workers
from tests.scale import targets

ROOT = Path(__file__).parent.parent.parent

#: Smaller than some tensors, so that they are sent in parts, and larger than others.
BUCKET = 17


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What worker 0 of two found; see `targets.laws`."""
    with pytest.MonkeyPatch.context() as patch, started(Workers(2)) as engine:
        patch.syspath_prepend(str(ROOT))
        work = Work("tests.scale.targets:laws", {"bucket": BUCKET})
        result = engine.group(work, print, lambda: False)
    assert isinstance(result, dict)
    return result


def test_each_tensor_becomes_the_sum(found: dict[str, Any]) -> None:
    ours = zip(targets.drawn(0), targets.drawn(1), found["added"], strict=True)
    for first, second, added in ours:
        assert (added.shape, added.dtype) == (first.shape, first.dtype)
        # Two numbers have one sum, rounded once; that of two halves in double has no error.
        expected = (first.double() + second.double()).to(first.dtype)
        assert torch.equal(added, expected)


def test_all_workers_have_the_same_bits(found: dict[str, Any]) -> None:
    assert found["differ"] == [0.0]


def test_numbers_are_summed_in_float64(found: dict[str, Any]) -> None:
    assert found["sums"] == [2e16, 2.0, 1.0, 0.2]
    assert found["nan"][0] != found["nan"][0]
    assert found["first"] == [0.1, float("inf")]
    assert found["empty"] == ([], [], None)


def test_a_worker_knows_its_place_and_other_libraries_do_not(found: dict[str, Any]) -> None:
    assert found["size"] == (0, 2)
    assert (found["device"], found["lost"]) == ("cpu", 0)
    # accelerate's Trainer would divide the batches, and wait for others, once more.
    assert found["alone"] == 1
    assert found["environment"] == []


@pytest.mark.parametrize(("linked", "disabled"), [(True, None), (False, "1")])
def test_on_gpus_a_worker_has_the_device_that_accelerate_gives_it(
    linked: bool, disabled: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bool, str | None]] = []

    class State:
        _shared_state: ClassVar[dict[str, object]] = {}
        device = torch.device("cuda", 1)

        def __init__(self, cpu: bool) -> None:
            asked.append((cpu, os.environ.get("NCCL_P2P_DISABLE")))
            self._shared_state["of"] = "a group"

    for name in ("NCCL_P2P_DISABLE", "NCCL_IB_DISABLE"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr("accelerate.PartialState", State)
    monkeypatch.setattr("accelerate.utils.check_cuda_p2p_ib_support", lambda: linked)
    monkeypatch.setattr(collective.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(collective.distributed, "get_world_size", lambda: 2)
    world, device = collective.joined(cuda=True)
    assert (device, world.rank, world.size) == ("cuda:1", 1, 2)
    assert asked == [(False, disabled)]
    assert State._shared_state == {}


def test_a_bucket_has_a_limit_and_the_tensors_are_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collective, "BUCKET", BUCKET)
    tensors = targets.drawn(0)
    buckets = list(collective._buckets(tensors))
    rows = max(tensor[:1].numel() for tensor in tensors if tensor.dim())
    sizes = [sum(piece.numel() for piece in bucket) for bucket in buckets]
    assert max(sizes) <= max(BUCKET, rows)
    assert sum(sizes) == sum(tensor.numel() for tensor in tensors)
    with torch.no_grad():
        for bucket in buckets:
            for piece in bucket:
                piece.zero_()
    assert not any(tensor.any() for tensor in tensors)
