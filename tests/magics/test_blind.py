"""`compare --blind` in a cell: nothing on the screen or in a widget has a name before the end."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from ipywidgets import Widget

from lora_magic.errors import CommandError, Interrupted, StateError
from lora_magic.magics.ballots import GO_ON, BallotPanel
from lora_magic.magics.shell import KEPT_AS
from lora_magic.magics.show import NOTHING
from lora_magic.state import voting
from lora_magic.state.session import Session
from lora_magic.state.voting import Ask, Ballot
from lora_magic.views.controls.outputs import MIME
from tests.conftest import Saver, perturb

LINE = "%%lora compare --blind --max-new-tokens 6\n"
CELL = LINE + "Where is one?\n\nWhere is two?\n\nWhere is three?"
#: What no answer and no text of ours contains.
NAME = "zyx"


@pytest.fixture
def ready(bare_shell: Any, saved_model: Saver) -> Any:
    """A notebook that a person looks at, over a session with two adapters."""
    made = Session()
    made.load(str(saved_model()))
    for seed, name in enumerate(("zyxone", "zyxtwo")):
        made.attach(name, rank=2)
        perturb(made, name, size=0.6, seed=seed)
    bare_shell.run("%load_ext lora_magic")
    setattr(bare_shell, KEPT_AS, made)
    bare_shell.kernel = SimpleNamespace(_allow_stdin=True)
    yield bare_shell
    made.reset()


def press(shell: Any, panel: BallotPanel, name: str) -> list[dict[str, Any]]:
    """Press a button; what was displayed or updated then."""
    controls, shown = panel.controls, []
    buttons = [*controls.votes, controls.back, controls.finish]

    def publish(data: dict[str, Any], *_: Any, **__: Any) -> None:
        shown.append(data)

    with patch.object(shell.display_pub, "publish", publish):
        next(button for button in buttons if button.description == name).click()
    return shown


def panel_of(shell: Any) -> BallotPanel:
    """The panel that was displayed last."""
    shown = shell.__dict__["_lora_magic_panels"]
    panel = [*shown.values()][-1][1][-1]
    assert isinstance(panel, BallotPanel)
    return panel


def test_a_cell_shows_a_line_and_controls_and_no_name(ready: Any) -> None:
    seen = ready.run(CELL)
    # Where the prompt's number was, nothing is drawn.
    progress, *_, removed, line, controls = seen.outputs
    assert removed == NOTHING
    assert "zyx" not in json.dumps(seen.outputs) + seen.printed
    assert progress["text/plain"].startswith("answering prompt 1 of 3")
    assert line["text/plain"] == f"Blind comparison: 0 of 3 votes. {GO_ON}"
    assert MIME in controls
    panel = panel_of(ready)
    for name in ("Left", "Back", "Back", "Both bad", "Tie"):
        for bundle in press(ready, panel, name):
            assert MIME not in bundle
            assert NAME not in json.dumps(bundle)
    # What a front end saves if it is told to save the state of widgets.
    assert NAME not in json.dumps(Widget.get_manager_state())
    for kept in (ready.user_ns["_"], ready.user_ns["Out"]):
        assert NAME not in repr(kept)


def test_no_other_control_stands_below_it(ready: Any) -> None:
    seen = ready.run(CELL)
    assert sum(MIME in output for output in seen.outputs) == 1
    assert isinstance(seen.result, Ballot)


def test_the_result_takes_the_place_of_line_and_controls(ready: Any) -> None:
    ready.run(CELL)
    panel = panel_of(ready)
    press(ready, panel, "Left")
    press(ready, panel, "Tie")
    result, empty = press(ready, panel, "Right")
    assert "Decisive votes won" in result["text/plain"]
    assert NAME in result["text/plain"]
    assert empty == NOTHING
    assert [type(part).__name__ for part in panel.widget.children] == ["VBox"]
    again = ready.run(CELL)
    (shown,) = [output for output in again.outputs if output != NOTHING]
    assert shown["text/plain"] == result["text/plain"]


def test_the_cell_run_again_goes_on_and_closes_its_old_controls(ready: Any) -> None:
    parent = {"metadata": {"cellId": "a"}, "header": {"msg_id": "1"}}
    ready.get_parent = lambda: parent
    ready.run(CELL)
    first = panel_of(ready)
    press(ready, first, "Left")
    parent["header"] = {"msg_id": "2"}
    seen = ready.run(CELL)
    assert "1 of 3 votes" in seen.outputs[0]["text/plain"]
    assert panel_of(ready) is not first
    # Whoever still has the old buttons votes on the same ballot.
    assert len(press(ready, first, "Left")) == 1
    assert "Prompt 3 of 3" in panel_of(ready).controls.page.html


def test_votes_from_python_and_buttons_are_one_ballot(ready: Any) -> None:
    ready.run(CELL)
    panel = panel_of(ready)
    seen = ready.run("_.vote('left')")
    assert [output["text/plain"] for output in seen.outputs] == [
        f"Blind comparison: 1 of 3 votes. {GO_ON}"
    ]
    assert "Prompt 2 of 3" in panel.controls.page.html


def test_errors_of_a_press_are_a_line_and_the_page_stays(ready: Any) -> None:
    ready.run(CELL)
    panel = panel_of(ready)
    page = panel.controls.page.html
    assert press(ready, panel, "Back") == []
    assert "this is the first prompt" in panel.controls.page.message
    assert press(ready, panel, "Finish") == []
    assert "no vote is cast yet" in panel.controls.page.message
    assert panel.controls.page.html == page
    press(ready, panel, "Tie")
    assert panel.controls.page.message == ""


def test_a_notebook_that_a_program_runs_gets_text_without_names(ready: Any) -> None:
    ready.kernel = SimpleNamespace(_allow_stdin=False)
    seen = ready.run(CELL)
    assert seen.outputs == []
    assert "0 of 3 votes" in seen.printed
    assert 'ballot.vote("left")' in seen.printed
    assert NAME not in seen.printed
    ballot = ready.user_ns["_"]
    for choice in ("left", "right", "tie"):
        ballot.vote(choice)
    assert NAME in ready.run("ballot = _\nballot").outputs[0]["text/plain"]


def test_a_ballot_is_assigned_and_shown_by_its_name(ready: Any) -> None:
    assert MIME not in json.dumps(
        ready.run(f"ballot = %lora {CELL[7:].split(chr(10))[0]} Hi").outputs
    )
    assert any(MIME in output for output in ready.run("ballot").outputs)
    assert any(MIME in output for output in ready.run("ballot\nballot").outputs)
    seen = ready.run("ballot.vote('left')\nballot.result()")
    assert "decisive vote" in seen.outputs[-1]["text/plain"]


def test_a_stop_before_the_answers_are_complete_says_that_no_vote_has_begun(ready: Any) -> None:
    with (
        patch.object(voting.comparing, "answers", side_effect=KeyboardInterrupt),
        pytest.raises(Interrupted, match="was stopped"),
    ):
        ready.run(CELL)
    assert ready.__dict__.get("_lora_magic_panels", {}) == {}


def test_words_that_people_try_lead_to_it(ready: Any) -> None:
    for word in ("vote", "blind"):
        with pytest.raises(CommandError, match="%lora compare --blind PROMPT"):
            ready.run(f"%lora {word}")


def test_a_user_s_error_shows_no_name_beside_an_answer(ready: Any) -> None:
    ready.run(CELL)
    ballot = ready.user_ns["_"]
    with pytest.raises(StateError) as caught:
        ballot.result()
    told = "\n".join(caught.value._render_traceback_())
    assert NAME not in told
    assert NAME not in repr(Ask("What?", "zyxone", "zyxtwo", "Hm", "Ha"))
