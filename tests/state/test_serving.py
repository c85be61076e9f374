"""A session behind OpenAI's client: the texts of `ask`, one pass for several adapters, one owner.

The reference is `session.ask(messages=…)`, which answers each by itself.
"""

from __future__ import annotations

import gc
import signal
import socket
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import openai
import pytest
import torch

from lora_magic.compare import generate as generating
from lora_magic.errors import CommandError, PromptError, StateError
from lora_magic.serving.batches import Waiting
from lora_magic.serving.chat import Asked, Done, Refusal
from lora_magic.state.serving import NO_TOKEN, Answerer, Server
from lora_magic.state.session import Session
from tests.classifiers import saved, tiny_of
from tests.conftest import perturb
from tests.tiny import tiny_model, tiny_tokenizer

PATIENCE = 30
QUESTIONS = ["What does a fox eat?", "Where does the owl live? It is dark there.", "Hi"]
#: Adapters that can share a pass, one that cannot, and one with virtual tokens.
ADAPTERS: dict[str, dict[str, Any]] = {
    "calm": {"rank": 2},
    "pirate": {"rank": 4, "targets": "all-linear"},
    "houlsby": {"method": "houlsby"},
    "prefix": {"method": "prefix", "virtual_tokens": 3},
}


@pytest.fixture(scope="module")
def demo() -> Iterator[Session]:
    """The embedded model with adapters that change its answers."""
    session = Session()
    session.load("demo")
    generator = torch.Generator().manual_seed(0)
    for name, flags in ADAPTERS.items():
        session.attach(name, **flags)
        with torch.no_grad():
            for _, tensor in session._state.attached[name].tensors():
                tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.1)
    session.swap("base")
    yield session
    session.reset()


@pytest.fixture
def served(demo: Session) -> Iterator[Session]:
    demo.serve()
    yield demo
    assert demo.verify()
    demo.serve(stop=True)


