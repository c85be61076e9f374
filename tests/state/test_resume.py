"""A run that was stopped or killed and is resumed ends as if it had never stopped."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_magic.adapters.training_hooks import AdaLoRA
from lora_magic.errors import (
    AdapterError,
    CommandError,
    TrainingError,
    TrainingStopped,
)
from lora_magic.state import checkpoints
from lora_magic.state import train as training
from lora_magic.state.session import Session
from lora_magic.training import encode, loop
from lora_magic.training.forgetting import Unmeasured
from lora_magic.training.progress import Progress
from lora_magic.training.reporter import SilentReporter
from tests.conftest import Saver
from tests.state.resuming import (
    ATTACH,
    CHECKPOINT,
    FLAGS,
    ROWS,
    STEPS,
    StopAt,
    forked,
    recorded,
    run,
    weights,
)
from tests.state.variants import VARIANTS, on
from tests.tiny import tiny_model, tiny_tokenizer

#: Methods of the table, and ways of training, as flags of `attach` and of `train`.
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{name: (on(name, "c_attn"), {}) for name in VARIANTS if name != "loftq"},
    "lora+": ({"rank": 2}, {"lora_plus": 4.0}),
    "paged": ({"rank": 2}, {"optimizer": "paged-adamw"}),
    "8 bit": ({"method": "full"}, {"optimizer": "paged-adamw-8bit"}),
    "several passes": ({"rank": 2}, {"batch_size": 6}),
    "checkpointing": ({"rank": 2}, {"checkpointing": True}),
}


@pytest.fixture(autouse=True)
def _checkpoints_may_take_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there is one after each step if the flag says so."""
    monkeypatch.setattr(checkpoints, "_SHARE", 1e9)


@pytest.fixture(autouse=True)
def _without_forgetting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring it takes longer than these runs; one test of all measures it."""
    if "[lora]" not in request.node.name:
        monkeypatch.setattr(training.forgetting, "measure", lambda *_, **__: Unmeasured("stopped"))


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    same_names = one.keys() == other.keys()
    return same_names and all(torch.equal(value, other[name]) for name, value in one.items())


def stopped(session: Session, step: int, **flags: Any) -> None:
    with pytest.raises(TrainingStopped, match="--resume"):
        session.train("one", ROWS, reporter=StopAt(step), **{**FLAGS, **flags})


@pytest.mark.filterwarnings("ignore:Paged optimizers:UserWarning")
@pytest.mark.parametrize("kind", RUNS)
def test_a_stopped_run_resumed_in_a_new_session_ends_with_the_same_bits(
    kind: str, saved_model: Saver
) -> None:
    """GPT-2 has biases, norms and a transposed layer; the global generator is disturbed between."""
    attach, flags = RUNS[kind]
    if attach.get("method", "lora") in ("lora", "adalora"):
        attach = {**attach, "dropout": 0.2}
    session = Session()
    session.load(str(saved_model("gpt2")))
    session.attach("one", **attach)
    summary = session.train("one", ROWS, **{**FLAGS, **flags})
    expected, record = weights(session), recorded(session)
    session.attach("one", **attach, replace=True)
    stopped(session, 7, **flags)
    assert not equal(weights(session), expected)
    torch.rand(3)
    random.random()
    again = Session()
    again.load(str(saved_model("gpt2")))
    resumed = again.train("one", ROWS, resume=True, **{**FLAGS, **flags})
    assert equal(weights(again), expected)
    assert replace(resumed, seconds=summary.seconds) == summary
    assert recorded(again) == record
    assert again._state.attached["one"].spec == session._state.attached["one"].spec
    assert not CHECKPOINT.parent.exists()
    assert again.verify()


@pytest.mark.parametrize("init", ["default", "loftq"])
def test_a_run_on_four_bits_is_resumed_with_the_same_bits(init: str, saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model()), bits=4)
    session.attach("one", rank=2, dropout=0.2, init=init)
    session.train("one", ROWS, **FLAGS, optimizer="adamw")
    expected = weights(session)
    session.attach("one", rank=2, dropout=0.2, init=init, replace=True)
    stopped(session, 5, optimizer="adamw")
    again = Session()
    again.load(str(saved_model()), bits=4)
    again.train("one", ROWS, **FLAGS, optimizer="adamw", resume=True)
    assert equal(weights(again), expected)


def test_a_run_stopped_twice_and_resumed_in_the_same_session_ends_with_the_same_bits(
    session: Session,
) -> None:
    session.attach("one", **ATTACH)
    summary = session.train("one", ROWS, **FLAGS)
    expected = weights(session)
    stopped(session, 3)
    with pytest.raises(TrainingStopped, match="stopped after step 8 of 12"):
        session.train("one", ROWS, **FLAGS, resume=True, reporter=StopAt(8))
    assert session.adapters["one"].history.steps == 8
    plans: list[Any] = []

    class Seen(SilentReporter):
        def start(self, plan: Any) -> None:
            plans.append(plan)

    resumed = session.train("one", ROWS, **FLAGS, resume=True, reporter=Seen())
    assert equal(weights(session), expected)
    assert resumed.losses == summary.losses
    assert "resumed after step 8 of 12" in plans[0].line
    assert plans[0].losses == summary.losses[:8]


def test_a_run_from_trained_weights_is_resumed_with_its_history(
    session: Session, saved_model: Saver
) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS[:3], steps=2)
    session.save("one", "there")
    session.train("one", ROWS, **FLAGS, continue_=True)
    expected, history = weights(session), session.adapters["one"].history
    assert history.steps == 2 + STEPS
    session.detach("one", discard=True)
    session.attach("one", **ATTACH)
    session.train("one", ROWS[:3], steps=2)
    stopped(session, 4, continue_=True)
    again = Session()
    again.load(str(saved_model()))
    again.train("one", ROWS, **FLAGS, continue_=True, resume=True)
    assert equal(weights(again), expected)
    assert again.adapters["one"].history == history


def test_the_allocation_of_ranks_goes_on_with_its_state_and_not_without(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 12 steps the ranks shrink from step 2 to 9, and are fixed from then on."""
    attach = {"method": "adalora", "rank": 2}
    session.attach("one", **attach)
    session.train("one", ROWS, **FLAGS)
    expected = weights(session)
    session.attach("one", **attach, replace=True)
    stopped(session, 10)
    with monkeypatch.context() as patch:
        patch.setattr(AdaLoRA, "load", lambda *_: None)
        with pytest.raises(TrainingStopped):
            session.train("one", ROWS, **FLAGS, resume=True, reporter=StopAt(11))
    without = weights(session)
    session.attach("one", **attach, replace=True)
    stopped(session, 10)
    with pytest.raises(TrainingStopped):
        session.train("one", ROWS, **FLAGS, resume=True, reporter=StopAt(11))
    assert not equal(weights(session), without)
    session.train("one", ROWS, **FLAGS, resume=True)
    assert equal(weights(session), expected)


