"""A run that workers share: the same as alone, or refused in one line, or as if it had not been."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_magic.errors import (
    BaseModelError,
    CommandError,
    Interrupted,
    LoraMagicError,
    TrainingError,
    TrainingStopped,
    WorkerError,
)
from lora_magic.scale.work import Work, Workers
from lora_magic.state import checkpoints
from lora_magic.state import train as training
from lora_magic.state import workers as several
from lora_magic.state.checkpoints import CheckpointWarning
from lora_magic.state.session import Session
from lora_magic.state.workers import wanted
from lora_magic.training.forgetting import Unmeasured
from lora_magic.training.reporter import RunPlan, SilentReporter, StepPoint
from tests.classifiers import saved, tiny_of
from tests.conftest import Saver
from tests.state.in_process import LINE, AbortedError, InProcess, LostError, in_process
from tests.state.resuming import (
    ATTACH,
    CHECKPOINT,
    FLAGS,
    ROWS,
    StopAt,
    recorded,
    weights,
)
from tests.state.shared import snapshot
from tests.state.variants import on
from tests.tiny import tiny_model, tiny_tokenizer

#: A run without chance, whose result several workers must share.
SURE: dict[str, Any] = {"rank": 2}


@pytest.fixture(autouse=True)
def _checkpoints_and_no_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after each step if the flag says so; forgetting is measured elsewhere."""
    monkeypatch.setattr(checkpoints, "_SHARE", 1e9)
    monkeypatch.setattr(training.forgetting, "measure", lambda *_, **__: Unmeasured("stopped"))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """One worker, which is this process; afterwards none is left running."""
    made = in_process(monkeypatch)
    yield made
    assert made.running == 0


class Seen(SilentReporter):
    """Keeps what it is told, and stops the run after a step."""

    def __init__(self, stop_at: int = 0) -> None:
        super().__init__()
        self.stop, self._at = threading.Event(), stop_at
        self.plans: list[RunPlan] = []
        self.points: list[StepPoint] = []
        self.notes: list[str] = []

    def start(self, plan: RunPlan) -> None:
        self.plans.append(plan)

    def step(self, point: StepPoint) -> None:
        self.points.append(point)
        if point.step == self._at:
            self.stop.set()

    def note(self, line: str) -> None:
        self.notes.append(line)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def at(step: int, error: BaseException) -> Callable[[object], None]:
    """What happens once, when a worker tells of a step."""
    due = [step]

    def before(event: object) -> None:
        if isinstance(event, StepPoint) and [event.step] == due:
            due.clear()
            raise error

    return before


# The same run


#: One of each kind of layer, of initialisation, and of hooks.
KINDS = ("dora", "pissa", "eva", "patterns", "bias", "adalora", "ia3", "prefix", "houlsby", "full")


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_makes_the_same_adapter_and_takes_the_same_steps(
    kind: str, saved_model: Saver, engine: InProcess
) -> None:
    """One worker, so not even the order of sums differs: every bit, of every method."""
    flags = {**FLAGS, "steps": 10 if kind == "adalora" else 3}
    session = Session()
    session.load(str(saved_model("gpt2")))
    session.attach("one", **on(kind, "c_attn"))
    alone = session.train("one", ROWS, **flags)
    expected, record = weights(session), recorded(session)
    shared = session.train("one", ROWS, **flags, workers=2)
    assert same(weights(session), expected)
    workers = {"workers": 2, "engine": "accelerate"}
    assert recorded(session) == replace(record, run={**record.run, **workers})
    assert replace(shared, seconds=alone.seconds, peak=alone.peak, notes=()) == alone
    assert LINE in shared.notes
    assert LINE in shared.line
    assert session.active == "one"
    assert session.verify()


@pytest.mark.filterwarnings("ignore:Paged optimizers:UserWarning")
def test_a_quantised_base_is_quantised_again_and_a_run_is_continued(
    saved_model: Saver, engine: InProcess
) -> None:
    session = Session()
    session.load(str(saved_model()), bits=4)
    session.attach("one", rank=2, init="loftq", dropout=0.2)
    flags = {"steps": 3, "batch_size": 4}
    found = []
    for workers in (None, 2):
        session.train("one", ROWS, **flags, workers=workers)
        session.train("one", ROWS, **flags, workers=workers, continue_=True)
        assert session.adapters["one"].history.steps == 6
        found.append(weights(session))
    assert same(*found)
    assert session.verify()