@contextmanager
def client_of(server: Server, **changes: Any) -> Iterator[openai.OpenAI]:
    options = {"base_url": server.url, "api_key": server.token, "max_retries": 0, **changes}
    with openai.OpenAI(**options, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def client(served: Session) -> Iterator[openai.OpenAI]:
    with client_of(served.serve()) as made:
        yield made


def turns(text: str = QUESTIONS[0]) -> list[Any]:
    return [{"role": "user", "content": text}]


def reference(session: Session, name: str, messages: Any, **flags: Any) -> Any:
    """What `ask` answers with this adapter; the active one is as before."""
    before = session.active
    session.swap(name)
    try:
        return session.ask(messages=messages, **flags)
    finally:
        session.swap(before)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each pass of `generate`, as they come."""
    found: list[int] = []
    generate = generating.generate

    def counted(model: Any, tokenizer: Any, inputs: Sequence[Any], **options: Any) -> Any:
        found.append(len(inputs))
        return generate(model, tokenizer, inputs, **options)

    monkeypatch.setattr(generating, "generate", counted)
    return found


def answered(session: Session, *asked: Asked) -> list[Any]:
    """What becomes of requests that wait together, in as many rounds as it takes."""
    ends: list[Any] = [None] * len(asked)
    every = [
        Waiting(one, lambda event, place=place: ends.__setitem__(place, event))
        for place, one in enumerate(asked)
    ]
    while waiting := [one for one in every if not one.ended]:
        Answerer(session).answer(waiting)
        assert waiting[0].ended
    return ends


def asks(name: str, text: str = QUESTIONS[0], **flags: Any) -> Asked:
    return Asked(name, tuple(turns(text)), **{"max_tokens": 12, **flags})


# With the client


def test_the_models_are_base_and_the_adapters(served: Session, client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["base", *ADAPTERS]
    assert served.serve().models == ("base", *ADAPTERS)


@pytest.mark.parametrize("name", ["base", *ADAPTERS])
def test_an_answer_is_that_of_ask_and_a_stream_joins_to_it(
    served: Session, client: openai.OpenAI, name: str
) -> None:
    expected = reference(served, name, turns(), max_new_tokens=12)
    create = client.chat.completions.create
    whole = create(model=name, messages=turns(), max_tokens=12)
    assert whole.choices[0].message.content == expected.text
    assert whole.usage is not None
    assert whole.usage.completion_tokens == expected.tokens
    assert whole.choices[0].finish_reason == ("stop" if expected.ended else "length")
    chunks = list(
        create(
            model=name,
            messages=turns(),
            max_completion_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == expected.text
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_conversation_and_a_sample_are_those_of_ask(
    served: Session, client: openai.OpenAI
) -> None:
    said = [*turns("Hi"), {"role": "assistant", "content": "Hello."}, *turns()]
    flags: dict[str, Any] = {"temperature": 0.9, "top_p": 0.8, "seed": 5}
    expected = reference(served, "pirate", said, max_new_tokens=12, **flags)
    found = client.chat.completions.create(model="pirate", messages=said, max_tokens=12, **flags)
    assert found.choices[0].message.content == expected.text


def test_a_stop_text_ends_the_answer_and_is_not_sent(
    served: Session, client: openai.OpenAI
) -> None:
    text = reference(served, "base", turns(), max_new_tokens=40).text
    stop = text[10:14]
    create = client.chat.completions.create
    whole = create(model="base", messages=turns(), max_tokens=40, stop=stop)
    assert whole.choices[0].message.content == text.partition(stop)[0]
    assert whole.choices[0].finish_reason == "stop"
    chunks = create(model="base", messages=turns(), max_tokens=40, stop=[stop], stream=True)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == text.partition(stop)[0]


def test_adapters_asked_from_threads_while_one_is_answered_share_a_pass(
    served: Session, client: openai.OpenAI, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["base", "calm", "pirate"]
    expected = {name: reference(served, name, turns(), max_new_tokens=12).text for name in names}
    passes.clear()
    found: dict[str, Any] = {}

    def ask(name: str) -> None:
        answer = client.chat.completions.create(model=name, messages=turns(), max_tokens=12)
        found[name] = answer.choices[0].message.content

    # Until all wait; the endpoint would wait 10 ms.
    monkeypatch.setattr("lora_magic.serving.batches.WINDOW", 0.5)
    asking = [threading.Thread(target=ask, args=(name,)) for name in names]
    for one in asking:
        one.start()
    for one in asking:
        one.join(PATIENCE)
    assert found == expected
    assert passes == [3]


class Held:
    """A block with the session's lock in another thread, as a panel's control has it."""

    def __init__(self, session: Session, doing: str) -> None:
        self._session, self._doing = session, doing
        self._in, self._out = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with self._session._lock.locked():
            self._session._lock.doing = self._doing
            self._in.set()
            assert self._out.wait(PATIENCE)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._in.wait(PATIENCE)

    def __exit__(self, *error: object) -> None:
        self._out.set()
        self._thread.join(PATIENCE)


def test_while_a_verb_runs_a_request_is_told_so(served: Session, client: openai.OpenAI) -> None:
    with Held(served, "train"):
        assert "pirate" in [model.id for model in client.models.list()]
        with pytest.raises(openai.InternalServerError, match="busy with train") as caught:
            client.chat.completions.create(model="pirate", messages=turns(), max_tokens=2)
        assert caught.value.status_code == 503
        assert caught.value.response.headers["retry-after"] == "1"
    assert client.chat.completions.create(model="pirate", messages=turns(), max_tokens=2)


def test_a_short_wait_for_the_session_costs_no_request(
    demo: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while a status is displayed."""
    monkeypatch.setattr("lora_magic.state.serving._SHORT", PATIENCE)
    found: list[Any] = []
    with Held(demo, "status"):
        asking = threading.Thread(target=lambda: found.extend(answered(demo, asks("base"))))
        asking.start()
        asking.join(0.05)
        assert found == []
    asking.join(PATIENCE)
    assert isinstance(found[0], Done)


def test_a_verb_waits_for_the_batch_that_runs(served: Session, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="pirate", messages=turns(), max_tokens=60, stream=True
    )
    next(iter(stream))
    assert served.swap("calm").line == "calm is active"
    assert len(list(stream)) > 1
    served.swap("base")


def test_an_interrupt_ends_the_wait_and_not_the_answer(
    served: Session, client: openai.OpenAI
) -> None:
    stream = client.chat.completions.create(
        model="pirate", messages=turns(), max_tokens=150, stream=True
    )
    next(iter(stream))
    press = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    press.start()
    with pytest.raises(KeyboardInterrupt):
        served.swap("calm")
    assert served.active == "base"
    assert len(list(stream)) > 1


def test_a_verb_gets_its_turn_under_load(served: Session, client: openai.OpenAI) -> None:
    enough, errors = threading.Event(), []

    def load() -> None:
        while not enough.is_set():
            try:
                client.chat.completions.create(model="calm", messages=turns(), max_tokens=3)
            except openai.InternalServerError as error:
                errors.append(error.status_code)

    loading = [threading.Thread(target=load) for _ in range(3)]
    for one in loading:
        one.start()
    for _ in range(3):
        served.swap("calm")
        served.swap("base")
    enough.set()
    for one in loading:
        one.join(PATIENCE)
    assert set(errors) <= {503}


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"model": "pirat"}, openai.NotFoundError, "there are: base, calm, pirate"),
        ({"messages": turns("x" * 10**6)}, openai.APIStatusError, "at most 65,536 are read"),
        ({"messages": turns("many words " * 900)}, openai.BadRequestError, "context of 512"),
        ({"messages": turns(" ")}, openai.BadRequestError, "its content is empty"),
        ({"messages": []}, openai.BadRequestError, "messages is missing"),
        (
            {"messages": [{"role": "assistant", "content": "x"}]},
            openai.BadRequestError,
            "the last turn must be the user's",
        ),
        ({"n": 2}, openai.BadRequestError, "n is not supported here"),
        ({"logprobs": True}, openai.BadRequestError, "logprobs is not supported here"),
    ],
)
def test_a_request_that_cannot_be_answered(
    client: openai.OpenAI, fields: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        client.chat.completions.create(**{"model": "base", "messages": turns(), **fields})


def test_the_token_is_required_and_never_displayed(served: Session) -> None:
    server = served.serve()
    assert len(server.token) >= 32
    shown = [repr(server), str(server), *map(str, server._repr_mimebundle_().values())]
    assert all(server.token not in text for text in shown)
    assert all("server.token" in text for text in shown[2:])
    with (
        client_of(server, api_key="another") as other,
        pytest.raises(openai.AuthenticationError, match="missing or wrong"),
    ):
        other.models.list()


# The batches


def test_requests_for_all_methods_have_the_texts_of_ask_in_few_passes(
    demo: Session, passes: list[int]
) -> None:
    """Rows of other lengths, limits and adapters; those that cannot be stacked have a pass each."""
    asked = [
        asks(name, text, max_tokens=limit)
        for name in ("base", *ADAPTERS)
        for text, limit in zip(QUESTIONS, (12, 3, 8), strict=True)
    ]
    expected = [
        reference(demo, one.model, one.messages, max_new_tokens=one.max_tokens) for one in asked
    ]
    passes.clear()
    found = answered(demo, *asked)
    assert sorted(passes) == [3, 3, 9]
    assert [one.text for one in found] == [one.text for one in expected]
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.finish == "stop" for one in found] == [one.ended for one in expected]
    assert len({one.text for one in found}) > 5
    assert demo._state.slots.written == {}
    assert demo.verify()


