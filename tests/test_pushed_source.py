"""Pictures that others push: each when it arrived, the newest rather than all, and whatever is no picture."""

from __future__ import annotations

import io
import itertools
import logging
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from page_stubs import jpeg
from PIL import Image
from stubs import LONG_SECONDS, wait_for

from streams.clock import MonotonicClock
from streams.errors import SourceError, SourceLostError
from streams.frame import Frame
from streams.pipeline import Pipeline
from streams.sinks import LatestFrame
from streams.sources import PushedSource
from streams.sources import pushed as pushed_module
from tests.fake_clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(seconds=100.0)


@pytest.fixture
def source(clock: FakeClock) -> Iterator[PushedSource]:
    with PushedSource(name="the camera", clock=clock) as source:
        yield source


def brightness(frame: Frame) -> int:
    return int(frame.planes[0].mean().round())


def test_what_the_first_picture_says(source: PushedSource) -> None:
    source.push(jpeg(90, width=64, height=48))
    info = source.info
    assert (info.width, info.height, info.live, info.codec, info.rate) == (64, 48, True, "mjpeg", None)
    assert (info.format.name, info.format.range, info.format.matrix) == ("yuv420p", "full", 5)
    assert info.format.chroma_location == "center"
    assert source.info is info


def test_pictures_are_at_the_time_of_their_arrival(source: PushedSource, clock: FakeClock) -> None:
    frames = iter(source)
    got = []
    for value, pause in ((50, 0.0), (60, 0.04), (70, 0.5), (80, 0.0)):
        clock.advance(pause)
        assert source.push(jpeg(value))
        got.append(next(frames))
    assert [frame.pts for frame in got] == [0, 3600, 48600, 48601]
    assert [frame.arrived for frame in got] == pytest.approx([100.0, 100.04, 100.54, 100.54])
    assert [brightness(frame) for frame in got] == pytest.approx([50, 60, 70, 80], abs=1)
    assert not any(frame.corrupt or frame.discontinuity for frame in got)


def test_the_arrival_is_not_the_decoding(source: PushedSource, clock: FakeClock) -> None:
    source.push(jpeg(50))
    clock.advance(3)
    assert next(iter(source)).arrived == 100.0


def test_the_oldest_are_dropped_and_counted(source: PushedSource) -> None:
    for value in (50, 60, 70, 80, 90):
        assert source.push(jpeg(value))
    assert (source.held, source.dropped) == (2, 3)
    source.finish()
    assert [brightness(frame) for frame in source] == pytest.approx([80, 90], abs=1)


@pytest.mark.parametrize(
    ("options", "name", "value_range"),
    [
        ({}, "yuv420p", "full"),
        ({"subsampling": 0}, "yuv444p", "full"),
        ({"subsampling": 1}, "yuv422p", "full"),
        ({"mode": "L"}, "gray", "full"),
        ({"progressive": True}, "yuv420p", "full"),
        ({"mode": "CMYK"}, "yuv444p", "limited"),
        ({"width": 33, "height": 21}, "yuv420p", "full"),
    ],
)
def test_jpegs_of_every_kind(source: PushedSource, options: dict, name: str, value_range: str) -> None:
    source.push(jpeg(120, **options))
    frame = next(iter(source))
    assert (frame.format.name, frame.format.range) == (name, value_range)
    assert (frame.width, frame.height) == (options.get("width", 64), options.get("height", 48))


def test_the_size_may_change(source: PushedSource) -> None:
    frames = iter(source)
    sizes = [(64, 48), (128, 96), (128, 96), (33, 21)]
    got = []
    for width, height in sizes:
        source.push(jpeg(width, width=width, height=height))
        got.append(next(frames))
    assert [(frame.width, frame.height) for frame in got] == sizes
    assert (source.info.width, source.info.height) == (64, 48)
    # Nothing that was given out is decoded over.
    assert [brightness(frame) for frame in got] == pytest.approx([64, 128, 128, 33], abs=1)


