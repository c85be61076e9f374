"""Adapters trained as blocks of one batch end as single runs of each, within rounding.

References are runs of one adapter by itself. In float64 the weights agree within 1e-10 of their
size, in float32 within 1e-3 of the change that training makes; AdamW amplifies rounding, so a run
whose rows are in reverse order within each step is the control.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_magic.state.arms import Arm, Outcome, train_arms
from lora_magic.state.session import Session
from lora_magic.training import spec as specs
from lora_magic.training import stack as stacks
from lora_magic.training.stack import Stack, Trial
from lora_magic.training.way import Way
from tests.state.shared import Heard
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = [(f"Where is number {n}?", f"Here, {n}." * (1 + n % 3)) for n in range(8)]
FLAGS: dict[str, Any] = {"steps": 6, "batch_size": 4, "eval": 2}
State = Mapping[str, Tensor]

#: Adapters by name: flags of `attach`, then of the run.
ARMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a": ({"rank": 2, "targets": "all-linear"}, {"lr": 1e-3}),
    "b": ({"rank": 4, "targets": "attention", "alpha": 3.0}, {"lr": 3e-3, "lora_plus": 4.0}),
    "c": ({"rank": 3, "targets": "all-linear"}, {"lr": 1e-2, "schedule": "constant"}),
}
Arms = dict[str, tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def bases() -> Iterator[Callable[..., Session]]:
    """A session with a model of LayerNorms in float64, or of another kind and format."""
    made: dict[tuple[str, torch.dtype], Session] = {}

    def session(architecture: str = "opt", dtype: torch.dtype = torch.float64) -> Session:
        key = architecture, dtype
        if key not in made:
            made[key] = Session()
            made[key].use(tiny_model(architecture, dtype=dtype), tiny_tokenizer(chat=True))
        for name in list(made[key].adapters):
            made[key].detach(name, discard=True)
        return made[key]

    yield session
    for one in made.values():
        one.reset()


def attached(session: Session, arms: Arms) -> list[Arm]:
    for name, (flags, _) in arms.items():
        session.attach(name, **flags)
    return [Arm(session._state.attached[name], flags) for name, (_, flags) in arms.items()]


def run(session: Session, arms: list[Arm], one_batch: bool | None, **options: Any) -> list[Outcome]:
    rows = session._rows("train", options.pop("rows", ROWS), None)
    options.setdefault("flags", FLAGS)
    return train_arms(session._state, arms, rows, one_batch=one_batch, **options)


def ends(outcomes: list[Outcome]) -> list[State]:
    assert not [outcome.error for outcome in outcomes if outcome.error]
    return [outcome.attached.state() for outcome in outcomes]


def far(outcome: Outcome, one: State, other: State) -> float:
    """The distance of two results, relative to the change that training made."""
    start = outcome.attached.start
    apart = sum(float((one[key] - other[key]).square().sum()) for key in start)
    change = sum(float((other[key] - start[key]).square().sum()) for key in start)
    return float((apart / change) ** 0.5)


def within(found: list[State], wanted: list[State], limit: float = 1e-10) -> None:
    for one, other in zip(found, wanted, strict=True):
        for key, value in other.items():
            assert float((one[key] - value).abs().max()) <= limit * (1 + float(value.abs().max()))


@pytest.mark.parametrize("architecture", ["opt", "gpt_neox", "phi"])
def test_in_float64_each_block_ends_as_its_run_by_itself(
    bases: Callable[..., Session], architecture: str
) -> None:
    session = bases(architecture)
    arms = attached(session, ARMS)
    alone = run(session, arms, False)
    wanted = ends(alone)
    heard = Heard()
    found = run(session, arms, True, reporter=heard)
    assert all(outcome.stacked for outcome in found)
    assert "in one batch" in heard.lines[0] or "one after another (" in heard.lines[0]
    within(ends(found), wanted)
    for one, other in zip(found, alone, strict=True):
        assert one.summary is not None
        assert other.summary is not None
        assert one.summary.losses == pytest.approx(other.summary.losses, rel=1e-6)
        assert one.summary.held_out_after == pytest.approx(other.summary.held_out_after, rel=1e-6)
        assert "3 adapters in one batch" in one.summary.step
        assert one.attached.history == other.attached.history
    assert session.verify()


def test_in_float32_the_difference_is_small_beside_the_change(
    bases: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bases("llama", torch.float32)
    arms = attached(session, ARMS)
    wanted = ends(run(session, arms, False))
    found = run(session, arms, True)
    real = Way.passes

    def reversed_rows(way: Way, step: Any) -> Any:
        return [part[::-1] for part in real(way, step)]

    blocks = [far(o, one, other) for o, one, other in zip(found, ends(found), wanted, strict=True)]
    monkeypatch.setattr(Way, "passes", reversed_rows)
    control = run(session, arms, False)
    floor = [
        far(o, one, other) for o, one, other in zip(control, ends(control), wanted, strict=True)
    ]
    assert 0 < max(floor) <= 1e-3
    assert max(blocks) <= 1e-3
    assert session.verify()


def test_an_arm_that_diverges_drops_out_and_the_others_end_as_they_would(
    bases: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(specs, "_HIGHEST_RATE", float("inf"))
    session = bases()
    wild: Arms = {**ARMS, "b": (ARMS["b"][0], {"lr": 1e200})}
    arms = attached(session, wild)
    wanted = ends(run(session, [arms[0], arms[2]], False))
    before = arms[1].attached.state()
    heard = Heard()
    found = run(session, arms, True, reporter=heard)
    assert [outcome.error is None for outcome in found] == [True, False, True]
    assert "lower it, as in --lr" in str(found[1].error)
    assert heard.lines[-1] == f"b dropped out: {found[1].error}"
    within(ends([found[0], found[2]]), wanted)
    after = arms[1].attached.state()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert not arms[1].attached.history.steps
    assert session.verify()


def test_an_arm_that_ends_early_leaves_the_batch_to_the_others(
    bases: Callable[..., Session],
) -> None:
    session = bases()
    flags = {"steps": 10, "batch_size": 4, "eval": 2}
    own: Arms = {
        "a": (ARMS["a"][0], {"lr": 1e-3, "steps": 4}),
        "b": (ARMS["b"][0], {"lr": 3.0, "patience": 1}),
        "c": ARMS["c"],
    }
    arms = attached(session, own)
    alone = run(session, arms, False, flags=flags)
    wanted = ends(alone)
    found = run(session, arms, True, flags=flags)
    steps = [outcome.summary and outcome.summary.steps for outcome in found]
    assert steps == [outcome.summary and outcome.summary.steps for outcome in alone]
    assert steps[0] == 4
    assert steps[1] is not None
    assert steps[1] < steps[2] == 10
    assert all(outcome.stacked for outcome in found)
    # At that rate a run far from any minimum amplifies rounding.
    within(ends(found), wanted, 1e-8)


@pytest.mark.parametrize("step", [1, 4])
def test_a_stop_keeps_the_finished_steps_of_all(bases: Callable[..., Session], step: int) -> None:
    session = bases()
    arms = attached(session, ARMS)
    paused = run(session, arms, False, until=step)
    wanted = ends(paused)
    found = run(session, arms, True, reporter=Stopping(step))
    assert [o.summary and (o.summary.ended, o.summary.steps) for o in found] == [
        ("stopped", step)
    ] * 3
    within(ends(found), wanted)
    rest = [Arm(o.attached, arm.flags, o.snapshot) for o, arm in zip(found, arms, strict=True)]
    whole = ends(run(session, arms, True))
    # Alone or in one batch, whichever is faster then.
    for one_batch in (True, False):
        within(ends(run(session, rest, one_batch)), whole)


class Stopping(Heard):
    """Stops after a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.stop, self._at = threading.Event(), step

    def step(self, point: Any) -> None:
        if point.step == self._at:
            self.stop.set()


