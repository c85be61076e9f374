"""Which place a plan is about: a card of the table, the card here by its driver, or this CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lora_magic.cost import machine
from lora_magic.cost.cards import CARDS, CONTEXT, card_called, card_of, smallest
from lora_magic.errors import CommandError

GIGA = 10**9


@pytest.mark.parametrize(
    ("typed", "name"),
    [("h100", "h100"), ("H100", "h100"), ("NVIDIA A100", "a100-80"), ("4090", "rtx4090")],
)
def test_a_card_is_named_as_people_type_it(typed: str, name: str) -> None:
    assert card_of(typed).name == name


def test_an_unknown_card_gives_the_names_and_the_nearest() -> None:
    with pytest.raises(CommandError, match=r"--gpu h1000: expected here or .*h200.*'h100'"):
        card_of("h1000")


def test_every_card_has_less_for_tensors_than_its_maker_prints_on_it() -> None:
    printed = {"t4": 16, "a100-40": 40, "a100-80": 80, "h100": 80, "h200": 141, "rtx4090": 24}
    for name, gigabytes in printed.items():
        card = CARDS[name]
        # Makers mean 2^30 bytes, and some of that is not for tensors.
        assert 0.85 * gigabytes * 2**30 < card.room < gigabytes * 2**30
        assert card.room == card.memory - CONTEXT


@pytest.mark.parametrize(
    ("name", "sparse"),
    [("l4", 242e12), ("l40s", 733e12), ("a100-80", 624e12), ("h100", 1979e12), ("b200", 4500e12)],
)
def test_a_card_s_speed_is_without_sparsity(name: str, sparse: float) -> None:
    # As the data sheets print it, which is twice the speed of dense products.
    assert CARDS[name].flops == pytest.approx(sparse / 2, rel=0.02)


def test_the_smallest_card_that_has_room() -> None:
    assert smallest(10 * GIGA) is CARDS["t4"]
    # A 65B model on one card of 48 GB.
    assert smallest(45 * GIGA) is CARDS["l40s"]
    assert smallest(10**13) is None


@pytest.mark.parametrize(
    ("title", "memory", "name"),
    [
        ("Tesla T4", 15.8e9, "t4"),
        ("NVIDIA A100-SXM4-40GB", 42.4e9, "a100-40"),
        ("NVIDIA A100-SXM4-80GB", 85.1e9, "a100-80"),
        ("NVIDIA GeForce RTX 4090", 25.4e9, "rtx4090"),
        ("NVIDIA H200", 150.1e9, "h200"),
        ("Tesla V100-SXM2-32GB", 34.1e9, "v100-32"),
        ("NVIDIA A10", 23.7e9, "a10"),
        ("NVIDIA A10G", 23.7e9, "a10g"),
        ("NVIDIA H100 PCIe", 85.0e9, "h100-pcie"),
        ("NVIDIA H100 80GB HBM3", 85.0e9, "h100"),
    ],
)
def test_a_driver_s_name_and_memory_give_the_card(title: str, memory: float, name: str) -> None:
    found = card_called(title, memory)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("title", ["NVIDIA GeForce GTX 1080", "Graphics Device"])
def test_another_card_has_no_published_speed(title: str) -> None:
    assert card_called(title, 8e9) is None


class Driver:
    """NVIDIA's management library with one card, which answers as the real one does."""

    def __init__(self, title: str, total: int, free: int, capability: tuple[int, int]) -> None:
        self.title, self.memory, self.capability = title, (total, free, total - free), capability
        self.asked: list[object] = []

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:  # noqa: N802
        self.asked.append(index)
        return 0

    def nvmlDeviceGetHandleByUUID(self, name: bytes, handle: Any) -> int:  # noqa: N802
        self.asked.append(name)
        return 0

    def nvmlDeviceGetName(self, handle: Any, name: Any, size: int) -> int:  # noqa: N802
        name.value = self.title.encode()
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        memory[:] = self.memory
        return 0

    def nvmlDeviceGetCudaComputeCapability(  # noqa: N802
        self, handle: Any, major: Any, minor: Any
    ) -> int:
        ctypes.cast(major, ctypes.POINTER(ctypes.c_int))[0] = self.capability[0]
        return 0


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A T4 in this machine, with 15 of its 15.8 GB free, and no torch in this process."""
    found = Driver("Tesla T4", 15_800_000_000, 15_000_000_000, (7, 5))

    @contextmanager
    def library() -> Iterator[Driver]:
        yield found

    monkeypatch.setattr(machine, "_nvml", library)
    monkeypatch.setattr(machine, "_may_have_a_card", lambda: True)
    monkeypatch.setattr(machine, "_torch", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


def test_the_card_here_is_known_without_torch(driver: Driver) -> None:
    place = machine.place_of(None)
    assert place.name == "this Tesla T4"
    assert place.cuda
    assert not place.bf16
    assert place.room == 15_000_000_000 - CONTEXT
    assert place.speed == pytest.approx(0.4 * 65e12)
    assert driver.asked == [0]


@pytest.mark.parametrize(
    ("visible", "asked"), [("1,0", [1]), ("GPU-ab", [b"GPU-ab"]), ("", []), ("-1", [])]
)
def test_the_first_visible_card_counts(
    visible: str, asked: list[object], driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.place_of(None).cuda == bool(asked)
    assert driver.asked == asked


def test_a_driver_that_fails_leaves_the_cpu(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "nvmlDeviceGetName", lambda *_: 3)
    assert machine.place_of(None).name == "this CPU"


def test_what_a_load_would_free_counts_on_its_own_device_only(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 7 * GIGA)
    held = {"cuda": 3 * GIGA}
    assert machine.place_of(None, held=held).room == 18_000_000_000 - CONTEXT
    assert machine.place_of(None, "cpu", held).room == 7 * GIGA
    assert machine.place_of(None, "cpu", {"cpu": GIGA}).room == 8 * GIGA
    assert machine.place_of("h100", held=held).room == CARDS["h100"].room


def test_unknown_memory_is_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: None)
    assert machine.place_of(None, "cpu").room is None


def test_the_cpu_is_measured_by_a_product() -> None:
    before = machine.place_of("here", "cpu")
    assert before.speed is None
    after = machine.measured(before, "fp32")
    assert after.speed is not None
    # Between an abacus and any CPU that there will be for a while.
    assert 1e7 < after.speed < 1e15
    assert "fp32" in after.why
