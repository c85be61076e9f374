"""`%lora plan` in a shell: what a word names, and that every line it gives can be typed."""

from __future__ import annotations

from typing import Any

import pytest

from lora_magic.cost import machine
from lora_magic.cost.plan import CostPlan
from lora_magic.errors import CommandError, StateError
from lora_magic.magics.shell import KEPT_AS
from lora_magic.magics.verb import Call
from lora_magic.magics.verbs.planning import PLAN, named
from lora_magic.state.session import Session
from tests.magics.conftest import FakeSession, TestingShell, run_alone
from tests.tiny import tiny_model

SIZES = "layers=4,width=256,heads=4,inner=512"
GIGA = 10**9


class Config:
    """A config, as transformers makes it."""

    model_type = "llama"


@pytest.mark.parametrize(
    ("typed", "is_value"),
    [("mine", True), ("box.mine", True), ("gpt2", False), ("demo", False), ("other", False)],
)
def test_a_word_is_a_variable_unless_it_is_a_known_name(typed: str, is_value: bool) -> None:
    variables = {"mine": Config(), "box": FakeBox(), "gpt2": 5, "demo": "text"}
    found = named(typed, variables)
    assert (found is not typed) == is_value


class FakeBox:
    mine = Config()


def test_a_model_or_config_comes_before_a_known_name() -> None:
    config = Config()
    assert named("gpt2", {"gpt2": config}) is config


def test_names_with_marks_are_never_variables() -> None:
    variables = {"qwen2": Config(), "owner": Config()}
    for typed in ("qwen2.5-7b", "owner/model", "layers=2,width=64"):
        assert named(typed, variables) == typed


def test_the_line_is_one_call(shell: TestingShell, session: FakeSession) -> None:
    shell.run(f"%lora plan {SIZES} --4bit --rank 4 --gpu h100 --price 2.5 --tokens 1e6")
    given = {"bits": 4, "rank": 4, "gpu": "h100", "price": 2.5, "tokens": 1e6}
    assert session.last == ("plan", (), {"model": SIZES, **given})
    shell.run("%lora vram")
    assert session.last == ("plan", (), {})


def test_labels_may_be_a_variable(shell: TestingShell, session: FakeSession) -> None:
    shell.user_ns["names"] = ["no", "yes"]
    shell.run(f"%lora plan {SIZES} --task classification --labels names")
    assert session.last[2]["labels"] == ["no", "yes"]


