"""One at a time: whoever comes second waits, or is told."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from lora_magic.errors import AdapterError, StateError
from lora_magic.state.session import Session
from lora_magic.state.session_lock import SessionLock
from tests.conftest import perturb

PATIENCE = 30


class Other:
    """A block in another thread, that ends when it is told to."""

    def __init__(self, work: Callable[[Callable[[], object]], object]) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Callable[[], object]], object]) -> None:
        try:
            work(self._stay)
        except Exception as error:  # noqa: BLE001  # kept, to be looked at
            self.error = error

    def _stay(self) -> None:
        self.reached.set()
        assert self.go_on.wait(PATIENCE)

    def end(self) -> None:
        self.go_on.set()
        self._thread.join(PATIENCE)


def have(turns: SessionLock, doing: str) -> Callable[[Callable[[], object]], object]:
    def work(stay: Callable[[], object]) -> None:
        with turns.locked():
            turns.doing = doing
            stay()

    return work


def test_a_second_thread_is_told_what_the_session_is_busy_with() -> None:
    turns = SessionLock()
    with turns.locked():
        turns.doing = "train"
        other = Other(have(turns, "compare"))
        other.end()
    assert isinstance(other.error, StateError)
    assert "busy with train" in str(other.error)


def test_the_main_thread_waits_for_its_turn() -> None:
    turns = SessionLock()
    other = Other(have(turns, "compare"))
    assert other.reached.wait(PATIENCE)
    order: list[str] = []
    threading.Timer(0.2, lambda: (order.append("other"), other.go_on.set())).start()
    with turns.locked():
        order.append("main")
    assert order == ["other", "main"]
    other.end()


def test_a_turn_ends_with_an_error_too_and_may_be_taken_twice_by_one() -> None:
    turns = SessionLock()
    with pytest.raises(ZeroDivisionError), turns.locked(), turns.locked():
        raise ZeroDivisionError
    other = Other(have(turns, "compare"))
    assert other.reached.wait(PATIENCE)
    other.end()
    assert other.error is None


def test_a_verb_that_is_interrupted_anywhere_has_no_turn_left(session: Session) -> None:
    """Not even while the error is kept, and with it every frame, as a notebook keeps it."""

    def begun_or_ended(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename.endswith(("contextlib.py", "turns.py", "transactional.py")):
            if event == "return":
                returned.append(frame.f_code.co_name)
                if len(returned) == at:
                    raise KeyboardInterrupt
            return begun_or_ended
        return None

    at, kept = 0, []
    returned: list[str] = [""]
    before = sys.gettrace()
    while len(returned) >= at:
        at, returned = at + 1, []
        sys.settrace(begun_or_ended)
        try:
            session.swap("base")
        except KeyboardInterrupt as stopped:
            kept.append(stopped)
        finally:
            sys.settrace(before)
        other = Other(have(session._lock, "compare"))
        other.end()
        assert other.error is None, returned
    assert len(kept) > 5


class Listener:
    def __init__(self) -> None:
        self.heard = 0

    def hear(self, doing: str) -> None:
        self.heard += not doing


def test_listeners_hear_of_every_verb_also_of_one_that_failed(session: Session) -> None:
    listener = Listener()
    session._lock.listen(listener.hear)
    session.attach("one", rank=2)
    session.swap("base")
    with pytest.raises(Exception, match="nobody"):
        session.swap("nobody")
    assert listener.heard == 3


def test_a_fault_of_a_listener_is_logged_and_the_verb_is_done(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Listener):
        def hear(self, doing: str) -> None:
            raise ZeroDivisionError

    faulty, listener = Faulty(), Listener()
    session._lock.listen(faulty.hear)
    session._lock.listen(listener.hear)
    assert session.attach("one", rank=2).name == "one"
    assert "ZeroDivisionError" in caplog.text
    assert listener.heard == 1
    with pytest.raises(AdapterError, match="nobody"):
        session.swap("nobody")


def test_a_listener_that_is_gone_is_forgotten(session: Session) -> None:
    session._lock.listen(Listener().hear)
    session.attach("one", rank=2)
    assert session._lock._listeners == []


def test_while_an_answer_is_written_another_thread_changes_nothing(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    alone = session.compare("Hello", max_new_tokens=6)
    refused: list[BaseException | None] = []

    def meanwhile(written: object) -> bool:
        if not refused:
            other = Other(lambda stay: session.swap("base"))
            other.end()
            refused.append(other.error)
        return False

    found = session.compare("Hello", max_new_tokens=6, watch=meanwhile)
    assert isinstance(refused[0], StateError)
    assert "busy with compare" in str(refused[0])
    assert [pane.text for pane in found.panes] == [pane.text for pane in alone.panes]
    assert session.active == "one"
    # Counting touches no slot, so that it needs no turn.
    counted = Other(lambda stay: session.ratio(rank=4))
    with session._lock.locked():
        counted.end()
    assert counted.error is None


@pytest.mark.parametrize("look", ["model", "verify"])
def test_a_cell_that_looks_at_the_model_waits_for_the_answer_in_hand(
    session: Session, look: str
) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")

    def answering(stay: Callable[[], object]) -> None:
        session.compare("Hello", max_new_tokens=1, watch=lambda written: bool(stay()))

    other = Other(answering)
    assert other.reached.wait(PATIENCE)
    threading.Timer(0.2, other.go_on.set).start()
    found = getattr(session, look)
    if look != "model":
        found()
    standing = session._state.slots.written == session._state.modules
    other.end()
    assert standing


def test_what_a_control_asks_for_at_once_waits_for_nobody(session: Session) -> None:
    other = Other(have(session._lock, "compare"))
    assert other.reached.wait(PATIENCE)
    with pytest.raises(StateError, match="busy with compare"), session._lock.at_once():
        session.attach("one", rank=2)
    other.end()
    # And it is over with it.
    assert session.attach("one", rank=2).name == "one"


def test_who_reads_the_state_meanwhile_sees_what_was_before_the_verb_and_waits_for_nobody(
    session: Session,
) -> None:
    session.attach("one", rank=2)

    def attaching(stay: Callable[[], object]) -> None:
        with session._lock.locked():
            session._state.attached["half"] = session._state.attached["one"]
            session._state.active = "half"
            stay()
            del session._state.attached["half"]
            session._state.active = "one"

    other = Other(attaching)
    assert other.reached.wait(PATIENCE)
    seen = (list(session.adapters), session.active, session.merged, session.status().active)
    assert seen == (["one"], "one", None, "one")
    assert "one active" in repr(session)
    other.end()
    assert other.error is None