def test_only_equal_sampling_shares_a_pass(demo: Session, passes: list[int]) -> None:
    sampled: dict[str, Any] = {"temperature": 0.8, "seed": 3}
    asked = [asks("base"), asks("calm", **sampled), asks("pirate"), asks("base", **sampled)]
    expected = [
        reference(demo, one.model, one.messages, max_new_tokens=12, **one.sampling) for one in asked
    ]
    passes.clear()
    found = answered(demo, *asked)
    assert passes == [2, 2]
    assert [one.text for one in found] == [one.text for one in expected]


def test_padding_never_shortens_an_answer(demo: Session, passes: list[int]) -> None:
    """A long prompt leaves room for few tokens, but only to itself."""
    context = demo._state.base.context
    long = "fox " * (context - 40)
    found = answered(demo, asks("base", long, max_tokens=300), asks("calm", "Hi", max_tokens=60))
    assert passes == [1, 1]
    expected = reference(demo, "calm", turns("Hi"), max_new_tokens=60)
    assert found[1].text == expected.text


def test_many_rows_take_several_passes(demo: Session, passes: list[int]) -> None:
    found = answered(demo, *[asks(name, max_tokens=1) for name in ("base", "calm")] * 10)
    assert passes == [16, 4]
    assert all(isinstance(one, Done) for one in found)