def test_the_state_of_the_allocation_is_that_after_the_same_steps(session: Session) -> None:
    session.attach("one", method="adalora", rank=2)
    stopped(session, 8)
    expected = {path.name: path.read_bytes() for path in CHECKPOINT.glob("state.*")}
    session.attach("one", method="adalora", rank=2, replace=True)
    stopped(session, 5)
    with pytest.raises(TrainingStopped):
        session.train("one", ROWS, **FLAGS, resume=True, reporter=StopAt(8))
    assert (CHECKPOINT / "state.safetensors").read_bytes() == expected["state.safetensors"]
    found = json.loads((CHECKPOINT / "state.json").read_text())
    assert len(found["hooks"]["exp_avg_ipt"]) == 3 * len(session.adapters["one"].modules)
    one, other = found, json.loads(expected["state.json"])
    for spent in ("seconds", "measuring"):
        one["progress"][spent] = other["progress"][spent] = 0
    assert one == other


#: Other rows, of every kind that a run can have beside its own.
PAIRS = [{"prompt": p, "chosen": c, "rejected": f"No, {n}."} for n, (p, c) in enumerate(ROWS)]
GENERAL = [(f"What is {n} and {n}?", f"It is {2 * n}.") for n in range(30)]
LEARNS: dict[str, Any] = {"lr": 0.05, "eval": 2, "patience": 2, "batch_size": 2}
#: The held-out loss rises on any machine: no row to train on has these characters.
WORSENS: dict[str, Any] = {
    "steps": 90,
    "schedule": "constant",
    "eval": [(p, "#%&=+*" * 4) for p, _ in ROWS[:3]],
}
OPPOSITES = [
    {"prompt": r["prompt"], "chosen": r["rejected"], "rejected": r["chosen"]} for r in PAIRS
]

