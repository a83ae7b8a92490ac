"""RTMP by way of a server by others: what we send there is what we read there."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.errors import SinkError, SourceLostError
from streams.frame import Frame
from streams.sinks import DetachedSink, EncoderOptions, open_sink
from streams.sources import NetworkSource
from streams.sources.backoff import Backoff
from tests import written
from tests.live_checks import PATIENCE_SECONDS, is_marked, rises, take, until
from tests.peers import NginxServer

RATE = 25
PICTURES = list(written.frames(50))
FAST = EncoderOptions(preset="ultrafast", threads=1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NginxServer]:
    with NginxServer(tmp_path) as server:
        yield server


class Camera:
    """Sends to an address on a thread of its own, at the pace of a camera, until it is left."""

    def __init__(self, url: str) -> None:
        first = PICTURES[0]
        facts = {"width": first.width, "height": first.height, "format": first.format, "options": FAST}
        sink = open_sink(url, info=written.info(first, live=True), **facts)
        assert isinstance(sink, DetachedSink)
        self.sink = sink
        self.error: SinkError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def leave(self) -> None:
        self._over.set()
        self._thread.join()
        self.sink.abort()

    def _run(self) -> None:
        try:
            for index, picture in enumerate(itertools.cycle(PICTURES)):
                self.sink.write(dataclasses.replace(picture, pts=index))
                if self._over.wait(1 / RATE):
                    break
        except SinkError as error:
            self.error = error


@contextmanager
def camera(url: str) -> Iterator[Camera]:
    sending = Camera(url)
    try:
        yield sending
    finally:
        sending.leave()


def await_that(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def difference(got: Frame, sent: Frame) -> float:
    return float(np.abs(got.planes[0].astype(int) - sent.planes[0]).mean())


def opened(url: str, *, wait: bool = True, **options: Any) -> NetworkSource:
    return NetworkSource(url, backoff=Backoff(first_seconds=0.02, longest_seconds=0.1), wait=wait, **options)


def test_what_we_send_is_what_we_read(server: NginxServer) -> None:
    with camera(server.url()), opened(server.url()) as source:
        assert (source.info.width, source.info.height, source.info.codec) == (*written.SIZE, "h264")
        assert source.info.live
        frames = take(iter(source), 30)
    assert rises(frames)
    assert min(difference(frames[-1], picture) for picture in PICTURES) < 2


def test_killed_and_started_again(server: NginxServer) -> None:
    with camera(server.url()) as sending, opened(server.url()) as source:
        frames = iter(source)
        seen = take(frames, 5)
        server.kill()
        await_that(lambda: sending.sink.status()[0].state == "waiting")
        server.start()
        seen += until(frames, lambda _: source.status.reconnects)
        seen += take(frames, 5)
        assert rises(seen)
        assert any(map(is_marked, seen))
        await_that(lambda: sending.sink.status()[0].state == "running")
        assert sending.sink.status()[0].reconnects == 1


def test_where_nobody_sends_yet(server: NginxServer) -> None:
    with pytest.raises(SourceLostError, match=r"nothing came.*whether it is sending"):
        opened(server.url(), wait=False, open_timeout_seconds=0.5)


def test_where_nobody_may(server: NginxServer) -> None:
    url = server.url("closed/stream")
    with pytest.raises(SourceLostError, match="broke off"):
        opened(url, wait=False)
    with camera(url) as sending:
        await_that(lambda: sending.sink.status()[0].state == "waiting")
        assert url in str(sending.sink.status()[0].error)
        assert "does not know this name or key" in str(sending.sink.status()[0].error)
        assert sending.error is None, "the server does not say that it is for good"


def test_what_a_server_says_is_told(server: NginxServer) -> None:
    with camera(server.url()) as first:
        await_that(lambda: first.sink.status()[0].state == "running")
        with camera(server.url()) as second:
            await_that(lambda: second.sink.status()[0].state == "waiting")
            assert "the server says: Already publishing" in str(second.sink.status()[0].error)
            assert second.error is None, "the other sender may leave"


def test_the_command_sends_to_it(server: NginxServer) -> None:
    arguments = ["live", "synthetic:64x48?live=1&rate=25", "-o", server.url(), "--model", "espcn", "--quiet"]
    run = subprocess.Popen(
        [sys.executable, "-m", "vsr", *arguments, "--duration", "4"], stderr=subprocess.PIPE, text=True
    )
    try:
        with opened(server.url(), open_timeout_seconds=PATIENCE_SECONDS) as source:
            assert (source.info.width, source.info.height) == (128, 96)
            assert rises(take(iter(source), 10))
        said = run.communicate(timeout=60)[1]
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, said
