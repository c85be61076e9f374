"""Who may ask, in which form, how much and how often; and that nothing is left afterwards."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from lora_magic.serving import server
from lora_magic.serving.batches import Waiting
from lora_magic.serving.server import BODY, Endpoint, Rate

TOKEN = "a-token-of-some-length"
PATIENCE = 10
MESSAGES = [{"role": "user", "content": "one two"}]


class Echo:
    """Answers with the last message, word by word; holds back while `busy` is set."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.left: list[bool] = []

    def names(self) -> list[str]:
        return ["base", "pirate"]

    def answer(self, waiting: Sequence[Waiting]) -> None:
        one = waiting[0]
        one.prompt_tokens = 3
        words = one.asked.messages[-1]["content"].split()
        for count in range(1, len(words) + 1):
            text = " ".join(words[:count])
            if one.write(text, count, "stop" if count == len(words) else None):
                break
            self.go_on.wait(PATIENCE)
        self.left.append(one.ended)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def serving(echo: Echo) -> Iterator[Callable[..., Endpoint]]:
    made: list[Endpoint] = []

    def start(token: str | None = TOKEN, port: int = 0) -> Endpoint:
        made.append(Endpoint(echo, port=port, token=token))
        return made[-1]

    yield start
    echo.go_on.set()
    for one in made:
        one.stop()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("serve: ")]


Said = tuple[int, dict[str, str], bytes]


def ask(
    endpoint: Endpoint,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Said:
    """Status, headers and body of a request with the token, unless `headers` say otherwise."""
    sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    sent = {k: v for k, v in {**sent, **(headers or {})}.items() if v}
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    line = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=PATIENCE)
    try:
        line.request(method, path, raw, sent)
        got = line.getresponse()
        return got.status, {k.lower(): v for k, v in got.getheaders()}, got.read()
    finally:
        line.close()


def chat(endpoint: Endpoint, headers: dict[str, str] | None = None, **fields: Any) -> Said:
    body = {"model": "pirate", "messages": MESSAGES, **fields}
    return ask(endpoint, "POST", "/v1/chat/completions", body, headers)


def fault(said: Said) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said[2])["error"]
    return found


def test_models_health_and_an_answer(serving: Callable[..., Endpoint]) -> None:
    endpoint = serving()
    status, headers, body = ask(endpoint, "GET", "/v1/models")
    assert status == 200
    assert headers["content-type"].startswith("application/json")
    assert [one["id"] for one in json.loads(body)["data"]] == ["base", "pirate"]
    assert json.loads(ask(endpoint, "GET", "/v1/models/pirate")[2])["id"] == "pirate"
    assert ask(endpoint, "GET", "/health", headers={"Authorization": ""})[0] == 200
    status, _, body = chat(endpoint)
    found = json.loads(body)
    assert (status, found["choices"][0]["message"]["content"]) == (200, "one two")
    assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_a_stream_is_events_that_end_with_done(serving: Callable[..., Endpoint]) -> None:
    status, headers, body = chat(serving(), stream=True)
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    *events, last, rest = body.decode().split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]
    assert [chunk["delta"].get("content") for chunk in chunks] == ["", "one", " two", None]
    assert chunks[0]["delta"]["role"] == "assistant"
    assert [chunk["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Bearer wrong", TOKEN, "Basic \xe4"])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/nothing"])
def test_without_the_token_nothing_is_told(
    serving: Callable[..., Endpoint], given: str, path: str
) -> None:
    method = "POST" if "chat" in path else "GET"
    said = ask(serving(), method, path, b"{}", {"Authorization": given})
    assert (said[0], said[1]["www-authenticate"]) == (401, "Bearer")
    assert fault(said)["code"] == "invalid_api_key"
    assert TOKEN not in said[2].decode()


def test_the_name_of_the_scheme_has_no_case(serving: Callable[..., Endpoint]) -> None:
    """RFC 9110, section 11.1."""
    given = {"Authorization": f"bearer {TOKEN}"}
    assert ask(serving(), "GET", "/v1/models", headers=given)[0] == 200


