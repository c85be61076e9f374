"""`lens` in a cell: flags become objects, the value is displayed, ■ keeps what was read."""

from __future__ import annotations

import signal
from typing import Any
from unittest.mock import patch

import pytest

from lora_magic.errors import CommandError, Interrupted
from lora_magic.state.session import Session
from tests.magics.conftest import Screen, TestingShell

QUESTIONS = [{"id": 1, "q": "Where is the library?"}, {"id": 2, "q": "Hi"}]


def test_a_line_is_one_call_with_the_objects_it_names(shell: Any, session: Any) -> None:
    shell.run("rows = ['a?', 'b?']")
    shell.run("%lora lens pirate --data rows --column q --seed 3")
    assert session.last == (
        "lens",
        ("pirate",),
        {"data": ["a?", "b?"], "column": "q", "seed": 3},
    )
    with pytest.raises(CommandError, match="Did you mean 'rows'"):
        shell.run("%lora lens pirate --data rowz")


def test_the_value_is_displayed_and_can_be_assigned(shell: TestingShell, tiny: Session) -> None:
    shell.user_ns["questions"] = QUESTIONS
    shell.run("found = %lora lens --data questions --column q")
    found = shell.user_ns["found"]
    assert (found.adapter, found.answered) == ("pirate", 2)
    seen = shell.run("%lora lens pirate --data questions --column q")
    assert seen.result.tokens == found.tokens
    text = seen.result._repr_mimebundle_()["text/plain"]
    assert repr(seen.result) in text
    assert text.index("From its answers") < text.index("From its states (weaker)")
    assert "a random direction" in text


def test_an_interrupted_lens_shows_what_was_read(shell: TestingShell, tiny: Session) -> None:
    shell.user_ns["questions"] = QUESTIONS
    passes: list[int] = []

    def press(*_: Any) -> None:
        passes.append(1)
        if len(passes) == 4:
            signal.raise_signal(signal.SIGINT)

    handle, screen = tiny.model.register_forward_hook(press), Screen()
    with (
        patch.object(shell.display_pub, "publish", screen.publish),
        pytest.raises(Interrupted, match="what it has so far is shown above, and kept as _"),
    ):
        shell.run_cell("x = %lora lens pirate --data questions --column q").raise_error()
    handle.remove()
    shown = [output["text/plain"] for output in screen.outputs if output.get("text/plain")]
    assert "stopped by you" in shown[-1]
    assert shell.user_ns["_"].stopped
    assert tiny.verify()
