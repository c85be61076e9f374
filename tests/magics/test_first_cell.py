"""The cell that loads the extension behaves like any other, as far as it can."""

from __future__ import annotations

from lora_magic.magics.shell import KEPT_AS
from tests.magics.conftest import FakeSession, TestingShell


def test_its_receipts_show_once_and_its_looking_verbs_show(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    seen = bare_shell.run("%load_ext lora_magic\n%lora ratio\n%lora load demo\n%lora attach one")
    assert seen.lines == ["ratio done", "load done", "attach done"]


def test_its_last_looking_verb_is_the_cells_value(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    seen = bare_shell.run("%load_ext lora_magic\n%lora load demo\n%lora ask hello")
    assert seen.lines == ["load done", "ask done"]
    assert seen.result is not None


def test_an_assignment_in_it_shows_the_receipt_alone(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    seen = bare_shell.run("%load_ext lora_magic\nx = %lora ask hello\ny = %lora attach one")
    assert seen.lines == ["attach done"]
    assert bare_shell.user_ns["x"].verb == "ask"


def test_a_line_that_ips_help_took_is_named(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    seen = bare_shell.run("%load_ext lora_magic\n%lora ask What does a fox eat?")
    assert "%lora ask What does a fox eat?" in seen.printed
    assert "next cell" in seen.printed


def test_the_next_cell_is_not_mistaken_for_it(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    bare_shell.run("%load_ext lora_magic\n%lora attach one")
    seen = bare_shell.run("get_ipython().run_line_magic('lora', 'attach one').verb")
    assert seen.result == "attach"