def test_who_has_no_token_takes_none_of_the_owners_rate(
    serving: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RATE", 1)
    endpoint = serving()
    assert [chat(endpoint, {"Authorization": "Bearer no"})[0] for _ in range(3)] == [401] * 3
    assert chat(endpoint)[0] == 200


def test_one_connection_too_many_is_closed_and_nothing_is_printed(
    serving: Callable[..., Endpoint],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    endpoint = serving()
    address = ("127.0.0.1", endpoint.port)
    with ExitStack() as stack:
        *_, third = (
            stack.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(3)
        )
        assert third.recv(1) == b""
    wait_until(lambda: answers(endpoint))
    assert capfd.readouterr() == ("", "")


def answers(endpoint: Endpoint) -> bool:
    try:
        return chat(endpoint)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_server_without_a_token_answers_all(serving: Callable[..., Endpoint]) -> None:
    assert chat(serving(token=None), {"Authorization": ""})[0] == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "host_not_allowed"),
        ({"Host": "127.0.0.1.evil.example:80"}, "host_not_allowed"),
        ({"Host": "[::1"}, "host_not_allowed"),
        ({"Origin": "http://evil.example"}, "origin_not_allowed"),
        ({"Origin": "null"}, "origin_not_allowed"),
        ({"Origin": "http://localhost:8888", "Host": "localhost:1"}, "origin_not_allowed"),
    ],
)
def test_a_browsers_page_of_another_place_is_refused(
    serving: Callable[..., Endpoint], headers: dict[str, str], code: str
) -> None:
    for endpoint in (serving(), serving(token=None)):
        said = chat(endpoint, headers)
        assert (said[0], fault(said)["code"]) == (403, code)
        assert not [name for name in said[1] if name.startswith("access-control-")]


def test_a_port_that_is_forwarded_has_another_number(serving: Callable[..., Endpoint]) -> None:
    assert chat(serving(), {"Host": "localhost:9"})[0] == 200
    assert chat(serving(), {"Host": "localhost:9", "Origin": "http://localhost:9"})[0] == 200


def test_a_form_of_a_web_page_is_refused(serving: Callable[..., Endpoint]) -> None:
    assert chat(serving(), {"Content-Type": "text/plain"})[0] == 415
    assert chat(serving(), {"Content-Type": "application/json; charset=utf-8"})[0] == 200


def test_a_preflight_gets_no_permission(serving: Callable[..., Endpoint]) -> None:
    said = ask(serving(), "OPTIONS", "/v1/chat/completions")
    assert said[0] == 405
    assert not [name for name in said[1] if name.startswith("access-control-")]


@pytest.mark.parametrize("size", [BODY + 1, 1_000_000])
def test_a_body_that_is_too_large(serving: Callable[..., Endpoint], size: int) -> None:
    endpoint = serving()
    said = ask(endpoint, "POST", "/v1/chat/completions", b" " * size)
    assert said[0] == 413
    assert fault(said)["message"] == f"the body has {size:,} bytes; at most 65,536 are read."
    assert chat(endpoint)[0] == 200


def test_a_body_beyond_all_measure_is_not_read(serving: Callable[..., Endpoint]) -> None:
    endpoint = serving()
    line = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=PATIENCE)
    line.putrequest("POST", "/v1/chat/completions")
    line.putheader("Content-Length", str(10**12))
    line.endheaders()
    assert line.getresponse().status == 400
    line.close()
    assert chat(endpoint)[0] == 200