@pytest.fixture
def real(shell: TestingShell, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session without a base, on a CPU with 16 GB."""
    monkeypatch.setattr(machine, "free_memory", lambda: 16 * GIGA)
    monkeypatch.setattr(machine, "_card_here", lambda: None)
    found = Session()
    setattr(shell, KEPT_AS, found)
    return found


def plan(shell: TestingShell, line: str) -> CostPlan:
    found = shell.run(f"found = {line}") and shell.user_ns["found"]
    assert isinstance(found, CostPlan)
    return found


def chosen(found: CostPlan) -> Any:
    return next(way for way in found.ways if way.name == found.chosen)


@pytest.mark.parametrize(
    "line",
    [
        "llama-3-8b",
        "llama-3-8b --gpu t4",
        "llama-3-8b --gpu rtx4090 --max-length 8192",
        "llama-3-8b --gpu h100 --method full",
        "llama-3-8b --gpu l4 --method prefix --virtual-tokens 20",
        "llama-3-8b --gpu l4 --method houlsby --rank 64 --batch-size 4",
        "llama-3-8b --gpu t4 --bits 4 --max-length 8192",
        "llama-3-70b --gpu t4",
        "llama-3-70b --gpu a100-80 --rank-pattern q_proj=16",
        "gpt3-175b --gpu h100 --rank 4 --targets q_proj,v_proj",
    ],
)
def test_the_line_that_is_advised_makes_it_fit(
    line: str, shell: TestingShell, real: Session
) -> None:
    before = plan(shell, f"%lora plan {line}")
    assert chosen(before).fits is False
    assert before.advice
    after = plan(shell, before.command)
    assert chosen(after).fits is True
    assert not after.advice
    assert not after.command


def test_what_no_card_holds_is_told_with_the_number_of_cards(
    shell: TestingShell, real: Session
) -> None:
    found = plan(shell, "%lora plan layers=200,width=32768")
    assert "it takes" in found.advice
    again = plan(shell, found.command)
    assert (chosen(again).cards or 0) > 1
    assert f"it takes {chosen(again).cards} " in found.advice


@pytest.mark.parametrize(
    "flags", ["", "--rank 8 --dora", "--method prefix", "--method full", "--method ia3 --bits 4"]
)
def test_every_line_beside_a_question_can_be_typed(
    flags: str, shell: TestingShell, real: Session
) -> None:
    found = plan(shell, f"%lora plan {SIZES} {flags} --gpu h100")
    assert len(found.rows) >= 6
    for row in found.rows:
        if row.command:
            plan(shell, row.command)


@pytest.mark.parametrize(
    "line",
    [
        "bert-base --gpu t4",
        "roberta-base --task classification --labels no,yes --gpu t4",
        "mixtral-8x7b --bits 4 --gpu h100",
        "llama-3-8b --method houlsby --gpu h100",
        "llama-3-8b --method prompt --gpu h100",
    ],
)
def test_a_line_beside_a_question_is_another_one_and_of_a_method_that_the_model_has(
    line: str, shell: TestingShell, real: Session
) -> None:
    for row in plan(shell, f"%lora plan {line}").rows:
        if row.command:
            assert row.command != f"%lora plan {line}"
            plan(shell, row.command)


def test_lines_of_a_model_in_a_variable_name_the_variable(
    shell: TestingShell, real: Session
) -> None:
    shell.user_ns["mine"] = tiny_model()
    rows = plan(shell, "%lora plan mine --gpu h100").rows
    assert any(row.command for row in rows)
    for row in rows:
        if row.command:
            assert row.command.startswith("%lora plan mine --")
            plan(shell, row.command)


def test_a_variable_without_a_value_is_named(shell: TestingShell, real: Session) -> None:
    shell.user_ns["mine"] = None
    with pytest.raises(CommandError, match="mine is None; expected a model"):
        shell.run("%lora plan mine")


def test_the_controls_below_a_plan_of_objects_begin_with_their_names() -> None:
    mine, names = tiny_model(), ("no", "yes")
    notebook = {"mine": mine, "names": names}
    call = Call(Session(), {"model": "mine"}, {"labels": names, "rank": 4}, variables=notebook)
    assert PLAN.controls is not None
    start = PLAN.controls(call)
    assert start == {"model": "mine", "labels": "names", "rank": 4}


def test_a_change_of_training_is_typed_where_the_adapter_is(
    shell: TestingShell, real: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    real.use(tiny_model())
    real.attach("pirate", rank=2)
    whole = chosen(plan(shell, "%lora plan")).memory.peak
    held = sum(p.numel() * p.element_size() for p in real.model.parameters())
    monkeypatch.setattr(machine, "free_memory", lambda: whole - held - 1)
    found = plan(shell, "%lora plan")
    assert found.command == "%%lora_train pirate --checkpointing"
    real.reset()


def test_a_bare_plan_without_a_base_gives_the_line(shell: TestingShell, real: Session) -> None:
    with pytest.raises(StateError, match="%lora plan llama-3-8b"):
        shell.run("%lora plan")


def test_a_plan_in_a_fresh_notebook_imports_no_torch(tmp_path: Any) -> None:
    code = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'lora_magic')\n"
        "shell.run_cell('%lora plan llama-3-8b --gpu h100').raise_error()\n"
        "assert 'torch' not in sys.modules\n"
        "ran = shell.run_cell('%lora plan')\n"
        "assert 'no base' in str(ran.error_in_exec), ran.error_in_exec\n"
        "assert 'torch' not in sys.modules\n"
    )
    run_alone(code, tmp_path)