#: Flags that meet in one run, with its rows, and the step that it is stopped after.
TOGETHER: dict[str, tuple[list[Any], dict[str, Any], int]] = {
    "patience": (ROWS, {**LEARNS, **WORSENS}, 11),
    "patience before the best step": (ROWS, {**LEARNS, **WORSENS}, 2),
    "minutes and cosine": (
        ROWS,
        {**FLAGS, "minutes": 60, "schedule": "cosine", "warmup": 0.3, "patience": 1},
        7,
    ),
    "other held-out rows": (ROWS, {**LEARNS, "steps": 40, "eval": GENERAL[:3]}, 9),
    "guard": (ROWS, {**FLAGS, "guard": GENERAL}, 6),
    "replay": (ROWS, {**LEARNS, "steps": 30, "guard": GENERAL, "replay": 0.3}, 7),
    "preferences": (PAIRS, {**FLAGS, "beta": 0.3}, 5),
    "preferences and patience": (
        PAIRS,
        {**LEARNS, **WORSENS, "eval": OPPOSITES[:3], "guard": GENERAL},
        3,
    ),
    "LoRA+ and passes": (ROWS, {**LEARNS, "steps": 30, "batch_size": 6, "lora_plus": 4.0}, 8),
}


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("kind", TOGETHER)
def test_flags_that_meet_in_a_resumed_run_change_none_of_its_bits(
    kind: str, more: bool, saved_model: Saver
) -> None:
    rows, flags, step = TOGETHER[kind]
    flags = {**flags, "continue_": more}

    def begun() -> Session:
        session = Session()
        session.load(str(saved_model()))
        session.attach("one", **ATTACH)
        if more:
            session.train("one", GENERAL, steps=2)
        return session

    session = begun()
    expected = session.train("one", rows, **flags)
    session2 = begun()
    with pytest.raises(TrainingStopped, match="--resume"):
        session2.train("one", rows, **flags, reporter=StopAt(step))
    again = Session()
    again.load(str(saved_model()))
    found = again.train("one", rows, **flags, resume=True)
    assert equal(weights(again), weights(session))
    assert replace(found, seconds=expected.seconds) == expected
    assert recorded(again) == recorded(session)
    assert not CHECKPOINT.exists()
    if "patience" in kind:
        assert step < expected.steps
        assert expected.ended == "held-out"


def test_a_kernel_killed_right_after_the_step_that_ended_the_run_adds_no_step(
    session: Session, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {**LEARNS, "steps": 40, "checkpoint_every": 1e-6}
    session.attach("one", **ATTACH)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Disk, "remove", lambda *_: None)
        expected = session.train("one", ROWS, **flags)
    found = json.loads((CHECKPOINT / "checkpoint.json").read_text())
    assert (found["step"], expected.ended) == (expected.steps, "held-out")
    assert expected.steps < 40
    again = Session()
    again.load(str(saved_model()))
    assert replace(again.train("one", ROWS, **flags, resume=True), seconds=expected.seconds) == (
        expected
    )
    assert equal(weights(again), weights(session))


def test_other_guard_rows_are_refused(session: Session) -> None:
    session.attach("one", **ATTACH)
    stopped(session, 3, guard=GENERAL)
    for other, told in ((GENERAL[:-1], r"sha256 \w{12} was, \w{12} is"), (None, "none is")):
        with pytest.raises(TrainingError, match=f"the rows of --guard differ .*{told}"):
            session.train("one", ROWS, **FLAGS, resume=True, guard=other)
    session.train("one", ROWS, **FLAGS, resume=True, guard=GENERAL)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("progress.best.step", 99),
        ("progress.best.step", 0),
        ("progress.best.loss", 0.001),
        ("progress.best.weights", []),
        ("progress.best.weights", "all"),
        ("progress.best", {"step": 1}),
        ("progress.seconds", -1.0),
        ("progress.measuring", {"!float": "nan"}),
        ("progress.tokens", -5),
        ("progress.peak", -1),
        ("progress.largest", 2**70),
    ],
)
def test_best_weights_and_times_from_hostile_hands_are_refused(
    place: str, value: Any, session: Session
) -> None:
    session.attach("one", **ATTACH)
    flags = {**LEARNS, "steps": 40}
    with pytest.raises(TrainingStopped):
        session.train("one", ROWS, **flags, reporter=StopAt(9))
    before = weights(session)
    edited("state.json", put(place, value))
    with pytest.raises(TrainingError, match="without --resume"):
        session.train("one", ROWS, **flags, resume=True)
    assert equal(weights(session), before)


@pytest.mark.parametrize("fault", ["another shape", "not finite"])
def test_best_weights_that_cannot_be_an_adapter_s_are_refused(fault: str, session: Session) -> None:
    session.attach("one", **ATTACH)
    flags = {**LEARNS, "steps": 40}
    with pytest.raises(TrainingStopped):
        session.train("one", ROWS, **flags, reporter=StopAt(9))
    wrong = torch.zeros(3, 3) if fault == "another shape" else torch.tensor(float("nan"))
    tensors_edited(
        lambda t: t.update(
            {".progress.best.weights.0": wrong.expand_as(t[".progress.best.weights.0"]).clone()}
            if fault == "not finite"
            else {".progress.best.weights.0": wrong}
        )
    )
    with pytest.raises(TrainingError, match=r"does not fit this run .*best"):
        session.train("one", ROWS, **flags, resume=True)


@pytest.mark.parametrize("values", [[], {"!float": "nan"}, 3])
def test_references_from_hostile_hands_are_refused(values: Any, session: Session) -> None:
    session.attach("one", **ATTACH)
    with pytest.raises(TrainingStopped):
        session.train("one", PAIRS, **FLAGS, reporter=StopAt(3))
    place = "progress.reference" if values == [] or values == 3 else "progress.reference.0"
    edited("state.json", put(place, values))
    with pytest.raises(TrainingError, match="without --resume"):
        session.train("one", PAIRS, **FLAGS, resume=True)