def test_a_second_interrupt_ends_a_step_in_the_middle_and_keeps_the_others(
    bases: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bases()
    arms = attached(session, ARMS)
    wanted = ends(run(session, arms, False, until=3))
    real, calls = Stack._step, []

    def interrupted(stack: Stack, live: Any) -> None:
        calls.append(live)
        if len(calls) == 4:
            monkeypatch.setattr(Stack, "_losses", twice)
        real(stack, live)

    def twice(stack: Stack, *given: Any) -> Tensor:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second interrupt ends the pass")

    monkeypatch.setattr(Stack, "_step", interrupted)
    found = run(session, arms, True)
    assert [o.summary and (o.summary.ended, o.summary.steps) for o in found] == [("stopped", 3)] * 3
    within(ends(found), wanted)
    assert session.verify()


def test_an_interrupt_before_the_first_step_changes_nothing(bases: Callable[..., Session]) -> None:
    session = bases()
    arms = attached(session, ARMS)
    run(session, arms, True)
    before = [arm.attached.state() for arm in arms]
    stopping = Stopping(0)
    stopping.stop.set()
    with pytest.raises(KeyboardInterrupt):
        run(session, arms, True, reporter=stopping)
    within([arm.attached.state() for arm in arms], before, 0.0)
    assert arms[0].attached.history.steps == 6


def test_when_memory_runs_out_the_runs_go_on_by_themselves(
    bases: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bases()
    arms = attached(session, ARMS)
    wanted = ends(run(session, arms, False))
    real, calls = Stack._step, []

    def full(stack: Stack, live: Any) -> None:
        calls.append(live)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("no memory")
        real(stack, live)

    monkeypatch.setattr(Stack, "_step", full)
    found = run(session, arms, True)
    assert [o.summary and o.summary.steps for o in found] == [6] * 3
    assert not any(outcome.stacked for outcome in found)
    within(ends(found), wanted)


def test_what_cannot_be_a_block_runs_afterwards_and_the_first_line_says_why(
    bases: Callable[..., Session],
) -> None:
    session = bases()
    arms = attached(session, {**ARMS, "d": ({"rank": 2, "dropout": 0.1}, {"lr": 1e-3})})
    heard = Heard()
    found = run(session, arms, True, reporter=heard)
    assert [outcome.stacked for outcome in found] == [True] * 3 + [False]
    assert heard.lines[0].endswith("; afterwards d: dropout 0.1")
    assert [o.summary and o.summary.steps for o in found] == [6] * 4


def test_a_base_with_dropout_is_found_out_by_its_gradients(bases: Callable[..., Session]) -> None:
    session = Session()
    session.use(tiny_model("opt", dropout=0.1), tiny_tokenizer(chat=True))
    arms = attached(session, ARMS)
    heard = Heard()
    found = run(session, arms, True, reporter=heard)
    assert not any(outcome.stacked for outcome in found)
    assert heard.lines[0].endswith(
        "one after another: in one batch the model computes other gradients"
    )
    assert [o.summary and o.summary.steps for o in found] == [6] * 3
    session.reset()


@pytest.mark.parametrize("plain", [False, True])
def test_a_base_with_a_loss_of_its_own_is_trained_by_one_run_after_another(plain: bool) -> None:
    model: Any = tiny_model("llama", dtype=torch.bfloat16)
    own = model.loss_function
    model.loss_function = lambda **given: own(**given) * 1.001
    session = Session()
    session.use(model, tiny_tokenizer(chat=True))
    heard = Heard()
    flags = {**FLAGS, "plain_step": plain}
    found = run(session, attached(session, ARMS), True, reporter=heard, flags=flags)
    assert not any(outcome.stacked for outcome in found)
    assert "one after another: the model's loss is not the mean cross entropy" in heard.lines[0]
    session.reset()


@pytest.mark.parametrize("faster", [True, False])
def test_the_faster_of_the_two_is_taken(
    bases: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    session = bases()
    arms = attached(session, ARMS)
    times = (1.0, 2.0) if faster else (2.0, 1.0)
    monkeypatch.setattr(stacks.Stack, "_tried", lambda stack: Trial(40, *times))
    heard = Heard()
    found = run(session, arms, None, reporter=heard)
    assert {outcome.stacked for outcome in found} == {faster}
    assert ("in one batch (" if faster else "one after another (") in heard.lines[0]


def random_stack(seed: int) -> tuple[Arms, list[Any], dict[str, Any], int | None]:
    """Arms of random ranks, rates, targets and lengths, rows, flags, and where it is stopped."""
    draw = random.Random(seed)
    steps = draw.randint(3, 9)
    arms: Arms = {}
    for name in "abcde"[: draw.randint(2, 5)]:
        targets = draw.choice(["attention", "all-linear", "q_proj", "fc1,fc2", "k_proj,out_proj"])
        attach = {"rank": draw.randint(1, 9), "targets": targets, "seed": draw.randint(0, 99)}
        own = {"lr": 10 ** draw.uniform(-4, -2), "schedule": draw.choice(specs.SCHEDULES)}
        if draw.random() < 0.3:
            own["steps"] = draw.randint(1, steps)
        if draw.random() < 0.3:
            own["lora_plus"] = 4.0
        arms[name] = attach, own
    rows = [
        ("Where " * draw.randint(1, 8) + f"{n}?", f"Here {n}. " * draw.randint(1, 9))
        for n in range(draw.randint(5, 12))
    ]
    flags = {"steps": steps, "batch_size": draw.randint(1, 5), "eval": draw.choice([0, 2])}
    flags["seed"] = draw.randint(0, 9)
    return arms, rows, flags, draw.choice([None, draw.randint(1, steps)])


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(n, marks=pytest.mark.long) for n in range(5, 50))]
)
def test_random_stacks_end_as_single_runs(bases: Callable[..., Session], seed: int) -> None:
    arms, rows, flags, stop = random_stack(seed)
    session = bases("opt")
    made = attached(session, arms)
    alone = run(session, made, False, rows=rows, flags=flags, until=stop)
    wanted = ends(alone)
    reporter = None if stop is None else Stopping(stop)
    found = run(session, made, True, rows=rows, flags=flags, reporter=reporter)
    assert all(outcome.stacked for outcome in found)
    within(ends(found), wanted)
    for one, other in zip(found, alone, strict=True):
        assert one.summary is not None
        assert other.summary is not None
        assert one.summary.steps == other.summary.steps
        assert one.summary.losses == pytest.approx(other.summary.losses, rel=1e-6)
    assert session.verify()
