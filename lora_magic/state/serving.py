"""The session behind an endpoint: which model answers, and which requests share a pass.

Knows the session's state and its lock; knows no HTTP. Requests for different adapters are answered
in one batch, each row under its own; the text of each is that of `session.ask(messages=…)` in fp32.
"""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.checks import is_whole
from lora_magic.errors import AdapterError, CommandError, LoraMagicError, StateError, listed
from lora_magic.interrupts import undisturbed
from lora_magic.printable import one_line
from lora_magic.serving.batches import Waiting
from lora_magic.serving.chat import Refusal
from lora_magic.serving.server import HOST, Endpoint

from . import queries
from .receipt import Receipt
from .transaction import transactional

if TYPE_CHECKING:
    from torch import nn

    from lora_magic.compare.generate import Generation
    from lora_magic.compare.stack import Variant

    from .session import Session
    from .session_state import SessionState

#: Most rows of one pass.
ROWS = 16
#: Most numbers in the factors of a pass: each of its rows has a copy of its adapter's.
_FACTORS = 2**26
_SHORTEST = 16
#: Seconds that a batch waits for the session: a short verb, or a display, costs no request a 503.
_SHORT = 0.2
#: What `Server.token` is without one: a client needs some text.
NO_TOKEN = "no-token"


class Server:
    """An endpoint over a session, until `stop`, `reset`, another `load` or the end of the kernel.

    It is displayed without its token, so that no notebook keeps it.
    """

    def __init__(self, session: Session, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        # Also called when the session is collected, and when the interpreter exits.
        self._end = weakref.finalize(session, endpoint.stop)

    @property
    def url(self) -> str:
        """What a client takes as its base URL, as http://127.0.0.1:8000/v1."""
        return self._endpoint.url

    @property
    def token(self) -> str:
        """What a client sends as its API key; "no-token" if none is required."""
        return self._endpoint.token or NO_TOKEN

    @property
    def models(self) -> tuple[str, ...]:
        """The models that can be asked for now: "base" and the adapters."""
        return tuple(self._endpoint.answerer.names()) if self.running else ()

    @property
    def running(self) -> bool:
        """Does it take requests?"""
        return self._endpoint.running

    @property
    def line(self) -> str:
        """One line: the address, and the models."""
        if not self.running:
            return f"{self.url} · stopped"
        return f"{self.url} · {listed(self.models)}"

    def stop(self) -> None:
        """Refuse what waits, and close everything. May be repeated, also after an interrupt."""
        self._endpoint.stop()
        self._end.detach()

    def matches(self, port: int, token: str | None, no_token: bool) -> bool:
        """Is it what these arguments of `serve` ask for?"""
        mine = self._endpoint
        same_token = mine.token is None if no_token else token in (None, mine.token)
        return port in (0, mine.port) and same_token

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import serve

        example = next((name for name in self.models if name != BASE_NAME), BASE_NAME)
        secret = self._endpoint.token is not None
        return serve.bundle(
            line=self.line, running=self.running, model=example, token_required=secret
        )


@transactional
def serve(session: Session, port: int, token: str | None, no_token: bool) -> Server:
    """The session's server, started if there is none; see `Session.serve`."""
    _check(port, token, no_token)
    state = session._state
    state.base.needs_tokenizer()
    if state.base.task.classifies:
        raise CommandError(
            "serve: a classifier assigns labels and completes no chat; type: %lora ask TEXT"
        )
    if state.server is not None and state.server.running:
        if state.server.matches(port, token, no_token):
            return state.server
        raise StateError(
            f"already serving at {state.server.url}, with another port or token; first type: "
            "%lora serve --stop"
        )
    required = None if no_token else token or secrets.token_urlsafe(24)
    with undisturbed():
        try:
            endpoint = Endpoint(Answerer(session), port=port, token=required)
        except OSError as error:
            raise StateError(
                f"port {port} of {HOST}: {error.strerror or error}; omit --port for a free one."
            ) from None
        state.server = Server(session, endpoint)
    return state.server


def _check(port: int, token: str | None, no_token: bool) -> None:
    if not is_whole(port) or not 0 <= port < 2**16:
        raise CommandError(f"--port {port!r}: expected a whole number from 0 (any) to 65535.")
    if token is None:
        return
    if no_token:
        raise CommandError("serve: both --token and --no-token are given; omit one.")
    fits = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    if not fits or len(token) < _SHORTEST:
        # The token itself is not repeated: the notebook keeps its errors.
        raise CommandError(
            f"--token: expected at least {_SHORTEST} characters of ASCII without spaces; omit it "
            "for one that is drawn."
        )


def stop(session: Session, port: int, token: str | None, no_token: bool) -> Receipt:
    """Stop the session's server. It needs no lock, so that it ends an answer that takes long."""
    if port or token is not None or no_token:
        raise CommandError("serve: --stop takes no other flag; type: %lora serve --stop")
    server = session._state.server
    if server is None or not server.running:
        return Receipt("nothing is being served; nothing to stop")
    server.stop()
    return Receipt(f"the server at {server.url} has stopped")


class Answerer:
    """Answers requests with a session, as long as somebody else keeps the session."""

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)

    def names(self) -> list[str]:
        """ "base" and the attached adapters, as they were after the last verb."""
        session = self._session()
        view = session._state.published if session is not None else None
        return [BASE_NAME, *(a.name for a, _ in view.attached)] if view is not None else []

    def answer(self, waiting: Sequence[Waiting]) -> None:
        """Answer the first request and all that can share its pass.

        All are refused (503) while another thread uses the session.
        """
        session = self._session()
        try:
            if session is None:
                raise StateError("the session no longer exists.")
            with _using(session) as state:
                rows = _chosen(state, waiting)
                if rows:
                    _pass(state, rows)
        except StateError as error:
            for one in waiting:
                one.refuse(Refusal(503, str(error), code="busy", retry_after=1))


