"""Who is let in, by which name, from which page; and what every answer says to the browser."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the page is an extra: pip install 'vsr[page]'")

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from vsr.app.page import guard as guard_module
from vsr.app.page.guard import SECURITY_HEADERS, Credentials, Guard, allowed_hosts, is_loopback
from vsr.errors import ConfigError

SERVER = "http://localhost:7860"


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello", headers={"Content-Security-Policy": "default-src *", "X-Mine": "kept"})


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


APP = Starlette(routes=[Route("/", hello, methods=["GET", "POST"]), WebSocketRoute("/ws", echo)])


def client_of(credentials: str | None = None, *, bound: str = "127.0.0.1", base: str = SERVER) -> TestClient:
    guard = Guard(
        APP,
        hosts=allowed_hosts(bound),
        credentials=None if credentials is None else Credentials(credentials),
    )
    return TestClient(guard, base_url=base, follow_redirects=False)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of() as client:
        yield client


@pytest.fixture
def locked() -> Iterator[TestClient]:
    with client_of("me:pass:word ü") as client:
        yield client


def basic(text: str, *, encoding: str = "utf-8") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode(encoding)).decode()}


def talks(client: TestClient, headers: dict[str, str] | None = None) -> bool:
    """Whether a WebSocket is let in; with the client's cookies, as a browser has it."""
    base = client.base_url
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    own = {"host": f"{base.host}:{base.port}"} | ({"cookie": cookies} if cookies else {}) | (headers or {})
    try:
        with client.websocket_connect("/ws", headers=own) as socket:
            socket.send_text("hello")
            return socket.receive_text() == "hello"
    except WebSocketDisconnect as refused:
        assert refused.code == 1008
        return False


def test_everything_is_dressed(client: TestClient, locked: TestClient) -> None:
    for answer in (
        client.get("/"),
        client.get("/nothing"),
        client.get("/", headers={"host": "evil.com"}),
        locked.get("/"),
    ):
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers.get_list(name) == [value], name
    assert client.get("/").headers["x-mine"] == "kept"


def test_the_policy_names_no_other_server() -> None:
    policy = dict(part.split(" ", 1) for part in SECURITY_HEADERS["Content-Security-Policy"].split("; "))
    allowed = {"'self'", "'none'", "data:", "blob:"}
    scripts = {"'unsafe-inline'", "'unsafe-eval'"}
    for name, sources in policy.items():
        assert set(sources.split()) <= allowed | (scripts if name in ("script-src", "style-src") else set()), name
    assert policy["default-src"] == "'self'"
    assert policy["object-src"] == "'none'"
    assert policy["worker-src"] == policy["connect-src"] == "'self'"
    assert ":" not in policy["script-src"]


def test_without_credentials_everybody_here_is_let_in(client: TestClient) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.text) == (200, "hello")
    assert "set-cookie" not in answer.headers
    assert talks(client)


def test_who_does_not_say_who_it_is(locked: TestClient) -> None:
    answer = locked.get("/")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="vsr", charset="UTF-8"'
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert not talks(locked)


