"""What is displayed, how often, and what a cell's value is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lora_magic.errors import StateError
from lora_magic.magics.show import MANY

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


class Controls:
    """What a session's panel is to the shell: outputs, one after the other."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"{self.name} in words"

    closed = False

    def close(self) -> None:
        self.closed = True

    def outputs(self) -> list[dict[str, Any]]:
        return [{"text/plain": f"{self.name} {part}"} for part in ("line", "controls")]


Controls.__module__, Controls.__qualname__, Controls.__name__ = (
    "lora_magic.magics.panel",
    "Panel",
    "Panel",
)


@pytest.fixture
def before_a_person(shell: Any, session: Any) -> Any:
    """The shell of a notebook that a person looks at."""
    shell.kernel = SimpleNamespace(_allow_stdin=True)
    session.answers["panel"] = lambda view=None, **start: Controls(view or "panel")
    return shell


@pytest.fixture
def made(before_a_person: Any, session: Any) -> list[Controls]:
    """The panels that are made, in their order."""
    found: list[Controls] = []

    def panel(view: str | None = None, **start: Any) -> Controls:
        found.append(Controls(view or "panel"))
        return found[-1]

    session.answers["panel"] = panel
    return found


@pytest.mark.parametrize(
    ("line", "view", "start"),
    [
        ("ratio pirate --rank 4", "ratio", {"adapter": "pirate", "rank": 4}),
        ("plan gpt2 --rank 4", "plan", {"model": "gpt2", "rank": 4}),
        ("plan", "plan", {"model": None}),
        (
            "compare --seed 3 --adapters pirate Who?",
            "compare",
            {"prompt": "Who?", "seed": 3, "adapters": ["pirate"]},
        ),
    ],
)
def test_controls_stand_below_the_record_at_the_end_of_a_cell(
    before_a_person: Any, session: Any, line: str, view: str, start: dict[str, Any]
) -> None:
    verb = line.split()[0]
    seen = before_a_person.run(f"%lora {line}")
    assert seen.lines == [f"{verb} done", f"{view} line", f"{view} controls"]
    assert ("panel", (view,), start) in session.calls
    # The value of the cell is the record's still.
    assert seen.result.verb == verb
    # And the next cell shows nothing of it.
    assert before_a_person.run("1").lines == ["1"]


def test_nowhere_else_do_controls_stand(before_a_person: Any) -> None:
    run = before_a_person.run
    assert run("%lora ratio;").lines == []
    assert run("x = %lora ratio").lines == []
    assert run("%lora ratio\nx = 1").lines == ["ratio done"]
    assert run("for i in range(3):\n    %lora ratio").lines == ["ratio done"] * 3
    assert run("%lora status").lines == ["status done"]
    before_a_person.kernel = SimpleNamespace(_allow_stdin=False)
    assert run("%lora ratio").lines == ["ratio done"]
    del before_a_person.kernel
    assert run("%lora ratio").lines == ["ratio done"]


def test_a_panel_is_displayed_whoever_displays_it(before_a_person: Any) -> None:
    run = before_a_person.run
    wanted = ["panel line", "panel controls"]
    assert run("%lora panel").lines == wanted
    assert run("p = %lora panel").lines == []
    assert run("p").lines == wanted
    assert run("%lora panel\nx = 1").lines == wanted
    assert run("from IPython.display import display; display(p)").lines == wanted
    before_a_person.kernel = SimpleNamespace(_allow_stdin=False)
    seen = run("p")
    assert (seen.lines, seen.printed) == ([], "panel in words\n")
    run("%unload_ext lora_magic")
    assert run("p").lines == ["panel in words"]


def test_a_verb_that_fails_leaves_no_controls_for_the_next_cell(
    before_a_person: Any, session: Any
) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise StateError("no base model is loaded")

    session.answers["ratio"] = fails
    with pytest.raises(StateError):
        before_a_person.run("%lora ratio")
    assert before_a_person.run("1").lines == ["1"]


def test_a_cell_that_is_run_again_closes_the_controls_that_it_showed(
    before_a_person: Any, made: list[Controls]
) -> None:
    def run(cell: str, code: str) -> None:
        parent = {"metadata": {"cellId": cell}, "header": {"msg_id": f"run {len(runs)}"}}
        runs.append(cell)
        before_a_person.get_parent = lambda: parent
        before_a_person.run(code)

    runs: list[str] = []
    run("a", "%lora ratio")
    run("b", "%lora panel\n%lora panel")
    assert [one.closed for one in made] == [False] * 3
    run("a", "%lora ratio")
    assert [one.closed for one in made] == [True, False, False, False]
    run("b", "%lora panel")
    assert [one.closed for one in made] == [True, True, True, False, False]
    # What is kept by a name may be shown again, and in two places.
    run("c", "p = %lora panel\np")
    run("d", "p")
    run("d", "p")
    run("c", "1")
    run("c", "p")
    assert not made[-1].closed
    run("a", "1")
    assert not made[3].closed


def test_where_cells_have_no_names_only_so_many_panels_live(
    before_a_person: Any, made: list[Controls]
) -> None:
    for _ in range(MANY + 3):
        before_a_person.run("%lora panel")
    assert sum(not one.closed for one in made) <= MANY + 1
    assert not made[-1].closed
