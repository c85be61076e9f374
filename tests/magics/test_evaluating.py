"""`evaluate` in a cell: flags become objects, mistakes are one line, ■ keeps what was measured."""

from __future__ import annotations

import signal
from typing import Any
from unittest.mock import patch

import pytest

from lora_magic.errors import CommandError, Interrupted
from lora_magic.state.session import Session
from tests.magics.conftest import Screen, TestingShell


def test_a_line_is_one_call_with_the_objects_it_names(shell: Any, session: Any) -> None:
    shell.run("rows = [('a', 'b')]\ndef polite(p, a, r): return 1\ndef short(p, a, r): return 2")
    polite, short = shell.user_ns["polite"], shell.user_ns["short"]
    shell.run("%lora evaluate pirate,calm --data rows --metric polite --metric short --rows 3")
    metrics = {"polite": polite, "short": short}
    flags = {"data": [("a", "b")], "metric": metrics, "rows": 3}
    assert session.last == ("evaluate", (["pirate", "calm"],), flags)
    shell.run("%lora evaluate --data rows --metric polite,short --max-new-tokens 5")
    flags = {"data": [("a", "b")], "metric": metrics, "max_new_tokens": 5}
    assert session.last == ("evaluate", (None,), flags)
    shell.run("%%lora evaluate pirate calm\nWho? => Me.")
    assert session.last == ("evaluate", (["pirate", "calm"],), {"text": "Who? => Me.\n"})
    session.kept["mine"] = "kept rows"
    shell.run("%lora eval --data mine")
    assert session.last == ("evaluate", (None,), {"data": "kept rows"})


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("%lora evaluate pirate", r"no rows. Type %%lora evaluate pirate with rows below it, or"),
        ("%lora evaluate --data rowz", "Did you mean 'rows'"),
        ("%lora evaluate --data rows --metric polit", "Did you mean 'polite'.*def polit"),
        ("%lora evaluate --data rows --metric len(a)", "is an expression; define it first"),
        ("%lora evaluate --data rows --metric rows", "--metric rows: expected a function"),
        ("%%lora evaluate --data rows\na => b", "there are rows below and --data; keep one"),
        ("%lora evaluate --data rows --rows many", "--rows: 'many' is not a whole number"),
    ],
)
def test_a_mistake_is_one_line(shell: Any, session: Any, line: str, fault: str) -> None:
    shell.run("rows = []\ndef polite(p, a, r): return 1")
    with pytest.raises(CommandError, match=fault) as found:
        shell.run(line)
    assert "\n" not in str(found.value)
    assert session.calls == []


def test_the_value_is_displayed_and_can_be_assigned(shell: TestingShell, tiny: Session) -> None:
    shell.run("found = %lora evaluate pirate --data rows --max-new-tokens 4")
    found = shell.user_ns["found"]
    assert found.adapters == ("base", "pirate")
    seen = shell.run("%lora evaluate pirate --data rows --max-new-tokens 4")
    assert seen.result.means == found.means
    assert seen.result.line in seen.result._repr_mimebundle_()["text/plain"]
    shell.run("%%lora evaluate pirate --out typed --max-new-tokens 4\nWho? => Me.\nHi => Ahoy!")
    assert [row.prompt for row in shell.user_ns["typed"].rows] == ["Who?", "Hi"]


def press_at(tiny: Session, at: int) -> Any:
    """■ at a forward pass."""
    passes: list[int] = []

    def press(*_: Any) -> None:
        passes.append(1)
        if len(passes) == at:
            signal.raise_signal(signal.SIGINT)

    return tiny.model.register_forward_hook(press)


def interrupted(shell: TestingShell, tiny: Session, at: int) -> tuple[Any, str]:
    handle, screen = press_at(tiny, at), Screen()
    with (
        patch.object(shell.display_pub, "publish", screen.publish),
        pytest.raises(Interrupted) as ended,
    ):
        shell.run_cell("x = %lora evaluate pirate --data rows --max-new-tokens 4").raise_error()
    handle.remove()
    assert tiny.verify()
    assert "evaluations" not in tiny._state.attached["pirate"].run
    return screen.outputs, str(ended.value)


def test_an_interrupted_evaluation_shows_what_was_measured_and_records_nothing(
    shell: TestingShell, tiny: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_magic.evaluation.answers.BATCH_TOKENS", 1)
    # The trial of the model takes two passes, the losses one; the first answer at most four.
    (seen,), error = interrupted(shell, tiny, 3 + 4 + 1)
    assert "stopped by you" in seen["text/plain"]
    assert "what it has so far is shown above, and kept as _" in error
    found = shell.user_ns["_"]
    assert found.stopped
    answered = [row for row in found.rows if "rouge_l" in row.values]
    assert 1 <= len(answered) < len(found.rows) == 3
    assert "x" not in shell.user_ns


def test_an_evaluation_that_is_interrupted_before_any_row_leaves_nothing(
    shell: TestingShell, tiny: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, error = interrupted(shell, tiny, 2)
    assert [output["text/plain"] for output in outputs if output.get("text/plain")] == []
    assert error == "%lora evaluate was stopped; to see the session's state, type: %lora"
