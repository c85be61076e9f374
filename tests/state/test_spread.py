"""Arms and rows on workers: what comes back is what this process alone finds, or nothing at all.

The workers are calls in this process, whose requests and results are pickled; a real cluster is in
tests/scale. That a sweep alone is right is tested in test_sweep.py, an evaluation in
test_evaluating.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.errors import (
    BaseModelError,
    CommandError,
    DataError,
    StateError,
    TrainingStopped,
    WorkerError,
)
from lora_magic.evaluation.evaluation import LOSS, Evaluation
from lora_magic.evaluation.items import Item
from lora_magic.scale.work import Work
from lora_magic.state import spread, sweep_plan
from lora_magic.state.arms import Arm
from lora_magic.state.session import Session
from lora_magic.state.sweep_result import Sweep
from lora_magic.training.encode import Example
from lora_magic.training.reporter import StepPoint
from tests.classifiers import saved, tiny_classifier
from tests.conftest import Saver, perturb
from tests.state.in_process import LINE, InProcess, in_process
from tests.state.shared import Heard, snapshot, swept
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = [(f"Where is number {n}?", f"Here, {n}." * (1 + n % 3)) for n in range(24)]
#: Two arms that share a batch, and two that are trained one after another: all of them for 4 steps,
#: then the best one to its end.
GRID: dict[str, Any] = {
    **{"method": ["lora", "dora"], "rank": [1, 2], "lr": 1e-2},
    **{"steps": 6, "batch_size": 4, "eval": 8, "finish": True},
}
RAY: dict[str, Any] = {"engine": "ray", "workers": 2}
SHORT: dict[str, Any] = {"max_new_tokens": 6}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """The engine of a test; nothing of it is left running."""
    engine = in_process(monkeypatch)
    yield engine
    assert engine.running == 0


@pytest.fixture(scope="module")
def alone(saved_model: Saver, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The sweep in one process."""
    return swept(saved_model(), tmp_path_factory.mktemp("alone"), ROWS, GRID)


def same(one: Sweep, other: Sweep) -> None:
    """The same choice, and the same losses up to the order of sums in another batch."""
    assert (one.chosen, one.rungs) == (other.chosen, other.rungs)
    assert [arm.state for arm in one.arms] == [arm.state for arm in other.arms]
    for own, wanted in zip(one.arms, other.arms, strict=True):
        assert own.steps == wanted.steps
        assert [step for step, _ in own.losses] == [step for step, _ in wanted.losses]
        found = [loss for _, loss in own.losses]
        assert found == pytest.approx([loss for _, loss in wanted.losses], rel=1e-4)
    assert one.reported == pytest.approx(other.reported, rel=1e-4)
    assert one.base_loss == pytest.approx(other.base_loss, rel=1e-6)


