"""RTSP with a server by others: its streams are read, and it takes ours."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streams.errors import AccessDeniedError, SinkRefusedError, SourceNotFoundError
from streams.sinks import DetachedSink, EncoderOptions, open_sink
from streams.sources import NetworkSource
from streams.sources.backoff import Backoff
from tests import written
from tests.live_checks import PATIENCE_SECONDS, is_marked, nothing_left, rises, take, until
from tests.peers import NAME, PASSWORD, GstServer

SIZE, RATE = (128, 96), 25
# Luma of white, yellow, cyan, green, magenta, red and blue by BT.601: the middles of its bars.
BARS = [235, 210, 170, 145, 106, 81, 41]
RIGHT, GUESS = f"{NAME}:{PASSWORD}", "hidden-guess"
FAST = EncoderOptions(preset="ultrafast", threads=1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GstServer]:
    with GstServer(tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GstServer]:
    """One to be killed."""
    with GstServer(tmp_path) as server:
        yield server


def opened(url: str, **options: Any) -> NetworkSource:
    return NetworkSource(url, backoff=Backoff(first_seconds=0.02, longest_seconds=0.1), **options)


def push(url: str, **more: Any) -> DetachedSink:
    first = next(written.frames(1))
    facts = {"width": first.width, "height": first.height, "format": first.format, "options": FAST, **more}
    sink = open_sink(url, info=written.info(first, live=True), **facts)
    assert isinstance(sink, DetachedSink)
    return sink


def send_until(sink: DetachedSink, condition: Callable[[], object]) -> None:
    """Write at the pace of a camera, for as long as it takes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for frame in written.frames(range(10**6)):
        sink.write(frame)
        if condition():
            return
        assert time.monotonic() < deadline, f"it did not come to pass: {sink.status()}"
        time.sleep(1 / RATE)


def played(path: Path) -> list[av.VideoFrame]:
    """The pictures in a recording, from the first that can be decoded: what was on its way by UDP may be lost."""
    pictures: list[av.VideoFrame] = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            with suppress(av.error.InvalidDataError):
                pictures += packet.decode()
    return pictures


def holds(server: GstServer, number: int, count: int) -> bool:
    """Whether so many pictures are in that recording by now."""
    try:
        return len(played(server.recordings()[number])) >= count
    except (IndexError, av.FFmpegError):
        return False


@pytest.mark.parametrize(
    ("path", "transport", "codec"),
    [
        *itertools.product(["h264"], ["tcp", "udp", "http"], ["h264"]),
        *itertools.product(["h265"], ["tcp", "udp"], ["hevc"]),
        *itertools.product(["mjpeg"], ["tcp", "udp"], ["mjpeg"]),
    ],
)
def test_its_streams_are_read(shared: GstServer, path: str, transport: str, codec: str) -> None:
    with nothing_left(), opened(shared.url(path), transport=transport) as source:
        assert (source.info.width, source.info.height, source.info.codec) == (*SIZE, codec)
        assert source.info.live
        frames = take(iter(source), 15)
        assert rises(frames)
        assert not any(frame.corrupt or frame.discontinuity for frame in frames[1:])
        luma = frames[-1].planes[0][20, 9::18].astype(int)
        assert np.abs(luma - BARS).max() < 8, luma
        assert source.status.reconnects == 0


@pytest.mark.parametrize("door", ["basic", "digest"])
def test_it_asks_for_name_and_password(shared: GstServer, door: str) -> None:
    with opened(shared.url("h264", door=door, credentials=RIGHT)) as source:
        assert take(iter(source), 1)
    for credentials in ("", f"{NAME}:{GUESS}"):
        with pytest.raises(AccessDeniedError, match="401") as caught:
            opened(shared.url("h264", door=door, credentials=credentials))
        assert GUESS not in str(caught.value)


def test_a_path_that_it_does_not_have(shared: GstServer) -> None:
    with pytest.raises(SourceNotFoundError, match="404"):
        opened(shared.url("elsewhere"))


