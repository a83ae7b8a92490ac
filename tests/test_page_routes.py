"""What a browser gets beside the page, and what it may say: over the routes themselves, with a stub for the studio."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_stubs import GRAY, TICK, Seen, StubStudio, interpolated, jpeg, pair_of, pixels, plain
from stubs import LONG_SECONDS, wait_for

from streams.frame import Frame

pytest.importorskip("starlette", reason="the page is an extra: pip install 'vsr[page]'")

from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from vsr.app.page import conversation
from vsr.app.page.routes import ASSETS, live_routes
from vsr.app.page.stage import Pair, Stage
from vsr.app.page.stills import StillMaker

BOTH = {"width": 640, "compare": True, "loupe": {"x": 0.5, "y": 0.5, "width": 16, "height": 16}}


@pytest.fixture
def studio() -> Iterator[StubStudio]:
    studio = StubStudio()
    yield studio
    studio.stage.close()
    studio.camera.close()


@pytest.fixture
def client(studio: StubStudio) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=live_routes(studio))) as client:
        yield client


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often whole pictures were made, by their width."""
    counts: Counter[int] = Counter()
    original = StillMaker.whole

    def counting(self: StillMaker, frame: Frame, look: Any, *, width: int, **options: Any) -> Any:
        counts[width] += 1
        return original(self, frame, look, width=width, **options)

    monkeypatch.setattr(StillMaker, "whole", counting)
    return counts


@contextmanager
def viewing(client: TestClient, **view: Any) -> Iterator[WebSocketTestSession]:
    with client.websocket_connect("/live/ws") as socket:
        if view:
            socket.send_json({"view": view})
            say(socket, {"ping": 0})
        yield socket


def say(socket: WebSocketTestSession, message: Any) -> dict[str, Any]:
    """Say something and wait for its answer, past what comes by itself; pictures must not come."""
    socket.send_text(message if isinstance(message, str) else json.dumps(message))
    while True:
        received = socket.receive()
        assert received.get("text") is not None, "a picture came unasked"
        answer = json.loads(received["text"])
        if "state" not in answer:
            return answer


def next_frame(socket: WebSocketTestSession) -> Seen:
    while True:
        message = socket.receive()
        assert message["type"] == "websocket.send", message
        if message.get("bytes") is not None:
            return Seen.unpack(message["bytes"])


def test_a_frame_and_what_is_said_of_it(client: TestClient, studio: StubStudio) -> None:
    with viewing(client) as socket:
        studio.stage.publish(pair_of(100, width=200, height=96))
        seen = next_frame(socket)
    assert seen.number == 1
    assert seen.header["size"] == [200, 96]
    assert seen.header["network"] == "stub"
    assert 0 <= seen.header["age_ms"] < 1000 * LONG_SECONDS
    assert [(part["kind"], part["size"]) for part in seen.header["parts"]] == [("after", [200, 96])]
    assert pixels(seen.parts["after"]).shape == (96, 200, 3)
    assert pixels(seen.parts["after"]).mean() == pytest.approx(150, abs=1)


def test_who_comes_late_sees_the_newest_at_once(client: TestClient, studio: StubStudio) -> None:
    for value in (20, 40, 60):
        studio.stage.publish(pair_of(value))
    with viewing(client) as socket:
        assert next_frame(socket).number == 3


def test_two_are_on_their_way_at_most_and_then_the_newest(client: TestClient, studio: StubStudio) -> None:
    with viewing(client, width=640) as slow, viewing(client, width=640) as quick:

        def publish() -> int:
            """Until the quick one has it; the slow one, who waits for the same picture, would have it too."""
            number = studio.stage.publish(pair_of(20)).number
            assert next_frame(quick).number == number
            quick.send_json({"shown": number})
            return number

        for _ in range(2):
            assert publish() == next_frame(slow).number
        for _ in range(3):
            publish()
            assert "pong" in say(slow, {"ping": 1})
        slow.send_json({"shown": 1})
        assert next_frame(slow).number == 5
        publish()
        assert "pong" in say(slow, {"ping": 1})
        # The receipt for a frame is one for those before it.
        slow.send_json({"shown": 5})
        assert next_frame(slow).number == 6
        assert publish() == next_frame(slow).number == 7


