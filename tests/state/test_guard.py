"""The user's general rows: their loss before and after a run, and the half that is replayed."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from lora_magic.data.row import Message, Row
from lora_magic.errors import CommandError, DataError, LoraMagicError, TrainingStopped
from lora_magic.state import guard
from lora_magic.state.session import Session
from lora_magic.training import loop
from lora_magic.training.forgetting import Guard, TextForgetting, Unmeasured
from tests.classifiers import saved, tiny_of
from tests.conftest import REORDERED, Saver
from tests.state.shared import ROWS, snapshot
from tests.state.test_forgetting import Follower, interrupt, states
from tests.state.variants import VARIANTS

GENERAL = [(f"What is {n} and {n}?", f"It is {2 * n}.") for n in range(30)]


def trained(session: Session, **flags: Any) -> Any:
    return session.train("one", **{"text": ROWS, "steps": 3, "lr": 3e-2, "guard": GENERAL, **flags})


def loss_one_by_one(model: Any, tokenizer: Any, rows: list[tuple[str, str]]) -> tuple[float, int]:
    """The mean loss of the answers and their end tokens, each row alone, in the plain form."""
    total, count = 0.0, 0
    for prompt, answer in rows:
        asked = tokenizer(f"{prompt}\n")["input_ids"]
        said = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*asked, *said]])).logits[0].double()
        told = logits[len(asked) - 1 : -1]
        total += float(cross_entropy(told, torch.tensor(said), reduction="sum"))
        count += len(said)
    return total / count, count


# The numbers


@pytest.mark.parametrize("method", ["lora", "dora", "prefix", "houlsby", "full"])
def test_before_is_the_base_and_after_the_adapter_computed_row_by_row(
    method: str, saved_model: Saver
) -> None:
    folder = str(saved_model())
    session = Session()
    session.load(folder)
    session.attach("one", **VARIANTS[method])
    found = trained(session, template="plain").guard
    after, tokens = loss_one_by_one(session.model, session.tokenizer, GENERAL)
    assert (found.rows, found.tokens, found.replayed, found.why) == (30, tokens, 0, "")
    assert found.after == pytest.approx(after, abs=REORDERED)
    if method != "prefix":  # its virtual tokens start at random
        base = AutoModelForCausalLM.from_pretrained(folder).eval()
        before, _ = loss_one_by_one(base, session.tokenizer, GENERAL)
        assert found.before == pytest.approx(before, abs=REORDERED)
    assert found.before != found.after
    assert session.verify()


def test_a_continued_run_begins_where_the_last_one_ended(session: Session) -> None:
    session.attach("one", rank=2)
    first = trained(session).guard
    assert trained(session, continue_=True).guard.before == first.after
    # A new run begins at the adapter's start.
    assert trained(session).guard == first


def test_rows_are_counted_though_a_conversation_has_several_answers(session: Session) -> None:
    turns = [Message(role, "hello") for role in ("user", "assistant") * 3]
    session.attach("one", rank=2)
    found = trained(session, guard=[Row(None, "", messages=tuple(turns))], template="chat").guard
    assert (found.rows, found.before is None) == (1, False)


@pytest.mark.parametrize("kind", ["frame", "file", "texts", "columns"])
def test_it_takes_any_form_of_data(kind: str, session: Session) -> None:
    frame = pd.DataFrame(GENERAL, columns=["prompt", "completion"])
    frame.to_csv("general.csv", index=False)
    forms: dict[str, Any] = {
        "frame": frame,
        "file": "general.csv",
        "texts": [answer for _, answer in GENERAL],
        "columns": frame.rename(columns={"prompt": "body", "completion": "reply"}),
    }
    rows = pd.DataFrame([("a", "b"), ("c", "d")], columns=["body", "reply"])
    session.attach("one", rank=2)
    flags = {"columns": "body => reply"} if kind == "columns" else {}
    data = rows if kind == "columns" else [("a", "b")]
    found: Any = session.train("one", data, steps=1, guard=forms[kind], **flags).guard
    assert found.rows == 30


def test_a_classifier_is_measured_by_the_labels_of_its_guard(tmp_path: Path) -> None:
    folder = saved(tiny_of("causal", "llama"), tmp_path / "base")
    session = Session()
    session.load(folder, task="classification", labels="day,night")
    session.attach("sky", rank=2)
    general = [("the sun", "day"), ("a moon and a star", "night"), ("light", "day")]
    flags: dict[str, Any] = {"text": "sun => day\nmoon => night", "steps": 2}
    found: Any = session.train("sky", guard=general, **flags).guard
    assert (found.rows, found.tokens) == (3, 3)
    total = 0.0
    for text, label in general:
        with torch.no_grad():
            logits = session.model(**session.tokenizer(text, return_tensors="pt")).logits[0]
        total += float(cross_entropy(logits.double(), torch.tensor(["day", "night"].index(label))))
    assert found.after == pytest.approx(total / 3, abs=REORDERED)
    general = [(f"sun {n}", "day") for n in range(20)]
    found = session.train("sky", guard=general, replay=0.5, **flags).guard
    assert found.rows + found.replayed == 20
    assert (found.tokens, found.before is None, found.after is None) == (found.rows, False, False)
    with pytest.raises(DataError, match=r"--guard: row 2: unknown label 'dawn'.*labels are day"):
        session.train("sky", guard=[("a", "day"), ("b", "dawn")], **flags)
    with pytest.raises(DataError, match=r"--guard: row 1: a text without a label"):
        session.train("sky", guard=["a text"], **flags)


# Measuring changes nothing


@pytest.mark.parametrize("method", ["lora", "dora", "prefix", "houlsby", "full", "adalora"])
def test_a_run_has_the_same_bits_with_and_without_a_guard(method: str, saved_model: Saver) -> None:
    dropped = {"dropout": 0.1} if method in ("lora", "dora") else {}
    ends = []
    for general in (GENERAL, None):
        session = Session()
        session.load(str(saved_model()))
        session.attach("one", **VARIANTS[method], **dropped)
        torch.manual_seed(7)
        random.seed(7)
        run = trained(session, steps=10, guard=general)
        weights = {k: v.tolist() for k, v in session._state.attached["one"].state().items()}
        ends.append((states(), run.losses, run.data_hash, weights))
        assert session.verify()
        session.reset()
    assert ends[0] == ends[1]


@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_the_model_is_left_as_found(method: str, session: Session) -> None:
    session.attach("one", **VARIANTS[method])
    state, attached = session._state, session._state.attached["one"]
    session.model.train()
    before, at, slots = snapshot(session), states(), state.slots.written
    rows = guard.read(state, [Row(*pair) for pair in GENERAL], None, encoding(session), 4)
    assert rows is not None
    assert isinstance(guard.measure(state, attached, rows, lambda: False), float)
    assert snapshot(session) == before
    assert states() == at
    assert state.slots.written == slots


def encoding(session: Session) -> Any:
    from lora_magic.training.encode import encode

    form = session._state.form_of("base")
    return lambda rows: encode(rows, session.tokenizer, form, 64)


# Replay


def test_the_halves_have_all_rows_and_a_row_stays_in_its_half() -> None:
    rows = [Row(f"prompt {n}", f"answer {n}") for n in range(500)]
    measured, replayed = guard.halves(rows)
    assert sorted([*measured, *replayed], key=rows.index) == rows
    assert not {row.asked for row in measured} & {row.asked for row in replayed}
    # A fair coin of 500 throws is this far from 250 once in 10,000 times.
    assert abs(len(measured) - 250) < 45
    some = rows[::-3]
    random.Random(1).shuffle(some)
    assert set(guard.halves(some)[0]) == set(some) & set(measured)
    # Rows that ask the same fall into one half.
    assert guard.halves([Row(row.prompt, "other") for row in measured])[1] == []


def read_in_training(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, ...]]:
    """How often the steps read each example from now on, by its tokens."""
    seen: Counter[tuple[int, ...]] = Counter()
    real = loop.Loop._passes

    def passes(self: loop.Loop, step: Any) -> Any:
        made = real(self, step)
        for inputs in made:
            for document in inputs["input_ids"][0].split(inputs["lengths"].tolist()):
                seen[tuple(document.tolist())] += 1
        return made

    monkeypatch.setattr(loop.Loop, "_passes", passes)
    return seen


def test_only_the_replayed_half_is_trained_on_and_only_the_other_measured(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = read_in_training(monkeypatch)
    session.attach("one", rank=2)
    own = [(f"own {n}", "yes") for n in range(60)]
    found: Any = session.train(
        "one", own, steps=40, eval=10, guard=GENERAL, replay=0.25, template="plain"
    )
    measured, replayed = guard.halves([Row(*pair) for pair in GENERAL])
    assert (found.guard.rows, found.guard.replayed) == (len(measured), len(replayed))

    def tokens(row: Row) -> tuple[int, ...]:
        tokenizer = session.tokenizer
        said = tokenizer(row.completion, add_special_tokens=False)["input_ids"]
        return (*tokenizer(f"{row.prompt}\n")["input_ids"], *said, tokenizer.eos_token_id)

    assert not [row for row in measured if tokens(row) in seen]
    assert all(tokens(row) in seen for row in replayed)
    share = sum(seen[tokens(row)] for row in replayed) / seen.total()
    assert share == pytest.approx(0.25, abs=1 / seen.total())
    pairs = [(row.prompt or "", row.completion) for row in measured]
    after, count = loss_one_by_one(session.model, session.tokenizer, pairs)
    assert found.guard.tokens == count
    assert found.guard.after == pytest.approx(after, abs=REORDERED)


def test_replayed_rows_are_not_held_out_and_not_counted_as_the_runs_own(session: Session) -> None:
    session.attach("one", rank=2)
    own = [(f"own {n}", "yes") for n in range(60)]
    found = [session.train("one", own, steps=9, guard=GENERAL, replay=r) for r in (None, 0.5)]
    assert found[0].held_out_before == found[1].held_out_before
    assert [run.held_out for run in found] == [6, 6]
    assert [run.examples for run in found] == [54, 54]
    assert found[1].trained_tokens <= found[0].trained_tokens


def test_the_hash_of_the_data_covers_the_replayed_rows_only(session: Session) -> None:
    session.attach("one", rank=2)
    half = guard.halves([Row(*pair) for pair in GENERAL])[1]
    measured = [pair for pair in GENERAL if Row(*pair) not in half]

    def data(rows: list[tuple[str, str]], replay: float | None = 0.2) -> str:
        digest: str = trained(session, steps=1, guard=rows, replay=replay).data_hash
        return digest

    alone = data(GENERAL, None)
    assert alone == trained(session, steps=1, guard=None).data_hash
    changed = [(half[0].prompt or "", "another answer")]
    assert data(GENERAL) != alone
    assert data(GENERAL) == data(GENERAL)
    rest = [pair for pair in GENERAL if pair[0] != half[0].prompt]
    assert data([*rest, *changed]) != data(GENERAL)
    assert data([pair for pair in GENERAL if pair != measured[0]]) == data(GENERAL)


def test_a_run_with_replay_has_the_same_bits_twice(session: Session) -> None:
    session.attach("one", rank=2, dropout=0.1)
    first, again = (trained(session, replay=0.3, steps=8) for _ in range(2))
    assert (first.losses, first.guard) == (again.losses, again.guard)


def test_replay_holds_the_loss_on_the_measured_half_back(session: Session) -> None:
    session.attach("one", rank=8)
    plain, replayed = (trained(session, steps=60, replay=share) for share in (None, 0.5))
    assert replayed.guard.after < plain.guard.after


# Where it is told


def test_it_is_in_the_plan_the_receipt_the_facts_and_the_card(session: Session) -> None:
    follower, lines = Follower(), []
    follower.start = lambda plan: lines.append(plan.line)  # type: ignore[method-assign]
    session.attach("one", rank=2)
    found = trained(session, replay=0.1, reporter=follower)
    replayed = guard.halves([Row(*pair) for pair in GENERAL])[1]
    assert f" + 10 % replay of {len(replayed)} guard rows · " in lines[0]
    assert isinstance(found.guard, Guard)
    assert isinstance(found.forgetting, TextForgetting)
    assert found.line.endswith(f"; {found.guard.line}; {found.forgetting.line}")
    assert dict(found.guard.facts).items() <= dict(found.facts).items()
    assert follower.told == [found]
    session.save("one", "there")
    card = json.loads(Path("there/lora_magic.json").read_text(encoding="utf-8"))
    assert card["run"]["guard"] == {
        "before": found.guard.before,
        "after": found.guard.after,
        "rows": found.guard.rows,
        "tokens": found.guard.tokens,
        "replayed": len(replayed),
        "why": "",
    }
    assert card["run"]["flags"]["replay"] == 0.1


def test_without_a_guard_nothing_is_said_of_it(session: Session) -> None:
    session.attach("one", rank=2)
    found = trained(session, guard=None)
    assert found.guard is None
    assert "guard" not in found.line
    assert "guard" not in session._state.attached["one"].run


# Stopping


class Pressing(Follower):
    """A button that is pressed at the nth measurement of the guard's loss."""

    def __init__(self, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        real, calls = guard.loss, []

        def loss(*given: Any, **flags: Any) -> float:
            calls.append(given)
            if len(calls) == at:
                self.stop.set()
            return real(*given, **flags)

        monkeypatch.setattr(guard, "loss", loss)


def test_a_stop_while_the_guard_is_measured_before_the_run_keeps_its_first_step(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    follower = Pressing(1, monkeypatch)
    with pytest.raises(TrainingStopped, match="after step 1 of 3"):
        trained(session, reporter=follower)
    (told,) = follower.told
    assert (told.guard.before, told.guard.why) == (None, "stopped")
    assert session.adapters["one"].history.steps == 1


def test_a_stop_while_the_guard_is_measured_after_the_run_keeps_the_run(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    follower = Pressing(2, monkeypatch)
    found = trained(session, reporter=follower)
    assert (found.guard.after, found.guard.why) == (None, "stopped")
    assert found.guard.before is not None
    assert found.forgetting == Unmeasured("stopped")
    assert session.adapters["one"].history.steps == 3
    assert follower.told == [found]


@pytest.mark.parametrize(("presses", "error"), [(1, None), (2, KeyboardInterrupt)])
def test_an_interrupt_of_the_kernel_in_the_measurement_after_the_run_keeps_the_run(
    presses: int, error: type[BaseException] | None, session: Session, monkeypatch: Any
) -> None:
    session.attach("one", rank=2)
    real, calls = guard.loss, []

    def loss(*given: Any, **flags: Any) -> float:
        calls.append(given)
        if len(calls) == 2:
            interrupt(presses)()
        return real(*given, **flags)

    monkeypatch.setattr(guard, "loss", loss)
    follower = Follower()
    with pytest.raises(error) if error else nullcontext():
        trained(session, reporter=follower)
    (told,) = follower.told
    assert (told.guard.after, told.guard.why) == (None, "stopped")
    assert told.guard.before is not None
    assert session.adapters["one"].history.steps == 3
    assert session._state.attached["one"].run["guard"]["why"] == "stopped"
    assert session.verify()


# What can go wrong


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, math.nan, "a lot", True])
def test_a_share_that_is_none_is_refused(share: Any, session: Session) -> None:
    session.attach("one", rank=2)
    with pytest.raises(CommandError, match=r"^--replay .*expected"):
        trained(session, replay=share)
    assert session.adapters["one"].history.steps == 0


def test_replay_without_a_guard_is_refused(session: Session) -> None:
    session.attach("one", rank=2)
    with pytest.raises(CommandError, match=r"--replay 0.1 takes its rows from --guard: exp"):
        trained(session, guard=None, replay=0.1)


def test_a_guard_too_small_for_two_halves_is_refused(session: Session) -> None:
    session.attach("one", rank=2)
    with pytest.raises(CommandError, match=r"--replay 0.1: of 1 row in --guard one half is"):
        trained(session, guard=GENERAL[:1], replay=0.1)
    assert trained(session, guard=GENERAL[:1]).guard.rows == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], r"^--guard: the data is empty"),
        ("no/such.csv", r"^--guard: .*no/such.csv"),
        ([("a", "")], r"^--guard: nothing to measure: the one row is empty"),
        ([("a", "b"), 3], r"^--guard: row 2: expected a \(prompt, completion\) pair"),
        (3, r"^--guard: data of type int"),
    ],
)
def test_rows_that_cannot_be_read_are_the_guards(rows: Any, said: str, session: Session) -> None:
    session.attach("one", rank=2)
    with pytest.raises(LoraMagicError, match=said) as caught:
        trained(session, guard=rows)
    assert "--data" not in str(caught.value)
    assert session.adapters["one"].history.steps == 0