@pytest.mark.parametrize(
    "headers",
    [
        basic("me:wrong"),
        basic("me:pass"),
        basic("me:pass:word"),
        basic("you:pass:word ü"),
        basic("me"),
        basic(""),
        basic(":"),
        basic("me:pass:word ü", encoding="latin-1"),
        {"Authorization": "Basic"},
        {"Authorization": "Basic ???"},
        {"Authorization": "Basic " + "A" * 10_000},
        {"Authorization": "Bearer " + base64.b64encode("me:pass:word ü".encode()).decode()},
        {"Authorization": ""},
        {"Cookie": "vsr-00000000=AAAA"},
        {"Cookie": "=;;; vsr"},
    ],
)
def test_who_says_it_wrongly(locked: TestClient, headers: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = locked.get("/", headers=headers)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert not talks(locked, headers)
    assert "pass" not in caplog.text.replace("password", "")


def test_a_wrong_password_is_told_to_who_runs_the_server(locked: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    locked.get("/")
    assert not caplog.records
    locked.get("/", headers=basic("me:wrong"))
    assert "a wrong name or password from testclient" in caplog.text


@pytest.mark.parametrize("form", ["me:pass:word ü", "me:pass:word u\u0308"])
def test_who_says_it_right(locked: TestClient, form: str) -> None:
    assert locked.get("/", headers=basic(form)).text == "hello"


@pytest.mark.parametrize("credentials", ["a:b", "me:::", "名前:暗号🔑", "with space:and space ", "a:b" * 200])
def test_credentials_of_all_kinds(credentials: str) -> None:
    with client_of(credentials) as client:
        assert client.get("/", headers=basic(credentials)).status_code == 200
        client.cookies.clear()
        assert client.get("/", headers=basic(credentials + "x")).status_code == 401
        assert client.get("/", headers=basic(credentials[:-1])).status_code == 401


def test_a_websocket_may_show_its_password_too(locked: TestClient) -> None:
    assert talks(locked, basic("me:pass:word ü"))


def test_once_let_in_a_browser_needs_no_password(locked: TestClient) -> None:
    answer = locked.get("/", headers=basic("me:pass:word ü"))
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("; Path=/", "; HttpOnly", "; SameSite=Strict"))
    assert "Secure" not in cookie
    assert locked.get("/").text == "hello"
    assert "set-cookie" not in locked.get("/").headers
    assert talks(locked)
    name, _, value = cookie.partition(";")[0].partition("=")
    assert len(value) > 40
    # Among those of other servers of this machine, some of them badly written.
    with client_of("x:y") as other:
        assert other.get("/", headers={"Cookie": f"{name}={value}"}).status_code == 401
    locked.cookies.clear()
    assert locked.get("/", headers={"Cookie": f'odd={{"a":1}}; bad; ü=1; {name}={value}'.encode()}).text == "hello"
    assert locked.get("/", headers={"Cookie": f"{name}={value[:-1]}"}).status_code == 401
    assert locked.get("/", headers={"Cookie": f"{name}="}).status_code == 401
    assert locked.get("/", headers={"Cookie": f"{name}=ü".encode()}).status_code == 401


def test_a_cookie_of_a_safe_connection_stays_on_safe_ones() -> None:
    with client_of("a:b", base="https://localhost:7860") as client:
        assert "; Secure" in client.get("/", headers=basic("a:b")).headers["set-cookie"]


def test_nothing_is_compared_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    original = guard_module.hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(guard_module.hmac, "compare_digest", compare)
    credentials = Credentials("me:secret")
    assert not credentials.match("m")
    assert credentials.match("me:secret")
    # Hashes: of one length, whatever was said.
    assert [(len(one), len(other)) for one, other in compared] == [(32, 32), (32, 32)]
    with client_of("me:secret") as client:
        client.get("/", headers=basic("me:secret"))
        compared.clear()
        assert client.get("/").status_code == 200
        assert len(compared) == 1


def test_credentials_are_never_shown() -> None:
    credentials = Credentials("me:hunter2")
    assert "hunter2" not in repr(credentials) + str(credentials)
    assert not hasattr(credentials, "__dict__")


@pytest.mark.parametrize("text", ["", "me", "me:", ":hunter2", ":", "me:hunter2\n", "me\x00:hunter2"])
def test_credentials_of_another_form(text: str) -> None:
    with pytest.raises(ConfigError, match="allowed is NAME:PASSWORD") as caught:
        Credentials(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    ["localhost:7860", "LocalHost:7860", "localhost", "127.0.0.1:7860", "127.0.0.1:1", "[::1]:7860", "[::1]"],
)
def test_names_of_this_machine(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200
    assert talks(client, {"host": host})


@pytest.mark.parametrize(
    "host",
    ["evil.com", "evil.com:7860", "localhost.evil.com", "127.0.0.1.evil.com", "", "[::1", "0.0.0.0:7860", "10.0.0.7",
     "localhost@evil.com", "evil.com#localhost"],
)  # fmt: skip
def test_foreign_names_lead_nowhere(client: TestClient, host: str) -> None:
    """As of a page whose own name was made to lead to this machine."""
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "hello" not in answer.text
    assert not talks(client, {"host": host})


def test_there_is_one_name(client: TestClient) -> None:
    assert client.get("/", headers=[("host", "localhost"), ("host", "evil.com")]).status_code == 403


def test_a_server_for_others_has_any_name() -> None:
    with client_of(bound="0.0.0.0") as client:
        assert client.get("/", headers={"host": "video.example.org"}).status_code == 200
        assert client.get("/", headers={"host": "a.example", "origin": "http://b.example"}).status_code == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:7860", "http://localhost:7860"),
        ("localhost:7860", "https://localhost:7860"),
        ("LOCALHOST:7860", "http://localhost:7860"),
        ("[::1]:7860", "http://[::1]:7860"),
        ("localhost", "http://localhost"),
    ],
)
def test_its_own_pages_may_use_it(client: TestClient, host: str, origin: str) -> None:
    headers = {"host": host, "origin": origin}
    assert client.post("/", headers=headers).status_code == 200
    assert talks(client, headers)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.com",
        "http://localhost",
        "http://localhost:7861",
        "http://127.0.0.1:7860",
        "null",
        "",
        "file://",
        "chrome-extension://localhost:7860",
        "localhost:7860",
        "http://localhost:7860.evil.com",
        "http://evil.com/localhost:7860",
    ],
)
def test_pages_of_others_may_not(client: TestClient, origin: str) -> None:
    headers = {"host": "localhost:7860", "origin": origin}
    assert client.post("/", headers=headers).status_code == 403
    assert not talks(client, headers)