@contextmanager
def _using(session: Session) -> Iterator[SessionState]:
    """The session's state, locked, in torch's default modes; afterwards all is as it was.

    As around a verb, but panels are not told: nothing changes that they show.
    """
    with session._lock.locked(_SHORT):
        session._lock.doing = "serve"
        from lora_magic.base.device import out_of_memory
        from lora_magic.base.restore import default_modes, process, restoring

        state = session._state
        state.refuse_foreign("serve")
        try:
            with restoring(process()), default_modes():
                yield state
        except BaseException as error:
            state.restore()
            if out_of_memory(error):
                raise StateError(
                    "out of memory; ask for fewer tokens, or for one answer after the other."
                ) from error
            raise


@dataclass
class _Row:
    """A request as a row of a batch: its adapter, its token ids, and its most new tokens."""

    waiting: Waiting
    variant: Variant
    ids: list[int]
    limit: int
    context: int
    tokens: int = 0
    finite: bool = True

    @property
    def factors(self) -> int:
        """Numbers in the factors of its adapter."""
        updates = (self.variant.deltas or {}).values()
        return sum(update.up.numel() + update.down.numel() for update in updates)

    @property
    def stackable(self) -> bool:
        """Can it share a pass with other adapters? An expert gets any rows, not whole ones."""
        deltas = self.variant.deltas
        return deltas is not None and not any("experts" in path.split(".") for path in deltas)

    def follow(self, at_end: bool, decoded: Callable[[], Generation]) -> bool:
        """Pass on the answer so far, one token longer than before; is it at its end?

        It is decoded only for who reads it before its end: a stream, or stop texts.
        """
        if self.waiting.ended:
            return True
        self.tokens += 1
        asked = self.waiting.asked
        if not (asked.stream or asked.stop or at_end or self.tokens >= self.limit):
            return False
        made = decoded()
        if not made.finite:
            self.finite = False
            return True
        finish = "stop" if made.ended else "length" if made.tokens >= self.limit else None
        return self.waiting.write(made.text, made.tokens, finish)


