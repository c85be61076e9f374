"""A sweep: its arms are single runs, its number is of rows that did not decide, all or nothing."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from lora_magic import reading
from lora_magic.base.prompt import Asked, Tokens, Written
from lora_magic.errors import (
    AdapterError,
    CommandError,
    LoraMagicError,
    StateError,
    TrainingError,
    TrainingStopped,
)
from lora_magic.state import sweep_plan
from lora_magic.state.session import Session
from lora_magic.state.sweep_result import Sweep
from lora_magic.training.reporter import SilentReporter
from tests.conftest import Saver, perturb
from tests.state.resuming import StopAt
from tests.state.shared import snapshot, swept

ROWS = [(f"Where is number {n}?", f"Here, {n}." * (1 + n % 3)) for n in range(24)]
#: DoRA is never stacked, so that the bits are those of a single run.
FLAGS: dict[str, Any] = {"steps": 12, "batch_size": 4, "eval": 8}
THREE: dict[str, Any] = {"method": "dora", "rank": [1, 2, 3], "lr": 1e-2, **FLAGS}


def position(prompt: str) -> float:
    """A row's place among all possible rows, computed anew."""
    digest = hashlib.sha256(json.dumps([prompt]).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def parts() -> tuple[list[Any], list[Any], list[Any]]:
    """The rows that are trained on, that decide and that are reported."""
    ordered = sorted(ROWS, key=lambda row: position(row[0]))
    held = ordered[: FLAGS["eval"]]
    train = [row for row in ROWS if row not in held]
    halves: tuple[list[Any], list[Any]] = ([], [])
    for row in ROWS:
        if row in held:
            halves[int(position(row[0]) * 2**48) % 2].append(row)
    assert min(map(len, halves)) > 1
    return train, *halves


def loss_of(session: Session, rows: list[Any]) -> float:
    """The mean over the completions' tokens."""
    pairs = [(loss_sum(session, *row), len(ids_of(session, *row)[1])) for row in rows]
    return sum(total for total, _ in pairs) / sum(count for _, count in pairs)


def ids_of(session: Session, prompt: str, completion: str) -> tuple[list[int], list[int]]:
    """The tokens of a prompt and of its completion with the end token."""
    form = session._state.form_of("base")
    turns = form.conversation([{"role": "user", "content": prompt}], None)
    answer = {"role": "assistant", "content": completion}
    (written,) = form.write(session.tokenizer, [Asked(turns, answer, None)])
    assert isinstance(written, Written)
    (ids,) = form.tokens(session.tokenizer, [written])
    assert isinstance(ids, Tokens)
    return ids.prompt, ids.answer


def loss_sum(session: Session, prompt: str, completion: str) -> float:
    """Σ −log p over a completion's tokens, unpadded, in float64 from the logits on."""
    asked, answer = ids_of(session, prompt, completion)
    whole = torch.tensor([[*asked, *answer]])
    with torch.no_grad():
        logits = session.model(input_ids=whole).logits[0, :-1].double()
    return float(
        functional.cross_entropy(logits, whole[0, 1:], reduction="none")[len(asked) - 1 :].sum()
    )


def weights(session: Session, name: str) -> dict[str, torch.Tensor]:
    return session._state.attached[name].state()


def frame_of(sweep: Sweep) -> Any:
    return sweep.to_frame().drop(columns="seconds")


@pytest.mark.parametrize("finish", [False, True])
def test_the_chosen_arm_is_a_single_run_of_its_length_bit_for_bit(
    session: Session, finish: bool
) -> None:
    found = session.sweep("best", ROWS, finish=finish, **THREE)
    best = found.best
    assert best is not None
    # Three settings: 12/3 steps each; then one is left.
    assert found.rungs == ((4, 3),)
    assert best.steps == (12 if finish else 4)
    assert sorted(found.to_frame().steps) == sorted([4, 4, best.steps])
    train, deciding, _ = parts()
    session.attach("alone", rank=best.rank, dora=True, seed=best.seed)
    flags: dict[str, Any] = {"steps": 12, "batch_size": 4, "lr": 1e-2, "eval": deciding}
    if finish:
        session.train("alone", train, **flags)
    else:
        with pytest.raises(TrainingStopped):
            session.train("alone", train, reporter=StopAt(4), **flags)
    wanted = weights(session, "alone")
    assert wanted.keys() == weights(session, "best").keys()
    assert all(torch.equal(t, wanted[name]) for name, t in weights(session, "best").items())
    assert session._state.attached["best"].history.steps == best.steps


SIX: dict[str, Any] = {**THREE, "rank": [1, 2, 3, 4, 5, 6], "seeds": 1}


@pytest.fixture(scope="module")
def six(saved_model: Saver, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep of six arms that nothing interrupts."""
    return swept(saved_model(), tmp_path_factory.mktemp("six"), ROWS, SIX)


def test_an_arm_that_climbs_is_the_one_that_never_paused(session: Session, six: Sweep) -> None:
    survivors = [arm for arm in six.arms if arm.steps == 12]
    flags = {**SIX, "rank": [arm.rank for arm in survivors]}
    whole = session.sweep("other", ROWS, no_halving=True, **flags)
    assert six.rungs == ((4, 6), (12, 2))
    assert whole.rungs == ((12, 2),)
    assert [arm.held_out for arm in survivors] == [arm.held_out for arm in whole.arms]
    assert {arm.state for arm in six.arms} == {"chosen", "finished", "dropped"}


def test_the_best_two_of_six_go_on(six: Sweep) -> None:
    at_four = {arm.arm: dict(arm.losses)[4] for arm in six.arms}
    best = sorted(at_four, key=lambda arm: at_four[arm])[:2]
    assert sorted(best) == [arm.arm for arm in six.arms if arm.steps == 12]


def test_the_number_is_of_the_half_that_did_not_decide(session: Session) -> None:
    found = session.sweep("best", ROWS, finish=True, **THREE)
    _, deciding, reporting = parts()
    assert (found.deciding, found.reporting) == (len(deciding), len(reporting))
    assert found.best is not None
    assert found.best.held_out == pytest.approx(loss_of(session, deciding), rel=1e-5)
    assert found.reported == pytest.approx(loss_of(session, reporting), rel=1e-5)
    session.swap("base")
    assert found.base_loss == pytest.approx(loss_of(session, reporting), rel=1e-5)


def test_an_arm_ends_early_as_train_ends_it_and_keeps_its_best_step(session: Session) -> None:
    flags: dict[str, Any] = {"steps": 20, "patience": 1, "batch_size": 4, "eval": 8}
    given: dict[str, Any] = {"method": "full", "lr": [0.1, 0.2], "no_halving": True}
    found = session.sweep("best", ROWS, **given, **flags)
    train, deciding, _ = parts()
    assert found.best is not None
    session.attach("alone", method="full", seed=found.best.seed)
    flags = {**flags, "eval": deciding, "lr": found.best.lr}
    alone: Any = session.train("alone", train, **flags)
    assert alone.ended == "held-out"
    assert alone.best_step < alone.steps < 20
    assert (found.best.steps, found.best.held_out) == (alone.steps, alone.held_out_after)
    wanted = weights(session, "alone")
    assert all(torch.equal(t, wanted[name]) for name, t in weights(session, "best").items())


def test_each_setting_has_a_mean_and_an_interval_over_its_seeds(session: Session) -> None:
    found = session.sweep("best", ROWS, rank=[1, 2], seeds=3, lr=1e-2, **FLAGS)
    assert [arm.seed for arm in found.arms] == [0, 1, 2, 0, 1, 2]
    for mean in found.means:
        losses = [arm.held_out for arm in found.arms if arm.setting == mean.setting]
        assert all(loss is not None for loss in losses)
        assert len(set(losses)) == 3
        average = sum(loss or 0.0 for loss in losses) / 3
        spread = math.sqrt(sum(((loss or 0.0) - average) ** 2 for loss in losses) / 2)
        assert mean.mean == pytest.approx(average)
        assert mean.high == pytest.approx(average + 4.303 * spread / math.sqrt(3), rel=1e-3)
    best, chosen = found.means[0], found.best
    assert chosen is not None
    assert chosen.setting == best.setting
    assert chosen.held_out == min(a.held_out or 9 for a in found.arms if a.setting == best.setting)


def test_only_the_chosen_one_is_left_and_the_base_is_what_it_was(session: Session) -> None:
    session.attach("other", rank=1)
    perturb(session, "other")
    kept = weights(session, "other")
    found = session.sweep("best", ROWS, **THREE)
    assert list(session.adapters) == ["other", "best"]
    assert session.active == "best"
    assert session.verify()
    assert all(torch.equal(t, kept[name]) for name, t in weights(session, "other").items())
    assert session.history().entries[-1].verb == "sweep"
    assert session.history().entries[-1].adapter == "best"
    assert session.history().entries[-1].result == found.line
    assert [entry.verb for entry in session.history().entries].count("train") == 0
    assert not Path(".lora_magic/sweeps").exists()


def test_the_chosen_one_can_be_saved_opened_and_trained_again(session: Session) -> None:
    session.sweep("best", ROWS, **THREE)
    was = weights(session, "best")
    session.save("best")
    session.detach("best")
    session.open("best")
    assert all(torch.equal(t, was[name]) for name, t in weights(session, "best").items())
    session.detach("best", discard=True)
    session.sweep("best", ROWS, **THREE)
    session.train("best", ROWS, steps=2)
    assert session.adapters["best"].history.steps == 2


def test_the_cell_can_be_run_twice(session: Session) -> None:
    first = session.sweep("best", ROWS, **THREE)
    was = weights(session, "best")
    again = session.sweep("best", ROWS, **THREE)
    assert frame_of(first).equals(frame_of(again))
    assert all(torch.equal(t, was[name]) for name, t in weights(session, "best").items())


def test_the_lines_for_an_arm_train_it(session: Session) -> None:
    found = session.sweep("best", ROWS, **{**THREE, "rank": [1, 2]}, system="Be kind")
    (line,) = [arm for arm in found.arms if arm.rank == 1]
    assert line.attach == f"%lora attach best_1 --seed {line.seed} --method dora --rank 1"
    assert line.train == (
        '%lora train best_1 --data … --steps 12 --batch-size 4 --eval 8 --system "Be kind" '
        "--lr 0.01"
    )


def test_the_lines_call_variables_by_their_names(session: Session) -> None:
    flags = {**FLAGS, "eval": ROWS[:8], "map_": lambda row: row, "rank": [1, 2]}
    names = {"data": "rows", "eval": "others", "map_": "pair"}
    found = session.sweep("best", ROWS[8:], variables=names, **flags)
    assert found.arms[0].train == (
        "%lora train best_1 --data rows --map pair --steps 12 --batch-size 4 --eval others"
    )


def test_arms_that_train_say_so_and_are_ordered_by_their_losses_so_far(session: Session) -> None:
    shown: list[Sweep] = []

    class Shown(SilentReporter):
        def arms(self, sweep: Any) -> None:
            shown.append(sweep())

    session.sweep("best", ROWS, reporter=Shown(), **THREE)
    first = next(found for found in shown if found.arms[0].steps == 3)
    assert [arm.state for arm in first.arms] == ["training", "waiting", "waiting"]
    (_, _), *measured = first.arms[0].losses
    assert first.arms[0].held_out == (measured[-1][1] if measured else None)
    assert all(found._repr_mimebundle_() for found in shown)
    # The first rung of three ends at step 4.
    second = next(found for found in shown if found.arms[1].steps == 1)
    assert [arm.state for arm in second.arms] == ["paused", "training", "waiting"]
    assert second.arms[0].held_out == second.arms[0].losses[-1][1]


def test_an_arms_seconds_are_its_share_of_what_the_sweep_took(session: Session) -> None:
    # Eight arms of one batch, of which each step belongs to all.
    found = session.sweep("best", ROWS, rank=[1, 2], lr=[1e-3, 1e-2], seeds=2, **FLAGS)
    assert all(arm.seconds > 0 for arm in found.arms)
    assert sum(arm.seconds for arm in found.arms) <= found.seconds


def test_runs_of_one_batch_share_the_time_in_which_they_ran() -> None:
    # 2 s by three, 1 s by two, 5 s by one.
    assert sweep_plan.shares([8.0, 2.0, 3.0]) == pytest.approx([2 / 3 + 1 / 2 + 5, 2 / 3, 7 / 6])
    assert sweep_plan.shares([]) == []


@pytest.mark.parametrize(
    ("flags", "error", "says"),
    [
        ({"rank": [1, 2], "eval": None}, CommandError, "no rows are held out of 24"),
        ({"rank": [1, 2], "eval": 1}, CommandError, "hold out more"),
        ({}, CommandError, "one arm has nothing to be compared with"),
        ({"rank": 2}, CommandError, "one arm has nothing"),
        ({"rank": [2, 2]}, CommandError, "one arm has nothing"),
        ({"rank": []}, CommandError, "--rank: expected at least one value"),
        ({"rank": [1, 2], "steps": [4, 8]}, CommandError, r"--steps \[4, 8\]: expected one value"),
        ({"rank": [1, 2], "batch_size": (4,)}, CommandError, "--batch-size"),
        ({"rank": [1, 10_000]}, CommandError, "rank 10000 exceeds"),
        ({"rank": [1, 2], "method": "ia3"}, CommandError, "does not use --rank"),
        ({"rank": [1, 0]}, CommandError, r"possible: rank 0: expected a whole number from 1"),
        ({"rank": [1, 2], "seeds": 2, "seed": [3, 4]}, CommandError, "--seed 3,4 both"),
        ({"lr": [1e-3, -1.0]}, CommandError, "lr -1: --lr"),
        ({"lr": [1e-3, "find"]}, CommandError, "lr find"),
        ({"rank": [1, 2], "epochs": 2.0}, CommandError, "both set the length"),
        ({"method": ["lora", "lorra"]}, CommandError, "lorra"),
        ({"targets": ["attention", "nowhere"]}, CommandError, "nowhere"),
        ({"rank": range(1, 30), "lr": [x / 1e4 for x in range(1, 30)]}, CommandError, "256"),
        ({"rank": [1, 2], "minutes": 0}, CommandError, "--minutes 0: expected a positive"),
        ({"rank": [1, 2], "seeds": 0}, CommandError, "--seeds 0"),
        ({"rank": [1, 2], "resume": True}, CommandError, "there is no sweep to resume"),
        ({"rank": [1, 2], "init": "pissa", "dora": [False, True]}, CommandError, "--dora with"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_one_line_and_nothing_changes(
    session: Session, flags: dict[str, Any], error: type[LoraMagicError], says: str
) -> None:
    session.attach("other", rank=1)
    before = snapshot(session)
    with pytest.raises(error, match=says) as raised:
        session.sweep("best", ROWS, **{**FLAGS, **flags})
    assert "\n" not in str(raised.value)
    assert snapshot(session) == before
    assert session.verify()


def test_the_name_of_a_trained_adapter_is_not_taken(session: Session) -> None:
    session.attach("mine", rank=1)
    session.train("mine", ROWS, steps=1)
    with pytest.raises(AdapterError, match="--replace"):
        session.sweep("mine", ROWS, **THREE)
    assert session.adapters["mine"].history.steps == 1
    session.sweep("mine", ROWS, replace=True, **THREE)
    assert session.adapters["mine"].history.steps == 4


def test_more_arms_than_the_memory_holds_are_refused(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(session)
    monkeypatch.setattr(reading, "free_memory", lambda: 100_000)
    with pytest.raises(StateError, match=r"50 arms need about .* and 100 kB is free"):
        session.sweep("best", ROWS, rank=range(1, 11), seeds=5, **FLAGS)
    assert snapshot(session) == before


def test_an_arm_that_diverges_fails_alone(session: Session) -> None:
    found = session.sweep("best", ROWS, lr=[1e-2, 10.0], schedule="constant", rank=4, **FLAGS)
    state = dict(zip(found.to_frame().lr, found.to_frame().state, strict=True))
    assert state[1e-2] == "chosen"
    assert state[10.0] in {"failed", "finished"}


def test_if_every_arm_fails_nothing_changes(session: Session) -> None:
    before = snapshot(session)

    class Broken(SilentReporter):
        def step(self, point: Any) -> None:
            raise TrainingError("no")

    with pytest.raises(TrainingError, match="every arm failed"):
        session.sweep("best", ROWS, reporter=Broken(), **THREE)
    assert snapshot(session) == before
    assert session.verify()


class StopAfter(StopAt):
    """Stops a sweep after a number of steps of all its arms together."""

    def __init__(self, count: int) -> None:
        super().__init__(0)
        self.left = count

    def step(self, point: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.stop.set()


# In the first arm of the first rung, between two arms, and in the second rung.
@pytest.mark.parametrize("count", [2, 8, 27])
def test_a_sweep_that_was_stopped_and_resumed_is_one_that_never_stopped(
    session: Session, six: Sweep, count: int
) -> None:
    with pytest.raises(TrainingStopped, match="--resume"):
        session.sweep("best", ROWS, reporter=StopAfter(count), **SIX)
    assert session.verify()
    resumed = session.sweep("best", ROWS, resume=True, **SIX)
    assert frame_of(resumed).equals(frame_of(six))
    assert (resumed.reported, resumed.chosen) == (six.reported, six.chosen)
    kept = session._state.attached["best"]
    assert kept.history.steps == 12
    assert kept.form is not None
    assert kept.run["steps"] == 12
    assert not Path(".lora_magic/sweeps/best").exists()


def test_a_stopped_sweep_keeps_the_best_so_far(session: Session) -> None:
    with pytest.raises(
        TrainingStopped, match=r"stopped after .* steps \(6 arms\); .* best so far, arm"
    ):
        session.sweep("best", ROWS, reporter=StopAfter(27), **SIX)
    assert session.active == "best"
    assert session.adapters["best"].trained
    entry = session.history().entries[-1]
    assert (entry.verb, entry.state) == ("sweep", "stopped")


def test_before_the_first_rung_nothing_is_kept_but_what_to_resume(session: Session) -> None:
    before = snapshot(session)
    with pytest.raises(
        TrainingStopped, match=r"stopped after 2 steps \(1 of 3 arms\); no arm has been"
    ):
        session.sweep("best", ROWS, reporter=StopAfter(2), **THREE)
    assert snapshot(session) == before


def test_an_error_in_the_second_rung_undoes_all_and_the_first_can_be_resumed(
    session: Session, six: Sweep
) -> None:
    class Fails(SilentReporter):
        def __init__(self) -> None:
            super().__init__()
            self.left = 26

        def step(self, point: Any) -> None:
            self.left -= 1
            if not self.left:
                raise RuntimeError("a fault of a display")

    before = snapshot(session)
    with pytest.raises(RuntimeError, match="a fault of a display"):
        session.sweep("best", ROWS, reporter=Fails(), **SIX)
    assert snapshot(session) == before
    assert session.verify()
    resumed = session.sweep("best", ROWS, resume=True, **SIX)
    assert frame_of(resumed).equals(frame_of(six))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rank": [1, 2]}, r"--rank was \[1, 2, 3\], is \[1, 2\]"),
        ({"lr": 2e-2}, "--lr was 0.01, is 0.02"),
        ({"steps": 13}, "--steps was 12, is 13"),
        ({"data": ROWS[1:]}, "the rows differ"),
    ],
)
def test_another_sweep_is_not_resumed(session: Session, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(TrainingStopped):
        session.sweep("best", ROWS, reporter=StopAfter(5), **THREE)
    with pytest.raises(TrainingError, match=says):
        session.sweep("best", resume=True, **{"data": ROWS, **THREE, **changed})


def test_a_damaged_folder_is_refused_in_one_line(session: Session) -> None:
    with pytest.raises(TrainingStopped):
        session.sweep("best", ROWS, reporter=StopAfter(5), **THREE)
    file = Path(".lora_magic/sweeps/best/sweep.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(TrainingError, match="cannot be resumed"):
        session.sweep("best", ROWS, resume=True, **THREE)


def test_a_time_limit_ends_it_with_the_best_so_far(session: Session) -> None:
    found = session.sweep("best", ROWS, minutes=1e-4, **{**FLAGS, "steps": 1000}, rank=[1, 2])
    assert found.minutes
    assert found.best is None or found.best.steps < 1000
    assert session.verify()


def test_a_budget_alone_chooses_a_grid_and_a_length(session: Session) -> None:
    found = session.sweep("best", ROWS, minutes=0.02, batch_size=4, eval=8)
    assert len(found.arms) == 9
    assert found.planned_steps >= 4
    assert len({arm.rank for arm in found.arms}) == len({arm.lr for arm in found.arms}) == 3


def test_rows_of_their_own_are_halved_too(session: Session) -> None:
    train, deciding, reporting = parts()
    found = session.sweep("best", train, **{**THREE, "eval": [*deciding, *reporting]})
    other = session.sweep("best", ROWS, **THREE)
    assert frame_of(found).equals(frame_of(other))
    assert found.reported == other.reported


def test_preferences_are_reported_on_the_other_half_too(session: Session) -> None:
    rows = [
        {"prompt": prompt, "chosen": answer, "rejected": f"No, {at}."}
        for at, (prompt, answer) in enumerate(ROWS)
    ]
    flags: dict[str, Any] = {**THREE, "rank": [2, 3], "lr": 1e-3, "beta": 0.5}
    found = session.sweep("best", rows, **flags)
    assert found.base_loss == pytest.approx(math.log(2))
    assert found.best is not None
    _, _, reporting = parts()
    other = [row for row in rows if row["prompt"] in {prompt for prompt, _ in reporting}]
    losses = []
    for row in other:
        margins = {}
        for name in ("best", "base"):
            session.swap(name)
            margins[name] = -loss_sum(session, row["prompt"], row["chosen"])
            margins[name] += loss_sum(session, row["prompt"], row["rejected"])
        margin = 0.5 * (margins["best"] - margins["base"])
        losses.append(math.log1p(math.exp(-margin)))
    assert found.reported == pytest.approx(sum(losses) / len(losses), rel=1e-4)