def test_another_view_of_the_same_instant_when_nothing_moves(client: TestClient, studio: StubStudio) -> None:
    studio.stage.publish(pair_of(100, width=1200, height=80))
    with viewing(client) as socket:
        assert next_frame(socket).header["parts"][0]["size"] == [1200, 80]
        socket.send_json({"view": {"width": 200}})
        seen = next_frame(socket)
        assert (seen.number, seen.header["parts"][0]["size"]) == (1, [480, 32])
        assert (seen.header["size"], seen.header["canvas"]) == ([1200, 80], [480, 32])
        socket.send_json({"view": {"width": 210}})
        socket.send_json({"shown": 1})
        assert "pong" in say(socket, {"ping": 1})


@pytest.mark.parametrize(
    ("asked", "width"), [(1, 480), (-5, 480), (480, 480), (480.1, 960), (1280, 1280), (1281, 1500), (99999, 1500)]
)
def test_there_are_few_widths_and_nothing_is_enlarged(
    client: TestClient, studio: StubStudio, asked: float, width: int
) -> None:
    with viewing(client, width=asked) as socket:
        studio.stage.publish(pair_of(20, width=1500, height=40))
        assert next_frame(socket).header["parts"][0]["size"][0] == width


def test_several_viewers_and_one_picture_for_all(client: TestClient, studio: StubStudio, whole: Counter[int]) -> None:
    with viewing(client, width=640) as one, viewing(client, width=900) as two, viewing(client, width=200) as three:
        assert studio.stage.viewers == 3
        for number in (1, 2):
            studio.stage.publish(pair_of(20, width=500, height=40))
            seen = [next_frame(socket) for socket in (one, two, three)]
            assert {each.number for each in seen} == {number}
            assert seen[0].parts == seen[1].parts
            for socket in (one, two, three):
                socket.send_json({"shown": number})
    assert whole == {960: 2, 480: 2}


def test_nobody_looks_and_nothing_is_made(client: TestClient, studio: StubStudio, whole: Counter[int]) -> None:
    for _ in range(20):
        studio.stage.publish(pair_of(20))
    assert not whole


