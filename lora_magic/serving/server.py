"""The endpoint: HTTP on loopback, who may ask, and the limits of size and rate.

Knows tornado, and runs it in a thread of its own; knows no model and no session. A browser's page
has no access: other names for this address (DNS rebinding) and other origins are refused.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import responses
from typing import Any, Protocol
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from .batches import Batches, Event, Piece, Waiting, has_stopped
from .chat import Refusal, Reply, model, read

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
#: Bytes of a body, and those that are read to refuse a larger one in words.
BODY, _READ = 64 * 1024, 2 * 1024 * 1024
_HEADERS = 16 * 1024
#: Chat requests in a minute.
RATE = 600
#: Connections that are open at once: each takes a file descriptor of the kernel, and memory.
CONNECTIONS = 128
#: Seconds for one answer, for a body to arrive, and for answers to be sent after the end.
ANSWER, _ARRIVE, _LEAVE = 600.0, 10.0, 1.0
#: Seconds that `stop` waits for each of the two threads.
_JOIN = 10.0


class Answerer(Protocol):
    """Who knows the models, and answers."""

    def names(self) -> Sequence[str]:
        """The models that can be asked for now."""
        ...

    def answer(self, waiting: Sequence[Waiting]) -> None:
        """End the first request, and others that can share its pass."""
        ...


class Endpoint:
    """A server of chat completions on 127.0.0.1, from its making to `stop`.

    `token` is what a request must bring, None for none. Raises `OSError` for a port that cannot be
    bound; port 0 is any free one.
    """

    def __init__(self, answerer: Answerer, *, port: int = 0, token: str | None) -> None:
        self.answerer, self.token = answerer, token
        self.batches = Batches(answerer.answer)
        self.created, self.rate = int(time.time()), Rate(RATE)
        self.active: set[RequestHandler] = set()
        self._sockets = bind_sockets(port, HOST, socket.AF_INET)
        self.port: int = self._sockets[0].getsockname()[1]
        self._ready, self._ending = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="serve: HTTP", daemon=True)
        self.batches.start()
        self._thread.start()
        # From here on requests are taken.
        self._ready.wait(_JOIN)

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def running(self) -> bool:
        """Are requests taken?"""
        return self._thread.is_alive() and not self._ending.is_set()

    def stop(self) -> None:
        """Refuse what waits (503), close the sockets and end both threads. May be repeated."""
        self.batches.stop()
        # The loop is closed if it has ended already.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ending.set)
        self.batches.join(_JOIN)
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN)

    def _run(self) -> None:
        asyncio.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        http = _Http(
            _application(self),
            max_body_size=_READ,
            max_header_size=_HEADERS,
            body_timeout=_ARRIVE,
            idle_connection_timeout=60.0,
        )
        http.add_sockets(self._sockets)
        self._ready.set()
        try:
            await self._ending.wait()
        finally:
            http.stop()
            self.batches.stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE):
                    while self.active:
                        await asyncio.sleep(0.005)
            await http.close_all_connections()


class _Http(HTTPServer):
    """tornado's server with a limit of connections; those beyond it are closed at once."""

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        if len(self._connections) >= CONNECTIONS:
            stream.close()
        else:
            super().handle_stream(stream, address)


class Rate:
    """At most so many events in a minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Count an event and return 0, or return the seconds until the next is allowed."""
        while self._times and self._times[0] <= now - 60:
            self._times.popleft()
        if len(self._times) >= self._most:
            return self._times[0] + 60 - now
        self._times.append(now)
        return 0.0


def refused(request: HTTPServerRequest, token: str | None) -> Refusal | None:
    """Why a request is refused whatever it asks for: its host, its origin or its token."""
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if _name(host) not in _NAMES:
        names = " or ".join(_NAMES)
        return Refusal(403, f"the Host header is not {names}.", code="host_not_allowed")
    if origin is not None and origin != f"http://{host}":
        return Refusal(403, "a page of another origin may not ask.", code="origin_not_allowed")
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if token is None or request.path == "/health":
        return None
    same = hmac.compare_digest(given.encode(), token.encode())
    if not same or scheme.lower() != "bearer":
        return Refusal(
            401,
            "the token is missing or wrong; send the header Authorization: Bearer TOKEN (in the "
            "client: api_key=server.token).",
            code="invalid_api_key",
        )
    return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _application(endpoint: Endpoint) -> Application:
    given = {"endpoint": endpoint}
    return Application(
        [
            (r"/health", _Health, given),
            (r"/v1/models", _Models, given),
            (r"/v1/models/(.+)", _Model, given),
            (r"/v1/chat/completions", _Chat, given),
        ],
        default_handler_class=_Nothing,
        default_handler_args=given,
        # The requests of a notebook are no lines for its cells.
        log_function=lambda handler: None,
    )


