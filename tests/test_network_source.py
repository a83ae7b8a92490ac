"""Live sources against a server that fails: they come back, leave nothing behind, and tell no password."""

from __future__ import annotations

import gc
import itertools
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import media
import pytest
from rtsp_server import RATE, RtspServer

from streams.clock import FakeClock
from streams.errors import AccessDeniedError, NoVideoError, SourceError, SourceLostError, SourceNotFoundError
from streams.frame import Frame
from streams.sources import NetworkSource, open_source
from streams.sources.backoff import Backoff

PATIENCE_SECONDS = 20
"""Far more than anything here takes, for machines that do much else."""


def opened(server: RtspServer, **options) -> NetworkSource:
    options = {"backoff": Backoff(first_seconds=0.02, longest_seconds=0.1), "stall_timeout_seconds": 2.0, **options}
    return NetworkSource(server.url, **options)


def take(frames: Iterator[Frame], count: int) -> list[Frame]:
    return list(itertools.islice(frames, count))


def until(frames: Iterator[Frame], wanted: Callable[[Frame], bool]) -> list[Frame]:
    """Frames up to the first wanted one."""
    seen, deadline = [], time.monotonic() + PATIENCE_SECONDS
    for frame in frames:
        seen.append(frame)
        if wanted(frame):
            return seen
        if time.monotonic() > deadline:
            break
    pytest.fail(f"none of {len(seen)} frames was the wanted one")


def rises(frames: list[Frame]) -> bool:
    return all(earlier.pts < later.pts for earlier, later in itertools.pairwise(frames))