def test_no_memory_for_the_guard_is_told_and_ends_no_run(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> float:
        raise torch.OutOfMemoryError("it is full")

    monkeypatch.setattr(guard, "loss", full)
    session.attach("one", rank=2)
    found = trained(session)
    assert found.guard == Guard(None, None, 30, found.guard.tokens, why="out of memory")
    assert "guard: not measured (out of memory) on 30 rows" in found.line
    assert session.adapters["one"].history.steps == 3


def test_a_loss_that_is_not_finite_is_no_number(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "loss", lambda *_, **__: math.nan)
    session.attach("one", rank=2)
    found = trained(session).guard
    assert (found.before, found.after, found.why) == (None, None, "the loss is not finite: nan")


def test_a_fault_of_ours_is_a_warning_and_keeps_the_run(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> float:
        raise KeyError("a fault")

    monkeypatch.setattr(guard, "loss", fail)
    session.attach("one", rank=2)
    with pytest.warns(RuntimeWarning, match=r"one: the loss on the rows of --guard could not"):
        assert trained(session).guard.why == "KeyError: 'a fault'"


def test_the_guard_is_measured_in_smaller_passes_when_memory_runs_out(session: Session) -> None:
    session.attach("one", rank=2)
    expected = trained(session).guard

    def full(module: object, args: object, given: dict[str, Any]) -> None:
        if len(given["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = session.model.register_forward_pre_hook(full, with_kwargs=True)
    found = trained(session).guard
    hook.remove()
    assert found.before == pytest.approx(expected.before, abs=REORDERED)
    assert found.after == pytest.approx(expected.after, abs=1e-4)