def test_a_search_for_a_rate_is_not_resumed(session: Session) -> None:
    session.attach("one", **ATTACH)
    stopped(session, 3)
    with pytest.raises(CommandError, match="--lr find does not train"):
        session.train("one", ROWS, steps=STEPS, lr="find", resume=True)
    session.train("one", ROWS, **FLAGS, resume=True)


# What a checkpoint contains, and when there is one


def test_a_checkpoint_has_no_rows_and_no_paths(session: Session) -> None:
    session.attach("one", **ATTACH)
    stopped(session, 3)
    found = {path.name: path.read_bytes() for path in CHECKPOINT.iterdir()}
    assert set(found) == {"checkpoint.json", "state.json", "state.safetensors"}
    everything = b"".join(found.values())
    assert b"number" not in everything
    assert b"Here" not in everything
    for folder in (Path.cwd(), Path.home(), Path(session._state.base.name).parent):
        assert str(folder).encode() not in everything
    about = json.loads(found["checkpoint.json"])
    assert (about["name"], about["step"], about["steps"]) == ("one", 3, STEPS)
    assert about["data"] == session.train("one", ROWS, steps=1).data_hash


def test_only_an_unfinished_run_leaves_a_checkpoint(session: Session) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS, **FLAGS)
    assert not CHECKPOINT.parent.exists()
    with pytest.raises(TrainingStopped, match=r"learned\. To continue, .* --continue\.$"):
        session.train("one", ROWS, **FLAGS, checkpoint_every=0, reporter=StopAt(3))
    assert not CHECKPOINT.parent.exists()
    stopped(session, 3)
    session.detach("one", discard=True)
    session.attach("one", **ATTACH)
    assert CHECKPOINT.exists()
    session.train("one", ROWS, **FLAGS)
    assert not CHECKPOINT.exists()


def test_checkpoints_are_as_far_apart_as_asked_and_the_newest_replaces_the_last(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    written: list[int] = []

    class Seconds(SilentReporter):
        def step(self, point: Any) -> None:
            clock[0] += 10
            if CHECKPOINT.exists():
                written.append(json.loads((CHECKPOINT / "checkpoint.json").read_text())["step"])

    session.attach("one", **ATTACH)
    session.train("one", ROWS, **FLAGS, checkpoint_every=30, reporter=Seconds())
    # The steps end at 0, 10, 20, … seconds: 30 is the fourth; the last step needs none.
    assert written == [4, 4, 4, 7, 7, 7, 10, 10, 10]
    assert not CHECKPOINT.exists()


def test_load_and_status_tell_what_can_be_resumed(session: Session, saved_model: Saver) -> None:
    session.attach("one", **ATTACH)
    stopped(session, 3)
    line = "one can be resumed at step 3 of 12: run its cell again with --resume"
    again = Session()
    assert line in again.load(str(saved_model())).line
    assert again.status().resumable == (line,)
    assert line in repr(again.status())
    assert line in str(again.status()._repr_mimebundle_()["text/html"])
    again.attach("one", rank=4)
    assert again.status().resumable == ()
    other = Session()
    assert other.load(str(saved_model("gpt2"))).resumable == ()
    other.use(tiny_model(), tiny_tokenizer(chat=True))
    assert other.status().resumable == (line,)


def test_a_folder_that_is_no_checkpoint_is_not_told_and_not_replaced(session: Session) -> None:
    CHECKPOINT.mkdir(parents=True)
    (CHECKPOINT / "notes.txt").write_text("mine")
    session.attach("one", **ATTACH)
    assert session.status().resumable == ()
    with (
        pytest.warns(checkpoints.CheckpointWarning, match="other files"),
        pytest.raises(TrainingStopped, match="--continue"),
    ):
        session.train("one", ROWS, **FLAGS, reporter=StopAt(2))
    session.train("one", ROWS, **FLAGS)
    assert (CHECKPOINT / "notes.txt").read_text() == "mine"


# Another run


@pytest.mark.parametrize(
    ("rows", "flags", "told"),
    [
        (ROWS[:-1], {}, r"the rows differ \(sha256 \w{12} was, \w{12} is\)"),
        (ROWS, {"lr": 0.5}, "--lr was not given, is 0.5"),
        (ROWS, {"seed": 3, "eval": 1}, "--eval was 2, is 1; --seed was not given, is 3"),
        (ROWS, {"steps": 20}, "--steps was 12, is 20"),
        (ROWS, {"continue_": True}, "--continue was not given, is given"),
        (ROWS, {"template": "plain"}, "--template was not given, is plain"),
        (ROWS, {"system": "Be kind."}, "--system was not given, is Be kind."),
        (ROWS[:-1], {"lr": 0.5}, "the rows differ .*; --lr was not given, is 0.5"),
    ],
)
def test_another_run_is_refused_with_what_differs_and_changes_nothing(
    rows: list[Any], flags: dict[str, Any], told: str, session: Session, saved_model: Saver
) -> None:
    session.attach("one", **ATTACH)
    stopped(session, 3)
    before = {path.name: path.read_bytes() for path in CHECKPOINT.iterdir()}
    again = Session()
    again.load(str(saved_model()))
    with pytest.raises(TrainingError, match=told):
        again.train("one", rows, resume=True, **{**FLAGS, **flags})
    assert dict(again.adapters) == {}
    assert {path.name: path.read_bytes() for path in CHECKPOINT.iterdir()} == before


def test_flags_that_change_nothing_may_differ(session: Session) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS, **FLAGS)
    expected = weights(session)
    stopped(session, 3)
    session.train("one", ROWS, **FLAGS, seed=0, checkpoint_every=5, resume=True)
    assert equal(weights(session), expected)


