"""The text of a cell before IPython reads it: ours is taken, everything else is spared."""

from __future__ import annotations

from typing import Any

import pytest

from lora_magic.magics.lines import lift_cell_magic

OURS = "get_ipython().run_line_magic('lora', "

SPARED = [
    "%lora?",
    "%lora??",
    "?%lora",
    "%%lora_train?",
    "x?",
    "len??",
    "text = '''\n%lora ask what?\n'''",
    'text = """\nx = %lora ask what?\n"""',
    "# %lora ask what?",
    "x = 7 %lora",
    "%lorax ask?",
    "f(a=%lora)",
    "%%writefile notes.txt\n# hi\n%%lora_train pirate\na => b",
    "%%bash\n%lora ask what?",
    "!echo %lora ask what",
    "for a in b:\n    print('%lora ask?')",
]


@pytest.mark.parametrize("cell", SPARED)
def test_what_is_not_ours_is_read_as_it_was_before(shell: Any, bare_shell: Any, cell: str) -> None:
    with_us = shell.transform_cell(cell)
    shell.run("%unload_ext lora_magic")
    assert with_us == bare_shell.transform_cell(cell)
    assert OURS not in with_us


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("%lora ask What's up?", "ask What's up?"),
        ("%lora  ask  a  b?  ", "ask  a  b?"),
        ("%lora", ""),
        ("%lora ask?", "ask?"),
        ("%lora ask one \\\ntwo?", "ask one  two?"),
    ],
)
@pytest.mark.parametrize("before", ["", "x = ", "d['a'], y = ", "!echo it's\n", "'''s'''\n"])
def test_a_line_of_ours_becomes_a_call_with_its_text(
    shell: Any, before: str, cell: str, line: str
) -> None:
    assert f"{OURS}{line!r})" in shell.transform_cell(before + cell)


def test_transforming_twice_is_transforming_once(shell: Any) -> None:
    cells = [
        "x = %lora ask What's up?\nfor i in y:\n    %lora ask (what?\n",
        "# c\n\n%%lora_train p\na => b?\n",
        *SPARED,
    ]
    for cell in cells:
        once = shell.transform_cell(cell)
        assert shell.transform_cell(once) == once


@pytest.mark.parametrize("above", ["# rows\n", "\n\n", "# one\n\n   # two\n\n"])
@pytest.mark.parametrize("magic", ["%%lora_train pirate", "%%lora train pirate"])
def test_comments_above_a_cell_magic_do_not_make_its_rows_python(
    shell: Any, session: Any, above: str, magic: str
) -> None:
    shell.run(f"{above}{magic}\n# not a comment => a row\n\nc => {{d}} $5\n")
    verb, args, kwargs = session.last
    assert (verb, args) == ("train", ("pirate",))
    assert kwargs["text"] == "# not a comment => a row\n\nc => {d} $5\n"


def test_code_above_a_cell_magic_stays_an_error(shell: Any) -> None:
    lines = ["x = 1\n", "%%lora_train pirate\n", "a => b\n"]
    assert lift_cell_magic(lines) is lines


def test_two_questions_in_a_cell_with_open_brackets_stay_two(shell: Any, session: Any) -> None:
    shell.run("%lora ask (one\n%lora ask 'two?\n%lora ask three?")
    assert [call[1] for call in session.calls] == [("(one",), ("'two?",), ("three?",)]


def test_a_question_in_a_loop_is_asked_each_time(shell: Any, session: Any) -> None:
    shell.run("for i in range(3):\n    %lora ask What's up?")
    assert [call[1] for call in session.calls] == [("What's up?",)] * 3
