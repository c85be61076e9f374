from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lora_magic.base import bf16_trial, load, number_format
from lora_magic.base.bf16_trial import compared, step
from lora_magic.base.device import choose_dtype
from lora_magic.base.number_format import CPU_BFLOAT16_FROM, CPU_FLOAT32_LIMIT
from tests.tiny import tiny_model, tiny_tokenizer

CPU = torch.device("cpu")
LARGE = CPU_BFLOAT16_FROM
BF16, FP32 = torch.bfloat16, torch.float32


@pytest.fixture(autouse=True)
def _no_earlier_trials() -> Iterator[None]:
    cached = bf16_trial.gain  # a test may replace it
    cached.cache_clear()
    yield
    cached.cache_clear()


class Machine:
    """A clock that a step moves forward by its cost, and sometimes by other work."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[float] = []

    def work(self, cost: float) -> bf16_trial.Step:
        def done() -> None:
            self.calls.append(cost)
            self.now += cost * (3 if len(self.calls) == 4 else 1)

        return done

    def clock(self) -> float:
        return self.now


def gains(monkeypatch: pytest.MonkeyPatch, gain: float) -> list[int]:
    asked: list[int] = []

    def found(width: int) -> float:
        asked.append(width)
        return gain

    monkeypatch.setattr(bf16_trial, "gain", found)
    return asked


@pytest.mark.parametrize(("one", "other", "ratio"), [(2.0, 1.0, 2.0), (1.0, 4.0, 0.25)])
def test_a_trial_is_the_ratio_of_the_shortest_times_in_turn(
    one: float, other: float, ratio: float
) -> None:
    machine = Machine()
    found = compared(machine.work(one), machine.work(other), 3, machine.clock)
    assert found == ratio
    assert machine.calls == [one, other] * 4  # the first of each prepares


def test_a_clock_too_coarse_to_tell_finds_no_gain() -> None:
    machine = Machine()
    assert compared(machine.work(0.0), machine.work(0.0), 2, machine.clock) == 0.0


@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_the_trial_has_gradients_of_the_block_and_leaves_the_generators(dtype: torch.dtype) -> None:
    before = torch.get_rng_state()
    with torch.no_grad():
        rows, *factors = step(dtype, 32)()  # type: ignore[misc]  # a tuple of gradients
    assert rows.dtype is dtype
    assert len(factors) == 6
    assert all(bool(found.any()) and found.dtype is FP32 for found in factors)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_block_is_the_same_in_both_formats_up_to_rounding() -> None:
    one, other = (step(dtype, 64)() for dtype in (FP32, BF16))
    for wide, half in zip(one, other, strict=True):  # type: ignore[call-overload]
        assert (wide - half.float()).norm() < 0.05 * wide.norm()


def test_a_width_is_tried_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def counted(dtype: torch.dtype, width: int) -> bf16_trial.Step:
        tried.append(width)
        return lambda: None

    monkeypatch.setattr(bf16_trial, "step", counted)
    first = bf16_trial.gain(48)
    assert bf16_trial.gain(48) == first
    assert tried == [48, 48]  # one of each format
    bf16_trial.gain(8192)
    assert max(tried) == 1024


@pytest.mark.parametrize(
    ("gain", "dtype", "reason"),
    [
        (1.94, BF16, "1.9 times as fast as fp32 on this CPU"),
        (1.1, FP32, "bf16 is hardly faster on this CPU"),
        (0.4, FP32, "bf16 is slower on this CPU"),
    ],
)
def test_a_large_base_in_bfloat16_stays_so_where_the_trial_gains(
    gain: float, dtype: torch.dtype, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = gains(monkeypatch, gain)
    assert choose_dtype(None, CPU, BF16, LARGE, 512) == (dtype, reason)
    assert asked == [512]


@pytest.mark.parametrize(
    ("requested", "stored", "parameters", "width", "dtype"),
    [
        (None, BF16, LARGE - 1, 512, FP32),  # too small to gain
        (None, FP32, LARGE, 512, FP32),  # its bits would change
        (None, torch.float16, LARGE, 512, FP32),
        (None, BF16, LARGE, None, FP32),  # quantised, or a config without a width
        (None, BF16, CPU_FLOAT32_LIMIT + 1, 512, BF16),  # as stored, for the memory
        ("fp32", BF16, LARGE, 512, FP32),
        ("bf16", FP32, 10, 512, BF16),
    ],
)
def test_nothing_is_tried_where_nothing_is_to_choose(
    requested: str | None,
    stored: torch.dtype,
    parameters: int,
    width: int | None,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = gains(monkeypatch, 9.0)
    assert choose_dtype(requested, CPU, stored, parameters, width)[0] is dtype
    assert not asked


@pytest.mark.parametrize("gain", [2.0, 0.5])
def test_a_folder_in_bfloat16_keeps_its_bits_or_is_widened_without_loss(
    gain: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tiny_model().to(BF16)
    stored.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    monkeypatch.setattr(number_format, "CPU_BFLOAT16_FROM", 0)
    assert gains(monkeypatch, gain) == []
    base = load.load(str(tmp_path))
    wanted = BF16 if gain > 1 else FP32
    assert {parameter.dtype for parameter in base.model.parameters()} == {wanted}
    for name, tensor in stored.state_dict().items():
        assert torch.equal(base.model.state_dict()[name], tensor.to(wanted)), name
    assert base.model.model.rotary_emb.inv_freq.dtype is FP32
    assert ("2.0 times as fast" in base.record("chat", None).line) == (gain > 1)
    assert bool(base.fingerprint.verify())
    base.release()