def test_pictures_that_change_their_size(shared: GstServer) -> None:
    with opened(shared.url("changing")) as source:
        frames = iter(source)
        first = (source.info.width, source.info.height)
        seen = until(frames, lambda frame: (frame.width, frame.height) != first)
        seen += until(frames, lambda frame: (frame.width, frame.height) == first)
        assert rises(seen)
        assert {(frame.width, frame.height) for frame in seen} == {SIZE, (192, 144)}
        assert source.status.reconnects == 0, "within one connection"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_killed_and_started_again(server: GstServer, transport: str) -> None:
    with nothing_left(), opened(server.url("h264"), transport=transport) as source:
        frames = iter(source)
        seen = take(frames, 3)
        server.kill()
        server.start()
        seen += until(frames, is_marked)
        seen += take(frames, 3)
        assert rises(seen)
        assert source.status.reconnects == 1


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frozen_and_thawed(server: GstServer, transport: str) -> None:
    with opened(server.url("h264"), transport=transport, stall_timeout_seconds=1.0, open_timeout_seconds=1.0) as source:
        frames = iter(source)
        take(frames, 3)
        server.freeze()
        threading.Timer(2.0, server.thaw).start()
        assert rises(until(frames, is_marked))
        assert source.status.stalls >= 1


@pytest.mark.parametrize(("codec", "transport"), [("h264", "tcp"), ("h264", "udp"), ("h265", "tcp")])
def test_it_takes_what_we_send(server: GstServer, codec: str, transport: str) -> None:
    options = EncoderOptions(codec=codec, preset="ultrafast", threads=1)
    with push(server.url(f"record/{codec}"), transport=transport, options=options) as sink:
        send_until(sink, lambda: holds(server, 0, 20))
    (recording,) = server.recordings()
    pictures = played(recording)
    assert {(picture.width, picture.height) for picture in pictures} == {written.SIZE}
    assert transport == "udp" or not any(picture.is_corrupt for picture in pictures)
    times = [picture.time for picture in pictures]
    assert all(earlier < later for earlier, later in itertools.pairwise(times)), times
    # One of those that were sent, whichever.
    assert min(written.error_of(pictures[-1], frame) for frame in written.frames(200)) < 2


@pytest.mark.parametrize("door", ["basic", "digest"])
def test_it_takes_nothing_from_strangers(server: GstServer, door: str) -> None:
    with push(server.url("record/h264", door=door, credentials=RIGHT)) as sink:
        send_until(sink, lambda: sink.status()[0].frames >= 5)
    sink = push(server.url("record/h264", door=door, credentials=f"{NAME}:{GUESS}"))
    with pytest.raises(SinkRefusedError, match="401") as caught:
        send_until(sink, lambda: False)
    sink.abort()
    assert GUESS not in str(caught.value)
    assert len(server.recordings()) == 1


def test_killed_while_it_takes_what_we_send(server: GstServer) -> None:
    with push(server.url("record/h264")) as sink:
        send_until(sink, lambda: holds(server, 0, 10))
        server.kill()
        send_until(sink, lambda: sink.status()[0].state == "waiting")
        server.start()
        send_until(sink, lambda: holds(server, 1, 10))
        assert sink.status()[0].reconnects == 1
    assert len(server.recordings()) == 2


def test_the_command_sends_to_it(server: GstServer) -> None:
    url = server.url("record/h264", door="digest", credentials=RIGHT)
    arguments = ["live", "synthetic:64x48?live=1&rate=25", "-o", url, "--duration", "3", "--model", "espcn", "--quiet"]
    run = subprocess.run(
        [sys.executable, "-m", "vsr", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert PASSWORD not in run.stdout + run.stderr
    (recording,) = server.recordings()
    pictures = played(recording)
    assert len(pictures) >= 5
    assert {(picture.width, picture.height) for picture in pictures} == {SIZE}
