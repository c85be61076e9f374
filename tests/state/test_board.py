"""The board of a session: its losses are those of a plain forward, and they outlive a folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from lora_magic.errors import AdapterError, LoraMagicError, StateError
from lora_magic.evaluation.board import BoardRow
from lora_magic.state.measured import POINTS
from lora_magic.state.session import Session
from lora_magic.training.encode import Example, measured_hash
from tests.classifiers import saved, tiny_of
from tests.conftest import Saver
from tests.state.shared import snapshot

ROWS = [(f"Where is number {n}?", f"Here, {n}." * (1 + n % 3)) for n in range(24)]
HELD_OUT = [(f"Who has number {n}?", f"You, {n}.") for n in range(5)]
FLAGS: dict[str, Any] = {"steps": 6, "batch_size": 4, "lr": 1e-2, "eval": HELD_OUT}
PAIRS = [
    {"prompt": f"Number {n}?", "chosen": f"Here, {n}.", "rejected": f"No {n}."} for n in range(8)
]


def row_of(session: Session, name: str) -> BoardRow:
    """The only row of an adapter."""
    (row,) = session.board(name).rows
    return row


def loss_of(session: Session, name: str) -> float:
    """The mean over the held-out completions' tokens, unpadded, in float64 from the logits on."""
    active, total, count = session.active, 0.0, 0
    session.swap(name)
    tokenizer = session.tokenizer
    for prompt, completion in HELD_OUT:
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        both = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}],
            tokenize=False,
        )
        start = len(tokenizer(asked, add_special_tokens=False)["input_ids"])
        # The template's text ends with the end token and, after it, what is not trained.
        whole = tokenizer(both.rstrip(), add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = session.model(input_ids=torch.tensor([whole])).logits[0, :-1].double()
        each = functional.cross_entropy(logits, torch.tensor(whole[1:]), reduction="none")
        total, count = total + float(each[start - 1 :].sum()), count + len(whole) - start
    session.swap(active)
    return total / count


def test_the_losses_are_those_of_a_plain_forward_with_the_kept_weights(session: Session) -> None:
    for name, rank in (("one", 2), ("two", 4)):
        session.attach(name, rank=rank)
        session.train(name, ROWS, **FLAGS)
    rows = {row.adapter: row for row in session.board().rows}
    base = loss_of(session, "base")
    for name, row in rows.items():
        assert row.held_out == pytest.approx(loss_of(session, name), abs=1e-5)
        assert row.base_held_out == pytest.approx(base, abs=1e-5)
        assert row.gain == pytest.approx(base - loss_of(session, name), abs=2e-5)
    assert rows["one"].data == rows["two"].data is not None


def test_a_continued_run_keeps_the_bases_loss_and_not_that_of_its_start(session: Session) -> None:
    session.attach("one", rank=2)
    session.train("one", ROWS, **FLAGS)
    first = row_of(session, "one")
    session.train("one", ROWS, more=True, **FLAGS)
    second = row_of(session, "one")
    assert second.steps == 12
    assert second.base_held_out == first.base_held_out
    assert second.base_held_out == pytest.approx(loss_of(session, "base"), abs=1e-5)
    session.train("one", ROWS, more=True, **{**FLAGS, "eval": HELD_OUT[:3]})
    other = row_of(session, "one")
    assert other.data != first.data
    # What the base's loss is on these rows was never measured.
    assert (other.base_held_out, other.gain) == (None, None)
    assert other.held_out is not None


@pytest.mark.parametrize(
    "spec",
    [
        {"method": "prefix", "virtual_tokens": 4},
        {"rank": 2, "init": "pissa"},
    ],
)
def test_an_adapter_that_does_not_begin_as_the_base_takes_its_loss_from_one_that_does(
    spec: dict[str, Any], session: Session
) -> None:
    session.attach("odd", **spec)
    session.train("odd", ROWS, **FLAGS)
    assert row_of(session, "odd").base_held_out is None
    session.attach("plain", rank=2)
    session.train("plain", ROWS, **FLAGS)
    rows = {row.adapter: row for row in session.board().rows}
    assert rows["odd"].data == rows["plain"].data
    assert rows["odd"].base_held_out == pytest.approx(loss_of(session, "base"), abs=1e-5)


@pytest.mark.parametrize(
    "spec", [{"method": "bitfit"}, {"method": "full"}, {"method": "ia3"}, {"method": "houlsby"}]
)
def test_every_fresh_adapter_without_effect_begins_as_the_base(
    spec: dict[str, Any], saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model("gpt2")))
    session.attach("one", **spec)
    for _ in range(2):  # Also when it is trained again, from its initial state.
        summary = session.train("one", ROWS, **FLAGS)
        assert row_of(session, "one").base_held_out == summary.held_out_before  # type: ignore[union-attr]  # a run
    session.train("one", ROWS, more=True, **{**FLAGS, "eval": HELD_OUT[:3]})
    assert row_of(session, "one").base_held_out is None