class _Handler(RequestHandler):
    """What all addresses share."""

    def initialize(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")

    def prepare(self) -> None:
        self.endpoint.active.add(self)
        refusal = self.objection()
        if refusal is not None:
            self.refuse(refusal)

    def objection(self) -> Refusal | None:
        """Why the request is refused before its body is looked at."""
        return refused(self.request, self.endpoint.token)

    def on_finish(self) -> None:
        self.endpoint.active.discard(self)

    def refuse(self, refusal: Refusal) -> None:
        self.set_status(refusal.status)
        if refusal.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if refusal.retry_after is not None:
            self.set_header("Retry-After", str(refusal.retry_after))
        self.finish(json.dumps(refusal.body))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.refuse(Refusal(status_code, f"{self.request.method}: {responses[status_code]}."))

    def log_exception(self, *error: Any) -> None:
        # A method that an address does not have is the client's fault, and is not printed.
        if not isinstance(error[1], HTTPError):
            super().log_exception(*error)

    def known(self, name: str) -> None:
        """Raise `Refusal` (404) for a model that there is not."""
        names = self.endpoint.answerer.names()
        if name not in names:
            shown = name if len(name) <= 60 else f"{name[:59]}…"
            raise Refusal(
                404,
                f"no model {shown!r}; there are: {', '.join(names)}.",
                param="model",
                code="model_not_found",
            )


class _Health(_Handler):
    def get(self) -> None:
        self.finish({"status": "ok"})


class _Models(_Handler):
    def get(self) -> None:
        models = [model(name, self.endpoint.created) for name in self.endpoint.answerer.names()]
        self.finish({"object": "list", "data": models})


class _Model(_Handler):
    def get(self, name: str) -> None:
        try:
            self.known(name)
            self.finish(model(name, self.endpoint.created))
        except Refusal as refusal:
            self.refuse(refusal)


class _Nothing(_Handler):
    def objection(self) -> Refusal | None:
        have = "POST /v1/chat/completions, GET /v1/models and GET /health"
        return super().objection() or Refusal(404, f"no such address; there are {have}.")


class _Chat(_Handler):
    """A request is refused before the first byte of its answer, or in the stream after it."""

    def initialize(self, endpoint: Endpoint) -> None:
        super().initialize(endpoint)
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.waiting: Waiting | None = None
        self.streams = False

    def on_connection_close(self) -> None:
        if self.waiting is not None:
            self.waiting.leave()
        # Ends `post`; nobody reads what it writes.
        self.events.put_nowait(has_stopped())

    async def post(self) -> None:
        try:
            asked = read(self._body())
            self.known(asked.model)
            self.waiting = Waiting(asked, self._teller())
            self.endpoint.batches.add(self.waiting)
            async with asyncio.timeout(ANSWER):
                await self._reply(Reply(asked))
        except Refusal as refusal:
            self._end(refusal)
        except TimeoutError:
            self._end(Refusal(504, f"no answer within {ANSWER:g} s; ask for fewer tokens."))
        except StreamClosedError:
            pass
        finally:
            if self.waiting is not None:
                self.waiting.leave()

    def _body(self) -> bytes:
        """The body of a request within the limits; raises `Refusal` (413, 415 or 429)."""
        body, kind = self.request.body, self.request.headers.get("Content-Type", "")
        if len(body) > BODY:
            raise Refusal(413, f"the body has {len(body):,} bytes; at most {BODY:,} are read.")
        # A form of a web page cannot send this type without its browser asking first.
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "the body is not JSON; send Content-Type: application/json.")
        seconds = self.endpoint.rate.wait(time.monotonic())
        if seconds:
            raise Refusal(
                429,
                f"more than {RATE} requests in a minute. For real load, export the adapter to "
                "vLLM.",
                code="rate_limit_exceeded",
                retry_after=int(seconds) + 1,
            )
        return body

    def _teller(self) -> Callable[[Event], None]:
        """What the thread that answers calls with an event of this request."""
        loop, events = asyncio.get_running_loop(), self.events

        def tell(event: Event) -> None:
            # The loop may have ended before the thread that answers.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(events.put_nowait, event)

        return tell

    async def _reply(self, reply: Reply) -> None:
        event = await self.events.get()
        if isinstance(event, Refusal):
            raise event
        if reply.asked.stream:
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-cache")
            self.streams = True
            await self._write(reply.chunk({"role": "assistant", "content": ""}))
        while isinstance(event, Piece):
            await self._write(reply.chunk({"content": event.text}))
            event = await self.events.get()
        if isinstance(event, Refusal):
            raise event
        if not reply.asked.stream:
            self.finish(reply.whole(event))
            return
        for chunk in reply.last(event):
            await self._write(chunk)
        self.finish("data: [DONE]\n\n")

    async def _write(self, chunk: dict[str, Any]) -> None:
        self.write(f"data: {json.dumps(chunk)}\n\n")
        await self.flush()

    def _end(self, refusal: Refusal) -> None:
        """Refuse the request, or end its stream with an error."""
        if self.streams:
            self.finish(f"data: {json.dumps(refusal.body)}\n\n")
        else:
            self.refuse(refusal)