def test_an_adapter_of_another_kind_is_refused(session: Session, saved_model: Saver) -> None:
    session.attach("one", **ATTACH)
    stopped(session, 3)
    session.attach("one", rank=4, replace=True)
    with pytest.raises(TrainingError, match=r"another spec .*rank 4, not 2"):
        session.train("one", ROWS, **FLAGS, resume=True)
    other = Session()
    other.load(str(saved_model("gpt2")))
    with pytest.raises(TrainingError, match=r"the checkpoint is of a run on .*; load that base"):
        other.train("one", ROWS, **FLAGS, resume=True)
    with pytest.raises(CommandError, match=r"two: there is no checkpoint.*has those of one"):
        session.train("two", ROWS, **FLAGS, resume=True)


def test_an_adapter_that_was_opened_must_be_opened_again(
    session: Session, saved_model: Saver
) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS, steps=2)
    session.save("one", "there")
    session.detach("one")
    session.open("there", "one")
    session.train("one", ROWS, **FLAGS)
    expected = weights(session)
    session.open("there", "one", replace=True)
    stopped(session, 5)
    again = Session()
    again.load(str(saved_model()))
    with pytest.raises(TrainingError, match="make it again under this name"):
        again.train("one", ROWS, **FLAGS, resume=True)
    again.attach("one", **ATTACH)
    with pytest.raises(TrainingError, match="other initial weights"):
        again.train("one", ROWS, **FLAGS, resume=True)
    again.open("there", "one", replace=True)
    again.train("one", ROWS, **FLAGS, resume=True)
    assert equal(weights(again), expected)


# Interrupts

#: Where a run is interrupted.
PLACES = ("data", "forward", "backward", "optimizer", "evaluation", "checkpoint")


@contextlib.contextmanager
def pressing(session: Session, place: str, at: int, presses: int) -> Iterator[None]:
    """■, once or more, when the `at`-th work of a kind begins; a trial of steps does not count."""
    seen, choose = [0], loop.choose

    def press(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == at:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)

    def first(function: Any) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            press()
            return function(*args, **kwargs)

        return called

    def unseen(*args: Any) -> Any:
        before, seen[0] = seen[0], -1_000_000
        try:
            return choose(*args)
        finally:
            seen[0] = before

    owners: dict[str, tuple[Any, str]] = {
        "data": (encode, "_example"),
        "optimizer": (torch.optim.AdamW, "step"),
        "evaluation": (loop.Loop, "_measured"),
        "checkpoint": (checkpoints, "save_file"),
    }
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(loop, "choose", unseen)
        if place in owners:
            owner, name = owners[place]
            patch.setattr(owner, name, first(getattr(owner, name)))
        else:
            module = session.model.get_submodule("model.layers.1.mlp")
            hook = module.register_forward_pre_hook
            if place == "backward":
                hook = module.register_full_backward_hook
            stack.callback(hook(press).remove)
        yield


def interrupted_and_resumed(session: Session, states: list[Any], generator: random.Random) -> str:
    """A run that is interrupted at a random point, checked, and resumed."""
    place, presses = generator.choice(PLACES), generator.choice((1, 1, 2, 3))
    return at_place(session, states, place, generator.randint(1, 11), presses)


def at_place(session: Session, states: list[Any], place: str, at: int, presses: int) -> str:
    """`states` are the weights after 0, 1, 2, … steps of a run that is not interrupted."""
    session.attach("one", **ATTACH, replace=True)
    outcome = f"{place} {at}, {presses} presses"
    try:
        with pressing(session, place, at, presses):
            session.train("one", ROWS, **FLAGS, checkpoint_every=1e-6)
    except TrainingStopped:
        done = session.adapters["one"].history.steps
        assert equal(weights(session), states[done]), outcome
        assert json.loads((CHECKPOINT / "checkpoint.json").read_text())["step"] == done
        session.train("one", ROWS, **FLAGS, resume=True)
        outcome += f": stopped after step {done}"
    except KeyboardInterrupt:
        assert session.adapters["one"].history.steps == 0
        assert equal(weights(session), states[0]), outcome
        session.train("one", ROWS, **FLAGS)
        outcome += ": nothing begun"
    else:
        outcome += ": finished"
    assert session.adapters["one"].history.steps == STEPS
    assert equal(weights(session), states[-1]), outcome
    assert not CHECKPOINT.exists()
    assert session.verify(), outcome
    return outcome


