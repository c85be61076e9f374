"""Requests that wait, and the thread that answers them in batches.

Knows threads, and how a text grows; knows no HTTP, no model and no session. Requests that come
while others are answered wait, and are offered together to whoever answers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .chat import Asked, Done, Refusal

#: Seconds between two batches: others can join, and a verb that waits for the session can begin.
WINDOW = 0.01
#: Most requests that wait or are answered.
MOST = 64

#: What a decoder writes for the bytes of a character that is not complete.
_HALF = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Piece:
    """What is new in the text of a stream."""

    text: str


Event = Piece | Done | Refusal


class Waiting:
    """One request until its answer ends; `tell` is called with what is to be sent.

    A `Done` or a `Refusal` is the last event. Whoever answers sets `prompt_tokens`.
    """

    def __init__(self, asked: Asked, tell: Callable[[Event], None]) -> None:
        self.asked, self._tell = asked, tell
        self.prompt_tokens, self._sent = 0, 0
        self.ended = False

    def leave(self) -> None:
        """Nobody waits for the answer any more: nothing is sent, and its row ends."""
        self.ended = True

    def write(self, text: str, tokens: int, finish: str | None = None) -> bool:
        """Take the whole text so far, and why it ended if it has; is the answer at its end?

        A stop text ends it, and is not sent. A stream gets no character before all of its bytes are
        there, and nothing that may be the beginning of a stop text.
        """
        if self.ended:
            return True
        shown, stopped = visible(text, self.asked.stop, final=finish is not None)
        finish = "stop" if stopped else finish
        if self.asked.stream and len(shown) > self._sent:
            self._tell(Piece(shown[self._sent :]))
            self._sent = len(shown)
        if finish is not None:
            self.ended = True
            self._tell(Done(shown, finish, self.prompt_tokens, tokens))
        return self.ended

    def refuse(self, refusal: Refusal) -> None:
        """End it without an answer, or without the rest of it."""
        if not self.ended:
            self.ended = True
            self._tell(refusal)


def visible(text: str, stops: Sequence[str], *, final: bool) -> tuple[str, bool]:
    """What can be sent of a text that may grow, and whether a stop text ends it.

    >>> visible("one, tw", [" two"], final=False)
    ('one,', False)
    """
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    if places:
        return text[: min(places)], True
    if final:
        return text, False
    text = text.rstrip(_HALF)
    begun = max(
        (
            size
            for stop in stops
            for size in range(1, min(len(stop), len(text) + 1))
            if text.endswith(stop[:size])
        ),
        default=0,
    )
    return text[: len(text) - begun], False


class Batches:
    """A thread that offers all waiting requests to `answer`, again and again.

    `answer` must end the first of them, and may end others that can share its pass.
    """

    def __init__(self, answer: Callable[[Sequence[Waiting]], None]) -> None:
        self._answer = answer
        self._changed = threading.Condition()
        self._waiting: list[Waiting] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="serve: answers", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, waiting: Waiting) -> None:
        """Let a request wait; raises `Refusal` (503) if too many do, or after `stop`."""
        with self._changed:
            if self._stopped:
                raise has_stopped()
            if self._awake() and len(self._waiting) >= MOST:
                raise Refusal(
                    503,
                    f"{MOST} requests are waiting, the most that this server takes; try again. "
                    "For real load, export the adapter to vLLM.",
                    code="server_overloaded",
                    retry_after=1,
                )
            self._waiting.append(waiting)
            self._changed.notify()

    def stop(self) -> None:
        """Refuse what waits, end what is being answered with its next token. May be repeated."""
        with self._changed:
            self._stopped = True
            for waiting in self._waiting:
                waiting.refuse(has_stopped())
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, unless this is it."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._answer(batch)
                fault = "it was not answered"
            except Exception as error:
                logging.getLogger(__name__).exception("a request could not be answered")
                fault = type(error).__name__
            if not batch[0].ended:
                for waiting in batch:
                    waiting.refuse(Refusal(500, f"the request failed: {fault}."))

    def _next(self) -> list[Waiting]:
        """All that wait, once there are any; nothing at the end."""
        with self._changed:
            self._changed.wait_for(self._awake)
        time.sleep(WINDOW)
        with self._changed:
            self._changed.wait_for(self._awake)
            return [] if self._stopped else list(self._waiting)

    def _awake(self) -> bool:
        """Is there anything to do? Forgets what has ended."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.ended]
        return bool(self._waiting) or self._stopped


def has_stopped() -> Refusal:
    """The answer to requests that `stop` comes before."""
    return Refusal(503, "the server has stopped.", code="server_stopped")
