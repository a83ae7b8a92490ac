"""Who opens connections and does nothing with them: on real sockets, with patience cut short."""

from __future__ import annotations

import base64
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from page_stubs import StubStudio, pair_of
from stubs import LONG_SECONDS, wait_for

if find_spec("gradio") is None:  # without importing it, which takes seconds
    pytest.skip("the page is an extra: pip install 'vsr[page]'", allow_module_level=True)

from vsr.app.page import connections
from vsr.app.page.server import PageServer, open_player

SHORT_SECONDS = 0.3
GET = b"GET /live/state HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def studio() -> Iterator[StubStudio]:
    studio = StubStudio()
    yield studio
    studio.stage.close()
    studio.camera.close()


@pytest.fixture
def server(studio: StubStudio) -> Iterator[PageServer]:
    with open_player(studio, host="127.0.0.1", port=0) as server:
        yield server


@pytest.fixture
def knock(server: PageServer) -> Iterator[Callable[..., socket.socket]]:
    """Opens connections, and closes them at the end."""
    opened: list[socket.socket] = []

    def open_one(said: bytes = b"", *, buffer: int = 0) -> socket.socket:
        one = socket.socket()
        opened.append(one)
        one.settimeout(LONG_SECONDS)
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        one.connect(("127.0.0.1", server.port))
        one.sendall(said)
        return one

    yield open_one
    for one in opened:
        one.close()


def everything(one: socket.socket) -> bytes:
    """What comes until the other side closes."""
    said = b""
    try:
        while part := one.recv(65536):
            said += part
    except ConnectionResetError:
        pass
    return said


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("said", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: a", b"\r\n"])
def test_a_head_that_does_not_end(
    knock: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", SHORT_SECONDS)
    answer = everything(knock(said))
    if said.strip():
        assert status(answer) == 408
        assert b"too slowly" in answer


def test_a_letter_at_a_time_is_not_enough(knock: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", SHORT_SECONDS)
    one = knock(b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: ")
    over = threading.Event()

    def drip() -> None:
        try:
            while not over.wait(0.02):
                one.sendall(b"a")
        except OSError:
            pass

    thread = threading.Thread(target=drip)
    thread.start()
    answer = everything(one)
    over.set()
    thread.join()
    assert not answer or status(answer) == 408


def test_a_connection_that_says_nothing_is_closed_without_a_word(
    knock: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", SHORT_SECONDS)
    assert everything(knock()) == b""


def test_the_second_head_of_a_connection_is_waited_for_no_longer(
    knock: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = knock(GET)
    assert status(one.recv(65536)) == 200
    monkeypatch.setattr(connections, "HEAD_SECONDS", SHORT_SECONDS)
    one.sendall(GET[:20])
    assert status(everything(one)) == 408


def test_a_body_that_does_not_come(knock: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", SHORT_SECONDS)
    one = knock(b"GET /live.mjpeg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\nabc")
    answer = everything(one)
    # It has answered already, and so it can only hang up.
    assert status(answer) == 200
    monkeypatch.setattr(connections, "LEAST_BODY", 3)
    slow = knock(b"GET /live.mjpeg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
    for _ in range(3):
        slow.sendall(b"abc")
        time.sleep(0.05)
    slow.settimeout(4 * SHORT_SECONDS)
    assert status(slow.recv(65536)) == 200
    with pytest.raises(TimeoutError):
        while slow.recv(65536):
            pass


def test_more_connections_than_there_is_room_for(
    knock: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 4)
    one, *others = [knock() for _ in range(4)]
    refused = everything(knock(GET))
    assert status(refused) == 503
    assert b"try again later" in refused
    # Who is there stays.
    one.sendall(GET)
    assert status(one.recv(65536)) == 200
    for other in others:
        other.close()
    wait_for(lambda: status(knock(GET).recv(65536)) == 200)


def websocket(knock: Callable[..., socket.socket], *, before: bytes = b"", **options: Any) -> socket.socket:
    key = base64.b64encode(os.urandom(16)).decode()
    head = "GET /live/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    upgrade = f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    return knock(before + upgrade, **options)


def watched(studio: StubStudio) -> Callable[[], bool]:
    """Publishes large pictures for as long as somebody looks, and says when nobody does any more."""
    noise = pair_of(20, width=1280, height=720)
    noise.large.planes[0][:] = np.random.default_rng(0).integers(0, 255, (720, 1280), np.uint8)

    def nobody() -> bool:
        studio.stage.publish(noise)
        return studio.stage.viewers == 0

    return nobody


@pytest.mark.parametrize("way", ["websocket", "mjpeg"])
def test_who_never_reads_is_dropped(
    knock: Callable[..., socket.socket], studio: StubStudio, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(StubStudio, "state", lambda self: {"phase": "x" * (1 << 20)})
    if way == "websocket":
        one = websocket(knock, buffer=4096)
    else:
        one = knock(b"GET /live.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n", buffer=4096)
    wait_for(lambda: studio.stage.viewers == 1)
    wait_for(watched(studio))
    assert one.fileno() >= 0


def test_the_last_of_an_answer_is_not_kept_for_ever(
    server: PageServer, knock: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(StubStudio, "state", lambda self: {"phase": "x" * (1 << 14)})
    held = server._server.server_state.connections
    one = knock(buffer=2048)
    wait_for(lambda: len(held) == 1)
    transport = next(iter(held)).transport

    def little_is_left() -> bool:
        one.sendall(GET)
        time.sleep(0.01)
        return bool(transport.get_write_buffer_size())

    wait_for(little_is_left)
    assert transport.get_write_buffer_size() < 1 << 16
    wait_for(lambda: not held)


def test_who_reads_slowly_stays(
    server: PageServer, knock: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", 1.0)
    monkeypatch.setattr(connections, "LEAST_READ", 1)
    monkeypatch.setattr(StubStudio, "state", lambda self: {"phase": "x" * (1 << 24)})
    held = server._server.server_state.connections
    one = knock(buffer=1 << 16)
    wait_for(lambda: len(held) == 1)
    transport = next(iter(held)).transport
    # What the system keeps goes in large steps, hundreds of kilobytes each.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
    one.sendall(GET)
    wait_for(lambda: bool(transport.get_write_buffer_size()))
    # Three megabytes a second at most: a crowded machine makes fewer, but never none for a second.
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert one.recv(1 << 16)
        time.sleep(0.02)
    assert transport.get_write_buffer_size()
    assert held


@pytest.mark.parametrize("before", [b"", GET])
def test_who_reads_stays(
    knock: Callable[..., socket.socket], studio: StubStudio, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    for name in ("READ_SECONDS", "HEAD_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(connections, name, SHORT_SECONDS)
    one = websocket(knock, before=before)
    wait_for(lambda: studio.stage.viewers == 1)
    until = time.monotonic() + 4 * SHORT_SECONDS
    while time.monotonic() < until:
        assert one.recv(65536)
    assert studio.stage.viewers == 1


def test_answers_to_pings_that_nobody_reads_are_not_kept(
    knock: Callable[..., socket.socket], studio: StubStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_UNREAD", 1 << 20)
    one = websocket(knock, buffer=4096)
    wait_for(lambda: studio.stage.viewers == 1)
    ping = b"\x89\xfd" + bytes(4) + bytes(125)
    with pytest.raises(OSError, match=r"reset|pipe|abort"):
        for _ in range(10_000):
            one.sendall(ping * 100)
    wait_for(lambda: studio.stage.viewers == 0)