def _chosen(state: SessionState, waiting: Sequence[Waiting]) -> list[_Row]:
    """The first request that can be answered, and those that can share its pass.

    Those at fault are refused.
    """
    rows: list[_Row] = []
    variants: dict[str, Variant] = {}
    for one in waiting:
        other = rows and one.asked.sampling != rows[0].waiting.asked.sampling
        if other or len(rows) == ROWS:
            continue
        try:
            row = _row(state, one, variants)
        except Refusal as refusal:
            one.refuse(refusal)
            continue
        if not rows or _fits([*rows, row]):
            rows.append(row)
    return rows


def _row(state: SessionState, one: Waiting, variants: dict[str, Variant]) -> _Row:
    """A request as a row; raises `Refusal` for a model or messages that cannot be answered."""
    from lora_magic.compare.ask import check_turns
    from lora_magic.compare.limits import check_known, check_lengths, new_tokens

    asked, base = one.asked, state.base
    try:
        if asked.model not in variants:
            variants[asked.model] = queries.variant(state, asked.model)
        variant, context = variants[asked.model], queries.usable_context(state, [asked.model])
        check_turns(asked.messages)
        ids = variant.form.encode_turns(base.needs_tokenizer(), asked.messages)
        check_known([ids], base.model)
    except AdapterError as error:
        # It was detached after the request had come.
        raise Refusal(404, str(error), param="model", code="model_not_found") from None
    except LoraMagicError as error:
        raise Refusal(400, str(error), param="messages") from None
    try:
        check_lengths([asked.messages[-1]["content"]], [ids], context)
    except LoraMagicError as error:
        long = "context_length_exceeded"
        raise Refusal(400, str(error), param="messages", code=long) from None
    one.prompt_tokens = len(ids)
    return _Row(one, variant, ids, new_tokens(len(ids), context, asked.max_tokens), context)


def _fits(rows: Sequence[_Row]) -> bool:
    """Can these share a pass, in which each answers as alone?

    Padding must not shorten an answer, and several adapters must be stackable.
    """
    from lora_magic.compare.bulk import BATCH_TOKENS

    longest, limit = max(len(row.ids) for row in rows), max(row.limit for row in rows)
    if longest + limit > min(rows[0].context, BATCH_TOKENS // len(rows)):
        return False
    if len({row.variant.name for row in rows}) == 1:
        return True
    return all(row.stackable for row in rows) and sum(row.factors for row in rows) <= _FACTORS


def _pass(state: SessionState, rows: Sequence[_Row]) -> None:
    """Answer the rows in one batch."""
    from lora_magic.compare.generate import generate

    def follow(at_end: Sequence[bool], decoded: Callable[[int], Generation]) -> list[bool]:
        return [
            row.follow(end, partial(decoded, place))
            for place, (row, end) in enumerate(zip(rows, at_end, strict=True))
        ]

    with state.slots.using(_modules(state, rows)):
        generate(
            state.base.model,
            state.base.needs_tokenizer(),
            [row.ids for row in rows],
            stop_ids=[row.variant.form.stop_ids for row in rows],
            max_new_tokens=max(row.limit for row in rows),
            context=rows[0].context,
            rows=follow,
            **rows[0].waiting.asked.sampling,
        )
    for row in rows:
        if not row.finite:
            row.waiting.refuse(Refusal(500, _fault(state, row), code="not_finite"))


def _modules(state: SessionState, rows: Sequence[_Row]) -> Mapping[str, nn.Module]:
    """One adapter's own modules for all rows, or those that apply each row's adapter to it."""
    from lora_magic.compare.stack import in_blocks

    if len({row.variant.name for row in rows}) == 1:
        return rows[0].variant.replacements
    return in_blocks(state.slots, [row.variant for row in rows]).modules


def _fault(state: SessionState, row: _Row) -> str:
    """Whose fault it is that a row's logits are not finite."""
    from lora_magic.compare.ask import refuse

    given: tuple[Any, ...] = (state.base.model, state.slots, row.ids, row.variant.name)
    try:
        refuse(*given)
    except LoraMagicError as error:
        return str(error)
