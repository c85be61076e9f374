"""What of a growing text may be sent, and who is answered with whom."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from lora_magic.serving import batches
from lora_magic.serving.batches import Batches, Event, Piece, Waiting, visible
from lora_magic.serving.chat import Asked, Done, Refusal

PATIENCE = 10


def waiting(told: list[Event], **flags: Any) -> Waiting:
    return Waiting(Asked("base", ({"role": "user", "content": "Hi"},), **flags), told.append)


def sent(told: Sequence[Event]) -> str:
    return "".join(event.text for event in told if isinstance(event, Piece))


@pytest.mark.parametrize(
    ("text", "stops", "shown", "stopped"),
    [
        ("one two", [], "one two", False),
        ("one two", ["two"], "one ", True),
        ("one tw", ["two"], "one ", False),
        ("one two", ["two", "ne"], "o", True),
        ("aab", ["abc", "aabd"], "", False),
        ("x\ufffd", [], "x", False),
        ("x\ufffd\ufffd", ["xy"], "", False),
        ("a\ufffdb", [], "a\ufffdb", False),
        ("ab", ["ab" * 9], "", False),
    ],
)
def test_what_may_be_sent(text: str, stops: list[str], shown: str, stopped: bool) -> None:
    assert visible(text, stops, final=False) == (shown, stopped)
    whole = text.partition("two")[0] if stopped and stops == ["two"] else shown
    assert visible(text, stops, final=True) == ((whole, True) if stopped else (text, False))


def test_pieces_join_to_the_text_up_to_its_stop_however_it_grows() -> None:
    """As bytes come, each decoded from the start, as tokens are."""
    draw = random.Random(0)
    for _ in range(200):
        text = "".join(draw.choice("aäb🦊c") for _ in range(12))
        stops = ["".join(draw.choice("aäb🦊c") for _ in range(draw.randint(1, 3)))]
        told: list[Event] = []
        one = waiting(told, stop=tuple(stops), stream=True)
        raw = text.encode()
        for end in range(1, len(raw) + 1):
            so_far = raw[:end].decode(errors="replace")
            if one.write(so_far, end, "length" if end == len(raw) else None):
                break
        assert "\ufffd" not in sent(told)
        done = told[-1]
        assert isinstance(done, Done)
        assert sent(told) == done.text == text.partition(stops[0])[0]
        assert done.finish == ("stop" if stops[0] in text else "length")


def test_an_answer_that_is_not_streamed_is_told_once() -> None:
    told: list[Event] = []
    one = waiting(told)
    one.prompt_tokens = 4
    assert not one.write("a", 1)
    assert one.write("ab", 2, "stop")
    assert one.write("abc", 3)
    assert told == [Done("ab", "stop", 4, 2)]


def test_nothing_is_told_to_a_client_that_has_gone() -> None:
    told: list[Event] = []
    one = waiting(told, stream=True)
    one.write("a", 1)
    one.leave()
    assert one.write("ab", 2)
    one.refuse(Refusal(503, "no"))
    assert told == [Piece("a")]


Answer = Callable[[Sequence[Waiting]], None]


@pytest.fixture
def started() -> Iterator[Callable[[Answer], Batches]]:
    made: list[Batches] = []

    def start(answer: Answer) -> Batches:
        made.append(Batches(answer))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()
        one.join(PATIENCE)
    assert not [t for t in threading.enumerate() if t.name == "serve: answers"]


class Slow:
    """Answers the first of those that wait, once it may; keeps how many waited."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, found: Sequence[Waiting]) -> None:
        self.seen.append(len(found))
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        found[0].write("", 0, "stop")


def test_what_comes_while_others_are_answered_is_offered_together(
    started: Callable[[Answer], Batches],
) -> None:
    slow, done = Slow(), threading.Semaphore(0)
    queue = started(slow)
    every = [Waiting(Asked("base", ()), lambda event: done.release()) for _ in range(4)]
    queue.add(every[0])
    assert slow.begun.wait(PATIENCE)
    for one in every[1:]:
        queue.add(one)
    every[2].leave()
    slow.go_on.set()
    for _ in range(3):
        assert done.acquire(timeout=PATIENCE)
    assert slow.seen == [1, 2, 1]


def test_one_too_many_is_refused_and_may_try_again(
    started: Callable[[Answer], Batches], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST", 2)
    slow, told = Slow(), []  # type: ignore[var-annotated]
    queue = started(slow)
    one, two = waiting(told), waiting(told)
    queue.add(one)
    queue.add(two)
    with pytest.raises(Refusal, match="2 requests are waiting") as caught:
        queue.add(waiting(told))
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    two.leave()
    queue.add(waiting(told))
    slow.go_on.set()


def test_after_the_end_all_are_refused(started: Callable[[Answer], Batches]) -> None:
    slow, told = Slow(), []  # type: ignore[var-annotated]
    queue = started(slow)
    queue.add(waiting(told))
    assert slow.begun.wait(PATIENCE)
    queue.add(waiting(told))
    queue.stop()
    queue.stop()
    slow.go_on.set()
    assert [getattr(event, "status", None) for event in told] == [503, 503]
    with pytest.raises(Refusal, match="has stopped"):
        queue.add(waiting(told))


def test_an_error_refuses_those_that_waited_and_the_thread_goes_on(
    started: Callable[[Answer], Batches], caplog: pytest.LogCaptureFixture
) -> None:
    told, done = [], threading.Semaphore(0)  # type: ignore[var-annotated]

    def answer(found: Sequence[Waiting]) -> None:
        if found[0].asked.model == "bad":
            raise ZeroDivisionError
        found[0].write("fine", 1, "stop")

    def tell(event: Event) -> None:
        told.append(event)
        done.release()

    queue = started(answer)
    for name in ("bad", "good"):
        queue.add(Waiting(Asked(name, ()), tell))
        assert done.acquire(timeout=PATIENCE)
    assert (told[0].status, str(told[0])) == (500, "the request failed: ZeroDivisionError.")
    assert told[1].text == "fine"
    assert caplog.records[0].levelno == logging.ERROR