def promising(width: int, height: int, data: bytes = jpeg(120)) -> bytes:
    """A small JPEG whose header promises another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4 :]


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"GIF89a" + bytes(100),
        b"\xff\xd8" + bytes(range(256)) * 40,
        jpeg(120)[:300],
        promising(60_000, 60_000),
        promising(9_000, 16),
        promising(0, 0),
    ],
    ids=lambda junk: f"{len(junk)}-{junk[:3].hex()}",
)
def test_what_is_no_picture_is_passed_over(source: PushedSource, junk: bytes, caplog: pytest.LogCaptureFixture) -> None:
    frames = iter(source)
    source.push(jpeg(50))
    assert brightness(next(frames)) == pytest.approx(50, abs=1)
    with caplog.at_level(logging.WARNING):
        assert source.push(junk)
        source.push(jpeg(90))
        assert brightness(next(frames)) == pytest.approx(90, abs=1)
    assert source.skipped == source.status.corrupt_frames == 1
    assert len(caplog.records) == 1
    assert "the camera: passed over" in caplog.text


def test_no_memory_is_taken_for_what_a_header_promises(source: PushedSource, caplog: pytest.LogCaptureFixture) -> None:
    # Enough of data for FFmpeg to believe the header.
    noise = np.random.default_rng(1).integers(0, 255, (960, 1280, 3), np.uint8)
    source.push(promising(10_000, 8_000, jpeg_of(noise)))
    source.finish()
    with caplog.at_level(logging.WARNING), pytest.raises(SourceLostError):
        _ = source.info
    # By the decoder itself; what it had made would be refused for its sides.
    assert "cannot be decoded" in caplog.text


def test_too_many_bytes_are_not_kept(source: PushedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed_module, "_MOST_BYTES", 2000)
    assert source.push(jpeg(50) + bytes(2000))
    assert (source.held, source.skipped) == (0, 1)


def test_what_goes_on_for_hours_is_not_told_for_hours(source: PushedSource, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(250):
            source.push(b"junk")
    assert source.skipped == 250
    assert [record.args[-1] for record in caplog.records] == [1, 10, 100]


def test_a_picture_that_breaks_off_is_marked(source: PushedSource) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    whole = jpeg_of(noise)
    source.push(whole[: len(whole) * 2 // 3])
    source.push(whole + bytes(8))
    source.finish()
    assert [frame.corrupt for frame in source] == [True, False]
    assert source.status.corrupt_frames == 1


def jpeg_of(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Hurrying(FakeClock):
    """Every look at it takes a second."""

    def now(self) -> float:
        self.advance(1)
        return super().now()


def test_a_first_picture_that_does_not_come() -> None:
    source = PushedSource(name="the camera", first_timeout_seconds=5, clock=Hurrying())
    with pytest.raises(SourceLostError, match="the camera: no picture within 5 s"):
        _ = source.info


def test_junk_is_no_first_picture() -> None:
    source = PushedSource(first_timeout_seconds=5, clock=Hurrying())
    source.push(promising(0, 0))
    with pytest.raises(SourceLostError, match="no picture within"):
        next(iter(source))
    assert source.skipped == 1


def test_a_timeout_that_is_none() -> None:
    with pytest.raises(SourceError, match="allowed is more than 0"):
        PushedSource(first_timeout_seconds=0)


def test_the_first_picture_is_waited_for(source: PushedSource) -> None:
    threading.Timer(0.1, source.push, [jpeg(50)]).start()
    assert source.info.width == 64
    assert not source.over
    assert source.status.connected


def test_the_end_before_the_first_picture(source: PushedSource) -> None:
    threading.Timer(0.1, source.finish).start()
    with pytest.raises(SourceLostError, match="ended before the first picture"):
        _ = source.info
    with pytest.raises(SourceLostError, match="ended before the first picture"):
        list(source)


def test_the_end_comes_after_what_is_held(source: PushedSource) -> None:
    source.push(jpeg(50))
    source.push(jpeg(60))
    source.finish()
    assert not source.push(jpeg(70))
    assert source.over
    assert len(list(source)) == 2
    assert not source.status.connected


@pytest.mark.parametrize("pictures", [0, 1])
def test_closing_wakes_who_waits(source: PushedSource, pictures: int) -> None:
    got: list[Frame] = []
    thread = threading.Thread(target=lambda: got.extend(source))
    for _ in range(pictures):
        source.push(jpeg(50))
    thread.start()
    wait_for(lambda: len(got) == pictures)
    source.close()
    thread.join(LONG_SECONDS)
    assert not thread.is_alive()
    assert not source.push(jpeg(60))
    assert source.held == 0


def test_what_is_held_is_let_go_of_by_closing(source: PushedSource) -> None:
    frames = iter(source)
    source.push(jpeg(50))
    next(frames)
    source.push(jpeg(60))
    source.close()
    assert list(frames) == []


def test_frames_keep_their_memory(source: PushedSource) -> None:
    frames, kept = iter(source), []
    for value in range(40, 90):
        source.push(jpeg(value))
        kept.append(next(frames))
    assert [brightness(frame) for frame in kept] == pytest.approx(list(range(40, 90)), abs=1)
    assert all(frame.planes[0].base is not None and frame.owner is not None for frame in kept)


class Same:
    """An enhancer that changes nothing."""

    def submit(self, frames):
        self.frames = list(frames)
        return self

    def result(self):
        return self.frames

    def reset(self) -> None:
        return


def test_a_run_of_it_is_the_newest_and_ends_well() -> None:
    source, newest = PushedSource(clock=MonotonicClock()), LatestFrame()
    stop = threading.Event()

    def push() -> None:
        for value in itertools.cycle(range(40, 200)):
            if stop.is_set():
                break
            source.push(jpeg(value))
            time.sleep(0.002)
        source.push(jpeg(250))
        source.finish()

    pusher = threading.Thread(target=push)
    pusher.start()
    _ = source.info
    several = lambda stats: stop.set() if stats.frames_out > 5 else None  # noqa: E731
    pipeline = Pipeline(source, Same(), newest, queue_size=1, in_flight=1, overflow="drop_oldest", on_frame=several)
    report = pipeline.run()
    pusher.join(LONG_SECONDS)
    assert report.frames_out > 5
    assert newest.latest is not None
    assert brightness(newest.latest.frame) == pytest.approx(250, abs=1)
