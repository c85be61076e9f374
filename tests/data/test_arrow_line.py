r"""What a backslash means on a line of `prompt => completion`."""

from __future__ import annotations

import pytest

from lora_magic.data.arrow_line import arrow
from lora_magic.data.row import Rows
from lora_magic.data.rows import read_text
from lora_magic.data.sources import read_data

#: Typed before the arrow → read.
READ = {
    r"one\ntwo": "one\ntwo",
    r"line one\nline two": "line one\nline two",
    r"a\n\nb": "a\n\nb",
    r"\nfirst": "\nfirst",
    r"1.\n- new": "1.\n- new",
    r"Hi\nno\nnot\nnew\nnumber": "Hi\nno\nnot\nnew\nnumber",
    r"Q:\nWhat?\nA:\nB:\nno": "Q:\nWhat?\nA:\nB:\nno",
    r"Translate to French:\nno": "Translate to French:\nno",
    r"uno\ne due\ni tre\nless is more": "uno\ne due\ni tre\nless is more",
    # escaped
    r"keep \\n here": r"keep \n here",
    r"a\\nb\\nc": r"a\nb\nc",
    r"f(x) \=> y": "f(x) => y",
    r"keep \\=> here": r"keep \=> here",
    # paths
    r"open C:\new": r"open C:\new",
    r"open C:\new\notes.txt\nthen D:\x": r"open C:\new\notes.txt\nthen D:\x",
    'open "C:\\new"\\nplease': 'open "C:\\new"\nplease',
    r"d:\nick, \\server\names\n.txt": r"d:\nick, \\server\names\n.txt",
    r"C:\Program Files (x86)\new\n.exe": r"C:\Program Files (x86)\new\n.exe",
    r"%APPDATA%\new ..\new .\notes ~\names": r"%APPDATA%\new ..\new .\notes ~\names",
    r"see docs\new.md or src\a\n.py": r"see docs\new.md or src\a\n.py",
    r"Wait..\nnow. And.\nWell": "Wait..\nnow. And.\nWell",
    r"a.txt\nb.txt\nC.txt": "a.txt\nb.txt\nC.txt",
    r"Visit\nWww.site": "Visit\nWww.site",
    # LaTeX
    r"$\nu$": r"$\nu$",
    r"What is \nu?": r"What is \nu?",
    r"x\neq y": r"x\neq y",
    r"\nabla f\nis what?": "\\nabla f\nis what?",
    r"\notin \not= \newline": r"\notin \not= \newline",
    r"$a \ne b \nless c$": r"$a \ne b \nless c$",
    r"a \ne b": r"a \ne b",
    r"$\frac{a}{b}\ni$": r"$\frac{a}{b}\ni$",
    r"\begin{matrix} 1 \\ 2 \end{matrix}": r"\begin{matrix} 1 \\ 2 \end{matrix}",
    r"\alpha \theta \rho": r"\alpha \theta \rho",
    r"\d+\s*": r"\d+\s*",
}


@pytest.mark.parametrize("typed", READ)
def test_what_is_typed_is_read_as_meant_on_both_sides_of_the_arrow(typed: str) -> None:
    wanted = READ[typed].strip(" ")
    assert arrow(f"{typed} => x") == (wanted, "x")
    assert arrow(f"x => {typed}") == ("x", wanted)


def test_an_escaped_arrow_does_not_split_and_a_later_one_does() -> None:
    assert arrow(r"a \=> b => c => d") == ("a => b", "c => d")
    assert arrow(r"a \=> b") is None


def test_a_cell_and_a_list_read_a_line_in_the_same_way() -> None:
    for typed, wanted in READ.items():
        for rows in (read_text(f"{typed} => x"), read_data([f"{typed} => x"])):
            assert [row.prompt for row in rows] == [wanted.strip(" ")]


def note(body: str) -> str:
    rows: Rows = read_text(body)
    return rows.note


def test_only_where_a_line_leaves_a_doubt_a_note_says_how_it_was_read() -> None:
    assert note("one\\ntwo => three\n\\d => digit") == ""
    assert note("a => b\nopen C:\\new => c") == r"\n stays as typed in line 2 (C:\new)"
    assert r"\n is a newline in line 1; type \\n to keep it" in note(r"files\nAnd \t => c")
    both = note("$\\nu$\\nWhat? => c")
    assert r"\n stays as typed in line 1 (\nu)" in both
    assert r"\n is a newline in line 1" in both
