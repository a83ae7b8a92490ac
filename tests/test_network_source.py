"""Live sources against a server that fails: they come back, leave nothing behind, and tell no password."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction

import av
import media
import pytest
from live_checks import PATIENCE_SECONDS, is_marked, nothing_left, rises, take, until
from rtsp_server import RATE, RtspServer

from streams.errors import AccessDeniedError, SourceError, SourceLostError, SourceNotFoundError
from streams.sources import NetworkSource
from streams.sources.backoff import Backoff
from streams.sources.connection import Sign, Traits
from streams.sources.live import LiveSource
from streams.sources.status import Patience


def opened(server: RtspServer, **options) -> NetworkSource:
    options = {"backoff": Backoff(first_seconds=0.02, longest_seconds=0.1), "stall_timeout_seconds": 2.0, **options}
    return NetworkSource(server.url, **options)


@pytest.fixture(params=["tcp", "udp"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer() as server:
        yield server


@pytest.fixture
def no_leaks() -> Iterator[None]:
    with nothing_left():
        yield


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
        # A busy machine may be taken for a frozen one, too.
        assert source.status.reconnects >= 1


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


@pytest.mark.parametrize("seconds", [18_000, -18_000, -1])
def test_a_clock_that_is_set_anew(
    server: RtspServer, transport: str, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    # Before the first picture arrives, which may be long before it is asked for.
    begun = time.monotonic()
    with opened(server, transport=transport) as source:
        frames = iter(source)
        seen = take(frames, 5)
        for _ in range(2):
            server.jump(seconds)
            seen += until(frames, is_marked)
            seen += take(frames, 5)
        assert rises(seen)
        assert float(seen[-1].seconds) < time.monotonic() - begun + 1
        assert (source.status.jumps, source.status.reconnects) == (2, 0)
    assert [record.levelname for record in caplog.records if "set anew" in record.message] == ["WARNING"]


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
        # Longer than a busy machine stands still, so that what ends it is being closed.
        source = opened(server, stall_timeout_seconds=15)
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


class Blind:
    """A connection whose pictures stop while its data goes on; ``left`` many before that."""

    traits = Traits(codec="rawvideo", trusted_times=False)

    def __init__(self, left: int) -> None:
        self._left = left

    def events(self) -> Iterator[av.VideoFrame | Sign]:
        for _ in range(self._left):
            yield media.pattern(1, 64, 48)[0]
        while True:
            time.sleep(0.01)
            yield Sign.ALIVE

    def close(self) -> None:
        """Nothing is held."""


def test_data_without_pictures_is_a_loss(no_leaks: None) -> None:
    options = {"patience": Patience(stall_timeout_seconds=1), "backoff": Backoff(first_seconds=0.01)}
    with LiveSource(lambda: Blind(3), name="cam", **options) as source:
        frames = iter(source)
        assert not any(map(is_marked, take(frames, 3)))
        assert rises(until(frames, is_marked))
        assert (source.status.reconnects, source.status.stalls) == (1, 1)
        assert source.status.last_error == "cam: sends data, and no picture within 1 s"


def test_what_the_deinterlacer_held_at_a_loss_does_not_come_after_it(no_leaks: None) -> None:
    class Breaking(Blind):
        def events(self) -> Iterator[av.VideoFrame | Sign]:
            yield from media.pattern(3, 64, 48)
            raise SourceLostError("cam: gone")

    options = {"deinterlace": "on", "backoff": Backoff(first_seconds=0.01)}
    with LiveSource(lambda: Breaking(3), name="cam", **options) as source:
        assert [is_marked(frame) for frame in take(iter(source), 4)] == [False, False, True, False]


def test_a_scheme_may_be_in_capitals(no_leaks: None) -> None:
    with RtspServer() as server, NetworkSource(server.url.replace("rtsp", "Rtsp")) as source:
        assert rises(take(iter(source), 3))


def test_a_first_picture_may_take_longer(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.sources.live._FIRST_PICTURE_SECONDS", 1.5)
    with pytest.raises(SourceLostError, match=r"no picture within 1\.5 s"):
        LiveSource(lambda: Blind(0), name="cam", patience=Patience(stall_timeout_seconds=1))