@pytest.mark.parametrize(
    "change",
    [
        {"template": "plain"},
        {"system": "Be brief."},
        {"max_length": 26},
        {"eval": HELD_OUT[1:]},
    ],
)
def test_what_changes_the_tokens_changes_the_data(change: dict[str, Any], session: Session) -> None:
    for name, flags in (("one", {}), ("two", change)):
        session.attach(name, rank=2)
        session.train(name, ROWS, **{**FLAGS, **flags})
    one, two = (row_of(session, name).data for name in ("one", "two"))
    assert None not in (one, two)
    assert one != two


@pytest.mark.parametrize("change", [{"max_length": 60}, {"seed": 3}, {"eval": HELD_OUT[::-1]}])
def test_what_changes_no_token_changes_no_data(change: dict[str, Any], session: Session) -> None:
    for name, flags in (("one", {}), ("two", change)):
        session.attach(name, rank=2)
        session.train(name, ROWS[4:] if name == "two" else ROWS, **{**FLAGS, **flags})
    assert row_of(session, "one").data == row_of(session, "two").data


def test_examples_are_told_apart_by_tokens_labels_and_rejected_answers() -> None:
    first = Example((1, 2, 3), (-100, 2, 3), 0)
    other = Example((4, 5), (-100, 5), 1)
    variants = [
        [first],
        [first, first],
        [first, other],
        [Example((1, 2, 3), (-100, -100, 3), 0)],
        [Example((1, 2, 3), (), 0, label=0)],
        [Example((1, 2, 3), (), 0, label=1)],
        [Example((1, 2, 3), (-100, 2, 3), 0, rejected=other)],
    ]
    hashes = [measured_hash(examples) for examples in variants]
    assert len(set(hashes)) == len(variants)
    assert measured_hash([first, other]) == measured_hash([other, first])
    assert measured_hash([first]) != measured_hash([first], "another base")


def test_preferences_have_another_data_and_none_if_they_do_not_begin_as_the_base(
    session: Session,
) -> None:
    flags: dict[str, Any] = {"steps": 2, "batch_size": 2, "eval": 3}
    for name, beta in (("one", 0.1), ("two", 0.5)):
        session.attach(name, rank=2)
        session.train(name, PAIRS, beta=beta, **flags)
    one, two = row_of(session, "one"), row_of(session, "two")
    assert one.data != two.data
    # Without an adapter every margin is 0.
    assert one.base_held_out == pytest.approx(math.log(2), abs=1e-6)
    session.train("one", PAIRS, beta=0.1, more=True, **flags)
    again = row_of(session, "one")
    assert again.held_out is not None
    assert (again.data, again.base_held_out, again.gain) == (None, None, None)


def test_several_adapters_and_a_sweep_are_on_it_too(session: Session) -> None:
    for name in ("one", "two"):
        session.attach(name, rank=2)
    session.train("one,two", ROWS, **FLAGS)
    session.train("one", ROWS, **FLAGS)
    rows = {row.adapter: row for row in session.board().rows}
    assert rows["one"].data == rows["two"].data is not None
    assert rows["two"].base_held_out == pytest.approx(loss_of(session, "base"), abs=1e-5)
    found = session.sweep("best", ROWS, rank=[1, 2], **{**FLAGS, "eval": 8})
    swept = [row for row in session.board().rows if row.adapter == "best"]
    assert len({row.data for row in swept}) == 2
    assert (found.reported, found.base_loss) in {(r.held_out, r.base_held_out) for r in swept}
    best = found.best
    assert best is not None
    assert best.held_out in {row.held_out for row in swept}
    assert f"held out {found.reported:.2f}" in repr(session.status())