class Watching(Heard):
    """Asks to stop after some points."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self.stop = threading.Event()
        self._most = most

    def step(self, point: StepPoint) -> None:
        super().step(point)
        if self._most is not None and len(self.points) >= self._most:
            self.stop.set()


# Sweeps


@pytest.mark.parametrize("losing", [set(), {1}], ids=["all", "lost"])
def test_a_sweep_on_workers_is_the_sweep_alone(
    session: Session, here: InProcess, alone: Sweep, losing: set[int]
) -> None:
    here.losing, watching = losing, Watching()
    found = session.sweep("best", ROWS, reporter=watching, **GRID, **RAY)
    same(found, alone)
    assert session.active == "best"
    assert session._state.attached["best"].history.steps == found.best.steps  # type: ignore[union-attr]
    # Every group of the first rung has both kinds of arms, and the engine was started once.
    first = [[one.adapter.spec.variant for one in work.request.arms] for work in here.works[:2]]
    assert sorted(map(sorted, first)) == [["dora", "lora"], ["dora", "lora"]]
    assert [workers.count for workers in here.asked] == [2]
    assert "sweep · 2 workers (ray)" in repr(session.history())
    assert LINE in watching.lines[0]
    assert {point.adapter for point in watching.points} == {f"best arm {n}" for n in range(1, 5)}
    assert any("was lost" in line for line in watching.lines) == bool(losing)
    # Which of the verbs' results is measured anew shows that the weights came back, too.
    measured = session.evaluate("best", ROWS[:4], **SHORT)
    assert measured.mean("best", LOSS).value < measured.mean("base", LOSS).value  # type: ignore[union-attr]
    assert session.verify()


def test_the_weights_that_come_back_are_those_of_a_run_alone(
    session: Session, here: InProcess
) -> None:
    flags: dict[str, Any] = {**GRID, "method": "dora", "rank": [1, 2]}
    session.sweep("best", ROWS, **flags, **RAY)
    far = session._state.attached["best"]
    weights, record = far.state(), {**far.run}
    session.detach("best", discard=True)
    session.sweep("best", ROWS, **flags)
    near = session._state.attached["best"]
    # DoRA is never in a batch with others: the same steps in the same order.
    assert all(torch.equal(value, weights[name]) for name, value in near.state().items())
    times = {"seconds", "when", "tokens_per_second"}
    assert near.run.keys() == record.keys()
    assert {k: v for k, v in near.run.items() if k not in times} == {
        k: v for k, v in record.items() if k not in times
    }


def test_a_sweep_that_was_stopped_on_workers_goes_on_alone(
    session: Session, here: InProcess, alone: Sweep
) -> None:
    watching = Watching(most=2)
    with pytest.raises(TrainingStopped, match="--resume"):
        session.sweep("best", ROWS, reporter=watching, **GRID, **RAY)
    same(session.sweep("best", ROWS, resume=True, **GRID), alone)


def test_a_sweep_that_is_stopped_before_a_step_changes_nothing(
    session: Session, here: InProcess
) -> None:
    before, watching = snapshot(session), Watching()
    watching.stop.set()
    with pytest.raises(KeyboardInterrupt):
        session.sweep("best", ROWS, reporter=watching, **GRID, **RAY)
    assert snapshot(session) == before


@pytest.mark.parametrize(
    ("error", "rung"),
    [
        (WorkerError("worker 1 was lost 3 times."), 0),
        (WorkerError("worker 1 was lost 3 times."), 1),
        (KeyboardInterrupt(), 0),
    ],
)
def test_an_engine_that_fails_leaves_the_session_as_it_was(
    session: Session, here: InProcess, error: BaseException, rung: int
) -> None:
    before = snapshot(session)

    def fail(work: Work) -> None:
        if len(here.works) == 2 + rung:
            raise error

    here.begins = fail
    with pytest.raises(type(error)) as raised:
        session.sweep("best", ROWS, **GRID, **RAY)
    assert snapshot(session) == before
    if isinstance(error, WorkerError):
        assert ("--resume" in str(raised.value)) == bool(rung)


def test_an_arm_that_fails_on_a_worker_drops_out(session: Session, here: InProcess) -> None:
    def poison(work: Work) -> None:
        for arm in work.request.arms:
            if arm.adapter.name == "best arm 1":
                for value in arm.adapter.start.values():
                    value.fill_(float("nan"))

    here.begins, watching = poison, Watching()
    found = session.sweep("best", ROWS, reporter=watching, **GRID, **RAY)
    assert found.arms[0].state == "failed"
    assert "not finite" in found.arms[0].error
    assert any("best arm 1 dropped out" in line for line in watching.lines)
    assert [arm.error for arm in found.arms[1:]] == [""] * 3


def test_a_time_limit_ends_all_workers(session: Session, here: InProcess) -> None:
    flags: dict[str, Any] = {**GRID, "method": "dora", "steps": 600}
    found = session.sweep("best", ROWS, minutes=0.01, **flags, **RAY)
    assert found.minutes
    assert not found.stopped
    assert max(arm.steps for arm in found.arms) < 600


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_each_kind_of_arm_is_dealt_out_evenly(session: Session, count: int) -> None:
    for at in range(7):
        session.attach(f"a{at}", rank=1 + at % 3, dora=at > 3)
    arms = [Arm(one, {}) for one in session._state.attached.values()]
    groups = spread.grouped(arms, count)
    assert sorted(at for group in groups for at in group) == list(range(7))
    assert len(groups) == min(count, 7)
    kinds = [[at > 3 for at in group] for group in groups]
    for several in (
        map(len, kinds),
        (k.count(True) for k in kinds),
        (k.count(False) for k in kinds),
    ):
        numbers = list(several)
        assert max(numbers) - min(numbers) <= 1


def test_a_sweep_on_workers_waits_for_its_longest_chain() -> None:
    plan = sweep_plan.rungs(12, 90, None, halving=True)
    once = sweep_plan.cost(plan, 12)
    assert sweep_plan.cost(plan, 12, 1 / 2) == once / 2
    assert sweep_plan.cost(plan, 12, 3.0) == 3 * once
    # With more workers than arms each rung takes as long as one run.
    assert sweep_plan.cost(plan, 12, 1 / 99) < plan[-1].steps


# Evaluations


@pytest.fixture
def several(session: Session) -> Session:
    """Two adapters with a ΔW each."""
    for seed, name in enumerate(("b", "a")):
        session.attach(name, rank=2 + seed)
        perturb(session, name, 0.5, seed)
    return session


def agree(one: Evaluation, other: Evaluation) -> None:
    """The same rows, answers and values; losses to 1e-5."""
    assert one.adapters == other.adapters
    for own, wanted in zip(one.rows, other.rows, strict=True):
        assert (own.number, own.key, own.answers) == (wanted.number, wanted.key, wanted.answers)
        assert (own.tokens, own.values.keys()) == (wanted.tokens, wanted.values.keys())
        for metric, values in own.values.items():
            assert values == pytest.approx(wanted.values[metric], abs=1e-5), metric
    assert one.data_hash == other.data_hash


MIXED_ROWS = [*ROWS[:6], ROWS[0], "A text without a prompt."]


@pytest.mark.parametrize("losing", [set(), {0, 1}], ids=["all", "lost"])
def test_an_evaluation_on_workers_is_the_one_alone(
    several: Session, here: InProcess, losing: set[int]
) -> None:
    here.losing = losing
    told: list[str] = []
    seen: list[str] = []

    def characters(prompt: str, answer: str, reference: str | None) -> int:
        seen.append(prompt)
        return len(answer)

    flags: dict[str, Any] = {**SHORT, "metric": characters}
    wanted = several.evaluate("b,a", ROWS, **flags)
    count = len(seen)
    found = several.evaluate(
        "b,a", ROWS, watch=lambda line: bool(told.append(line())), **flags, **RAY
    )
    agree(found, wanted)
    # The function stays here, and sees each answer once.
    assert len(seen) == 2 * count == 2 * 3 * len(ROWS)
    assert any(LINE in line for line in told)
    assert told[-1].startswith(f"answers: {len(ROWS)} of {len(ROWS)} rows")
    assert bool(found.notes) == bool(losing)
    assert several.board("a").to_frame().held_out.notna().any()


@pytest.mark.parametrize("mix", [None, "a=0.5,base=0.5", "b"])
def test_texts_repeated_prompts_and_mixes_too(
    several: Session, here: InProcess, mix: str | None
) -> None:
    rows = [{"prompt": p, "completion": c} for p, c in [*ROWS[:6], ROWS[0]]]
    flags: dict[str, Any] = {"mix": mix, **SHORT}
    agree(several.evaluate("a", rows, **flags, **RAY), several.evaluate("a", rows, **flags))


def test_several_active_adapters_are_one(several: Session, here: InProcess) -> None:
    several.swap("a=0.7,b=-0.3")
    wanted = several.evaluate(None, ROWS[:6], **SHORT)
    agree(several.evaluate(None, ROWS[:6], **SHORT, **RAY), wanted)
    assert wanted.adapters[-1] == several.active == "a=0.7,b=-0.3"


def test_a_classifier_is_measured_on_workers(here: InProcess, tmp_path: Path) -> None:
    session = Session()
    session.load(saved(tiny_classifier("llama"), tmp_path / "base"), task="classification")
    session.attach("a", rank=2)
    perturb(session, "a", 0.5)
    rows = [{"text": row[0], "label": f"LABEL_{at % 2}"} for at, row in enumerate(ROWS)]
    wanted = session.evaluate("a", rows)
    found = session.evaluate("a", rows, **RAY)
    agree(found, wanted)
    assert found.confusion().equals(wanted.confusion())
    session.reset()


def test_what_was_measured_before_a_stop_is_returned(several: Session, here: InProcess) -> None:
    lines: list[str] = []

    def watch(line: Callable[[], str]) -> bool:
        lines.append(line())
        return any(said.startswith("answers") for said in lines)

    found = several.evaluate("a", ROWS, watch=watch, **SHORT, **RAY)
    assert found.stopped
    assert len(found.rows) == len(ROWS)
    answered = [row for row in found.rows if row.answers[0] is not None]
    assert 0 < len(answered) < len(ROWS)
    assert "evaluations" not in several._state.attached["a"].run
    with pytest.raises(KeyboardInterrupt):
        several.evaluate("a", ROWS, watch=lambda line: True, **SHORT, **RAY)


def test_a_metric_that_raises_ends_the_evaluation(several: Session, here: InProcess) -> None:
    before = snapshot(several)

    def wrong(prompt: str, answer: str, reference: str | None) -> float:
        raise ValueError("no")

    with pytest.raises(DataError, match=r"--metric wrong: row \d+: ValueError: no"):
        several.evaluate("a", ROWS, metric=wrong, **SHORT, **RAY)
    assert snapshot(several) == before


@pytest.mark.parametrize("count", [1, 2, 5, 50])
def test_rows_are_shared_out_by_tokens(count: int) -> None:
    def item(at: int, length: int, asked: int) -> Item:
        example = Example(tuple(range(length)), (1,) * length, at)
        return Item(at, str(at), "", "", ((example,),), ((asked,),))

    lengths = [1 + 7 * at % 40 for at in range(30)]
    # Two rows in three ask what others ask.
    items = [item(at, length, at % 10) for at, length in enumerate(lengths)]
    parts = spread.shards(items, count)
    assert sorted(at for part in parts for at in part) == list(range(30))
    assert len(parts) == min(count, 10)
    asked = [{at % 10 for at in part} for part in parts]
    assert sum(map(len, asked)) == 10
    sizes = [sum(lengths[at] + 2 for at in part) for part in parts]
    largest = max(sum(lengths[at] + 2 for at in range(30) if at % 10 == one) for one in range(10))
    # Graham's bound for a list that is dealt out to the least loaded.
    assert max(sizes) <= sum(sizes) / len(sizes) + largest


# Refusals


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"workers": 2}, "--workers needs --engine ray"),
        ({"address": "10.0.0.5:6379"}, "--address needs --engine ray"),
        ({"engine": "accelerate", "workers": 2}, "--engine accelerate: expected ray"),
        ({"engine": "spark"}, "--engine spark"),
        ({"engine": "ray", "workers": 0}, "--workers 0"),
        ({"engine": "ray", "workers": 1.5}, "--workers 1.5"),
        ({"engine": "ray", "address": 6379}, "--address 6379"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    several: Session, here: InProcess, flags: dict[str, Any], said: str
) -> None:
    before = snapshot(several)
    for call in (
        lambda: several.sweep("best", ROWS, rank=[1, 2], eval=8, **flags),
        lambda: several.evaluate("a", ROWS, **flags),
    ):
        with pytest.raises(CommandError) as error:
            call()
        assert said in str(error.value)
        assert "\n" not in str(error.value)
    assert snapshot(several) == before
    assert here.asked == []


def test_a_base_that_no_worker_can_read_is_refused_before_one_starts(here: InProcess) -> None:
    session = Session()
    session.use(tiny_model(), tiny_tokenizer())
    session.attach("a", rank=1)
    before = snapshot(session)
    for call in (
        lambda: session.sweep("best", ROWS, **GRID, **RAY),
        lambda: session.evaluate("a", ROWS, **RAY),
    ):
        with pytest.raises(BaseModelError, match="save_pretrained"):
            call()
    assert snapshot(session) == before
    assert here.asked == []
    session.reset()


def test_a_merged_base_is_measured_here(several: Session, here: InProcess) -> None:
    several.merge("a")
    with pytest.raises(StateError, match="unmerge"):
        several.evaluate("a", ROWS, **RAY)
    assert here.asked == []
