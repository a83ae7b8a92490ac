"""Outputs that wait for a disk: hiccups lose nothing, a disk that hangs or is full ends nobody else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.errors import SinkError, UnsupportedStreamError
from streams.frame import Frame, PixelFormat
from streams.sinks import BufferedSink, FanOut, NullSink, open_sink, room_for_hiccups
from tests import written
from tests.failing import LONG, Broken, Stub, frames, until

FIRST = next(written.frames(1))
FACTS: dict[str, Any] = {
    "info": written.info(FIRST, live=True),
    "width": FIRST.width,
    "height": FIRST.height,
    "format": FIRST.format,
}


class Hiccup(Stub):
    """Waits in the write of the first frame until it is let go, and goes on as if nothing had been."""

    def write(self, item: Any) -> None:
        if not self.items:
            self.hanging.set()
            assert self.let_go.wait(LONG)
        super().write(item)


def buffered(sink: Stub, *, room: int = 50, **more: Any) -> BufferedSink:
    return BufferedSink(sink, name="x", queue_size=room, **more)


def pts(sink: Stub) -> list[int]:
    return [item.pts for item in sink.items if isinstance(item, Frame)]


def test_a_hiccup_of_the_disk_loses_nothing_and_holds_nobody_up() -> None:
    inner = Hiccup()
    sink = buffered(inner)
    for frame in frames(40):
        sink.write(frame)
    assert inner.items == []
    inner.let_go.set()
    sink.close()
    assert pts(inner) == list(range(40))
    assert inner.ends == ["close"]
    (status,) = sink.status()
    assert (status.state, status.frames, status.dropped, status.error) == ("closed", 40, 0, None)


def test_a_disk_that_hangs_costs_its_output_the_oldest_frames_and_the_others_none() -> None:
    stuck, good = Hiccup(), NullSink()
    fan = FanOut([buffered(stuck, room=10), good])
    hundred = frames(100)
    fan.write(hundred[0])
    assert stuck.hanging.wait(LONG)
    for frame in hundred[1:]:
        fan.write(frame)
    assert good.frames == 100
    assert fan.status()[0].dropped == 89
    stuck.let_go.set()
    fan.close()
    assert pts(stuck) == [0, *range(90, 100)]
    assert fan.status()[0].dropped == 89


def test_a_hang_is_told_of_once_and_so_is_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams.sinks.buffered._NOTICED_SECONDS", 0.0)
    inner = Hiccup()
    sink = buffered(inner)
    until(lambda: sink.write(FIRST) or "takes nothing any more" in caplog.text)
    sink.write(FIRST)
    assert "took nothing for" in str(sink.status()[0].error)
    inner.let_go.set()
    until(lambda: sink.status()[0].error is None)
    until(lambda: sink.write(FIRST) or "goes on" in caplog.text)
    sink.close()
    assert caplog.text.count("takes nothing any more") == caplog.text.count("x goes on") == 1


def test_a_disk_that_hangs_at_the_end_does_not_hold_the_program() -> None:
    inner = Hiccup()
    sink = buffered(inner, patience_seconds=0.05)
    for frame in frames(4):
        sink.write(frame)
    assert inner.hanging.wait(LONG)
    with pytest.raises(SinkError, match="did not come back"):
        sink.close()
    sink.abort()
    (status,) = sink.status()
    assert (status.state, status.frames, status.dropped) == ("failed", 0, 3)
    inner.let_go.set()
    until(lambda: inner.ends)
    assert pts(inner) == [0]


def test_an_error_is_raised_where_the_next_frame_comes_and_the_others_go_on() -> None:
    inner, good = Stub(fails_at=2), NullSink()
    fan = FanOut([buffered(inner), good])
    for frame in frames(3):
        fan.write(frame)
    until(lambda: inner.ends)
    for frame in frames(5):
        fan.write(frame)
    (status,) = fan.status()
    assert (status.state, status.frames, status.dropped) == ("failed", 2, 1)
    assert status.error == "no space left at rtsp://***@host/"
    assert (good.frames, len(fan.errors)) == (8, 1)
    fan.close()
    assert inner.ends == ["abort"]


@pytest.mark.parametrize("error", [SinkError, UnsupportedStreamError])
def test_the_last_frame_may_be_the_one_that_fails(error: type[SinkError]) -> None:
    sink = buffered(Stub(fails_at=0, error=error))
    sink.write(FIRST)
    with pytest.raises(error, match="no space left"):
        sink.close()
    sink.abort()
    sink.close()


def test_what_cannot_be_finished_is_told_by_close() -> None:
    broken = Broken()
    sink = buffered(broken)
    sink.write(FIRST)
    with pytest.raises(SinkError, match="the end does not fit"):
        sink.close()
    assert broken.ends == ["close", "abort"]


def test_a_fault_in_the_sink_is_no_silence() -> None:
    sink = buffered(Stub(fails_at=0, error=ZeroDivisionError))
    with pytest.raises(SinkError, match="x failed: ZeroDivisionError"):
        until(lambda: sink.write(FIRST))
    sink.abort()


class HangsAtItsEnd(Stub):
    """As a disk that fails, and then takes its time for whatever is left."""

    def abort(self) -> None:
        self.hanging.set()
        assert self.let_go.wait(LONG)
        super().abort()


def test_a_disk_that_fails_and_then_hangs_holds_neither_the_others_nor_the_end() -> None:
    inner, good = HangsAtItsEnd(fails_at=0), NullSink()
    stuck = buffered(inner, patience_seconds=LONG)
    fan = FanOut([stuck, good])
    fan.write(FIRST)
    assert inner.hanging.wait(LONG)
    for frame in frames(5):
        fan.write(frame)
    fan.close()
    assert (good.frames, stuck.status()[0].state, inner.ends) == (6, "failed", [])
    inner.let_go.set()


def test_a_disk_that_fails_and_then_hangs_is_left_behind_by_close() -> None:
    inner = HangsAtItsEnd(fails_at=0)
    sink = buffered(inner, patience_seconds=0.05)
    sink.write(FIRST)
    with pytest.raises(SinkError, match="no space left"):
        sink.close()
    inner.let_go.set()
    until(lambda: inner.ends)


def test_abort_writes_what_waits_and_aborts() -> None:
    inner = Hiccup()
    sink = buffered(inner)
    for frame in frames(5):
        sink.write(frame)
    threading.Timer(0.05, inner.let_go.set).start()
    sink.abort()
    assert pts(inner) == list(range(5))
    assert inner.ends == ["abort"]
    with pytest.raises(SinkError, match="closed"):
        sink.write(FIRST)


@pytest.mark.parametrize(
    ("rate", "size", "depth", "room"),
    [
        (25, (1920, 1080), 8, 50),
        (None, (640, 480), 8, 60),
        (90_000, (64, 36), 8, 240),
        (60, (3840, 2160), 8, 21),
        (30, (7680, 4320), 10, 2),
    ],
)
def test_room_is_for_two_seconds_and_bounded(rate: int | None, size: tuple[int, int], depth: int, room: int) -> None:
    info = written.info(rate=None if rate is None else Fraction(rate))
    form = PixelFormat(bit_depth=depth)
    assert room_for_hiccups(info=info, width=size[0], height=size[1], format=form) == room


@pytest.mark.parametrize("url", ["{}/a.mp4", "record:{}/a.mkv", "hls:{}", "{}/a.m3u8"])
def test_what_a_live_source_is_written_into_waits_for_the_disk_apart(url: str, tmp_path: Path) -> None:
    with open_sink(url.format(tmp_path), **FACTS) as sink:
        assert isinstance(sink, BufferedSink)
        for frame in frames(3):
            sink.write(frame)
        (status,) = sink.status()
    assert sink.status()[0].frames == 3
    assert sink.status()[0].name == status.name


def test_a_recording_has_one_name_whatever_its_parts_are_called(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.mkv", **FACTS, segment_seconds=0.1) as sink:
        before = sink.status()[0].name
        for frame in frames(10):
            sink.write(frame)
    assert len(list(tmp_path.glob("a-*.mkv"))) > 1
    assert before == sink.status()[0].name == str(tmp_path / "a.mkv")


@contextmanager
def pipe_that_nobody_empties(path: Path) -> Iterator[None]:
    """What is written there waits, as soon as the system's buffer is full, until the block ends."""
    os.mkfifo(path)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:
        yield
        os.set_blocking(pipe.fileno(), True)
        rest = threading.Thread(target=pipe.read)
        rest.start()
        rest.join(LONG)


def noise(size: tuple[int, int]) -> Frame:
    """What no encoder makes small."""
    form, chance = PixelFormat(), np.random.default_rng(0)
    planes = (chance.integers(16, 235, form.plane_shape(plane, *size), np.uint8) for plane in range(3))
    return Frame(planes=tuple(planes), format=form, pts=0, time_base=Fraction(1, 25))


def test_a_real_recording_that_hangs_costs_the_others_nothing(tmp_path: Path) -> None:
    """To the recording a pipe is a file on a disk that takes nothing more."""
    path, good, frame = tmp_path / "stuck.mkv", NullSink(), noise((640, 360))
    with pipe_that_nobody_empties(path):
        stuck = open_sink(path, **{**FACTS, "width": frame.width, "height": frame.height}, overwrite=True)
        fan = FanOut([stuck, good])
        until(lambda: fan.write(frame) or stuck.status()[0].dropped > 100)
        assert good.frames >= stuck.status()[0].frames + 100
        threading.Thread(target=fan.abort).start()