def test_a_right_password_does_not_help_a_foreign_page(locked: TestClient) -> None:
    assert locked.get("/", headers=basic("me:pass:word ü")).status_code == 200
    assert locked.post("/", headers={"origin": "http://evil.com"}).status_code == 403
    assert not talks(locked, {"origin": "http://evil.com"})


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
        ("cross-site", "navigate", 200),
        ("cross-site", "no-cors", 403),
        ("same-site", "no-cors", 403),
    ],
)
def test_pictures_may_be_shown_by_its_own_pages_alone(client: TestClient, site: str, mode: str, status: int) -> None:
    assert client.get("/", headers={"sec-fetch-site": site, "sec-fetch-mode": mode}).status_code == status


@pytest.mark.parametrize(
    ("bound", "here"),
    [
        ("127.0.0.1", True),
        ("127.0.0.5", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("my-machine", False),
        ("", False),
    ],
)
def test_where_it_is_reached(bound: str, here: bool) -> None:
    assert is_loopback(bound) == here
    hosts = allowed_hosts(bound)
    assert (hosts is not None) == here
    if hosts is not None:
        assert {"localhost", "127.0.0.1", "::1", bound.strip("[]")} == hosts | {bound.strip("[]")}


def test_it_begins_and_ends_with_what_it_guards() -> None:
    told: list[str] = []

    async def app(scope, receive, send) -> None:
        told.append(scope["type"])
        while (message := await receive())["type"] != "lifespan.shutdown":
            told.append(message["type"])
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    with TestClient(Guard(app, credentials=Credentials("a:b"))):
        assert told == ["lifespan", "lifespan.startup"]


def test_wrong_passwords_wait_for_one_another_and_the_right_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[int] = []
    at_once = 0
    let_go = asyncio.Event()

    async def sleep(_: float) -> None:
        nonlocal at_once
        at_once += 1
        waiting.append(at_once)
        await let_go.wait()
        at_once -= 1

    async def answer(app: Guard, password: str, *, address: str = "192.0.2.1") -> int:
        said: list[int] = []
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"host", b"localhost"), (b"authorization", basic(password)["Authorization"].encode())],
            "query_string": b"",
            "scheme": "http",
            "client": (address, 50000),
        }

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said.append(message["status"])

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        await app(scope, receive, send)
        return said[0]

    async def attack() -> list[int]:
        app = Guard(PlainTextResponse("in"), credentials=Credentials("me:secret"))
        guesses = [asyncio.create_task(answer(app, f"me:{number}")) for number in range(5)]
        await asyncio.sleep(0)
        assert await answer(app, "me:secret") == 200
        guesses += [asyncio.create_task(answer(app, f"me:{number}")) for number in range(5, 20)]
        await asyncio.sleep(0)
        # Who does not wait for the answers learns nothing either, and keeps only others of that address out.
        assert await answer(app, "me:secret") == 429
        assert await answer(app, "me:secret", address="192.0.2.2") == 200
        let_go.set()
        answers = await asyncio.gather(*guesses)
        assert await answer(app, "me:secret") == 200
        return answers

    monkeypatch.setattr(guard_module, "asyncio", SimpleNamespace(sleep=sleep, Lock=asyncio.Lock))
    assert asyncio.run(attack()) == [401] * 8 + [429] * 12
    assert waiting == [1] * 8
