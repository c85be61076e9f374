"""A sweep and an evaluation on a real cluster, one of whose workers is killed at its work.

What workers do and return is tested in tests/state/test_spread.py.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from lora_magic.state.session import Session
from lora_magic.training.reporter import SilentReporter, StepPoint
from tests.scale.conftest import RayCluster

ROWS = [(f"Where is number {n}?", f"Here, {n}." * (1 + n % 3)) for n in range(24)]
#: DoRA is never in a batch with others, so each worker takes the steps of a run alone.
ARMS: dict[str, Any] = {
    **{"method": "dora", "rank": [1, 2], "lr": 1e-2, "no_halving": True},
    **{"steps": 60, "batch_size": 4, "eval": 8},
}
SHORT: dict[str, Any] = {"max_new_tokens": 6}


class Killing(SilentReporter):
    """Kills a worker at the first step that is told."""

    def __init__(self, cluster: RayCluster) -> None:
        super().__init__()
        self._cluster = cluster
        self.killed: list[int] = []
        self.notes: list[str] = []
        self.names: set[str] = set()

    def step(self, point: StepPoint) -> None:
        self.names.add(point.adapter)
        if not self.killed:
            busy = self._cluster.processes().items()
            self.killed = [pid for pid, line in busy if line.startswith("ray::Worker.do")][:1]
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)

    def note(self, line: str) -> None:
        self.notes.append(line)


def test_a_sweep_and_an_evaluation_on_a_cluster_that_loses_a_worker(
    session: Session, cluster: RayCluster
) -> None:
    ray: dict[str, Any] = {"engine": "ray", "address": cluster.address, "workers": 2}
    alone = session.sweep("best", ROWS, **ARMS)
    weights = session._state.attached["best"].state()
    killing = Killing(cluster)
    found = session.sweep("best", ROWS, reporter=killing, **ARMS, **ray)
    assert killing.killed
    assert any("lost" in line for line in killing.notes)
    assert killing.names == {"best arm 1", "best arm 2"}
    assert (found.chosen, found.rungs) == (alone.chosen, alone.rungs)
    for own, wanted in zip(found.arms, alone.arms, strict=True):
        assert own.held_out == pytest.approx(wanted.held_out, rel=1e-4)
    assert found.reported == pytest.approx(alone.reported, rel=1e-4)
    back = session._state.attached["best"].state()
    change = sum(float((back[name] - value).square().sum()) for name, value in weights.items())
    size = sum(float(value.square().sum()) for value in weights.values())
    assert change <= 1e-6 * size

    # The next cell finds the processors free.
    def characters(prompt: str, answer: str, reference: str | None) -> int:
        return len(answer)

    flags: dict[str, Any] = {"metric": characters, **SHORT}
    far, near = (session.evaluate("best", ROWS, **flags, **more) for more in (ray, {}))
    for one, other in zip(far.rows, near.rows, strict=True):
        assert one.answers == other.answers
        for metric, values in one.values.items():
            assert values == pytest.approx(other.values[metric], abs=1e-5)
    assert session.verify()
    assert cluster.rests() == []