def test_factors_are_copied_for_few_rows(
    demo: Session, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_magic.state.serving._FACTORS", 1)
    answered(demo, *[asks(name, max_tokens=1) for name in ("base", "calm", "calm", "pirate")])
    assert passes == [1, 2, 1]


def test_a_row_that_nobody_waits_for_ends_the_pass(demo: Session) -> None:
    told: list[Any] = []

    def once(event: Any) -> None:
        told.append(event)
        waiting.leave()

    waiting = Waiting(asks("base", max_tokens=100, stream=True), once)
    Answerer(demo).answer([waiting])
    assert len(told) == 1


def test_a_row_is_decoded_only_for_who_reads_it(
    demo: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its end, and for a stream or a stop text at every token."""
    decoded: list[int] = []
    answer = generating._answer

    def counted(tokenizer: Any, row: list[int], *rest: Any) -> Any:
        decoded.append(len(row))
        return answer(tokenizer, row, *rest)

    monkeypatch.setattr(generating, "_answer", counted)
    rows = 2
    answered(demo, asks("base", max_tokens=8), asks("calm", max_tokens=3))
    assert sorted(decoded[:-rows]) == [3, 8]
    decoded.clear()
    answered(demo, asks("base", max_tokens=3, stream=True), asks("calm", max_tokens=2, stop=("~",)))
    assert sorted(decoded[:-rows]) == [1, 1, 2, 2, 3]


def test_one_request_at_fault_is_refused_and_the_others_are_answered(demo: Session) -> None:
    asked = (asks("base", " "), asks("gone"), asks("calm", "\ud800"), asks("calm", max_tokens=2))
    found = answered(demo, *asked)
    assert [getattr(one, "status", 200) for one in found] == [400, 404, 400, 200]
    assert "half of one" in str(found[2])
    assert found[1].body["error"]["code"] == "model_not_found"


def test_with_another_tokenizer_no_half_of_a_character_is_sent() -> None:
    """A random model over bytes breaks off in the middle of characters."""
    session = Session()
    session.use(tiny_model(initializer_range=0.3), tiny_tokenizer(chat=True))
    expected = session.ask(messages=turns("Hi"), max_new_tokens=60, temperature=2.0)
    told: list[Any] = []
    one = asks("base", "Hi", max_tokens=60, temperature=2.0, stream=True)
    Answerer(session).answer([Waiting(one, told.append)])
    pieces = [event.text for event in told[:-1]]
    assert "".join(pieces) == told[-1].text == expected.text
    assert not any(piece.endswith("\ufffd") for piece in pieces[:-1])
    assert "\ufffd" in expected.text
    session.reset()


def test_logits_that_are_not_finite_fail_their_row_alone(session: Session) -> None:
    session.attach("pirate", rank=2)
    perturb(session, "pirate")
    session.attach("broken", rank=2)
    perturb(session, "broken", float("inf"))
    found = answered(session, asks("broken"), asks("pirate"))
    assert found[0].status == 500
    assert "the logits of broken are not finite" in str(found[0])
    assert found[1].text == reference(session, "pirate", turns(), max_new_tokens=12).text


def test_while_merged_base_and_all_adapters_answer_as_ask_did(session: Session) -> None:
    for name in ("calm", "pirate"):
        session.attach(name, rank=2)
        perturb(session, name, 0.5)
    names = ["base", "calm", "pirate"]
    expected = [reference(session, name, turns(), max_new_tokens=12).text for name in names]
    session.merge("pirate")
    found = answered(session, *map(asks, names))
    assert [one.text for one in found] == expected
    assert session.merged == "pirate"
    session.unmerge()
    assert session.verify()


def test_several_active_adapters_stay_active(demo: Session) -> None:
    demo.swap("calm=0.5,pirate=0.5")
    before = demo._state.slots.written
    answered(demo, asks("calm", max_tokens=1), asks("pirate", max_tokens=1))
    assert demo._state.slots.written == before
    demo.swap("base")


def test_an_error_in_a_pass_leaves_the_session_as_it_was(
    demo: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.swap("calm")
    before, threads = demo._state.slots.written, torch.get_num_threads()

    def fails(*args: Any, **kwargs: Any) -> None:
        torch.set_num_threads(threads + 1)
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(generating, "generate", fails)
    (found,) = answered(demo, asks("pirate"))
    assert (found.status, str(found).partition(";")[0]) == (503, "out of memory")
    assert demo._state.slots.written == before
    assert torch.get_num_threads() == threads
    assert demo.active == "calm"
    demo.swap("base")
    assert demo.verify()


# The verb


def test_the_same_call_again_is_the_same_server_and_another_is_refused(served: Session) -> None:
    server = served.serve()
    assert isinstance(server, Server)
    port = int(server.url.split(":")[2].partition("/")[0])
    assert served.serve() is served.serve(port=port) is served.serve(token=server.token) is server
    assert served.status().serving == server.url
    for other in ({"port": port + 1}, {"token": "x" * 16}, {"no_token": True}):
        with pytest.raises(StateError, match="already serving at http://127"):
            served.serve(**other)  # type: ignore[arg-type]
    assert served.serve(stop=True).line == f"the server at {server.url} has stopped"
    assert served.serve(stop=True).line == "nothing is being served; nothing to stop"
    assert (server.running, server.models) == (False, ())
    assert served.status().serving == ""
    server.stop()
    assert served.serve() is not server


def test_an_interrupted_stop_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    session, server = small()
    stop = server._endpoint.stop
    monkeypatch.setattr(server._endpoint, "stop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.stop()
    monkeypatch.setattr(server._endpoint, "stop", stop)
    server.stop()
    assert not server.running
    assert not serving_threads()
    session.reset()


def interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"port": -1}, "--port -1"),
        ({"port": 65_536}, "--port 65536"),
        ({"port": "8000"}, "--port '8000'"),
        ({"token": "short"}, "at least 16 characters"),
        ({"token": "with spaces in its middle"}, "without spaces"),
        ({"token": "ein langes Wört ohne"}, "of ASCII"),
        ({"token": 5}, "at least 16 characters"),
        ({"token": "x" * 16, "no_token": True}, "omit one"),
        ({"stop": True, "port": 80}, "takes no other flag"),
    ],
)
def test_flags_that_are_wrong(demo: Session, flags: dict[str, Any], text: str) -> None:
    with pytest.raises(CommandError, match=text) as caught:
        demo.serve(**flags)
    assert "Wört" not in str(caught.value)
    assert demo._state.server is None or not demo._state.server.running


def test_a_port_in_use(demo: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StateError, match=rf"^port {port} of 127\.0\.0\.1: Address already"):
            demo.serve(port=port)
    assert not serving_threads()


def test_without_a_token(demo: Session) -> None:
    server = demo.serve(no_token=True)
    assert isinstance(server, Server)
    assert server.token == NO_TOKEN
    with client_of(server) as client:
        assert client.chat.completions.create(model="base", messages=turns(), max_tokens=2)
    assert "no token is required" in str(server._repr_mimebundle_()["text/plain"])
    demo.serve(stop=True)


def test_what_cannot_be_served(tmp_path: Any) -> None:
    session = Session()
    with pytest.raises(StateError, match="no base model is loaded; type: %lora load demo"):
        session.serve()
    session.use(tiny_model())
    with pytest.raises(PromptError, match="no tokenizer"):
        session.serve()
    folder = saved(tiny_of("causal", "llama"), tmp_path)
    session.load(folder, task="classification", labels="day,night", replace=True)
    with pytest.raises(CommandError, match="a classifier assigns labels"):
        session.serve()
    session.reset()
    assert not serving_threads()


def serving_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("serve: ")]


def small() -> tuple[Session, Server]:
    session = Session()
    session.use(tiny_model(), tiny_tokenizer(chat=True))
    server = session.serve()
    assert isinstance(server, Server)
    return session, server


def _reset(session: Session) -> None:
    assert session.reset().line.endswith("; the server has stopped")


def _another(session: Session) -> None:
    session.use(tiny_model(seed=1), tiny_tokenizer(chat=True))


@pytest.mark.parametrize("end", [_reset, _another])
def test_reset_and_another_base_stop_it(end: Callable[[Session], None]) -> None:
    session, server = small()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        with client_of(server) as client:
            assert client.models.list()
            end(session)
            assert not server.running
            with pytest.raises(openai.APIConnectionError):
                client.models.list()
        gc.collect()
    assert [str(one.message) for one in warned if one.category is ResourceWarning] == []
    assert not serving_threads()
    session.reset()


def test_a_load_that_fails_leaves_it_running() -> None:
    session, server = small()
    with pytest.raises(Exception, match="no_such"):
        session.load("no_such_folder")
    assert server.running
    session.reset()


def test_it_ends_with_a_session_that_nobody_keeps() -> None:
    session, server = small()
    gone = weakref.ref(session)
    with client_of(server) as client:
        assert client.chat.completions.create(model="base", messages=turns("Hi"), max_tokens=2)
    del session
    deadline = time.monotonic() + 20
    # The thread that answered may still be on its way back from the session.
    while (gone() is not None or serving_threads()) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None
    assert not server.running
    assert not serving_threads()


def test_requests_in_flight_are_refused_when_it_stops(demo: Session) -> None:
    server = demo.serve()
    assert isinstance(server, Server)
    with ExitStack() as stack:
        client = stack.enter_context(client_of(server))
        stream = client.chat.completions.create(
            model="pirate", messages=turns(), max_tokens=400, stream=True
        )
        next(iter(stream))
        server.stop()
        with pytest.raises(openai.APIError, match="the server has stopped"):
            list(stream)
    assert not serving_threads()
    assert demo.verify()


def test_train_while_it_serves() -> None:
    """What was learned is answered with at once."""
    session, server = small()
    session.attach("fresh", rank=4)
    with client_of(server) as client:
        ask = client.chat.completions.create
        first = [ask(model=name, messages=turns(), max_tokens=6) for name in ("fresh", "base")]
        before, base = (one.choices[0].message.content for one in first)
        assert before == base
        session.train("fresh", text=f"{QUESTIONS[0]} => Arr! Arr! Arr!", steps=8, lr=0.05)
        after = ask(model="fresh", messages=turns(), max_tokens=6).choices[0].message.content
        assert after == reference(session, "fresh", turns(), max_new_tokens=6).text != before
        session.detach("fresh", discard=True)
        with pytest.raises(openai.NotFoundError):
            ask(model="fresh", messages=turns())
    session.reset()


def test_a_refusal_is_for_programs(demo: Session) -> None:
    with Held(demo, "evaluate"):
        busy: list[Any] = []
        asking = threading.Thread(target=lambda: busy.extend(answered(demo, asks("base"))))
        asking.start()
        asking.join(PATIENCE)
    assert isinstance(busy[0], Refusal)
    assert busy[0].body["error"]["type"] == "server_error"
    assert (busy[0].status, busy[0].retry_after) == (503, 1)