def test_unknown_models_and_addresses(serving: Callable[..., Endpoint]) -> None:
    endpoint = serving()
    said = chat(endpoint, model="gpt-4o")
    assert (said[0], fault(said)["code"]) == (404, "model_not_found")
    assert fault(said)["message"] == "no model 'gpt-4o'; there are: base, pirate."
    assert ask(endpoint, "GET", "/v1/models/gpt-4o")[0] == 404
    assert len(fault(chat(endpoint, model="x" * 50_000))["message"]) < 200
    said = ask(endpoint, "POST", "/v1/completions", b"{}")
    assert said[0] == 404
    assert "POST /v1/chat/completions" in fault(said)["message"]
    assert ask(endpoint, "GET", "/v1/chat/completions")[0] == 405


def test_a_fault_of_a_field_is_400_with_its_name(serving: Callable[..., Endpoint]) -> None:
    said = chat(serving(), n=2)
    assert (said[0], fault(said)["param"]) == (400, "n")


def test_too_many_requests_in_a_minute(
    serving: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RATE", 2)
    endpoint = serving()
    assert [chat(endpoint)[0] for _ in range(2)] == [200, 200]
    said = chat(endpoint)
    assert said[0] == 429
    assert 1 <= int(said[1]["retry-after"]) <= 60
    assert ask(endpoint, "GET", "/v1/models")[0] == 200


def test_the_rate_forgets_what_is_older_than_a_minute() -> None:
    rate = Rate(2)
    assert [rate.wait(at) for at in (0.0, 10.0, 20.0, 59.0)] == [0, 0, 40, 1]
    assert rate.wait(60.0) == 0
    assert rate.wait(60.5) == 9.5


def test_an_answer_that_takes_too_long(
    serving: Callable[..., Endpoint], echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ANSWER", 0.1)
    echo.go_on.clear()
    endpoint = serving()
    assert chat(endpoint)[0] == 504
    echo.go_on.set()
    assert chat(endpoint)[0] == 200


def test_the_row_of_a_client_that_has_gone_ends(
    serving: Callable[..., Endpoint], echo: Echo
) -> None:
    echo.go_on.clear()
    endpoint = serving()
    line = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=PATIENCE)
    body = json.dumps({"model": "base", "messages": MESSAGES, "stream": True})
    kind = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    line.request("POST", "/v1/chat/completions", body, kind)
    got = line.getresponse()
    assert got.readline().startswith(b"data: ")
    (waiting,) = [one.waiting for one in endpoint.active]  # type: ignore[attr-defined]
    got.close()
    line.close()
    wait_until(lambda: waiting.ended)
    echo.go_on.set()
    wait_until(lambda: echo.left == [True])
    assert chat(endpoint)[0] == 200


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True])
def test_requests_in_flight_are_told_of_the_end(
    serving: Callable[..., Endpoint], echo: Echo, stream: bool
) -> None:
    echo.go_on.clear()
    endpoint = serving()
    said: list[Said] = []
    asking = threading.Thread(target=lambda: said.append(chat(endpoint, stream=stream)))
    asking.start()
    wait_until(lambda: bool(endpoint.active))
    time.sleep(0.05)
    stopping = threading.Thread(target=endpoint.stop)
    stopping.start()
    asking.join(PATIENCE)
    echo.go_on.set()
    stopping.join(PATIENCE)
    status, _, body = said[0]
    assert status == (200 if stream else 503)
    assert "the server has stopped" in body.decode()
    assert not endpoint.running


def test_the_port_is_free_after_the_end(serving: Callable[..., Endpoint]) -> None:
    endpoint = serving()
    assert endpoint.url == f"http://127.0.0.1:{endpoint.port}/v1"
    with pytest.raises(OSError, match=r"in use|bind"):
        serving(port=endpoint.port)
    endpoint.stop()
    endpoint.stop()
    assert not endpoint.running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", endpoint.port), PATIENCE)
    assert serving(port=endpoint.port).running


def test_nothing_is_printed_for_a_refused_request(
    serving: Callable[..., Endpoint], capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint = serving()
    chat(endpoint, {"Authorization": ""})
    ask(endpoint, "DELETE", "/v1/models")
    ask(endpoint, "GET", "/nothing")
    assert capfd.readouterr() == ("", "")
