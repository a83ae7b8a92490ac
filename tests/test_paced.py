"""Files at their own pace, on a clock that passes as it is told."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import media
import pytest

from streams.clock import MonotonicClock
from streams.errors import SourceError
from streams.frame import Frame, Packet
from streams.sources import FileSource, PacedSource, SyntheticSource, open_source
from tests.fake_clock import FakeClock


def pattern(frames: int = 5, rate: int = 25) -> SyntheticSource:
    return SyntheticSource(width=16, height=16, frames=frames, rate=rate)


def test_frames_come_when_they_are_due() -> None:
    clock = FakeClock(100.0)
    with PacedSource(pattern(), clock=clock) as source:
        assert source.info.live
        assert source.info.frames == 5
        arrived = [frame.arrived for frame in source]
    assert arrived == pytest.approx([100.0, 100.04, 100.08, 100.12, 100.16])
    assert clock.waits == pytest.approx([0.04] * 4)


def test_a_slow_taker_is_waited_for_and_the_pace_is_kept() -> None:
    clock = FakeClock()
    with PacedSource(pattern(4), clock=clock) as source:
        arrived = []
        for frame in source:
            arrived.append(frame.arrived)
            clock.advance(0.05 if frame.pts == 0 else 0.01)
    # The second one is late; the third is on time again.
    assert arrived == pytest.approx([0.0, 0.05, 0.08, 0.12])


def test_after_a_long_pause_the_missed_time_is_not_run_through() -> None:
    clock = FakeClock()
    with PacedSource(pattern(4), clock=clock) as source:
        arrived = []
        for frame in source:
            arrived.append(frame.arrived)
            clock.advance(10.0 if frame.pts == 0 else 0.0)
    assert arrived == pytest.approx([0.0, 10.0, 10.04, 10.08])


def test_a_clock_that_jumps_is_not_waited_for(tmp_path: Path) -> None:
    pictures = media.pattern(6, 64, 48)
    for picture, seconds in zip(pictures, (0, 1, 2, 7200, 7201, 7231), strict=True):
        picture.pts = 1000 * seconds
    film = media.write_clip(tmp_path / "pieces.mkv", pictures)
    with PacedSource(FileSource(film), clock=FakeClock()) as source:
        arrived = [frame.arrived for frame in source]
    assert arrived == pytest.approx([0, 1, 2, 2, 3, 33])


def test_sound_rides_along(clip: Path) -> None:
    with PacedSource(FileSource(clip), clock=FakeClock()) as source:
        items = list(source.items())
    with FileSource(clip) as plain:
        kinds = [type(item) for item in plain.items()]
    assert [type(item) for item in items] == kinds
    assert {Frame, Packet} == set(kinds)


def test_it_goes_round_for_ever(clip: Path) -> None:
    clock = FakeClock()
    with PacedSource(FileSource(clip), clock=clock, reopen=lambda: FileSource(clip)) as source:
        assert (source.info.frames, source.info.duration_seconds, source.info.streams) == (None, None, ())
        frames = list(itertools.islice(source.items(), 30))
    assert [frame.pts for frame in frames] == [index * 40 for index in range(30)]
    assert [index for index, frame in enumerate(frames) if frame.discontinuity] == [12, 24]
    assert frames[-1].arrived == pytest.approx(29 * 0.04)


def test_closing_from_another_thread_ends_a_long_wait() -> None:
    source = PacedSource(SyntheticSource(width=16, height=16, frames=None, rate=1))
    frames = source.items()
    next(frames)
    threading.Timer(0.1, source.close).start()
    assert list(frames) == []
    assert list(source) == []


def test_a_file_is_closed_by_who_reads_it(clip: Path) -> None:
    inner = FileSource(clip)
    source = PacedSource(inner, clock=FakeClock())
    frames = iter(source)
    next(frames)
    closer = threading.Thread(target=source.close)
    closer.start()
    closer.join(10)
    assert list(frames) == []
    assert list(inner) == []


def test_open_source_paces_what_it_is_asked_to(clip: Path) -> None:
    for url, options in ((clip, {"realtime": True}), (f"file:{clip}", {"realtime": True, "loop": True})):
        with open_source(url, **options) as source:
            assert isinstance(source, PacedSource)
            assert source.info.live
            assert (source.info.frames is None) == ("loop" in options)
    with open_source("synthetic:32x16?live=1&rate=200") as source:
        assert source.info.live
        assert source.info.frames is None
        assert len(list(itertools.islice(source.items(), 40))) == 40
    with open_source("synthetic:32x16?live=1&rate=1000&frames=3") as source:
        assert len(list(source)) == 3
    with pytest.raises(SourceError, match="live=2"):
        open_source("synthetic:32x16?live=2")


def test_the_real_clock_passes_and_can_be_stopped() -> None:
    clock, stop = MonotonicClock(), threading.Event()
    begun = clock.now()
    assert not clock.wait(0.02, stop)
    assert clock.now() - begun >= 0.02
    assert not clock.wait(-1, stop)
    stop.set()
    assert clock.wait(60, stop)