def test_an_adapter_that_was_opened_is_made_again_with_its_ranks(
    session: Session, engine: InProcess
) -> None:
    session.attach("ada", method="adalora", rank=2)
    session.train("ada", ROWS, steps=10, eval=0)
    session.save("ada", "there")
    found = []
    for workers in (None, 2):
        session.open("there", "one", replace=True)
        session.train("one", ROWS, steps=10, eval=0, continue_=True, workers=workers)
        found.append(weights(session))
    assert same(*found)


def test_a_classifier_and_the_embedded_model_are_read_by_workers(
    tmp_path: Path, engine: InProcess
) -> None:
    session = Session()
    base = saved(tiny_of("body", "bert"), tmp_path, tiny_tokenizer())
    session.load(base, task="classification", labels="no,yes")
    rows = [(f"Is {n} even?", ("yes", "no")[n % 2]) for n in range(8)]
    for load in (lambda: None, lambda: session.load("demo", replace=True)):
        load()
        session.attach("one", rank=2)
        session.train("one", rows, steps=4)
        expected = weights(session)
        session.train("one", rows, steps=4, workers=2)
        assert same(weights(session), expected)


def test_the_run_is_shown_as_one_and_the_line_names_the_workers(
    session: Session, engine: InProcess
) -> None:
    session.attach("one", **ATTACH)
    alone, shared = Seen(), Seen()
    session.train("one", ROWS, reporter=alone, **FLAGS)
    session.train("one", ROWS, reporter=shared, **FLAGS, workers=2)
    assert shared.plans[0].line.startswith(alone.plans[0].line)
    assert f" · {LINE}" in shared.plans[0].line
    assert [point.loss for point in shared.points] == [point.loss for point in alone.points]
    inside = [point.inside for point in shared.points if point.inside]
    assert len(inside) == len(shared.points)
    assert inside[-1].readings == alone.points[-1].inside.readings  # type: ignore[union-attr]
    (asked,) = engine.asked
    assert asked == Workers(2, shared=str(Path(".lora_magic").absolute()))


def test_what_is_kept_of_a_run_says_how_many_workers_shared_it(
    session: Session, engine: InProcess
) -> None:
    """The history and its frame, the differences of two runs, the status, and a saved adapter."""
    for name, flags in {"alone": {}, "few": {"workers": 1}, "many": {"workers": 2}}.items():
        session.attach(name, **ATTACH)
        session.train(name, ROWS, **FLAGS, **flags)
    session.attach("ray", **ATTACH)
    session.train("ray", ROWS, **FLAGS, workers=3, engine="ray")
    history = session.history()
    verbs = [re.split("  +", line)[3] for line in repr(history).splitlines()[2:]]
    assert [verb for verb in verbs if verb.startswith("train")] == [
        *("train", "train", "train · 2 workers (accelerate)", "train · 3 workers (ray)")
    ]
    frame = history.to_frame()
    runs = frame[frame.verb == "train"].set_index("adapter")[["workers", "engine"]]
    assert runs.notna().all(axis=1).to_dict() == {
        "alone": False,
        "few": False,
        "many": True,
        "ray": True,
    }
    assert runs.loc["ray"].tolist() == [3, "ray"]
    rows = session.history("alone", "many").rows  # type: ignore[union-attr]
    assert [row for row in rows if row[1] in ("workers", "engine")] == [
        ("run", "workers", None, 2),
        ("run", "engine", None, "accelerate"),
    ]
    states = {name: state for name, _, state, _ in session.status().rows}
    assert states["many"].endswith(", 2 workers (accelerate)")
    assert states["ray"].endswith(", 3 workers (ray)")
    assert not any("worker" in states[name] for name in ("alone", "few"))
    session.save("many", "there")
    session.open("there", "again")
    assert session.adapters["again"].workers == "2 workers (accelerate)"
    # The next run in one process is one of one process.
    session.train("many", ROWS, **FLAGS)
    assert session.adapters["many"].workers == ""


