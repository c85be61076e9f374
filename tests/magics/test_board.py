"""`%lora board` as it is typed: names, a column with its near miss, and controls below it."""

from __future__ import annotations

import ipywidgets
import pytest

from lora_magic.errors import CommandError
from lora_magic.evaluation.board import COLUMNS
from lora_magic.magics.aliases import verb_for
from lora_magic.magics.parser import parse
from lora_magic.magics.verb import Call
from lora_magic.magics.verbs import VERBS
from lora_magic.state.session import Session
from lora_magic.views.controls.board import BY_DATA, DOWN, UP, BoardControls
from tests.conftest import Saver

ROWS = [(f"Where is number {n}?", f"Here, {n}.") for n in range(8)]


@pytest.fixture
def session(saved_model: Saver) -> Session:
    """A session with a tiny Llama, in the place of this folder's recording one."""
    made = Session()
    made.load(str(saved_model()))
    return made


@pytest.fixture
def ready(session: Session) -> Session:
    """Two trained adapters on the same rows, and one untrained."""
    for name, rank in (("one", 4), ("two", 2)):
        session.attach(name, rank=rank)
        session.train(name, ROWS, steps=2, eval=2)
    session.attach("fresh", rank=3)
    return session


def typed(session: Session, line: str) -> Call:
    parsed = parse(VERBS["board"], line, lambda text: text, cell=False)
    return Call(session, parsed.words, parsed.flags)


def test_names_and_a_column_are_what_the_session_gets(ready: Session) -> None:
    found = VERBS["board"](typed(ready, "one,fresh --sort parameters"))
    assert found == ready.board("one", "fresh", sort="parameters")
    assert [row.adapter for row in found.rows] == ["fresh", "one"]  # type: ignore[attr-defined]  # a board
    assert VERBS["board"](typed(ready, "")) == ready.board()
    assert VERBS["board"](typed(ready, "one fresh")) == ready.board("one,fresh")


def test_a_typo_in_the_column_is_one_line(ready: Session) -> None:
    with pytest.raises(CommandError, match=r"'truht'.*Did you mean 'truth'"):
        VERBS["board"](typed(ready, "--sort truht"))


def test_people_who_type_leaderboard_get_it() -> None:
    assert verb_for("leaderboard", VERBS) == "board"


def test_it_has_controls_where_there_is_something_to_sort(session: Session) -> None:
    controls = VERBS["board"].controls
    assert controls is not None
    assert controls(typed(session, "")) is None
    for name in ("one", "two"):
        session.attach(name, rank=2)
    assert controls(typed(session, "one --sort rank")) == {"adapters": ["one"], "sort": "rank"}


def test_choosing_a_column_sorts_and_the_record_is_empty_before(ready: Session) -> None:
    panel = ready.panel("board", sort="parameters", adapters=None)
    controls = panel._board
    assert controls.page.html == ""
    assert controls.column.value == "parameters"
    controls.direction.value = DOWN
    order = [controls.page.html.index(f">{name}<") for name in ("one", "fresh", "two")]
    assert order == sorted(order)
    controls.column.value = "gain"
    assert controls.direction.value == DOWN
    controls.column.value = BY_DATA
    assert controls.direction.disabled
    assert "held_out" in controls.column.options
    # Measured nowhere, so not offered.
    assert "guard" not in controls.column.options


def test_a_board_in_the_panel_follows_the_session(ready: Session) -> None:
    panel = ready.panel()
    page = panel._board.page
    assert ">fresh<" in page.html
    ready.detach("fresh")
    assert ">fresh<" not in page.html
    ready.attach("other", rank=2)
    assert ">other<" in page.html
    panel.close()


def test_sorting_is_done_once_for_each_choice() -> None:
    calls: list[tuple[str | None, bool]] = []

    def render(column: str | None, falling: bool) -> str:
        calls.append((column, falling))
        return "<p>table</p>"

    controls = BoardControls(["held_out", "gain"], {"gain"}, render)
    assert isinstance(controls.widget, ipywidgets.VBox)
    controls.column.value = "gain"
    controls.direction.value = UP
    controls.column.value = "held_out"
    assert calls == [("gain", True), ("gain", False), ("held_out", False)]
    controls.offer(["held_out"])
    assert len(calls) == 3
    assert controls.column.value == "held_out"


def test_help_names_the_columns() -> None:
    (sort,) = [one for one in VERBS["board"].arguments if one.name == "--sort"]
    assert sort.words == COLUMNS
