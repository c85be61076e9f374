"""The page about several devices: its cells against sums done here by hand, and against papers."""

from __future__ import annotations

import math
import random
import re

import pytest

from lora_magic.state import checkpoints
from tests.benchmarks import scale
from tests.benchmarks import scale_counts as counts
from tests.benchmarks import scale_published as published
from tests.benchmarks.scale_counts import DATA, FSDP, Case

#: Llama 2 7B and Llama 3 70B, by their published sizes.
SMALL = 32 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096) + 2 * 32000 * 4096 + 4096
LARGE = (
    80 * (2 * 8192**2 + 2 * 8192 * 1024 + 3 * 8192 * 28672 + 2 * 8192) + 2 * 128256 * 8192 + 8192
)
#: Rank 8 on q and v; rank 16 on all seven layers of a block.
QV = 32 * 2 * 8 * (4096 + 4096)
ALL_LINEAR = 80 * 16 * (2 * (8192 + 8192) + 2 * (8192 + 1024) + 3 * (8192 + 28672))


def ring(arrays: list[list[float]]) -> list[int]:
    """All-reduce in a ring, in place; returns how many numbers each device has sent."""
    devices, part = len(arrays), len(arrays[0]) // len(arrays)
    sent = [0] * devices
    for phase in ("sum", "copy"):
        for hop in range(devices - 1):
            moves = []
            for device, array in enumerate(arrays):
                first = (device - hop + (phase == "copy")) % devices * part
                moves.append((first, array[first : first + part]))
                sent[device] += part
            for device, (first, values) in enumerate(moves):
                other = arrays[(device + 1) % devices]
                for at, value in enumerate(values, first):
                    other[at] = other[at] + value if phase == "sum" else value
    return sent


@pytest.mark.parametrize("devices", [2, 3, 8])
def test_a_ring_that_sums_sends_as_much_as_the_formula_says(devices: int) -> None:
    numbers = random.Random(0)
    arrays = [[float(numbers.randrange(9)) for _ in range(3 * devices)] for _ in range(devices)]
    whole = [sum(column) for column in zip(*arrays, strict=True)]
    sent = ring(arrays)
    assert arrays == [whole] * devices
    assert sent == [round(counts.all_reduced(3 * devices, devices))] * devices


@pytest.mark.parametrize(
    ("case", "way", "devices", "expected"),
    [
        (Case("7B", "full"), DATA, 8, 2 * 7 / 8 * 2 * SMALL),
        (Case("7B", "LoRA r8 q,v"), DATA, 8, 2 * 7 / 8 * 4 * QV),
        (Case("7B", "LoRA r8 q,v"), FSDP, 8, 2 * 7 / 8 * (2 * SMALL + 4 * QV)),
        (Case("7B", "full"), FSDP, 8, 3 * 7 / 8 * 2 * SMALL),
        (Case("70B", "LoRA r16 all-linear"), DATA, 64, 2 * 63 / 64 * 4 * ALL_LINEAR),
        (Case("70B", "LoRA r16 all-linear"), FSDP, 64, 2 * 63 / 64 * (2 * LARGE + 4 * ALL_LINEAR)),
        (Case("70B", "full"), FSDP, 64, 3 * 63 / 64 * 2 * LARGE),
    ],
)
def test_the_bytes_of_a_step(case: Case, way: str, devices: int, expected: float) -> None:
    assert case.wire(way, devices) == pytest.approx(expected, rel=1e-12)


def test_the_parameters_are_those_of_the_papers() -> None:
    assert (SMALL, LARGE, QV, ALL_LINEAR) == (6_738_415_616, 70_553_706_496, 4_194_304, 207_093_760)
    assert Case("7B", "full").trained == SMALL
    assert Case("7B", "LoRA r8 q,v").trained == QV
    assert Case("70B", "LoRA r16 all-linear").trained == ALL_LINEAR