def is_marked(frame: Frame) -> bool:
    return frame.discontinuity


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(params=["tcp", "udp"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer() as server:
        yield server


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Nothing that the test opened or started is there afterwards."""
    gc.collect()
    files, threads = descriptors(), set(threading.enumerate())
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and (descriptors() > files or set(threading.enumerate()) - threads):
        time.sleep(0.05)
    assert descriptors() <= files
    assert not set(threading.enumerate()) - threads


def test_a_steady_stream(no_leaks: None, transport: str) -> None:
    with RtspServer() as server, opened(server, transport=transport) as source:
        info = source.info
        assert (info.width, info.height, info.codec, info.live, info.frames) == (128, 96, "h264", True, None)
        assert (info.rate, info.time_base) == (RATE, Fraction(1, 90_000))
        reading = iter(source)
        frames = take(reading, RATE)
        assert {frame.geometry for frame in frames} == {(info.width, info.height, info.format)}
        assert {frame.time_base for frame in frames} == {info.time_base}
        assert frames[0].pts == 0
        assert rises(frames)
        assert not any(frame.discontinuity or frame.corrupt for frame in frames)
        steps = [later.pts - earlier.pts for earlier, later in itertools.pairwise(frames[5:])]
        # The first few have no time of their own yet.
        assert set(steps) == {90_000 // RATE}, "the rhythm is the stream's, not that of the arrival"
        assert all(frame.arrived is not None and frame.arrived <= time.monotonic() for frame in frames)
        assert source.status.connected
        assert source.status.last_error is None


@pytest.mark.parametrize(("transport", "times"), [("tcp", 20), ("udp", 5)])
def test_a_server_that_is_killed_and_started_again(no_leaks: None, transport: str, times: int) -> None:
    with RtspServer() as server, opened(server, transport=transport) as source:
        frames, seen = iter(source), []
        seen += take(frames, 3)
        for _ in range(times):
            server.stop()
            server.start()
            seen += until(frames, is_marked)
        assert rises(seen)
        assert source.status.reconnects == times
        assert sum(map(is_marked, seen)) == times + source.status.jumps
        assert "ended the connection" in (source.status.last_error or "")


def test_a_server_that_stays_away_for_a_while(server: RtspServer) -> None:
    with opened(server) as source:
        frames = iter(source)
        before = take(frames, 3)[-1]
        server.stop()
        threading.Timer(1.0, server.start).start()
        after = until(frames, is_marked)[-1]
        assert source.status.connected
        gap = float(after.seconds - before.seconds)
        assert 0.9 < gap < PATIENCE_SECONDS, "the outage takes its time on the clock of the frames"
        assert "connection refused" in (source.status.last_error or "")


def test_a_reset_connection(no_leaks: None, transport: str) -> None:
    with RtspServer() as server, opened(server, transport=transport) as source:
        frames = iter(source)
        take(frames, 3)
        server.drop(reset=True)
        assert rises(until(frames, is_marked))
        assert source.status.reconnects == 1


def test_a_frozen_server_is_noticed_and_left(no_leaks: None, transport: str) -> None:
    with RtspServer() as server, opened(server, transport=transport, stall_timeout_seconds=0.6) as source:
        frames = iter(source)
        take(frames, 3)
        server.frozen = True
        threading.Timer(1.2, setattr, (server, "frozen", False)).start()
        assert rises(until(frames, is_marked))
        assert source.status.stalls >= 1
        assert source.status.reconnects == 1


def test_a_short_pause_is_none(server: RtspServer, transport: str) -> None:
    with opened(server, transport=transport, stall_timeout_seconds=10) as source:
        frames = iter(source)
        take(frames, 3)
        server.frozen = True
        threading.Timer(1.0, setattr, (server, "frozen", False)).start()
        assert not any(map(is_marked, take(frames, RATE)))
        assert (source.status.reconnects, source.status.stalls, server.connections) == (0, 0, 1)


def test_another_size_on_the_way(server: RtspServer, transport: str) -> None:
    with opened(server, transport=transport) as source:
        frames = iter(source)
        take(frames, 3)
        server.size = (160, 128)
        changed = until(frames, lambda frame: frame.width == 160)[-1]
        assert (changed.height, changed.planes[1].shape) == (128, (64, 80))
        assert source.status.reconnects == 0


def test_another_size_after_a_restart(server: RtspServer) -> None:
    with opened(server) as source:
        frames = iter(source)
        take(frames, 3)
        server.stop()
        server.size = (96, 64)
        server.start()
        changed = until(frames, is_marked)[-1]
        assert (changed.width, changed.height, source.info.width) == (96, 64, 128)


@pytest.mark.parametrize("hours", [5, -5])
def test_a_clock_that_jumps_by_hours(server: RtspServer, transport: str, hours: int) -> None:
    with opened(server, transport=transport) as source:
        frames, begun = iter(source), time.monotonic()
        seen = take(frames, 5)
        server.jump(hours * 3600)
        seen += until(frames, is_marked)
        seen += take(frames, 5)
        assert rises(seen)
        assert float(seen[-1].seconds) < time.monotonic() - begun + 1
        assert (source.status.jumps, source.status.reconnects) == (1, 0)


def test_lost_packets_leave_marked_frames_and_clean_ones_after_them(server: RtspServer, transport: str) -> None:
    # Several packets a picture, so that pictures arrive in part.
    server.size = (640, 480)
    with opened(server, transport=transport) as source:
        frames = iter(source)
        take(frames, 3)
        server.loss = 0.2
        until(frames, lambda frame: frame.corrupt)
        server.loss = 0.0
        until(frames, lambda frame: not frame.corrupt)
        assert source.status.corrupt_frames >= 1
        assert source.status.connected


@pytest.mark.parametrize("url", ["{}", "rtsp://camera:hunter2@{}"])
def test_a_wrong_password_ends_it_at_once(no_leaks: None, url: str) -> None:
    with RtspServer() as server:
        server.userinfo = "camera:right"
        url = url.format(server.url.removeprefix("rtsp://") if "@" in url else server.url)
        with pytest.raises(AccessDeniedError, match="password") as caught:
            NetworkSource(url, wait=True)
        assert server.connections <= 2
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert "hunter2" not in shown


def test_a_password_that_is_changed_under_way(server: RtspServer) -> None:
    server.userinfo = "camera:hunter2"
    url = server.url.replace("rtsp://", "rtsp://camera:hunter2@")
    with NetworkSource(url, backoff=Backoff(first_seconds=0.02)) as source:
        frames = iter(source)
        take(frames, 3)
        server.userinfo = "camera:other"
        server.drop()
        with pytest.raises(AccessDeniedError, match="401"):
            list(frames)
        assert not source.status.connected
        assert "hunter2" not in repr(source.status)


def test_no_password_in_any_log_or_thread(
    server: RtspServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    av.logging.set_level(av.logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("libav"), "level", logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    try:
        server.userinfo = "camera:hunter2"
        url = server.url.replace("rtsp://", "rtsp://camera:hunter2@") + "?token=abcdef"
        with NetworkSource(url, backoff=Backoff(first_seconds=0.02)) as source:
            frames = iter(source)
            take(frames, 3)
            server.drop()
            until(frames, is_marked)
            names = [thread.name for thread in threading.enumerate()]
            shown = caplog.text + repr(names) + repr(source.status) + repr(vars(source))
    finally:
        av.logging.set_level(None)
    assert "ended the connection" in shown
    assert "hunter2" not in shown
    assert "abcdef" not in shown


@pytest.mark.parametrize(
    ("status", "error"), [(404, SourceNotFoundError), (403, AccessDeniedError), (500, SourceError)]
)
def test_refusals_at_the_beginning(server: RtspServer, status: int, error: type[SourceError]) -> None:
    server.status = status
    with pytest.raises(error):
        opened(server)


def test_nobody_there_is_an_error_at_once_unless_waiting_was_asked_for(no_leaks: None) -> None:
    with RtspServer() as server:
        server.stop()
        with pytest.raises(SourceLostError, match="connection refused"):
            opened(server)
        with pytest.raises(SourceLostError, match="gave up after 2 tries"):
            opened(server, wait=True, max_retries=2)
        threading.Timer(0.5, server.start).start()
        with opened(server, wait=True) as source:
            assert len(take(iter(source), 3)) == 3


def test_it_gives_up_after_so_many_tries(server: RtspServer) -> None:
    with opened(server, max_retries=2) as source:
        frames = iter(source)
        take(frames, 3)
        server.stop()
        with pytest.raises(SourceLostError, match="gave up after 2 tries"):
            list(frames)


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "http", "tcp"])
def test_a_server_that_never_answers(no_leaks: None, scheme: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        begun = time.monotonic()
        with pytest.raises(SourceLostError):
            NetworkSource(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x", open_timeout_seconds=0.5)
        assert time.monotonic() - begun < PATIENCE_SECONDS


@pytest.mark.parametrize("state", ["steady", "frozen", "gone"])
def test_closing_from_another_thread_ends_the_iteration(no_leaks: None, state: str) -> None:
    with RtspServer() as server:
        source = opened(server, stall_timeout_seconds=4)
        frames = iter(source)
        take(frames, 3)
        if state == "frozen":
            server.frozen = True
        elif state == "gone":
            server.stop()
        threading.Timer(0.3, source.close).start()
        list(frames)
        assert source.status.stalls == 0
        assert list(source) == []
        server.frozen = False


def test_closing_while_it_waits_to_connect() -> None:
    with RtspServer() as server:
        source = opened(server, open_timeout_seconds=60, stall_timeout_seconds=1)
        frames = iter(source)
        take(frames, 3)
        server.frozen = True
        until_stalled = time.monotonic() + PATIENCE_SECONDS
        worker = threading.Thread(target=lambda: list(frames))
        worker.start()
        while source.status.stalls == 0 and time.monotonic() < until_stalled:
            time.sleep(0.02)
        source.close()
        worker.join(PATIENCE_SECONDS)
        assert not worker.is_alive()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("srt://host:9000", "allowed are"),
        ("rtsp:", "names no host"),
        ("gopher://me:hunter2@host/", "allowed are"),
        ("rtsp:///live", "names no host"),
        ("rtsp://[::1/live", "no address"),
    ],
)
def test_addresses_that_cannot_be(url: str, text: str) -> None:
    with pytest.raises(SourceError, match=text) as caught:
        NetworkSource(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"transport": "pigeon"}, {"max_retries": -1}, {"open_timeout_seconds": 0}, {"stall_timeout_seconds": -1}],
)
def test_options_that_cannot_be(options: dict) -> None:
    with pytest.raises(SourceError, match="got "):
        NetworkSource("rtsp://127.0.0.1:1/x", **options)


class _Files(BaseHTTPRequestHandler):
    """Gives out what ``server.pages`` has for a path."""

    def do_GET(self) -> None:
        body = self.server.pages.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        server.pages = {}
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def address(web: ThreadingHTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{web.server_address[1]}{path}"


def test_a_film_over_http_has_an_end(web: ThreadingHTTPServer, clip: Path) -> None:
    web.pages["/clip.mkv"] = clip.read_bytes()
    with open_source(address(web, "/clip.mkv")) as source:
        assert isinstance(source, NetworkSource)
        assert not source.info.live
        frames = list(source)
    assert len(frames) == 12
    assert [frame.pts for frame in frames] == [index * 3600 for index in range(12)]


def test_a_film_that_is_not_there(web: ThreadingHTTPServer) -> None:
    with pytest.raises(SourceNotFoundError, match="404"):
        NetworkSource(address(web, "/none.mkv"))


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One second of MPEG-TS, every fifth picture a key frame."""
    path = tmp_path_factory.mktemp("ts") / "second.ts"
    options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
    return media.write_clip(path, media.pattern(25, 64, 48), codec="libx264", options=options).read_bytes()


def test_a_live_playlist_is_given_out_at_its_own_pace(web: ThreadingHTTPServer, transport_stream: bytes) -> None:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    lines += [f"#EXTINF:1.0,\n{number}.ts" for number in range(3)]
    web.pages["/live.m3u8"] = "\n".join([*lines, ""]).encode()
    web.pages |= {f"/{number}.ts": transport_stream for number in range(3)}
    clock = FakeClock()
    with NetworkSource(address(web, "/live.m3u8"), clock=clock) as source:
        assert source.info.live
        frames = list(itertools.islice(source.items(), 20))
    assert [frame.pts for frame in frames] == [index * 3600 for index in range(20)]
    assert [frame.arrived for frame in frames] == pytest.approx([index * 0.04 for index in range(20)])


def test_the_end_of_a_tcp_stream_is_a_disconnect(no_leaks: None, transport_stream: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                with client, suppress(OSError):
                    client.sendall(transport_stream)

        server = threading.Thread(target=serve)
        server.start()
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with NetworkSource(url, backoff=Backoff(first_seconds=0.02)) as source:
            frames = source.items()
            seen = until(frames, is_marked)
            assert rises(seen)
            assert len(seen) >= 20
        server.join(PATIENCE_SECONDS)


def test_datagrams_that_stop_and_come_again(no_leaks: None, transport_stream: bytes) -> None:
    sending, ended = threading.Event(), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for start in itertools.cycle(range(0, len(transport_stream), 1316)):
                sending.wait(PATIENCE_SECONDS)
                if ended.wait(0.01):
                    return
                sock.sendto(transport_stream[start : start + 1316], ("127.0.0.1", port))

    sender = threading.Thread(target=send)
    sender.start()
    sending.set()
    patience = {"stall_timeout_seconds": 0.5, "backoff": Backoff(first_seconds=0.02)}
    try:
        with NetworkSource(f"udp://127.0.0.1:{port}", **patience) as source:
            frames = source.items()
            take(frames, 3)
            sending.clear()
            threading.Timer(1.0, sending.set).start()
            assert rises(until(frames, lambda _: source.status.reconnects > 0))
            assert source.status.stalls >= 1
    finally:
        ended.set()
        sending.set()
        sender.join(PATIENCE_SECONDS)


def test_a_page_that_is_no_video(web: ThreadingHTTPServer, tmp_path: Path) -> None:
    web.pages["/page"] = b"<html>no video here</html>" * 50
    with pytest.raises(SourceError):
        NetworkSource(address(web, "/page"))
    sound = media.write_clip(tmp_path / "both.mkv", media.pattern(2, 32, 32), sound_seconds=0.1)
    with av.open(str(sound)) as both, av.open(str(tmp_path / "sound.mkv"), "w") as output:
        copy = output.add_stream_from_template(both.streams.audio[0])
        for packet in both.demux(both.streams.audio[0]):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    web.pages["/sound.mkv"] = (tmp_path / "sound.mkv").read_bytes()
    with pytest.raises(NoVideoError, match="no video"):
        NetworkSource(address(web, "/sound.mkv"))


def test_a_playlist_cannot_read_files(web: ThreadingHTTPServer, tmp_path: Path) -> None:
    segment = media.write_clip(
        tmp_path / "secret.ts", media.pattern(10, 64, 48), codec="libx264", options={"preset": "ultrafast"}
    )
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\n"
    web.pages["/mine.m3u8"] = f"{head}file://{segment}\n#EXT-X-ENDLIST\n".encode()
    web.pages["/own.m3u8"] = f"{head}own.ts\n#EXT-X-ENDLIST\n".encode()
    web.pages["/own.ts"] = segment.read_bytes()
    with NetworkSource(address(web, "/own.m3u8")) as source:
        assert len(list(source)) == 10
    with pytest.raises(SourceError):
        NetworkSource(address(web, "/mine.m3u8"), stall_timeout_seconds=1)