def test_guard_and_replay_are_measured_here(session: Session, engine: InProcess) -> None:
    general = [(f"What is {n}?", f"A number, {n}.") for n in range(12)]
    flags = {"steps": 4, "guard": general, "replay": 0.25}
    session.attach("one", **ATTACH)
    alone = session.train("one", ROWS, **flags)
    shared = session.train("one", ROWS, **flags, workers=2)
    assert shared.guard == alone.guard
    assert shared.losses == alone.losses


# Stopped, lost, resumed


@pytest.mark.parametrize("first", [None, 2])
@pytest.mark.parametrize("second", [None, 2])
def test_a_stopped_run_is_finished_alone_or_by_workers(
    first: int | None, second: int | None, session: Session, engine: InProcess
) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS, **FLAGS)
    expected = weights(session)
    with pytest.raises(TrainingStopped, match=r"stopped after step 5 of 12.*--resume"):
        session.train("one", ROWS, **FLAGS, workers=first, reporter=StopAt(5))
    assert session.adapters["one"].history.steps == 5
    assert not same(weights(session), expected)
    assert CHECKPOINT.is_dir()
    session.train("one", ROWS, **FLAGS, workers=second, resume=True)
    assert same(weights(session), expected)
    assert not CHECKPOINT.parent.exists()


def test_a_run_that_is_stopped_before_its_first_step_has_not_been(
    session: Session, engine: InProcess
) -> None:
    session.attach("one", **ATTACH)
    before = snapshot(session)
    reporter, told = StopAt(0), []
    reporter.stop.set()
    engine.before = told.append
    with pytest.raises(KeyboardInterrupt):
        session.train("one", ROWS, **FLAGS, workers=2, reporter=reporter)
    assert told == []  # the workers were ended while they started
    assert snapshot(session) == before


def test_an_interrupt_while_workers_start_does_not_wait_for_them(
    session: Session, engine: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", **ATTACH)
    before, pressed = snapshot(session), StopAt(0)
    pressed.stop.set()

    def starting(work: Work, listen: object, stop: Callable[[], bool]) -> object:
        stop()
        raise AssertionError("the workers read the base")

    monkeypatch.setattr(engine, "group", starting)
    with pytest.raises(KeyboardInterrupt):
        session.train("one", ROWS, **FLAGS, workers=2, reporter=pressed)
    assert snapshot(session) == before


@pytest.mark.parametrize("every", [1e-6, 0.0])
def test_a_second_interrupt_leaves_the_adapter_as_it_was(
    every: float, session: Session, engine: InProcess
) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS[:3], steps=2)
    before, record = snapshot(session), recorded(session)
    engine.before = at(6, AbortedError())
    error: type[BaseException] = Interrupted if every else KeyboardInterrupt
    with pytest.raises(error) as found:
        session.train("one", ROWS, **FLAGS, workers=2, checkpoint_every=every)
    assert ("--resume" in str(found.value)) == bool(every)
    assert snapshot(session) == before
    assert recorded(session) == record
    assert session.verify()
    if every:
        session.train("one", ROWS, **FLAGS, resume=True)
        resumed = weights(session)
        session.train("one", ROWS, **FLAGS)
        assert same(resumed, weights(session))


@pytest.mark.parametrize("every", [1e-6, 0.0])
def test_after_workers_failed_the_message_says_whether_a_checkpoint_is_left(
    every: float, session: Session, engine: InProcess
) -> None:
    session.attach("one", **ATTACH)
    before = snapshot(session)
    engine.before = at(6, WorkerError("the Ray cluster at 10.0.0.5:6379 was lost"))
    resume = (
        "; to go on from the last checkpoint, run the cell again with --resume" if every else ""
    )
    with pytest.raises(WorkerError, match=f"^the Ray cluster at 10.0.0.5:6379 was lost{resume}$"):
        session.train("one", ROWS, **FLAGS, workers=2, checkpoint_every=every)
    assert snapshot(session) == before


