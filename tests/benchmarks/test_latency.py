"""The benchmark of latency runs at a tiny size, in every cell, and leaves the base as it was."""

from __future__ import annotations

import pytest

from tests.benchmarks import latency
from tests.benchmarks.steps import Machine


@pytest.fixture(scope="module")
def found() -> latency.Latency:
    return latency.measured("tiny", 2, Machine())


def test_every_way_is_measured_in_every_cell_as_often_as_the_base(found: latency.Latency) -> None:
    cells = [(way, cell) for way in latency.WAYS for cell in ("1 × 128", "16 × 256")]
    for seconds in (found.passes, found.tokens):
        assert len(seconds) == len(latency.WAYS) * len(latency.CELLS)
        for way, cell in cells:
            assert len(seconds[way, cell]) == len(seconds["base", cell]) >= 2
    assert list(found.switches) == ["swap", "merge", "unmerge"]


def test_the_adapters_have_about_as_many_parameters_and_the_base_is_unchanged(
    found: latency.Latency,
) -> None:
    sizes = [record.trainable for record in found.session.adapters.values()]
    assert max(sizes) < 1.2 * min(sizes)
    assert found.session.merged is None
    assert found.session.verify()


def test_merging_pays_from_the_pass_that_has_saved_what_the_switch_takes() -> None:
    made = latency.Latency(None, Machine())  # type: ignore[arg-type]  # only its figures are read
    made.switches |= {"merge": [0.8], "unmerge": [0.1]}
    made.passes["LoRA, unmerged", "1 × 128"] = [0.5]
    made.passes["LoRA, merged", "1 × 128"] = [0.2]
    assert latency.pays_from(made, "1 × 128") == "1 × 128: 3"
    made.passes["LoRA, merged", "1 × 128"] = [0.5]
    assert latency.pays_from(made, "1 × 128").startswith("1 × 128: never")
