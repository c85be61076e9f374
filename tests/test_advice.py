"""The watch over what errors suggest finds a suggestion that fails, and reads what is suggested."""

from __future__ import annotations

import os
from typing import Any

import pytest

from lora_magic.errors import LoraMagicError, StateError
from lora_magic.state.session import Session
from tests import advice
from tests.advice import Raised

READ = {
    "no base model is loaded; type: %lora load demo": ["%lora load demo"],
    "swap: a is merged into the base; first type: %lora unmerge": ["%lora unmerge"],
    "would lose a; save first (%lora save a) or add --replace.": [
        "%lora save a",
        "the same call: add --replace",
    ],
    "several are active; name one (%lora save NAME), or blend them: %lora blend NEW a=0.7 b=0.3": [
        "%lora save NAME",
        "%lora blend NEW a=0.7 b=0.3",
    ],
    "%lora swap: NAME is missing. Type %lora swap --help": ["%lora swap --help"],
    "no rows. Type %%lora_train a with rows below it, or %lora train a --data VAR": [
        "%%lora_train a",
        "%lora train a --data VAR",
    ],
    "rank 0: expected a whole number from 1, for example --rank 8": [
        "the same call: for example --rank 8"
    ],
    "%%lora status takes no text below it; %%lora ask, %%lora compare do. Type %lora status …": [],
}


@pytest.mark.parametrize(("message", "lines"), READ.items())
def test_the_lines_of_a_message_are_read(message: str, lines: list[str]) -> None:
    assert list(advice.suggestions(message)) == lines


def raised(session: Any, message: str, site: str, **more: Any) -> Raised:
    return Raised(message, site, session, advice.state_of(session), **more)


@pytest.fixture(autouse=True)
def _nothing_left() -> Any:
    yield
    advice.forget()


@pytest.mark.parametrize(
    ("message", "second"),
    [
        ("type: %lora swap NAME", ""),
        ("type: %lora swap nobody", "no adapter 'nobody'"),
        ("type: %lora wsap one", "has no verb 'wsap'"),
        ("type: %%lora_train NAME", ""),
        ("type: %%lora_train NAME --steps 0", "CommandError"),
        ("type: session.open(folder", ""),
        ("type: session.open(a b)", "is not Python"),
        ("type: %pip install torch>=2, then restart", ""),
        ("type: %pip install 2:3", "%pip install 2:3"),
    ],
)
def test_a_suggestion_that_fails_is_a_fault(
    message: str, second: str, session: Session, request: pytest.FixtureRequest
) -> None:
    session.attach("one", rank=2)
    before = advice.state_of(session)
    advice._raised.append(raised(session, message, request.node.name))
    found = advice.faults()
    assert len(found) == bool(second)
    assert second in "".join(found)
    assert advice.state_of(session) == before


def test_the_call_that_failed_is_repeated_with_the_flag(session: Session) -> None:
    session.attach("one", rank=2)
    repeat = ("attach", ("one",), {"rank": 3})
    wrong = raised(session, "taken; add --dropout 2", "wrong", repeat=repeat)
    right = raised(session, "taken; add --replace", "right", repeat=repeat)
    advice._raised.extend([wrong, right])
    found = advice.faults()
    assert len(found) == 1
    assert found[0].startswith("wrong says:")
    assert session.adapters["one"].spec.rank == 2


def test_an_error_whose_state_has_passed_is_not_followed(session: Session) -> None:
    session.attach("one", rank=2)
    advice._raised.append(raised(session, "type: %lora swap nobody", "passed"))
    session.detach("one")
    assert advice.faults() == []


def test_the_errors_of_verbs_are_noted_once_with_their_site(session: Session) -> None:
    with pytest.raises(StateError):
        session.unmerge()
    assert [(r.site.partition(":")[0], r.repeat) for r in advice._raised] == [
        ("merging.py", ("unmerge", (), {}))
    ]


def test_what_hangs_or_dies_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "PATIENCE", 0.2)
    assert advice._in_a_fork(lambda: os.read(os.pipe()[0], 1).decode()) == "no end within 0.2 s"
    monkeypatch.setattr(advice, "PATIENCE", 30)
    assert advice._in_a_fork(lambda: os._exit(3)) == "the process ended with status 3"
    assert advice._in_a_fork(lambda: str(LoraMagicError("x"))) == "x"