@pytest.mark.parametrize("every", [1e-6, 0.0])
def test_after_a_worker_was_lost_the_run_goes_on_from_its_last_checkpoint(
    every: float, session: Session, engine: InProcess
) -> None:
    session.attach("one", **ATTACH)
    with pytest.raises(TrainingStopped):  # leaves a checkpoint that is of another run
        session.train("one", ROWS, **{**FLAGS, "seed": 3}, reporter=StopAt(9))
    alone = session.train("one", ROWS, **FLAGS, checkpoint_every=0)
    expected, reporter = weights(session), Seen()
    engine.before = at(7, LostError())
    shared = session.train(
        "one", ROWS, **FLAGS, workers=2, checkpoint_every=every, reporter=reporter
    )
    assert same(weights(session), expected)
    assert shared.losses == alone.losses
    assert [point.step for point in reporter.points] == list(range(1, 13))
    again = "resumed after step 7" if every else "began again"
    assert reporter.notes[0].startswith("starting 2 workers")
    assert reporter.notes[1:] == ["worker 1 was lost", again]
    assert shared.notes == (LINE, "worker 1 was lost", again)
    assert len(reporter.plans) == 1


def test_a_resumed_run_that_loses_a_worker_goes_on_from_where_it_was_resumed(
    session: Session, engine: InProcess
) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS, **FLAGS)
    expected, reporter = weights(session), Seen()
    with pytest.raises(TrainingStopped):
        session.train("one", ROWS, **FLAGS, workers=2, reporter=StopAt(4))
    engine.before = at(6, LostError())
    more = {"resume": True, "checkpoint_every": 600.0, "reporter": reporter}
    session.train("one", ROWS, **FLAGS, **more, workers=2)
    assert same(weights(session), expected)
    assert reporter.notes[-1] == "resumed after step 4"
    assert "resumed after step 4 of 12" in reporter.plans[0].line


# Failed


def test_an_error_in_a_worker_leaves_all_as_it_was(session: Session, engine: InProcess) -> None:
    session.attach("one", **ATTACH)
    session.attach("two", rank=2)
    before = snapshot(session)
    engine.before = at(3, TrainingError("worker 1: the loss is not finite"))
    with pytest.raises(TrainingError, match="worker 1"):
        session.train("one", ROWS, **FLAGS, workers=2)
    assert snapshot(session) == before
    assert session.verify()


def test_a_checkpoint_that_cannot_be_written_is_told_at_once(
    session: Session, engine: InProcess
) -> None:
    session.attach("one", **ATTACH)
    CHECKPOINT.mkdir(parents=True)
    (CHECKPOINT / "mine.txt").write_text("mine")
    with pytest.warns(CheckpointWarning, match="no checkpoint could be written"):
        session.train("one", ROWS, **FLAGS, workers=2, checkpoint_every=1e-6)
    assert (CHECKPOINT / "mine.txt").read_text() == "mine"


def test_a_base_whose_files_have_changed_is_not_trained_on(
    saved_model: Saver, tmp_path: Path, engine: InProcess
) -> None:
    folder = Path(shutil.copytree(saved_model(), tmp_path / "copy"))
    session = Session()
    session.load(str(folder))
    session.attach("one", **ATTACH)
    before = snapshot(session)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BaseModelError, match="has other weights") as found:
        session.train("one", ROWS, **FLAGS, workers=2)
    assert session._state.base.fingerprint.digest in str(found.value)
    shutil.rmtree(folder)
    with pytest.raises(BaseModelError, match="not there any more"):
        session.train("one", ROWS, **FLAGS, workers=2)
    assert snapshot(session) == before
    assert session.verify()