def each_step(session: Session) -> list[dict[str, Tensor]]:
    """The weights after each step of a whole run."""
    session.attach("one", **ATTACH)
    states = [weights(session)]

    class Watch(SilentReporter):
        def step(self, point: Any) -> None:
            states.append(weights(session))

    session.train("one", ROWS, **FLAGS, reporter=Watch())
    assert len(states) == STEPS + 1
    assert not equal(states[-2], states[-1])
    return states


def test_an_interrupt_in_any_part_of_a_run_loses_nothing(session: Session) -> None:
    states, generator = each_step(session), random.Random(5)
    outcomes = [
        at_place(session, states, place, generator.randint(1, 8), presses)
        for place, presses in zip(PLACES, (1, 2, 2, 1, 1, 2), strict=True)
    ]
    assert sum("stopped after" in outcome for outcome in outcomes) >= 4, outcomes


@pytest.mark.long
def test_fifty_interrupts_at_random_points_lose_nothing(session: Session) -> None:
    states, generator = each_step(session), random.Random(50)
    outcomes = [interrupted_and_resumed(session, states, generator) for _ in range(50)]
    print(*outcomes, sep="\n")
    assert sum("stopped after" in outcome for outcome in outcomes) >= 30


def test_an_interrupt_of_the_first_measurement_begins_nothing(session: Session) -> None:
    """A step would move the weights, and what was held out could not be measured any more."""
    states = each_step(session)
    assert "nothing begun" in at_place(session, states, "evaluation", 1, 1)


def test_a_measurement_that_was_interrupted_is_made_when_the_run_goes_on(session: Session) -> None:
    session.attach("one", **ATTACH)
    expected = session.train("one", ROWS, **FLAGS).held_out_losses
    assert len(expected) > 3
    with pytest.raises(TrainingStopped), pressing(session, "evaluation", 2, 1):
        session.train("one", ROWS, **FLAGS)
    assert session.train("one", ROWS, **FLAGS, resume=True).held_out_losses == expected


# Kills


def killed(base: str, resume: bool, step: int) -> int:
    """A run in another process that is killed while it writes the checkpoint of a step."""

    def work() -> None:
        seen, real = [0], checkpoints.save_file

        def kill(*args: Any, **kwargs: Any) -> None:
            seen[0] += 1
            if seen[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*args, **kwargs)

        checkpoints.save_file = kill
        run(base, resume)

    return forked(work)


def test_a_run_that_is_killed_twice_is_resumed_with_the_same_bits(
    session: Session, saved_model: Saver
) -> None:
    expected = weights(run(str(saved_model()), resume=False))
    assert os.WTERMSIG(killed(str(saved_model()), False, 4)) == signal.SIGKILL
    found = json.loads((CHECKPOINT / "checkpoint.json").read_text())["step"]
    assert found == 3
    assert os.WTERMSIG(killed(str(saved_model()), True, 5)) == signal.SIGKILL
    assert json.loads((CHECKPOINT / "checkpoint.json").read_text())["step"] == 7
    assert equal(weights(run(str(saved_model()), resume=True)), expected)
    assert not CHECKPOINT.parent.exists()


@pytest.mark.long
def test_a_kernel_killed_at_twenty_random_moments_resumes_to_the_same_weights(
    saved_model: Saver,
) -> None:
    """New interpreters, killed from outside: 20 kills, then the run may end."""
    base, generator, resumed = str(saved_model()), random.Random(20), []
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "tests.state.resuming", base, "2000"]

    def start(folder: Path) -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, text=True)

    expected, seconds = start(Path("whole")).communicate()[0].split()
    folder, about = Path("killed"), Path("killed") / CHECKPOINT / "checkpoint.json"
    for kill in range(20):
        before = about.stat().st_mtime_ns if about.exists() else None
        with start(folder) as process:
            # Most kills come in the middle of the steps, some before the first of them.
            while kill % 5 and (not about.exists() or about.stat().st_mtime_ns == before):
                time.sleep(0.01)
                assert process.poll() is None
            time.sleep(generator.uniform(0, float(seconds) / 25))
            assert process.poll() is None, "it ended before it could be killed; train longer"
            process.kill()
        resumed.append(json.loads(about.read_text())["step"] if about.exists() else 0)
    found = start(folder).communicate()[0].split()[0]
    print(f"whole run {seconds} s; step of the checkpoint after each kill: {resumed}")
    assert found == expected
    assert len(set(resumed)) > 10


