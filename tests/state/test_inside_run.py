"""What a run records of its adapter's inside is true, and the run has the same bits without it."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_magic.adapters.delta import copy_in
from lora_magic.errors import TrainingStopped
from lora_magic.state import inside_run, train
from lora_magic.state.arms import Arm, train_arms
from lora_magic.state.session import Session
from lora_magic.training.checkpoint import packed, record
from lora_magic.training.forgetting import Unmeasured
from lora_magic.training.inside import ALL, Inside, Reading, check
from lora_magic.training.progress import Progress
from lora_magic.training.summary import RunSummary
from tests.state.resuming import ROWS, StopAt, weights

FLAGS: dict[str, Any] = {"steps": 10, "batch_size": 4, "lr": 1e-2}


@pytest.fixture(autouse=True)
def _without_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring it takes longer than these runs."""
    monkeypatch.setattr(train.forgetting, "measure", lambda *_, **__: Unmeasured("stopped"))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that these short runs are read at every step, in all modules."""
    monkeypatch.setattr(inside_run, "_SHARE", 1e9)


def trained(session: Session, *, attach: dict[str, Any] | None = None, **flags: Any) -> Any:
    session.attach("one", **(attach or {"rank": 3}), replace=True)
    return session.train("one", ROWS, **{**FLAGS, **flags})


def inside(summary: RunSummary) -> Inside:
    assert summary.inside is not None
    return summary.inside


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("attach", "flags"),
    [
        ({"rank": 3, "dropout": 0.2}, {}),
        ({"rank": 2, "dora": True}, {"plain_step": True, "batch_size": 6, "eval": 2}),
    ],
)
def test_a_run_has_the_same_bits_with_and_without_the_record(
    attach: dict[str, Any],
    flags: dict[str, Any],
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summary = trained(session, attach=attach, **flags)
    expected = weights(session)
    assert len(inside(summary).of(ALL)) == FLAGS["steps"] + 1
    monkeypatch.setattr(inside_run, "recorder_of", lambda *_: None)
    without = trained(session, attach=attach, **flags)
    assert without.inside is None
    assert without.losses == summary.losses
    assert all(torch.equal(value, expected[name]) for name, value in weights(session).items())


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("batch_size", [2, 8])
def test_gradient_norms_are_those_of_all_passes_together_before_clipping(
    batch_size: int, session: Session
) -> None:
    session.attach("one", rank=3, alpha=900, replace=True)
    attached = session._state.attached["one"]
    passes: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
    for place, parameter in attached.own.items():
        keep = passes[place].append
        parameter.requires_grad_(True)
        parameter.register_hook(lambda gradient, keep=keep: keep(gradient.double().clone()))
        parameter.requires_grad_(False)
    flags = {**FLAGS, "steps": 1, "batch_size": batch_size, "plain_step": True}
    found = inside(session.train("one", ROWS, **flags))
    expected: dict[str, float] = defaultdict(float)
    by_module: dict[tuple[str, str], float] = defaultdict(float)
    for (path, part), gradients in passes.items():
        square = float(torch.stack(gradients).sum(0).square().sum())
        factor = "A" if "lora_A" in part else "B"
        expected[factor] += square
        by_module[path, factor] += square
    (first, last) = found.of(ALL)
    assert first.gradients["A"] == expected["A"] == 0.0
    assert first.gradients["B"] == pytest.approx(expected["B"] ** 0.5, rel=1e-5)
    assert first.gradients["B"] > 1.0, "it would be clipped"
    assert last.gradients == {}
    for path in found.followed:
        norms = found.of(path)[0].gradients
        assert norms["B"] == pytest.approx(by_module[path, "B"] ** 0.5, rel=1e-5)


@pytest.mark.usefixtures("often")
def test_the_last_reading_is_the_spectrum_of_the_trained_weights(session: Session) -> None:
    found = inside(trained(session, attach={"rank": 3, "targets": "all-linear"}))
    updates = session._state.attached["one"].updates()
    assert set(found.followed) <= set(updates)
    assert len(found.followed) == min(inside_run.MOST, found.modules)
    for path in found.followed:
        first, *_, last = found.of(path)
        dense = torch.linalg.svdvals(updates[path].dense(torch.float64))[:3]
        assert (first.step, last.step) == (0, FLAGS["steps"])
        assert first.sigma == (0.0,) * 3
        assert first.norm == 0.0
        assert first.effective_rank is None, "ΔW = 0 has no rank"
        assert last.sigma == pytest.approx(dense.tolist(), rel=1e-9)
        assert last.norm == pytest.approx(float(dense.square().sum()) ** 0.5, rel=1e-9)
        shares = dense.square() / dense.square().sum()
        entropy = -float((shares * shares.log()).sum())
        assert last.effective_rank == pytest.approx(2.718281828459045**entropy, rel=1e-9)


@pytest.mark.usefixtures("often")
def test_w0_has_no_gradient_and_one_that_has_is_counted(session: Session) -> None:
    found = inside(trained(session))
    assert found.base_gradients == 0
    session.swap("base")
    assert found.base_tensors >= sum(1 for _ in session.model.parameters())
    recorder = inside_run.Recorder(session._state.base, session._state.attached["one"])
    recorder.plan(4, 100)
    first, second, *_ = session.model.parameters()
    first.grad = torch.zeros_like(first)
    second.requires_grad_(True)
    assert recorder.read(0, 1.0)[0].base_gradients == 2
    first.grad = None
    second.requires_grad_(False)


def test_gradients_of_a_scaled_loss_are_divided_by_the_scale(session: Session) -> None:
    session.attach("one", rank=3)
    attached = session._state.attached["one"]
    recorder = inside_run.Recorder(session._state.base, attached)
    for _, parameter in attached.tensors():
        parameter.grad = torch.ones_like(parameter)
    sizes = {"A": 0, "B": 0}
    for name, parameter in attached.tensors():
        sizes["A" if "lora_A" in name else "B"] += parameter.numel()
    found = recorder.read(0, 4.0)[0].gradients
    assert found == pytest.approx({name: size**0.5 / 4 for name, size in sizes.items()})


def test_what_is_read_follows_from_counts_and_a_longer_run_is_read_no_less(
    session: Session,
) -> None:
    session.attach("one", rank=3, targets="all-linear")
    attached = session._state.attached["one"]
    before = (0, 0)
    for steps in (1, 10, 100, 1000, 100_000):
        plans = []
        for _ in range(2):
            recorder = inside_run.Recorder(session._state.base, attached)
            plans.append((recorder.plan(steps, 100), recorder._followed))
        (due, followed), again = plans
        assert (due, followed) == again
        assert due[0] == 0
        assert due[-1] == steps
        assert 2 <= len(due) <= min(inside_run.READINGS, steps + 1)
        gaps = [b - a for a, b in pairwise(due)]
        assert max(gaps) - min(gaps) <= 1
        assert followed, "at least the largest module"
        assert (len(due), len(followed)) >= before
        before = (len(due), len(followed))
        cost = recorder._fixed() + sum(map(recorder._cost, followed))
        if len(due) > 2:
            assert len(due) * cost <= 0.01 * steps * recorder._step(100)
    assert before == (inside_run.READINGS, min(inside_run.MOST, recorder.modules))


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    ("attach", "factors", "sigmas", "norms"),
    [
        ({"method": "adalora", "rank": 2}, {"A", "B", "other"}, True, True),
        ({"rank": 2, "init": "pissa"}, {"A", "B"}, True, True),
        ({"rank": 2, "norms": True}, {"A", "B", "other"}, True, True),
        ({"method": "full"}, {"other"}, False, True),
        ({"method": "ia3"}, {"other"}, False, True),
    ],
)
def test_each_method_has_what_it_has(
    attach: dict[str, Any], factors: set[str], sigmas: bool, norms: bool, session: Session
) -> None:
    found = inside(trained(session, attach=attach))
    assert set(found.of(ALL)[1].gradients) == factors
    lasts = [found.of(path)[-1] for path in found.followed]
    assert lasts
    assert all(bool(one.sigma) == sigmas for one in lasts)
    assert all((one.norm is not None) == norms for one in lasts)
    updates = session._state.attached["one"].updates()
    for one in lasts:
        dense = updates[one.module].dense(torch.float64)
        assert one.norm == pytest.approx(float(torch.linalg.matrix_norm(dense)), rel=1e-6)


@pytest.mark.parametrize("method", ["prefix", "houlsby"])
def test_a_method_without_a_delta_has_no_record(method: str, session: Session) -> None:
    assert trained(session, attach={"method": method}, steps=1).inside is None


@pytest.mark.usefixtures("often")
def test_a_resumed_run_has_the_record_of_one_that_never_stopped(session: Session) -> None:
    expected = inside(trained(session))
    session.attach("one", rank=3, replace=True)
    with pytest.raises(TrainingStopped):
        session.train("one", ROWS, reporter=StopAt(4), **FLAGS)
    again: Any = session.train("one", ROWS, resume=True, **FLAGS)
    assert inside(again) == expected


def test_a_stopped_run_ends_with_a_reading_of_the_weights_that_it_keeps(session: Session) -> None:
    session.attach("one", rank=3)
    stopped = StopAt(4)
    with pytest.raises(TrainingStopped):
        session.train("one", ROWS, reporter=stopped, checkpoint_every=0, **FLAGS)
    run = session._state.run
    assert run is not None
    assert run.summary is not None
    found = inside(run.summary)
    updates = session._state.attached["one"].updates()
    for path in found.followed:
        last = found.of(path)[-1]
        assert last.step == 4
        assert last.norm == pytest.approx(updates[path].norm(), rel=1e-9)


@pytest.mark.usefixtures("often")
def test_adapters_in_one_batch_have_the_records_of_single_runs_and_a_sweep_has_none(
    session: Session,
) -> None:
    for name, rank in (("a", 2), ("b", 3)):
        session.attach(name, rank=rank)
    rows, known = session._rows("train", ROWS, None), session._state.attached
    arms = [Arm(known[name], {}) for name in "ab"]
    alone, stacked = (
        train_arms(session._state, arms, rows, flags=FLAGS, one_batch=one, followed=True)
        for one in (False, True)
    )
    for one, other in zip(alone, stacked, strict=True):
        assert other.stacked
        assert not one.stacked
        assert one.summary is not None
        assert other.summary is not None
        pairs = zip(inside(one.summary).readings, inside(other.summary).readings, strict=True)
        for first, second in pairs:
            assert (first.step, first.module) == (second.step, second.module)
            assert first.gradients == pytest.approx(second.gradients, rel=1e-3, abs=1e-6)
            assert first.sigma == pytest.approx(second.sigma, rel=1e-3, abs=1e-6)
    default = train_arms(session._state, arms, rows, flags={**FLAGS, "steps": 1}, one_batch=True)
    assert all(one.summary and one.summary.inside is None for one in default)


@pytest.mark.parametrize("attach", [{"rank": 3}, {"method": "full"}])
def test_weights_and_gradients_that_are_not_finite_have_no_numbers(
    attach: dict[str, Any], session: Session
) -> None:
    session.attach("one", **attach)
    attached = session._state.attached["one"]
    recorder = inside_run.Recorder(session._state.base, attached)
    recorder.plan(1000, 100)
    for _, parameter in attached.tensors():
        parameter.grad = torch.full_like(parameter, float("inf"))
        with torch.no_grad():
            parameter.fill_(float("nan"))
    for one in recorder.read(0, 1.0):
        assert [name for name, _, _ in one.values()] == ["base_gradients"] * (one.module == ALL)


def test_a_frozen_copy_is_not_the_base(session: Session) -> None:
    """Full fine-tuning trains copies, so that W0 has no gradient there either."""
    found = inside(trained(session, attach={"method": "full"}, steps=2))
    attached = session._state.attached["one"]
    assert all(copy_in(layer) is not None for layer in attached.replacements.values())
    assert found.base_gradients == 0
    assert all(one.gradients["other"] > 0 for one in found.of(ALL)[:-1])


def test_a_checkpoint_keeps_the_readings_and_one_from_before_them_has_none() -> None:
    readings = [Reading(1, "m", {"A": 0.5}, None, 1.0, None, (1.0, 0.25)), Reading(2, ALL, {}, 0)]
    values = json.loads(json.dumps(packed(Progress([1.0], inside=readings), {})))
    assert record(Progress, values, {}).inside == readings
    del values["inside"]
    assert record(Progress, values, {}).inside == []


@pytest.mark.parametrize(
    "odd",
    [
        Reading(5, "m"),
        Reading(-1, "m"),
        Reading(1, "m", {"A": float("nan")}),
        Reading(1, "m", {"C": 1.0}),
        Reading(1, "m", sigma=(1.0, -1.0)),
        Reading(1, ALL, {}, -1),
    ],
)
def test_a_reading_that_a_run_cannot_have_is_refused(odd: Reading) -> None:
    check([Reading(4, "m", {"A": 1.0}, None, 1.0, 1.0, (1.0,))], 4)
    with pytest.raises(ValueError, match="inside"):
        check([odd], 4)
