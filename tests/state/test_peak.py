"""What a session predicts of a run's memory, from which numbers, and says if it is not free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lora_magic.cost import memory as cost
from lora_magic.cost.memory import Memory
from lora_magic.cost.model import Model
from lora_magic.cost.ops import EMBED, Op
from lora_magic.cost.setting import Setting
from lora_magic.errors import BaseModelError
from lora_magic.scale import collective
from lora_magic.scale.collective import BUCKET, Joined
from lora_magic.state import peak, train
from lora_magic.state.session import Session
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = [(f"What is {number}?", "It is " + "arr, " * (1 + number)) for number in range(6)]
FLAGS: dict[str, Any] = {"steps": 3, "batch_size": 4, "eval": 0}
MODEL = Model("tiny", None, (Op(EMBED),))  # type: ignore[arg-type]  # the shapes are not asked


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, plan: Any) -> None:
        self.lines.append(plan.line)

    def note(self, line: str) -> None:
        self.lines.append(line)

    def step(self, point: Any) -> None: ...

    def finish(self, summary: Any) -> None: ...


@pytest.fixture
def session() -> Session:
    session = Session()
    session.use(tiny_model(), tiny_tokenizer())
    session.attach("one", rank=2)
    return session


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Setting]:
    """The settings of which the memory was asked: a kilobyte for each token, a tenth of that with
    checkpointing, and a hundred bytes for each of the adapter, its gradients and its optimizer."""
    settings: list[Setting] = []

    def memory(model: Model, setting: Setting) -> Memory:
        settings.append(setting)
        each = 100 if setting.checkpointing else 1000
        own = (("adapter", 100), ("gradients", 100), ("optimizer", 100))
        return Memory((("activations", each * setting.rows * setting.length), *own))

    monkeypatch.setattr(peak, "memory", memory)
    monkeypatch.setattr(peak, "model_of", lambda given: MODEL)
    return settings


def free(bytes_: int | None) -> Callable[[], int | None]:
    return lambda: bytes_


def lengths(session: Session) -> list[int]:
    form = session._state.base.tokenizer
    assert form is not None
    from lora_magic.base.prompt import PromptForm
    from lora_magic.data.row import Row
    from lora_magic.training.encode import encode

    rows = [Row(prompt, answer) for prompt, answer in ROWS]
    found = encode(rows, form, PromptForm.of(form), 128).examples
    return [len(example.tokens) for example in found]


def test_a_run_says_the_peak_of_its_own_longest_rows(
    session: Session, asked: list[Setting]
) -> None:
    told = Lines()
    summary = session.train("one", ROWS, steps=3, batch_size=6, eval=0, reporter=told)
    total = sum(lengths(session))
    one = asked[0]
    assert one.rows == 6
    assert one.rows * one.length - total in range(6)
    assert one.trained is not None
    assert 0 < one.trained < total
    assert (one.dtype, one.bits, one.cuda, one.training) == ("fp32", None, False, True)
    assert (one.plain, one.checkpointing, one.optimizer) == (False, False, "adamw")
    assert one.spec == session._state.attached["one"].spec
    wanted = 1000 * one.rows * one.length + 300
    assert summary.predicted_peak == wanted
    assert f" · peak memory about {wanted / 1e3:.3g} kB" in told.lines[0]
    assert summary.peak is not None
    assert summary.peak > sum(p.nbytes for p in session.model.parameters())


def test_before_the_first_update_the_optimizer_has_no_state(
    session: Session, asked: list[Setting]
) -> None:
    """The first step is the only one that reads the longest row."""
    rows = [("What?", "It is."), ("What is it?", "It is " + "arr, " * 20)]
    flags = {**FLAGS, "steps": 2, "batch_size": 1, "plain_step": True}
    found = [session.train("one", rows, seed=seed, **flags) for seed in range(4)]
    lengths = [(one.rows * one.length) for one in asked]
    assert {one.predicted_peak for one in found} == {
        1000 * max(lengths) + 200,
        1000 * max(lengths) + 300,
    }


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("spec", [{"targets": "all-linear"}, {"rank": 64}, {"method": "full"}])
def test_what_was_predicted_is_measured(
    spec: dict[str, Any], plain: bool, checkpointing: bool
) -> None:
    session = Session()
    session.use(tiny_model(hidden_size=128, intermediate_size=352), tiny_tokenizer())
    session.attach("one", **spec)
    found = session.train("one", ROWS, **FLAGS, plain_step=plain, checkpointing=checkpointing)
    assert found.predicted_peak == pytest.approx(found.peak, rel=0.1)


class Two(Joined):
    """The first of two workers; nobody hears what it says."""

    def __init__(self) -> None:
        self.rank, self.size, self._device = 0, 2, "cpu"


# With the whole of it the peak is there; with a part of it, in another moment.
@pytest.mark.parametrize(("bucket", "within"), [(BUCKET, 0.001), (1 << 17, 0.05)])
@pytest.mark.parametrize("spec", [{"rank": 64}, {"method": "full"}])
def test_a_worker_also_needs_the_buffer_of_the_gradients_that_are_added_up(
    spec: dict[str, Any], bucket: int, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "Alone", Two)
    monkeypatch.setattr(collective, "_called", lambda *_, **__: None)
    monkeypatch.setattr(collective, "BUCKET", bucket)
    monkeypatch.setattr(cost, "_BUCKET", bucket)
    session = Session()
    session.use(tiny_model(hidden_size=512, intermediate_size=352), tiny_tokenizer())
    session.attach("one", **spec)
    found = session.train("one", ROWS, **FLAGS, plain_step=True, checkpointing=True)
    assert found.workers == 2
    assert found.predicted_peak == pytest.approx(found.peak, rel=within)


def test_the_buckets_are_as_large_as_predicted() -> None:
    assert cost._BUCKET == BUCKET


def test_padded_rows_are_asked_about_with_their_padding(
    session: Session, asked: list[Setting]
) -> None:
    session.train("one", ROWS, steps=3, batch_size=6, eval=0, plain_step=True, checkpointing=True)
    assert (asked[0].rows, asked[0].length) == (6, max(lengths(session)))
    assert asked[0].plain
    assert asked[0].checkpointing


def test_the_base_is_described_once_and_without_its_adapters(
    session: Session, asked: list[Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def described(model: Any) -> Model:
        seen.append([name for name, _ in model.named_modules()])
        return MODEL

    monkeypatch.setattr(peak, "model_of", described)
    session.train("one", ROWS, **FLAGS)
    session.attach("virtual", method="prefix")
    session.train("virtual", ROWS, **FLAGS)
    assert seen == [[name for name, _ in tiny_model().named_modules()]]


@pytest.mark.parametrize(
    "found",
    [
        BaseModelError("an architecture of its own"),
        Model("tiny", None),  # type: ignore[arg-type]
        Model("tiny", None, (Op(EMBED),), note="a guess"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_predicted_is_left_out(
    found: Any, session: Session, asked: list[Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    def described(model: Any) -> Model:
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    monkeypatch.setattr(peak, "model_of", described)
    told = Lines()
    summary = session.train("one", ROWS, **FLAGS, reporter=told)
    assert summary.predicted_peak is None
    assert "peak memory" not in told.lines[0]
    assert not asked
    assert summary.peak


def test_nothing_is_predicted_of_preferences(session: Session, asked: list[Setting]) -> None:
    pairs = [{"prompt": p, "chosen": a, "rejected": "No."} for p, a in ROWS]
    assert session.train("one", pairs, **FLAGS).predicted_peak is None


@pytest.mark.parametrize(
    ("share", "flags", "says"),
    [
        (0.5, {}, "can be used: run the cell with --checkpointing (about"),
        (0.5, {"checkpointing": True}, ""),
        (0.07, {}, "run the cell with --checkpointing --batch-size 2 (about"),
        (0.06, {"checkpointing": True}, "run the cell with --batch-size 2 (about"),
        (0.0, {}, "for what fits, type: %lora plan"),
        (1.1, {}, ""),
    ],
)
def test_a_run_that_may_not_fit_says_the_line_to_type_and_runs(
    share: float,
    flags: dict[str, Any],
    says: str,
    session: Session,
    asked: list[Setting],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peak, "free_memory", free(0))
    held = peak._room(session._state.base) or 0
    whole = session.train("one", ROWS, **FLAGS).predicted_peak
    assert whole is not None
    monkeypatch.setattr(peak, "free_memory", free(round(share * whole) - held))
    told = Lines()
    summary = session.train("one", ROWS, **FLAGS, **flags, reporter=told)
    assert summary.steps == FLAGS["steps"]
    assert says in told.lines[0]
    assert ("can be used" in told.lines[0]) == bool(says)


def test_where_the_free_memory_is_not_known_there_is_no_warning(
    session: Session, asked: list[Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "free_memory", free(None))
    told = Lines()
    session.train("one", ROWS, **FLAGS, reporter=told)
    assert "can be used" not in told.lines[0]


def test_after_a_lack_of_memory_the_prediction_is_that_of_the_smaller_passes(
    session: Session, asked: list[Setting]
) -> None:
    def full(module: object, args: object, given: dict[str, torch.Tensor]) -> None:
        if session.model.training and len(given["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = session.model.register_forward_pre_hook(full, with_kwargs=True)
    summary = session.train("one", ROWS, **FLAGS, plain_step=True)
    hook.remove()
    assert summary.notes
    assert asked[-1].rows == 2
    assert summary.predicted_peak == 1000 * 2 * asked[-1].length + 300


def test_several_in_one_batch_are_asked_about_as_one_batch(
    session: Session, asked: list[Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lora_magic.training.stack import Trial

    monkeypatch.setattr(Trial, "pays", True)
    session.attach("two", rank=3)
    session.attach("three", rank=1)
    told = Lines()
    found = session.train("one,two,three", ROWS, **FLAGS, reporter=told)
    assert found.how == "in one batch"
    whole = next(one for one in asked if one.rows == 12)
    wanted = 1000 * whole.rows * whole.length + 300 + 2 * 300
    assert [one.predicted_peak for one in found] == [wanted] * 3
    assert len({one.peak for one in found}) == 1
    assert found[0].peak
    assert told.lines[0].count("peak memory") == 1


def test_arms_one_after_another_have_their_own(session: Session, asked: list[Setting]) -> None:
    session.attach("two", method="ia3")
    found = session.train("one,two", ROWS, **FLAGS)
    assert found.how == "one after another"
    assert all(one.predicted_peak and one.peak for one in found)


def test_a_stopped_run_has_what_was_measured_so_far(session: Session) -> None:
    import threading

    class Stops(Lines):
        stop = threading.Event()

        def step(self, point: Any) -> None:
            if point.step == 2:
                self.stop.set()

    from lora_magic.errors import TrainingStopped

    with pytest.raises(TrainingStopped):
        session.train("one", ROWS, steps=9, batch_size=4, eval=0, reporter=Stops())
    assert not torch.autograd._profiler_enabled()
    assert session._state.run.summary.peak