def test_a_termination_stops_the_run_writes_a_checkpoint_and_ends_the_process(
    session: Session, saved_model: Saver
) -> None:
    expected = weights(run(str(saved_model()), resume=False))

    def work() -> None:
        session.attach("one", **ATTACH)

        class Terminate(SilentReporter):
            def step(self, point: Any) -> None:
                if point.step == 5:
                    os.kill(os.getpid(), signal.SIGTERM)

        session.train("one", ROWS, **FLAGS, reporter=Terminate())

    assert os.WTERMSIG(forked(work)) == signal.SIGTERM
    assert json.loads((CHECKPOINT / "checkpoint.json").read_text())["step"] == 5
    assert equal(weights(run(str(saved_model()), resume=True)), expected)


def test_the_exit_of_the_interpreter_waits_for_the_checkpoint_of_a_thread(
    saved_model: Saver,
) -> None:
    """A daemon thread is ended without its `finally`."""
    code = f"""
import contextlib, threading
from tests.state.resuming import CHECKPOINT, run
begun = threading.Event()
from lora_magic.training import loop
real = loop.Loop._after_step
def after(self):
    begun.set()
    return real(self)
loop.Loop._after_step = after
def work():
    with contextlib.suppress(Exception):
        run({str(saved_model())!r}, False, every=1000, steps=100000)
threading.Thread(target=work, daemon=True).start()
begun.wait()
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    # Not its status: a thread that ends inside torch aborts the process, with or without us.
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert json.loads((CHECKPOINT / "checkpoint.json").read_text())["step"] >= 1


# Disks


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS, **FLAGS)
    expected = weights(session)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.warns(checkpoints.CheckpointWarning) as told:
        session.train("one", ROWS, **FLAGS, checkpoint_every=1e-6)
    assert [str(w.message) for w in told if w.category is checkpoints.CheckpointWarning] == [
        f"one: no checkpoint could be written to {Path.cwd() / CHECKPOINT} (No space left on "
        "device); the run goes on without. Make room, or choose another home: %lora load MODEL "
        "--home DIR"
    ]
    assert equal(weights(session), expected)
    assert not CHECKPOINT.parent.exists()


def test_a_disk_that_takes_only_small_files_costs_the_checkpoint_and_not_the_run(
    session: Session,
) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS, **FLAGS)
    expected = weights(session)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with pytest.warns(checkpoints.CheckpointWarning, match="File too large"):
            session.train("one", ROWS, **FLAGS, checkpoint_every=1e-6)
        assert equal(weights(session), expected)

    assert forked(work) == 0
    assert not CHECKPOINT.exists()


def test_a_home_that_cannot_be_written_costs_the_checkpoint_and_not_the_run(
    session: Session,
) -> None:
    (Path(".lora_magic") / "checkpoints").write_text("a file")
    session.attach("one", **ATTACH)
    with pytest.warns(checkpoints.CheckpointWarning, match="no checkpoint could be written"):
        session.train("one", ROWS, **FLAGS, checkpoint_every=1e-6)
    assert session.adapters["one"].history.steps == STEPS


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", **ATTACH)
    session.train("one", ROWS, **FLAGS)
    expected = weights(session)
    real, seen = checkpoints.save_file, [0]

    def filling(*args: Any, **kwargs: Any) -> None:
        seen[0] += 1
        if seen[0] > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", filling)
        with (
            pytest.warns(checkpoints.CheckpointWarning),
            pytest.raises(TrainingStopped, match="--continue"),
        ):
            session.train("one", ROWS, **FLAGS, checkpoint_every=1e-6, reporter=StopAt(6))
    session.train("one", ROWS, **FLAGS, resume=True)
    assert equal(weights(session), expected)


# Hostile hands


def edited(name: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON file of the checkpoint, with the sums that fit."""
    path = CHECKPOINT / name
    values = json.loads(path.read_text())
    path.write_text(json.dumps(change(values) or values))
    resum()


def resum() -> None:
    about = json.loads((CHECKPOINT / "checkpoint.json").read_text())
    about["sha256"] = {name: checkpoints._sum(CHECKPOINT / name) for name in about["sha256"]}
    (CHECKPOINT / "checkpoint.json").write_text(json.dumps(about))


def tensors_edited(change: Callable[[dict[str, Tensor]], Any]) -> None:
    found = load_file(CHECKPOINT / "state.safetensors")
    change(found)
    save_file(found, CHECKPOINT / "state.safetensors")
    resum()


def put(place: str, value: Any) -> Callable[[Any], None]:
    *way, last = place.split(".")

    def change(values: Any) -> None:
        for key in way:
            values = values[int(key) if isinstance(values, list) else key]
        values[int(last) if isinstance(values, list) else last] = value

    return change