def test_the_operations_of_a_step_and_the_seconds_of_a_card() -> None:
    matrices = 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096
    attention = 4 * 1024 * 4096 * 32
    lora = 4096 * (4 * matrices + 3 * attention + 6 * QV)
    full = 4096 * (6 * matrices + 3 * attention)
    assert Case("7B", "LoRA r8 q,v").operations() == pytest.approx(lora, rel=1e-12)
    assert Case("7B", "full").operations() == pytest.approx(full, rel=1e-12)
    assert Case("7B", "full").seconds() == pytest.approx(full / (0.4 * 989e12), rel=1e-12)
    # One line of the page, from these: 10 Gb/s at 80 % are a gigabyte a second.
    waits = 2 * 7 / 8 * 4 * QV / 1e9
    share = waits / (waits + lora / (0.4 * 989e12))
    assert f"{1000 * waits:.0f} ms, {100 * share:.1f}% |" == "29 ms, 9.2% |"
    row = next(line for line in scale.link_table(8).splitlines() if "q,v | data" in line)
    assert row.endswith("29 ms, 9.2% |")


def test_the_seconds_until_a_base_is_there() -> None:
    base = Case("70B", "full").base
    assert base == 2 * LARGE
    assert counts.sent(base, "400 Gb/s") == pytest.approx(2 * LARGE / 40e9)
    assert counts.from_disk(base, 8) == pytest.approx(2 * LARGE / 5e9)
    assert counts.from_path(base, 8) == pytest.approx(8 * 2 * LARGE / 10e9)


def test_no_card_of_80_gb_holds_a_70b_base_and_eight_split_it() -> None:
    case, room = Case("70B", "LoRA r16 all-linear"), 80 * 2**30
    assert case.needed(DATA, 8) > 2 * LARGE > room
    assert 2 * LARGE / 8 < case.needed(FSDP, 8) < room
    assert case.held(bits=4).peak < room
    assert Case("7B", "full").needed(DATA, 8) > 16 * SMALL > room
    # 16 bytes a parameter over the cards, and the inputs of 80 blocks on each of them.
    kept = 80 * 4096 * 8192 * 2
    assert 16 * LARGE / 14 + kept > room > 16 * LARGE / 15 + kept
    assert Case("70B", "full").cards() == 15


def test_more_workers_are_faster_from_the_break_even_on() -> None:
    alone, together, before, failures = 3.0, 1.7, 40.0, 0.02
    steps = math.ceil(counts.break_even(alone, together, before, failures))

    def gain(many: int) -> float:
        return many * alone - before - many * together * (1 + failures)

    assert gain(steps - 1) < 0 <= gain(steps)
    assert counts.break_even(1.0, 1.0, before) == math.inf
    # Without communication: N/(N − 1) of the start-up.
    assert 1.0 * counts.break_even(1.0, 1 / 8, 14.0) == pytest.approx(16.0)


def test_the_share_of_restarts_is_that_of_a_long_run() -> None:
    """A worker that fails once a day costs, in 8·86,400 device-seconds, 8 restarts."""
    lost = 8 * (counts.RESTART + counts.EVERY / 2)
    assert counts.failure_share(8, 86_400) == pytest.approx(lost / 86_400)


def test_the_assumptions_are_the_projects() -> None:
    assert counts.EVERY == checkpoints.EVERY


def test_published_runs_agree_with_the_operations() -> None:
    """torchtitan prints 51.7 % for 331 tokens a second; it counts the embedding as a product."""
    embedding = 6 * 128256 * 8192
    share = 331 * (published.each("llama-3-70b", "full", 8192, False) + embedding) / 312e12
    assert share == pytest.approx(0.517, abs=0.001)
    # The LoRA paper, footnote 5: 43.1 tokens a second against 32.5.
    assert published.less("gpt3-175b", 2048, True) == pytest.approx(43.1 / 32.5, abs=0.02)


def test_the_page_is_what_the_script_computes() -> None:
    assert scale.PAGE.read_text(encoding="utf-8") == scale.page()


def test_start_up_and_restart_are_those_that_were_measured() -> None:
    text = scale.RESULTS.read_text(encoding="utf-8")
    here, local, ray, restart = (
        float(re.search(rf"{what} +([\d.]+) s", text)[1])  # type: ignore[index]
        for what in ("this process", "this machine", "running cluster", "until the first new step")
    )
    assert counts.START["accelerate"] == pytest.approx(local - here, abs=0.5)
    assert counts.START["ray"] == pytest.approx(ray - here, abs=0.5)
    assert pytest.approx(restart, abs=0.5) == counts.RESTART
