"""Interrupts: noted, raised, or made to wait."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from lora_magic.interrupts import Stop, TooSlowError, limited, undisturbed


def test_the_first_interrupt_is_noted_and_the_second_raises() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        assert not stop.requested
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_event_is_a_wish_to_stop_and_no_first_interrupt() -> None:
    event = threading.Event()
    with Stop(event) as stop:
        event.set()
        assert stop.requested
        signal.raise_signal(signal.SIGINT)


def test_who_ignores_interrupts_goes_on_ignoring_them() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.requested
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_an_undisturbed_block() -> None:
    before = signal.getsignal(signal.SIGINT)
    done = []

    def work() -> None:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_block_that_never_ends_is_ended_and_one_that_ends_is_left_alone() -> None:
    def forever() -> None:
        while True:
            pass

    with pytest.raises(TooSlowError):
        limited(0.05, forever)
    assert limited(60, lambda: "done") == "done"


def test_what_is_over_is_not_ended_any_more() -> None:
    for _ in range(200):
        # The limit is reached while the block ends.
        try:
            limited(1e-5, lambda: None)
        except TooSlowError:
            continue
    assert threading.active_count() < 100


def test_a_limit_that_is_interrupted_at_any_line_ends_nothing_later() -> None:
    lines = _interrupted_at(None)
    assert lines > 8
    assert sum(_interrupted_at(line) for line in range(lines)) == 0


def _interrupted_at(line: int | None) -> int:
    """Interrupts `limited` at a line of it and goes on for longer than its limit.

    Returns the number of lines that ran without an interrupt, or how often the rest was ended.
    """
    seen = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal seen
        if frame.f_code is not limited.__code__:
            return None
        if event == "line":
            seen += 1
            if seen - 1 == line:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            limited(0.02, lambda: None)
    finally:
        sys.settrace(before)
    try:
        end = time.monotonic() + 0.06
        while time.monotonic() < end:
            pass
    except TooSlowError:
        return 1
    return seen if line is None else 0


def test_a_limit_leaves_nothing_behind_that_a_debugger_would_wait_for() -> None:
    code = (
        "import sys, faulthandler; faulthandler.dump_traceback_later(20, exit=True)\n"
        "from lora_magic.interrupts import limited\n"
        "for seconds in (60, *[1e-5] * 50):\n"
        "    try:\n"
        "        limited(seconds, lambda: None)\n"
        "    except Exception: pass\n"
        "sys.settrace(lambda *_: None)\n"
        "print((lambda: 'done')())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout == "done\n", run.stderr[-500:]


def test_in_an_inner_block_an_interrupt_waits_for_the_end_of_the_outer_one() -> None:
    before = signal.getsignal(signal.SIGINT)
    done = []

    def work() -> None:
        with undisturbed():
            with undisturbed():
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            done.append("outer")
            signal.raise_signal(signal.SIGINT)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer", "the rest"]
    assert signal.getsignal(signal.SIGINT) is before