HOSTILE: dict[str, Callable[[], object]] = {
    "a foreign field": lambda: edited("state.json", put("extra", 1)),
    "a foreign field of the spec": lambda: edited("checkpoint.json", put("spec.extra", 1)),
    "a field of another type": lambda: edited("checkpoint.json", put("step", "many")),
    "an invalid spec": lambda: edited("checkpoint.json", put("spec.rank", 10**30)),
    "another format": lambda: edited("checkpoint.json", put("format", 2)),
    "a missing field": lambda: edited("state.json", lambda v: v.pop("weights") and None),
    "not finite": lambda: edited("state.json", put("progress.losses.0", float("nan"))),
    "an infinite loss": lambda: edited("state.json", put("progress.losses.0", {"!float": "inf"})),
    "more steps than the run": lambda: edited("state.json", put("progress.losses", [1.0] * 99)),
    "text for losses": lambda: edited("state.json", put("progress.losses", "all")),
    "another rate": lambda: edited("state.json", put("optimizer.param_groups.0.lr", 5.0)),
    "another weight decay": lambda: edited(
        "state.json", put("optimizer.param_groups.0.weight_decay", 0.5)
    ),
    "a schedule with methods": lambda: edited("state.json", put("schedule.step", 1)),
    "a scaler": lambda: edited("state.json", put("scaler.scale", 2.0)),
    "hooks": lambda: edited("state.json", put("hooks.ipt", 1)),
    "generators": lambda: edited("state.json", put("progress.generators.python", [1, 2])),
    "a list": lambda: edited("state.json", lambda v: [v]),
    "deep": lambda: (CHECKPOINT / "state.json").write_text("[" * 10**6),
    "an unknown kind of value": lambda: edited("state.json", put("hooks", {"!code": "1"})),
    "weights of another shape": lambda: tensors_edited(
        lambda t: t.update({".weights.0": torch.zeros(3, 3)})
    ),
    "weights that are not finite": lambda: tensors_edited(
        lambda t: t[".weights.0"].fill_(float("inf"))
    ),
    "moments of another shape": lambda: tensors_edited(
        lambda t: t.update({".optimizer.state.0.exp_avg": torch.zeros(7)})
    ),
    "a tensor too few": lambda: tensors_edited(lambda t: t.pop(".weights.1")),
    "half a file": lambda: (CHECKPOINT / "state.safetensors").write_bytes(b"1234"),
    "another file": lambda: (CHECKPOINT / "state.json").write_text("{}"),
    "a pickle": lambda: (CHECKPOINT / "state.safetensors").write_bytes(b"\x80\x04K\x01." * 9),
    "a huge file": lambda: os.truncate(CHECKPOINT / "state.safetensors", 10**12),
    "no file": lambda: (CHECKPOINT / "state.json").unlink(),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_checkpoint_from_hostile_hands_is_refused_in_one_line(
    fault: str, session: Session
) -> None:
    session.attach("one", **ATTACH)
    stopped(session, 3)
    before = weights(session)
    HOSTILE[fault]()
    state = random.getstate(), torch.get_rng_state().tolist()
    with pytest.raises((TrainingError, AdapterError)) as told:
        session.train("one", ROWS, **FLAGS, resume=True)
    assert "without --resume" in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    assert len(str(told.value)) < 600
    assert equal(weights(session), before)
    assert session.adapters["one"].history.steps == 3
    assert state == (random.getstate(), torch.get_rng_state().tolist())
    assert session.verify()


def test_a_named_pipe_is_not_waited_for(session: Session) -> None:
    session.attach("one", **ATTACH)
    stopped(session, 3)
    (CHECKPOINT / "state.json").unlink()
    os.mkfifo(CHECKPOINT / "state.json")
    with pytest.raises(TrainingError, match="named pipe"):
        session.train("one", ROWS, **FLAGS, resume=True)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "often", None, True])
def test_seconds_between_checkpoints_are_a_number_from_zero(seconds: Any, session: Session) -> None:
    session.attach("one", **ATTACH)
    with pytest.raises(CommandError, match=r"--checkpoint-every .*: expected seconds from 0"):
        session.train("one", ROWS, checkpoint_every=seconds)


def test_fields_that_progress_gets_later_are_carried() -> None:
    """Whoever adds one need not think of the file."""
    from dataclasses import dataclass, field

    from lora_magic.training import checkpoint

    @dataclass(eq=False)
    class Later(Progress):
        best: tuple[Tensor, ...] | None = None
        patience: int = 0
        by_name: dict[str, float] = field(default_factory=dict)

    checkpoint._hints.cache_clear()
    tensors: dict[str, Tensor] = {}
    one = Later(
        losses=[math.inf], best=(torch.ones(2), torch.zeros(())), patience=2, by_name={"a": 1.0}
    )
    values = json.loads(json.dumps(checkpoint.packed(one, tensors)))
    globals().update(Later=Later)
    found = checkpoint.record(Later, values, tensors)
    assert found.best is not None
    assert [t.tolist() for t in found.best] == [[1.0, 1.0], 0.0]
    assert (found.losses, found.patience, found.by_name) == ([math.inf], 2, {"a": 1.0})
