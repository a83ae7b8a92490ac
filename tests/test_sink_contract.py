"""What every sink promises; a new one is added to ``SINKS``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streams.errors import SinkError
from streams.frame import Frame
from streams.sinks import BufferedSink, DetachedSink, FanOut, LatestFrame, NullSink, Sink, open_sink
from tests import written

Opener = Callable[[], Sink]
# The port for what is thrown away; nobody listens.
UNUSED = 9
FILES = {"mp4": "{}/clip.mp4", "mov": "{}/clip.mov", "mkv": "{}/clip.mkv", "webm": "{}/clip.webm", "null": "null:"}
LIVE = {"recording": "record:{}/live.mp4", "hls": "hls:{}/live", "mpegts": "udp://127.0.0.1:{port}"}

MADE: dict[str, Opener] = {
    "latest": LatestFrame,
    "fan-out": lambda: FanOut([NullSink(), LatestFrame()]),
    "buffered": lambda: BufferedSink(NullSink(), name="null", queue_size=8),
    "detached": lambda: DetachedSink(NullSink, name="null"),
}


def opener(url: str, folder: Path, *, live: bool = False) -> Opener:
    first = next(written.frames(1))
    width, height = written.SIZE
    facts = {"info": written.info(first, live=live), "width": width, "height": height, "format": first.format}
    return lambda: open_sink(url.format(folder, port=UNUSED), overwrite=True, **facts)


# Of a source that cannot wait, what is written is written apart.
APART = {f"{name} of a camera": url for name, url in (FILES | LIVE).items() if name in ("mp4", "hls")}


@pytest.fixture(params=[*FILES, *LIVE, *APART, *MADE])
def open_it(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    live = request.param in APART
    return MADE.get(request.param) or opener((FILES | LIVE | APART)[request.param], tmp_path, live=live)


@pytest.fixture(params=FILES)
def open_file(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return opener(FILES[request.param], tmp_path)


def _frames(count: int = 3) -> list[Frame]:
    return list(written.frames(count))


def test_it_takes_frames_and_is_closed_by_the_with_block(open_it: Opener) -> None:
    with open_it() as sink:
        for frame in _frames():
            sink.write(frame)
    with pytest.raises(SinkError):
        sink.write(_frames(4)[3])


def test_close_twice_is_close_once(open_it: Opener) -> None:
    sink = open_it()
    sink.write(_frames()[0])
    sink.close()
    sink.close()
    sink.abort()


def test_abort_never_raises_at_any_time(open_it: Opener) -> None:
    for count in (0, 1, 3):
        sink = open_it()
        for frame in _frames(count):
            sink.write(frame)
        sink.abort()
        sink.abort()
        sink.close()


def test_an_error_in_the_with_block_is_the_error_that_is_seen(open_it: Opener) -> None:
    with pytest.raises(ZeroDivisionError), open_it() as sink:
        sink.write(_frames()[0])
        raise ZeroDivisionError


def test_only_a_closed_file_has_its_name(open_file: Opener, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_file() as sink:
        sink.write(_frames()[0])
        raise ZeroDivisionError
    assert not [path for path in tmp_path.iterdir() if ".partial" not in path.name]


def test_frames_are_not_written_into(open_it: Opener) -> None:
    frames = _frames()
    before = [plane.copy() for plane in frames[0].planes]
    for frame in frames:
        for plane in frame.planes:
            plane.flags.writeable = False
    with open_it() as sink:
        for frame in frames:
            sink.write(frame)
    assert all((plane == was).all() for plane, was in zip(frames[0].planes, before, strict=True))


def test_null_counts() -> None:
    with NullSink() as sink:
        for frame in _frames():
            sink.write(frame)
    assert (sink.frames, sink.packets) == (3, 0)


def test_an_unknown_scheme_is_refused_without_its_password() -> None:
    first = next(written.frames(1))
    with pytest.raises(SinkError, match="allowed are") as raised:
        open_sink("srt://me:secret@host/x", info=written.info(first), width=96, height=64, format=first.format)
    assert "secret" not in str(raised.value)
