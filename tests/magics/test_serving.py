"""`%lora serve`: what a notebook shows and keeps of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lora_magic.errors import CommandError, StateError
from lora_magic.state.session import Session
from tests.magics.conftest import TestingShell


@pytest.fixture
def page(shell: TestingShell, tiny: Session) -> str:
    """The text of the receipt."""
    return str(shell.run("%lora serve").outputs[0]["text/plain"])


def test_the_receipt_has_a_program_to_paste_and_no_token(
    shell: TestingShell, tiny: Session, page: str
) -> None:
    server: Any = tiny.serve()
    seen = shell.run("server = %lora serve\nserver")
    shown = json.dumps([page, seen.outputs, repr(seen.result)])
    assert server.token not in shown
    assert page.startswith(f"serving at {server.url} · base, pirate · token: server.token\n")
    assert "%lora export pirate --to vllm" in page
    program = [line.strip() for line in page.split("\n") if line.startswith("  ")]
    assert shell.run("\n".join(program[:-1])).printed == ""
    client = shell.user_ns["client"]
    assert client.api_key == server.token
    assert [model.id for model in client.models.list()] == ["base", "pirate"]
    shell.user_ns["answer"] = None
    shell.run(f"answer = {program[-1][:-1]}, max_tokens=3)")
    assert shell.user_ns["answer"].usage.completion_tokens <= 3
    client.close()


def test_a_token_of_ones_own_comes_from_a_variable(shell: TestingShell, tiny: Session) -> None:
    shell.user_ns["secret"] = "a-secret-of-mine-1234"
    seen = shell.run("%lora serve --token {secret}")
    assert "a-secret-of-mine" not in json.dumps(seen.outputs)
    server: Any = tiny.serve()
    assert server.token == "a-secret-of-mine-1234"


def test_stop_twice_and_serve_again(shell: TestingShell, tiny: Session, page: str) -> None:
    (stopped,) = shell.run("%lora serve --stop").lines
    assert stopped.endswith("has stopped")
    assert shell.run("%lora serve --stop").lines == ["nothing is being served; nothing to stop"]
    assert shell.run("%lora endpoint").lines[0].startswith("serving at ")
    status: Any = shell.run("%lora").outputs[0]["text/plain"]
    assert "\nserving   http://127.0.0.1:" in status


def test_mistakes(shell: TestingShell, tiny: Session, page: str) -> None:
    with pytest.raises(CommandError, match="'x' is not a whole number"):
        shell.run("%lora serve --port x")
    shell.user_ns["secret"] = "a-secret-of-mine-1234"
    with pytest.raises(CommandError, match=r"unexpected argument \(quote") as caught:
        shell.run("%lora serve {secret}")
    assert "a-secret" not in str(caught.value)
    with pytest.raises(StateError, match=r"first type: %lora serve --stop"):
        shell.run("%lora serve --no-token")


def test_without_a_base_the_line_says_what_to_type(shell: TestingShell) -> None:
    from lora_magic.magics.shell import KEPT_AS

    setattr(shell, KEPT_AS, Session())
    with pytest.raises(StateError, match=r"no base model is loaded; type: %lora load demo"):
        shell.run("%lora serve")
