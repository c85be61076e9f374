"""How an adapter was made: what each verb records of it, what undoes that, and what is kept."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.data.row import Row
from lora_magic.errors import AdapterError, ExportError, TrainingError, TrainingStopped
from lora_magic.export.script.long_rows import LongRows
from lora_magic.export.script.steps import Blended, Compressed, Opened, Trained
from lora_magic.state import making, train
from lora_magic.state.session import Session
from tests.conftest import Saver, perturb
from tests.state.resuming import StopAt
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = [(f"Where is number {n}?", f"Here, {n}.") for n in range(8)]
FLAGS: dict[str, Any] = {"steps": 3, "batch_size": 4, "checkpoint_every": 0}


def steps_of(session: Session, name: str = "one") -> tuple[Any, ...]:
    return session._state.attached[name].steps


def asked(step: Trained) -> list[str | None]:
    return [row.prompt for row in step.rows]


@pytest.fixture
def one(session: Session) -> Session:
    session.attach("one", rank=2)
    return session


def test_a_run_is_recorded_as_it_was_used(one: Session) -> None:
    assert steps_of(one) == ()
    one.train("one", ROWS, **{**FLAGS, "batch_size": 20}, eval=2, lora_plus=4.0)
    (step,) = steps_of(one)
    assert isinstance(step, Trained)
    assert step.spec == one.adapters["one"].spec
    assert asked(step) == [prompt for prompt, _ in ROWS]
    assert (step.steps, step.planned, step.continued, step.held_out) == (3, 3, False, None)
    # A batch has at most all examples: 8 rows, of which 2 are held out.
    assert (step.settings.batch_size, step.settings.held_out, step.settings.lora_plus) == (6, 2, 4)
    assert step.form is not None
    assert step.form.kind == "chat"
    assert step.data_hash == one._state.attached["one"].run["data_sha256"]
    assert step.other == {"ended": "steps"}


def test_a_run_from_the_start_replaces_and_one_that_continues_is_appended(one: Session) -> None:
    one.train("one", ROWS, **FLAGS)
    one.train("one", ROWS[:5], **FLAGS)
    (first,) = steps_of(one)
    one.train("one", ROWS[:5], continue_=True, **FLAGS)
    one.train("one", ROWS[2:], continue_=True, **FLAGS)
    kept, second, third = steps_of(one)
    assert kept is first
    assert (second.continued, third.continued) == (True, True)
    assert len(third.rows) == 6
    # The same rows are kept once.
    assert second.rows is first.rows


def test_continuing_an_adapter_that_was_never_trained_begins_at_its_start(one: Session) -> None:
    one.train("one", ROWS, continue_=True, **FLAGS)
    (step,) = steps_of(one)
    assert not step.continued


def test_held_out_and_replayed_rows_are_kept(one: Session) -> None:
    guard = [(f"What is word {n}?", "It is a word.") for n in range(12)]
    one.train("one", ROWS, eval=ROWS[:2], guard=guard, replay=0.5, **FLAGS)
    (step,) = steps_of(one)
    assert [row.prompt for row in step.held_out] == [prompt for prompt, _ in ROWS[:2]]
    replayed = {row.prompt for row in step.other["replay"]}
    assert 0 < len(replayed) < 12
    assert replayed < {prompt for prompt, _ in guard}


def test_a_stopped_run_has_its_steps_and_a_resumed_one_is_whole(one: Session) -> None:
    flags = {**FLAGS, "steps": 6, "checkpoint_every": 60}
    one.train("one", ROWS, **{**FLAGS, "steps": 2})
    with pytest.raises(TrainingStopped):
        one.train("one", ROWS, continue_=True, reporter=StopAt(2), **flags)
    before, stopped = steps_of(one)
    assert (stopped.steps, stopped.planned, stopped.other["ended"]) == (2, 6, "stopped")
    one.train("one", ROWS, continue_=True, resume=True, **flags)
    first, whole = steps_of(one)
    assert first is before
    assert (whole.steps, whole.planned, whole.other["ended"]) == (6, 6, "steps")


def test_what_a_resumed_run_began_with_may_not_be_known(one: Session) -> None:
    flags = {**FLAGS, "steps": 6, "checkpoint_every": 60}
    one.train("one", ROWS, **{**FLAGS, "steps": 2})
    with pytest.raises(TrainingStopped):
        one.train("one", ROWS, continue_=True, reporter=StopAt(2), **flags)
    one.detach("one", discard=True)
    one.attach("one", rank=2)
    one.train("one", ROWS, continue_=True, resume=True, **flags)
    (whole,) = steps_of(one)
    assert whole.continued
    with pytest.raises(ExportError, match="continues a run of another session"):
        one.script("one")
    assert not Path("one.py").exists()


def test_the_weights_that_were_kept_may_be_those_of_an_earlier_step(one: Session) -> None:
    other = [("Where is number 30?", "ZZZZ QQQ"), ("Where is number 40?", "QQQQ")]
    summary = one.train("one", ROWS, eval=other, patience=1, lr=0.05, **{**FLAGS, "steps": 40})
    (step,) = steps_of(one)
    assert step.steps == summary.kept_steps <= summary.steps < step.planned == 40


def test_a_failed_run_leaves_the_steps(one: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    one.train("one", ROWS, **FLAGS)
    before = steps_of(one)
    monkeypatch.setattr(train, "steps", _failing)
    with pytest.raises(TrainingError):
        one.train("one", ROWS, continue_=True, **FLAGS)
    assert steps_of(one) is before


def _failing(*_: Any, **__: Any) -> None:
    raise TrainingError("no")


def test_several_share_their_rows_and_one_that_fails_keeps_its_steps(one: Session) -> None:
    one.attach("two", rank=3)
    one.train("one,two", ROWS, **FLAGS)
    (first,), (second,) = steps_of(one, "one"), steps_of(one, "two")
    assert (first.spec.rank, second.spec.rank) == (2, 3)
    assert all(x is y for x, y in zip(first.rows, second.rows, strict=True))


@pytest.mark.parametrize("finish", [False, True])
def test_a_sweep_s_winner_is_one_run(session: Session, finish: bool) -> None:
    rows = [(f"Where is number {n}?", f"Here, {n}.") for n in range(24)]
    found = session.sweep(
        "best", rows, rank=[1, 2, 3], lr=1e-2, steps=12, batch_size=4, eval=8, finish=finish
    )
    (step,) = steps_of(session, "best")
    done = session._state.attached["best"].history.steps
    assert step.spec == session.adapters["best"].spec
    assert (step.steps, step.planned) == (done, 12)
    assert len(step.rows) == 16
    assert len(step.held_out) == found.deciding
    session.train("best", rows, **FLAGS)
    (again,) = steps_of(session, "best")
    assert len(again.rows) == 24
    assert not again.continued


def test_blends_and_compressions_keep_how_their_parts_were_made_then(one: Session) -> None:
    one.attach("two", rank=3)
    one.train("one,two", ROWS, **FLAGS)
    then = steps_of(one)
    one.blend("both", "one=0.7 two=-0.3", method="ties", rank=2)
    one.compress("both", "small", energy=0.5)
    one.compress("one", "less", remove_intruders=True)
    one.train("one", ROWS[:4], **FLAGS)
    (blend,) = steps_of(one, "both")
    assert isinstance(blend, Blended)
    assert blend.parts[0] == (0.7, "one", then)
    assert blend.parts[1][:2] == (-0.3, "two")
    assert (blend.method, blend.rank, blend.density) == ("ties", 2, 0.2)
    (small,), (less,) = steps_of(one, "small"), steps_of(one, "less")
    assert isinstance(small, Compressed)
    assert isinstance(less, Compressed)
    assert (small.parent, small.made, small.energy, small.rank) == ("both", (blend,), 0.5, None)
    assert (less.parent, less.intruders) == ("one", True)
    # Training goes on from there, and begins there again.
    one.train("both", ROWS, continue_=True, **FLAGS)
    one.train("both", ROWS, **FLAGS)
    made, run = steps_of(one, "both")
    assert made is blend
    assert isinstance(run, Trained)


def test_an_opened_adapter_is_its_folder(one: Session, tmp_path: Path) -> None:
    one.train("one", ROWS, **FLAGS)
    one.save("one", "saved")
    one.open("saved", "again")
    (step,) = steps_of(one, "again")
    assert isinstance(step, Opened)
    assert (step.source, step.spec.rank) == (str(tmp_path / "saved"), 2)
    one.train("again", ROWS, **FLAGS)
    assert [type(found) for found in steps_of(one, "again")] == [Opened, Trained]
    # The attached adapter is still the one that was trained here.
    one.open("saved", "one")
    assert [type(found) for found in steps_of(one)] == [Trained]


def test_an_adopted_adapter_has_no_folder() -> None:
    from peft import LoraConfig, get_peft_model

    model: Any = tiny_model("llama")
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    session = Session()
    session.use(wrapped, tiny_tokenizer(chat=True))
    (step,) = steps_of(session, "default")
    assert isinstance(step, Opened)
    assert step.source == ""
    with pytest.raises(ExportError, match="save_pretrained"):
        session.script("default")
    session.reset()


def test_nothing_keeps_the_rows_after_replace_detach_and_reset(
    saved_model: Saver, nothing_frozen: None
) -> None:
    session = Session()
    session.load(str(saved_model()))
    ends: list[Any] = [
        lambda: session.attach("one", rank=2, replace=True),
        lambda: session.train("one", ROWS[:4], **FLAGS),
        lambda: session.detach("one", discard=True),
        session.reset,
    ]
    for end in ends:
        if "one" not in session.adapters:
            session.attach("one", rank=2)
        session.train("one", ROWS, **FLAGS)
        row = weakref.ref(steps_of(session)[0])
        end()
        # The view of the verb before is gone with the next one.
        session.status()
        gc.collect()
        assert row() is None
        if not session._state.empty:
            session.attach("one", rank=2, replace=True)


def test_no_file_has_the_rows_but_the_script(one: Session, tmp_path: Path) -> None:
    rows = [(f"Where is number {n}?", f"A secret, {n}.") for n in range(8)]
    one.train("one", rows, eval=2, **{**FLAGS, "checkpoint_every": 60})
    one.save("one")
    one.script("one")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert [f.name for f in files if b"A secret" in f.read_bytes()] == ["one.py"]


def test_no_step_holds_a_tensor(one: Session) -> None:
    one.train("one", ROWS, eval=2, **FLAGS)
    one.compress("one", "small", rank=1)
    seen: set[int] = set()
    pending: list[Any] = [*steps_of(one, "small")]
    while pending:
        found = pending.pop()
        if id(found) in seen or isinstance(found, type):
            continue
        seen.add(id(found))
        assert not isinstance(found, torch.Tensor | torch.nn.Module)
        pending += [*getattr(found, "__dict__", {}).values()]
        pending += list(found) if isinstance(found, tuple | list | set) else []
        pending += list(found.values()) if isinstance(found, dict) else []
    assert len(seen) > 50


def test_long_rows_are_read_again_from_their_file(
    one: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "MOST", 50)
    lines = "".join(f'{{"ask": "{prompt}", "say": "{said}"}}\n' for prompt, said in ROWS)
    file = tmp_path / "rows.jsonl"
    file.write_text(lines)
    one.train("one", "rows.jsonl", columns="ask => say", **FLAGS)
    (step,) = steps_of(one)
    assert isinstance(step.rows, LongRows)
    assert len(step.rows) == 8
    assert step.rows[1] == Row(ROWS[1][0], ROWS[1][1], line=2)
    file.write_text(lines.replace("Here", "There"))
    with pytest.raises(ExportError, match="other rows now"):
        step.rows.read()
    file.unlink()
    with pytest.raises(ExportError, match="rows were too long to keep, and their file"):
        one.script("one")
    one.train("one", ROWS, **FLAGS)
    with pytest.raises(ExportError, match="came from no file"):
        one.script("one")


def test_a_failed_blend_changes_no_steps(one: Session) -> None:
    one.attach("two", rank=2)
    perturb(one, "one")
    before = steps_of(one, "two")
    with pytest.raises(AdapterError, match="already attached"):
        one.blend("two", "one=1")
    assert steps_of(one, "two") is before