def test_a_live_base_is_read_from_where_it_came_from(saved_model: Saver, engine: InProcess) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(saved_model())
    session = Session()
    model = AutoModelForCausalLM.from_pretrained(folder)
    session.use(model, AutoTokenizer.from_pretrained(folder))
    session.attach("one", **ATTACH)
    session.train("one", ROWS, **FLAGS)
    expected = weights(session)
    session.train("one", ROWS, **FLAGS, workers=2)
    assert same(weights(session), expected)
    session.use(tiny_model(), tiny_tokenizer(), replace=True)
    session.attach("one", **ATTACH)
    with pytest.raises(BaseModelError, match=r"save_pretrained.*%lora load base"):
        session.train("one", ROWS, **FLAGS, workers=2)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"workers": 0}, "--workers 0: expected a whole number from 1"),
    ({"workers": 2.5}, "--workers 2.5: expected a whole number"),
    ({"workers": True}, "--workers True: expected a whole number"),
    ({"workers": 2, "engine": "acelerate"}, "Did you mean 'accelerate'"),
    ({"engine": "accelerate"}, "--engine accelerate: expected --workers beside it"),
    ({"fsdp": True}, "--fsdp: expected --workers beside it"),
    ({"workers": 2, "address": "10.0.0.5:6379"}, "expected --engine ray beside it"),
    ({"engine": "ray", "address": "10.0.0.5"}, "expected HOST:PORT"),
    ({"engine": "ray", "report_to": "tensorboard"}, "train without --report-to"),
    ({"workers": 2, "lr": "find"}, "--lr find searches the rate in this process"),
    ({"name": "one,two", "workers": 2}, "%lora sweep NAME … --engine ray"),
    ({"workers": 2, "steps": 0}, "--steps 0"),
    ({"workers": 2, "data": "nowhere.csv"}, "nowhere.csv"),
    ({"workers": 2, "resume": True}, "there is no checkpoint"),
]


@pytest.mark.parametrize(("flags", "line"), REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_started(
    flags: dict[str, Any], line: str, session: Session, engine: InProcess
) -> None:
    session.attach("one", **ATTACH)
    session.attach("two", rank=2)
    before = snapshot(session)
    given = {"name": "one", "data": ROWS, **FLAGS, **flags}
    with pytest.raises(LoraMagicError) as found:
        session.train(given.pop("name"), given.pop("data"), **given)
    assert line in str(found.value)
    assert "\n" not in str(found.value)
    assert engine.asked == []
    assert snapshot(session) == before


def test_a_worker_has_a_gpu_of_its_own(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(session._state), "device", "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(CommandError, match="--workers 2: expected at most 1"):
        wanted(session._state, Path(), 2, None, None)
    assert wanted(session._state, Path(), None, "ray", None).cuda


@pytest.mark.parametrize(("cores", "most"), [(1, 2), (2, 2), (6, 6)])
def test_workers_have_a_core_each_but_two_may_always_be_tried(
    cores: int, most: int, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "cores", lambda: cores)
    assert wanted(session._state, Path(), most, None, None).count == most
    with pytest.raises(
        CommandError, match=f"--workers 64: expected at most {most}, .*{cores} core"
    ):
        wanted(session._state, Path(), 64, None, None)
    assert wanted(session._state, Path(), 64, "ray", None).count == 64


# Two processes


@pytest.mark.filterwarnings("error")
def test_two_workers_end_where_one_does(session: Session) -> None:
    """Gradients differ by the order of their sums: 1e-3 of the change is far above that."""
    session.attach("one", **SURE)
    start = weights(session)
    alone = session.train("one", ROWS, **FLAGS)
    expected = weights(session)
    with pytest.raises(TrainingStopped, match=r"stopped after step 2 of 12.*--resume"):
        session.train("one", ROWS, **FLAGS, reporter=StopAt(2))
    seen = Seen()
    shared = session.train("one", ROWS, **FLAGS, workers=2, resume=True, reporter=seen)
    moved = sum(float((expected[key] - start[key]).square().sum()) for key in start) ** 0.5
    apart = sum(float((weights(session)[k] - expected[k]).square().sum()) for k in start) ** 0.5
    assert moved > 0
    assert apart < 1e-3 * moved
    assert shared.losses == pytest.approx(alone.losses, rel=1e-3)
    assert shared.held_out_after == pytest.approx(alone.held_out_after, rel=1e-3)
    assert shared.notes == ("2 workers (this machine)",)
    assert "peak memory" in shared.line
    assert " per worker (predicted " in shared.line
    assert dict(shared.facts)["peak memory"].count(" per worker (predicted ") == 1
    assert {point.workers for point in seen.points} == {shared.workers} == {2}
    assert " per worker" not in alone.line
    assert session.verify()
    assert not [name for name in os.listdir(".lora_magic") if name == "checkpoints"]
