"""The session's rules: a cell can run twice, a failed verb changes nothing, the base is sacred."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import lora_magic
from lora_magic.errors import (
    AdapterError,
)
from lora_magic.state.session import Session
from tests.conftest import REORDERED, Saver, logits, perturb
from tests.state.shared import ROWS, snapshot
from tests.tiny import ARCHITECTURES, tiny_model


def test_the_same_targets_in_another_order_are_the_same_spec(session: Session) -> None:
    first = session.attach("one", rank=2, targets="q_proj,v_proj")
    assert session.attach("one", rank=2, targets=["v_proj", "q_proj"]) == first


def test_attach_twice_returns_the_same_and_another_spec_is_refused(session: Session) -> None:
    first = session.attach("one", rank=2)
    perturb(session, "one")
    weights = session._state.attached["one"].state()
    assert session.attach("one", rank=2) == first
    with pytest.raises(AdapterError, match=r"rank 2, not 4.*--replace"):
        session.attach("one", rank=4)
    assert all(
        torch.equal(weights[k], v) for k, v in session._state.attached["one"].state().items()
    )
    assert session.attach("one", rank=4, replace=True).spec.rank == 4
    assert torch.equal(logits(session), logits_of(session, "base"))


def test_attached_again_it_says_what_it_has_learned(session: Session) -> None:
    session.attach("one", rank=2)
    session.train("one", text=ROWS, steps=3)
    again = session.attach("one", rank=2)
    assert f"; {again.history.line}" in again.line
    assert "3 steps" in again.line
    assert repr(again).count("3 steps") == 1


def test_methods_and_starts_are_read_in_any_case(session: Session) -> None:
    assert session.attach("one", method="LoRA", rank=2, init="PiSSA").spec.init == "pissa"
    assert session.attach("two", method="DoRA", rank=2).spec.dora
    assert session.attach("three", method="IA3").spec.method == "ia3"


def test_a_folder_that_holds_another_adapter_is_not_written_over(
    session: Session, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        session.attach(name, rank=2)
    session.save("one", tmp_path / "ours")
    shutil.copytree(tmp_path / "ours", tmp_path / "pefts")
    (tmp_path / "pefts" / "lora_magic.json").unlink()
    # Another day: nothing in the session remembers what was saved where.
    for attached in session._state.attached.values():
        attached.saved_to = None
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    for name, folder in (("two", "ours"), ("two", "pefts"), ("one", "pefts")):
        with pytest.raises(AdapterError, match=f"%lora save {name} DIR"):
            session.save(name, tmp_path / folder)
    assert {path: path.read_bytes() for path in before} == before
    session.save("one", tmp_path / "ours")
    session.open(tmp_path / "pefts", "three")
    session.save("three", tmp_path / "pefts")


def logits_of(session: Session, name: str) -> torch.Tensor:
    session.swap(name)
    return logits(session)


def test_the_seed_comes_from_the_name(session: Session) -> None:
    one, two = session.attach("one", rank=2), session.attach("two", rank=2)
    assert one.spec.seed != two.spec.seed


def test_swapping_is_exact_in_any_order(session: Session) -> None:
    expected = {"base": logits(session)}
    for seed, name in enumerate(["one", "two", "three"]):
        session.attach(name, rank=2 + seed)
        perturb(session, name, seed=seed)
        expected[name] = logits(session)
    order = torch.randint(0, 4, (60,), generator=torch.Generator().manual_seed(0)).tolist()
    for index in order:
        name = list(expected)[index]
        assert torch.equal(logits_of(session, name), expected[name])
    assert session.verify()


def test_detaching_the_active_one_leaves_base(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    session.detach("one")
    assert session.active == "base"
    with torch.no_grad():
        assert torch.equal(logits(session), tiny_model()(torch.arange(10, 26)[None]).logits)


def test_a_training_cell_run_twice_ends_with_the_same_weights(session: Session) -> None:
    session.attach("one", rank=2, dropout=0.1)
    session.train("one", text=ROWS, steps=3)
    first = session._state.attached["one"].state()
    session.train("one", text=ROWS, steps=3)
    again = session._state.attached["one"].state()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert session.adapters["one"].history.steps == 3
    session.train("one", text=ROWS, steps=3, continue_=True)
    assert session.adapters["one"].history.steps == 6
    assert any(
        not torch.equal(first[k], v) for k, v in session._state.attached["one"].state().items()
    )
    assert session.verify()


def test_training_leaves_the_model_as_it_was(session: Session) -> None:
    session.attach("one", rank=2)
    before = snapshot(session)
    session.train("one", text=ROWS, steps=2)
    after = snapshot(session)
    for key in ("tree", "flags", "training", "hooks", "attributes", "config", "merged", "active"):
        assert after[key] == before[key], key


def test_training_one_adapter_moves_no_other(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    session.attach("two", rank=2)
    before = session._state.attached["one"].state()
    session.train("two", text=ROWS, steps=2)
    assert all(torch.equal(before[k], v) for k, v in session._state.attached["one"].state().items())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_in_the_middle_of_training_gives_the_weights_back(
    error: type[BaseException], session: Session
) -> None:
    session.attach("two", rank=2)
    session.attach("one", rank=2)
    session.train("one", text=ROWS, steps=2)
    session.swap("two")

    class Failing:
        def start(self, plan: object) -> None: ...
        def finish(self, summary: object) -> None: ...
        def step(self, point: object) -> None:
            raise error("in the middle")

    before = snapshot(session)
    with pytest.raises(error):
        session.train("one", text=ROWS, steps=4, reporter=Failing())
    assert snapshot(session) == before
    assert session.verify()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_main_job_leaves_the_base_as_it_was(
    architecture: str, saved_model: Saver, tmp_path: Path
) -> None:
    csv = tmp_path / "rows.csv"
    csv.write_text('body,reply\nWhere is it?,Arr!\nWhat is that?,"A fish, matey!"\n')
    session = Session()
    session.load(str(saved_model(architecture)))
    session.attach("one", rank=4)
    summary = session.train("one", str(csv), columns="body => reply", steps=3)
    assert summary.steps == 3
    session.attach("two", rank=2)
    session.swap("one")
    trained = logits(session)
    session.save("one", tmp_path / "one")
    session.open(tmp_path / "one", "again")
    assert torch.equal(logits(session), trained)
    session.merge("again")
    assert torch.allclose(logits(session), trained, atol=REORDERED)
    session.unmerge()
    assert torch.equal(logits(session), trained)
    assert session.verify()
    assert lora_magic.Session is Session


@pytest.mark.parametrize("more", [False, True])
def test_the_history_of_an_opened_adapter_counts_its_earlier_steps(
    more: bool, session: Session
) -> None:
    """Its training begins from the weights in the file, which those steps made."""
    session.attach("one", rank=2)
    first = session.train("one", text="Where? => Here.", steps=3)
    session.save("one", "there")
    session.open("there", "two")
    session.train("two", text="Where? => Here.", steps=2, continue_=True)
    summary = session.train("two", text="Where? => Here.", steps=2, continue_=more)
    history = session.adapters["two"].history
    assert history.steps == (7 if more else 5)
    assert (history.first_loss, history.last_loss) == (first.first_loss, summary.last_loss)
