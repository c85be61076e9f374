"""What is displayed, how often, and what a cell's value is."""

from __future__ import annotations

from typing import Any

import pytest

CHANGING = {
    "load demo": "load",
    "attach a": "attach",
    "detach a": "detach",
    "swap a": "swap",
    "merge a": "merge",
    "unmerge": "unmerge",
    "save a": "save",
    "open a": "open",
    "reset": "reset",
}
LOOKING = {
    "": "status",
    "status": "status",
    "ask hi": "ask",
    "compare hi": "compare",
    "ratio": "ratio",
    "spectrum": "spectrum",
    "verify": "verify",
}


@pytest.mark.parametrize(("line", "verb"), CHANGING.items())
def test_a_receipt_shows_once_and_the_record_not_again(shell: Any, line: str, verb: str) -> None:
    seen = shell.run(f"%lora {line}")
    assert seen.lines == [f"{verb} done"]
    assert seen.outputs[0]["text/html"] == f"<p>{verb} done</p>"


@pytest.mark.parametrize(("line", "verb"), LOOKING.items())
def test_a_value_at_the_end_of_a_cell_is_the_cells_value(shell: Any, line: str, verb: str) -> None:
    seen = shell.run(f"%lora {line}")
    assert seen.lines == [f"{verb} done"]
    assert seen.result.verb == verb
    assert shell.run("_.verb").result == verb


@pytest.mark.parametrize("line", [*CHANGING, *LOOKING])
def test_verbs_in_the_middle_of_a_cell_show_too(shell: Any, line: str) -> None:
    verb = {**CHANGING, **LOOKING}[line]
    assert shell.run(f"%lora {line}\n%lora {line}").lines == [f"{verb} done"] * 2
    assert shell.run(f"%lora {line}\nx = 1").lines == [f"{verb} done"]
    assert shell.run(f"for i in range(3):\n    %lora {line}").lines == [f"{verb} done"] * 3
    assert shell.run(f"def f():\n    %lora {line}\nf()\nf()").lines == [f"{verb} done"] * 2


@pytest.mark.parametrize(("line", "verb"), LOOKING.items())
def test_an_assigned_value_shows_nothing_until_it_is_looked_at(
    shell: Any, line: str, verb: str
) -> None:
    assert shell.run(f"x = %lora {line}").lines == []
    assert shell.run("x").lines == [f"{verb} done"]


@pytest.mark.parametrize(("line", "verb"), CHANGING.items())
def test_an_assigned_change_shows_its_receipt_and_keeps_its_record(
    shell: Any, line: str, verb: str
) -> None:
    assert shell.run(f"x = %lora {line}").lines == [f"{verb} done"]
    assert shell.run("x").lines == [f"{verb} done"]


@pytest.mark.parametrize("line", [*CHANGING, *LOOKING])
@pytest.mark.parametrize("cell", ["%lora {};", "%lora {} ;", "for i in 'ab':\n    %lora {};"])
def test_a_final_semicolon_silences(shell: Any, session: Any, cell: str, line: str) -> None:
    seen = shell.run(cell.format(line))
    assert seen.lines == []
    assert seen.result is None
    assert seen.printed == ""
    assert session.calls


def test_a_silenced_assignment_still_assigns(shell: Any) -> None:
    assert shell.run("x = %lora attach a;").lines == []
    assert shell.user_ns["x"].verb == "attach"


def test_a_call_from_python_gets_the_value_and_shows_nothing(shell: Any) -> None:
    seen = shell.run(
        "answers = [get_ipython().run_line_magic('lora', f'ask {p}') for p in ('a', 'b')]"
    )
    assert seen.lines == []
    assert [answer.verb for answer in shell.user_ns["answers"]] == ["ask", "ask"]


def test_a_cell_timed_by_ipython_shows_the_same(shell: Any) -> None:
    assert shell.run("%%time\n%lora attach a\n%lora ask hi").lines == ["attach done", "ask done"]


def test_out_names_the_variable_of_a_cells_result(shell: Any, session: Any) -> None:
    assert shell.run("%%lora compare --out c --seed 2\nhi").lines == []
    assert shell.user_ns["c"].verb == "compare"
    assert session.last == ("compare", ("hi",), {"seed": 2})
    assert shell.run("%%lora_train pirate --out run\na => b").lines == ["train done"]
    assert shell.user_ns["run"].verb == "train"


def test_a_record_without_a_rich_form_shows_its_line(shell: Any, session: Any) -> None:
    class Plain:
        line = "swapped"

    session.answers["swap"] = Plain()
    assert shell.run("%lora swap pirate").lines == ["swapped"]