def test_all_parts_are_of_one_instant(client: TestClient, studio: StubStudio) -> None:
    over = threading.Event()

    def publish() -> None:
        value = 0
        while not over.wait(0.002):
            value = (value + 10) % 160
            studio.stage.publish(pair_of(value))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        with viewing(client) as socket:
            socket.send_json({"view": BOTH})
            compared = 0
            while compared < 15:
                seen = next_frame(socket)
                socket.send_json({"shown": seen.number})
                if len(seen.parts) == 1:
                    continue
                compared += 1
                light = {kind: int(pixels(part).mean().round()) for kind, part in seen.parts.items()}
                # What was published as this number, and what interpolation makes of the very same frame.
                value = seen.number * 10 % 160
                assert light["before"] == light["loupe_before"] == pytest.approx(value, abs=1)
                assert light["after"] == light["loupe_after"] == pytest.approx(value + value // 2, abs=1)
    finally:
        over.set()
        thread.join()


def patterned(shift: int, *, width: int, height: int) -> Frame:
    rows, columns = np.mgrid[:height, :width]
    return Frame(planes=((columns // 2 + rows // 2 + shift).astype(np.uint8),), format=GRAY, pts=0, time_base=TICK)


def test_the_loupe_shows_its_part_of_both(studio: StubStudio) -> None:
    large, before = patterned(0, width=200, height=120), patterned(60, width=200, height=120)
    studio.stage = Stage(lambda small: before)
    with TestClient(Starlette(routes=live_routes(studio))) as client:
        studio.stage.publish(Pair(small=plain(1), large=large, network="stub", arrived=time.monotonic()))
        with viewing(client) as socket:
            next_frame(socket)
            socket.send_json({"view": {"loupe": {"x": 0.75, "y": 0.25, "width": 40, "height": 20}}})
            seen = next_frame(socket)
    assert list(seen.parts) == ["after", "loupe_after", "loupe_before"]
    assert [part["size"] for part in seen.header["parts"]] == [[200, 120], [40, 20], [40, 20]]
    place = np.s_[20:40, 130:170]
    assert np.abs(pixels(seen.parts["loupe_after"])[..., 0] - large.planes[0][place]).max() <= 2
    assert np.abs(pixels(seen.parts["loupe_before"])[..., 0] - before.planes[0][place]).max() <= 2


@pytest.mark.parametrize(
    ("divider", "after", "before"),
    [
        (None, (0, 480), (0, 480)),
        (0.5, (210, 270), (0, 270)),
        (0.51, (210, 270), (0, 270)),
        (0, (0, 480), (0, 30)),
        (1, (450, 30), (0, 480)),
        (7, (450, 30), (0, 480)),
    ],
)
def test_what_the_divider_hides_is_not_sent(
    client: TestClient, studio: StubStudio, divider: float | None, after: tuple[int, int], before: tuple[int, int]
) -> None:
    with viewing(client, width=480, compare=True, divider=divider) as socket:
        studio.stage.publish(pair_of(20, width=960, height=80))
        seen = next_frame(socket)
    assert seen.header["canvas"] == [480, 40]
    parts = {part["kind"]: (part["left"], part["size"][0]) for part in seen.header["parts"]}
    assert parts == {"after": after, "before": before}
    assert pixels(seen.parts["before"]).shape == (40, before[1], 3)


def test_who_looks_elsewhere_again_and_again_holds_nobody_up(studio: StubStudio) -> None:
    begun, release = threading.Event(), threading.Event()

    def slowly(small: Frame) -> Frame:
        begun.set()
        assert release.wait(LONG_SECONDS)
        return interpolated(small)

    studio.stage = Stage(slowly)
    with (
        TestClient(Starlette(routes=live_routes(studio))) as client,
        viewing(client, compare=True) as steady,
        viewing(client, width=480) as restless,
    ):
        studio.stage.publish(pair_of(20, width=1200, height=40))
        assert begun.wait(LONG_SECONDS)
        studio.stage.publish(pair_of(40, width=1200, height=40))
        assert next_frame(restless).number == 1
        restless.send_json({"shown": 1})
        restless.send_json({"view": {"width": 960}})
        assert "pong" in say(restless, {"ping": 1})
        release.set()
        assert next_frame(restless).number == 2
        assert [next_frame(steady).number for _ in range(2)] == [1, 2]
    studio.stage.close()


def test_what_cannot_be_compared_is_shown_alone(studio: StubStudio) -> None:
    def fails(small: Frame) -> Frame:
        raise OSError("no baseline")

    studio.stage = Stage(fails)
    with TestClient(Starlette(routes=live_routes(studio))) as client, viewing(client, **BOTH) as socket:
        for number in (1, 2):
            studio.stage.publish(pair_of(20))
            seen = next_frame(socket)
            assert (seen.number, list(seen.parts)) == (number, ["after", "loupe_after"])
        socket.send_json({"shown": 2})
        socket.send_json({"view": {"compare": True, "divider": 0.5}})
        part = next_frame(socket).header["parts"][0]
        assert (part["kind"], part["left"], part["size"]) == ("after", 0, [64, 48])


def test_frames_that_cannot_be_shown_are_passed_over(
    client: TestClient, studio: StubStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, original = [True], StillMaker.whole

    def sometimes(self: StillMaker, *args: Any, **options: Any) -> Any:
        if broken.pop():
            raise OSError("encoder error")
        broken.append(False)
        return original(self, *args, **options)

    monkeypatch.setattr(StillMaker, "whole", sometimes)
    with viewing(client) as socket:
        studio.stage.publish(pair_of(20))
        wait_for(lambda: not broken)
        broken.append(False)
        studio.stage.publish(pair_of(20))
        assert next_frame(socket).number == 2


@pytest.mark.parametrize(
    "message",
    [
        "",
        "junk",
        "[]",
        "3",
        "null",
        "{}",
        '{"view": 7}',
        '{"view": {"width": "wide"}}',
        '{"view": {"width": true}}',
        '{"view": {"width": NaN}}',
        '{"view": {"width": 1e999}}',
        '{"view": {"width": ' + "9" * 4000 + "}}",
        '{"view": {"compare": 1}}',
        '{"view": {"loupe": {}}}',
        '{"view": {"loupe": [0.5, 0.5]}}',
        '{"view": {"loupe": {"x": 0.5, "y": null, "width": 10, "height": 10}}}',
        '{"view": {"loupe": {"x": 0.5, "y": 0.5, "width": Infinity, "height": 10}}}',
        '{"shown": null}',
        '{"shown": -Infinity}',
        '{"ping": {}}',
        "[" * 4000,
        '{"ping": "' + "x" * 5000 + '"}',
    ],
    ids=lambda message: message[:40],
)
def test_what_means_nothing_is_answered(client: TestClient, studio: StubStudio, message: str) -> None:
    with viewing(client) as socket:
        answer = say(socket, message)
        assert list(answer) == ["error"]
        assert len(answer["error"]) < 200
        studio.stage.publish(pair_of(20))
        assert next_frame(socket).number == 1


def test_bytes_from_a_viewer_are_answered(client: TestClient) -> None:
    with viewing(client) as socket:
        socket.send_bytes(b"\x00\x01")
        assert "error" in say(socket, {"ping": 1})
        assert "pong" in say(socket, {"ping": 1})


def test_the_time_is_told(client: TestClient) -> None:
    with viewing(client) as socket:
        before = time.time()
        answer = say(socket, {"ping": 12.5})
    assert answer["pong"] == 12.5
    assert before <= answer["now"] <= time.time()


def test_the_state_comes_at_every_change_and_by_itself(client: TestClient, studio: StubStudio) -> None:
    assert client.get("/live/state").json() == {"state": {"phase": "idle"}}
    with viewing(client) as socket:
        assert socket.receive_json() == {"state": {"phase": "idle"}}
        assert socket.receive_json() == {"state": {"phase": "idle"}}
        studio.phase = "running"
        studio.stage.touch()
        assert socket.receive_json() == {"state": {"phase": "running"}}


def test_the_state_comes_before_the_next_half_second_is_over(
    client: TestClient, studio: StubStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_STATE_SECONDS", 10_000)
    with viewing(client) as socket:
        assert socket.receive_json() == {"state": {"phase": "idle"}}
        for phase in ("starting", "running"):
            studio.phase = phase
            studio.stage.touch()
            assert socket.receive_json() == {"state": {"phase": phase}}


def test_a_run_that_follows_another_is_shown(client: TestClient, studio: StubStudio) -> None:
    with viewing(client) as socket:
        studio.stage.publish(pair_of(20))
        assert next_frame(socket).number == 1
        studio.stage.clear()
        studio.stage.publish(pair_of(40))
        assert next_frame(socket).number == 2


def test_viewers_who_leave_leave_nothing(client: TestClient, studio: StubStudio) -> None:
    def come_and_go() -> None:
        for _ in range(10):
            with viewing(client) as socket:
                socket.send_json({"view": BOTH})
                next_frame(socket)
        wait_for(lambda: studio.stage.viewers == 0)

    studio.stage.publish(pair_of(20))
    come_and_go()
    threads = threading.active_count()
    come_and_go()
    wait_for(lambda: threading.active_count() <= threads)


def test_there_is_room_for_so_many(client: TestClient, studio: StubStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.app.page.routes._MOST_VIEWERS", 1)
    with viewing(client) as first:
        assert "pong" in say(first, {"ping": 1})
        with client.websocket_connect("/live/ws") as second:
            assert "watching already" in second.receive_json()["error"]
            with pytest.raises(WebSocketDisconnect):
                second.receive_json()
        assert client.get("/live.mjpeg").status_code == 503


def test_the_end_of_the_stage_sends_viewers_home(client: TestClient, studio: StubStudio) -> None:
    with viewing(client) as socket:
        say(socket, {"ping": 1})
        studio.stage.close()
        with pytest.raises(WebSocketDisconnect) as caught:
            while True:
                socket.receive_json()
        assert caught.value.code == 1001


# Below the test client, which keeps all that is sent: applications are called as a server calls them.


class Peer:
    """One connection as a server sees it; ``send`` may be held up."""

    def __init__(self, path: str, *, kind: str = "websocket", query: bytes = b"") -> None:
        self.scope = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "subprotocols": [],
        }
        self.sent: list[dict[str, Any]] = []
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.flows = asyncio.Event()
        self.flows.set()
        if kind == "websocket":
            self.said.put_nowait({"type": "websocket.connect"})

    async def send(self, message: dict[str, Any]) -> None:
        await self.flows.wait()
        self.sent.append(message)

    async def serve(self, app: Any) -> None:
        await app(self.scope, self.said.get, self.send)

    def pictures(self) -> list[Seen]:
        return [Seen.unpack(message["bytes"]) for message in self.sent if message.get("bytes")]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def run_with(studio: StubStudio, scenario: Callable[[Any], Awaitable[None]]) -> None:
    """Run it, and see that nothing is left running."""

    async def main() -> None:
        await scenario(Starlette(routes=live_routes(studio)))
        await until(lambda: studio.stage.viewers == 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_slow_viewer_holds_up_neither_the_publisher_nor_others(studio: StubStudio) -> None:
    async def scenario(app: Any) -> None:
        slow, quick = Peer("/live/ws"), Peer("/live/ws")
        tasks = [asyncio.create_task(peer.serve(app)) for peer in (slow, quick)]
        await until(lambda: studio.stage.viewers == 2)
        slow.flows.clear()
        for number in range(1, 31):
            assert studio.stage.publish(pair_of(20)).number == number
            await until(lambda number=number: len(quick.pictures()) == number)
            quick.said.put_nowait({"type": "websocket.receive", "text": json.dumps({"shown": number})})
        assert len(slow.pictures()) <= 1
        slow.flows.set()
        await until(lambda: bool(slow.pictures()) and slow.pictures()[-1].number == 30)
        assert len(slow.pictures()) <= 2
        for peer in (slow, quick):
            peer.said.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await asyncio.gather(*tasks)

    run_with(studio, scenario)


def test_a_viewer_may_vanish_in_the_middle_of_a_frame(studio: StubStudio) -> None:
    async def scenario(app: Any) -> None:
        peer = Peer("/live/ws")
        task = asyncio.create_task(peer.serve(app))
        await until(lambda: studio.stage.viewers == 1)
        peer.flows.clear()
        studio.stage.publish(pair_of(20))
        await asyncio.sleep(0.05)
        peer.said.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await task

    run_with(studio, scenario)


def test_a_server_that_ends_takes_its_viewers_along(studio: StubStudio) -> None:
    async def scenario(app: Any) -> None:
        peers = [Peer("/live/ws"), Peer("/live.mjpeg", kind="http")]
        tasks = [asyncio.create_task(peer.serve(app)) for peer in peers]
        await until(lambda: studio.stage.viewers == 2)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run_with(studio, scenario)


def parts_of(body: bytes) -> list[bytes]:
    assert body.startswith(b"--vsr-frame\r\n")
    parts, rest = [], body.removeprefix(b"--vsr-frame\r\n")
    while match := re.match(rb"Content-Type: image/jpeg\r\nContent-Length: (\d+)\r\n\r\n", rest):
        length = int(match[1])
        parts.append(rest[match.end() : match.end() + length])
        rest = rest[match.end() + length :]
        assert rest.startswith(b"\r\n--vsr-frame\r\n")
        rest = rest.removeprefix(b"\r\n--vsr-frame\r\n")
    assert not rest
    return parts


def test_mjpeg_shows_the_newest(studio: StubStudio) -> None:
    async def scenario(app: Any) -> None:
        peer = Peer("/live.mjpeg", kind="http", query=b"width=200")
        peer.said.put_nowait({"type": "http.request"})
        task = asyncio.create_task(peer.serve(app))
        await until(lambda: studio.stage.viewers == 1)

        def parts() -> list[bytes]:
            return parts_of(b"".join(message["body"] for message in peer.sent[1:]))

        studio.stage.publish(pair_of(20, width=960, height=100))
        await until(lambda: len(peer.sent) > 1 and len(parts()) == 1)
        peer.flows.clear()
        for value in (40, 60, 80, 100):
            studio.stage.publish(pair_of(value, width=960, height=100))
            await asyncio.sleep(0.02)
        peer.flows.set()
        await until(lambda: pixels(parts()[-1]).mean().round() == 150)
        assert len(parts()) <= 3
        assert pixels(parts()[-1]).shape == (50, 480, 3)
        headers = dict(peer.sent[0]["headers"])
        assert headers[b"content-type"] == b"multipart/x-mixed-replace; boundary=vsr-frame"
        assert headers[b"cache-control"] == b"no-store"
        assert b"content-length" not in headers
        peer.said.put_nowait({"type": "http.disconnect"})
        await task

    run_with(studio, scenario)


def test_mjpeg_ends_with_the_stage(studio: StubStudio) -> None:
    async def scenario(app: Any) -> None:
        peer = Peer("/live.mjpeg", kind="http")
        task = asyncio.create_task(peer.serve(app))
        await until(lambda: studio.stage.viewers == 1)
        studio.stage.close()
        await task
        assert peer.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    run_with(studio, scenario)


def test_the_head_of_mjpeg_has_an_end(client: TestClient) -> None:
    answer = client.head("/live.mjpeg")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("multipart/x-mixed-replace")


@pytest.mark.parametrize("width", ["wide", "", "nan", "inf", "9" * 400])
def test_mjpeg_refuses_a_width_that_is_none(client: TestClient, width: str) -> None:
    answer = client.get("/live.mjpeg", params={"width": width})
    assert answer.status_code == 400
    assert "allowed is a number" in answer.text
    assert len(answer.text) < 200


HELLO = {"camera": {"width": 64, "height": 48}}


def test_a_camera_is_let_in_and_its_end_is_the_end(client: TestClient, studio: StubStudio) -> None:
    with client.websocket_connect("/camera/ws") as socket:
        socket.send_json(HELLO)
        for number in (1, 2, 3):
            socket.send_bytes(jpeg(50 * number))
            assert socket.receive_json() == {"taken": number}
        socket.send_bytes(b"no picture at all")
        assert socket.receive_json() == {"taken": 4}
    wait_for(lambda: studio.camera.over)
    light = [int(frame.planes[0].mean().round()) for frame in studio.camera]
    assert light == pytest.approx([100, 150], abs=1)
    assert (studio.camera.dropped, studio.camera.skipped) == (1, 1)


def test_a_second_camera_is_refused(client: TestClient, studio: StubStudio) -> None:
    with client.websocket_connect("/camera/ws") as first:
        first.send_json(HELLO)
        first.send_bytes(jpeg())
        assert first.receive_json() == {"taken": 1}
        with client.websocket_connect("/camera/ws") as second:
            second.send_json(HELLO)
            assert second.receive_json() == {"error": "another browser's camera is shown already"}
            with pytest.raises(WebSocketDisconnect):
                second.receive_json()
        first.send_bytes(jpeg())
        assert first.receive_json() == {"taken": 2}
        assert not studio.camera.over


@pytest.mark.parametrize(
    "hello",
    [
        "",
        "junk",
        "{}",
        '{"camera": 3}',
        '{"camera": {"width": 64}}',
        '{"camera": {"width": 64, "height": 0}}',
        '{"camera": {"width": 64, "height": 1e9}}',
        '{"camera": {"width": 64, "height": NaN}}',
        b"\xff\xd8\xff",
    ],
)
def test_a_camera_that_does_not_introduce_itself(client: TestClient, studio: StubStudio, hello: str | bytes) -> None:
    with client.websocket_connect("/camera/ws") as socket:
        socket.send({"type": "websocket.receive", "text" if isinstance(hello, str) else "bytes": hello})
        assert "got " in socket.receive_json()["error"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()
    assert studio.cameras == 0


def test_a_camera_that_begins_to_talk(client: TestClient, studio: StubStudio) -> None:
    with client.websocket_connect("/camera/ws") as socket:
        socket.send_json(HELLO)
        socket.send_text("hello")
        assert "expected are pictures" in socket.receive_json()["error"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()
    assert studio.camera.over


def test_a_camera_that_is_not_wanted_any_more(client: TestClient, studio: StubStudio) -> None:
    with client.websocket_connect("/camera/ws") as socket:
        socket.send_json(HELLO)
        socket.send_bytes(jpeg())
        assert socket.receive_json() == {"taken": 1}
        studio.camera.close()
        assert "not wanted any more" in socket.receive_json()["error"]
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_json()
        assert caught.value.code == 1001


def test_a_camera_that_leaves_without_a_word(client: TestClient, studio: StubStudio) -> None:
    with client.websocket_connect("/camera/ws"):
        pass
    assert studio.cameras == 0


def test_files_are_had_by_their_token_alone(client: TestClient, studio: StubStudio, tmp_path: Path) -> None:
    clip, other = tmp_path / "a clip.mp4", tmp_path / "secret.txt"
    clip.write_bytes(bytes(range(256)) * 8)
    other.write_text("secret")
    studio.files["t0ken", clip.name] = clip
    answer = client.get("/files/t0ken/a%20clip.mp4")
    assert answer.content == clip.read_bytes()
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"].startswith("inline")
    part = client.get("/files/t0ken/a%20clip.mp4", headers={"Range": "bytes=256-259"})
    assert (part.status_code, part.content) == (206, bytes(range(4)))
    for path in (
        "/files/t0ken/secret.txt",
        "/files/other/a%20clip.mp4",
        "/files/t0ken",
        "/files/t0ken/..%2fsecret.txt",
        "/files/t0ken/%2e%2e/secret.txt",
        f"/files/t0ken/{str(other).replace('/', '%2f')}",
    ):
        assert client.get(path).status_code == 404, path
    clip.unlink()
    assert client.get("/files/t0ken/a%20clip.mp4").status_code == 404


def test_assets_are_those_in_the_folder(studio: StubStudio, tmp_path: Path) -> None:
    for name, text in (("player.js", "let a = 1;"), ("page.css", "p {}"), ("player.html", "<p>")):
        (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    with TestClient(Starlette(routes=live_routes(studio, assets=tmp_path))) as client:
        kinds = {name: client.get(f"/assets/{name}") for name in ("player.js", "page.css", "player.html")}
        assert [answer.headers["content-type"].split(";")[0] for answer in kinds.values()] == [
            "text/javascript",
            "text/css",
            "text/html",
        ]
        assert all(answer.headers["cache-control"] == "no-cache" for answer in kinds.values())
        for name in ("folder", "index-abc.js", "..%2fpage_stubs.py"):
            assert client.get(f"/assets/{name}").status_code == 404
    assert ASSETS.is_dir()