def test_untrained_opened_blended_and_compressed_adapters_have_rows_without_losses(
    session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.train("one", ROWS, **FLAGS)
    session.save("one", tmp_path / "one")
    (tmp_path / "one" / "lora_magic.json").unlink()
    session.attach("fresh", rank=2)
    session.open(tmp_path / "one", "opened")
    session.blend("both", "one=0.5 opened=0.5")
    session.compress("one", "small", rank=1)
    rows = {row.adapter: row for row in session.board().rows}
    assert set(rows) == {"one", "fresh", "opened", "both", "small"}
    for name in ("fresh", "opened", "both", "small"):
        assert (rows[name].held_out, rows[name].data, rows[name].gain) == (None, None, None)
    assert (rows["opened"].saved, rows["fresh"].saved) == (str(tmp_path / "one"), "")


def test_a_reopened_adapter_has_the_same_row_and_curve(
    session: Session, saved_model: Saver, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.train("one", ROWS, **FLAGS)
    assert row_of(session, "one").saved == ""
    session.save("one", tmp_path / "one")
    again = Session()
    again.load(str(saved_model()))
    again.open(tmp_path / "one")
    assert again.board() == session.board()
    assert len(again.board().curves[0].points) > 1
    assert repr(again.status()).count(", held out ") == 1
    (tmp_path / "one" / "adapter_model.safetensors").unlink()
    assert row_of(again, "one").saved == ""


def test_a_long_run_leaves_a_small_card(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=1)
    summary: Any = session.train("one", ROWS, steps=3 * POINTS + 5, batch_size=1)
    (curve,) = session.board().curves
    assert not curve.held_out
    assert 2 < len(curve.points) <= POINTS
    assert curve.points[-1][0] == summary.steps
    first = curve.points[0]
    assert first[1] == pytest.approx(sum(summary.losses[: first[0]]) / first[0], rel=1e-5)
    session.save("one", tmp_path / "one")
    assert (tmp_path / "one" / "lora_magic.json").stat().st_size < 10_000


def test_the_losses_of_another_base_are_not_compared_with_those_of_this_one(
    session: Session, saved_model: Saver, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.train("one", ROWS, **FLAGS)
    session.save("one", tmp_path / "one")
    other = Session()
    other.load(str(saved_model(initializer_range=0.3)))
    other.attach("two", rank=2)
    other.train("two", ROWS, **FLAGS)
    other.open(tmp_path / "one", allow_other_base=True)
    assert row_of(other, "one").data != row_of(other, "two").data


def test_a_classifiers_losses_are_on_it(tmp_path: Path) -> None:
    session = Session()
    folder = saved(tiny_of("causal", "llama"), tmp_path)
    session.load(folder, task="classification", labels="day,night")
    session.attach("sky", rank=2, targets="attention")
    rows = [(f"The {n} sun", "day") for n in range(4)] + [
        (f"A {n} moon", "night") for n in range(4)
    ]
    session.train("sky", rows, steps=2, eval=2)
    row = row_of(session, "sky")
    assert None not in (row.held_out, row.base_held_out, row.data)
    assert (row.subject, row.truth) == (None, None)


def test_the_guards_loss_is_on_it(session: Session) -> None:
    session.attach("one", rank=2)
    summary: Any = session.train("one", ROWS, steps=2, guard=HELD_OUT)
    assert row_of(session, "one").guard == summary.guard.after


def test_what_a_card_claims_breaks_no_board(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.train("one", ROWS, **FLAGS)
    session.save("one", tmp_path / "one")
    file = tmp_path / "one" / "lora_magic.json"
    card = json.loads(file.read_text())
    told = {"rows": 1, "base_loss": -1e299, "seconds": 1e299, "when": "<b>", "metrics": {"$": 1.0}}
    card["run"] |= {
        "when": "</td><script>",
        "held_out_sha256": "</td>\u202e\n$x$",
        "held_out_after": 1e299,
        "seconds": -1e299,
        "curve": {"held_out": True, "points": [[2**60, 1e299], [0, -1.0], [1, 0.0]] * 1000},
        "forgetting": {"measure": "answers", "questions": 0, "subject": 3, "right": 5},
        "evaluations": {"0" * 64: {**told, "loss": 1e-300}, "f" * 64: {**told, "loss": None}},
    }
    file.write_text(json.dumps(card))
    session.open(tmp_path / "one", "two")
    found = session.board()
    page = found._repr_mimebundle_()
    assert "<script>" not in str(page["text/html"]).replace("<script data", "")
    assert "\u202e" not in repr(found)
    assert len(found.to_frame()) == len(found.rows)
    assert repr(session.status())


def test_it_changes_nothing_and_says_what_to_type(session: Session, tmp_path: Path) -> None:
    assert "%lora attach NAME" in repr(session.board())
    session.attach("one", rank=2)
    before = snapshot(session)
    with pytest.raises(AdapterError, match=r"no adapter 'onee'; attached: one.*Did you mean 'one'"):
        session.board("onee")
    with pytest.raises(LoraMagicError, match="Did you mean 'held_out'"):
        session.board(sort="heldout")
    assert session.board("one,one").rows == session.board("one").rows
    assert snapshot(session) == before
    with pytest.raises(StateError, match="no base model is loaded"):
        Session().board()
