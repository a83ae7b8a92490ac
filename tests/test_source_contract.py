"""What every source promises; a new one is added to ``SOURCES``."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from page_stubs import jpeg

from streams.errors import SourceError
from streams.frame import Frame, Packet
from streams.sources import FileSource, PacedSource, PushedSource, Source, SyntheticSource, open_source
from tests.fake_clock import FakeClock


def pushed(_: Path) -> Source:
    """Twelve pictures, each pushed when there is room for it."""
    source = PushedSource(clock=FakeClock())

    def push() -> None:
        for value in range(12):
            while source.held > 1 and not source.over:
                time.sleep(0.001)
            source.push(jpeg(20 * value))
        source.finish()

    threading.Thread(target=push, daemon=True).start()
    return source


SOURCES: dict[str, Callable[[Path], Source]] = {
    "file": FileSource,
    "synthetic": lambda _: SyntheticSource(width=64, height=48, frames=12, rate=25),
    "paced": lambda path: PacedSource(FileSource(path), clock=FakeClock()),
    "pushed": pushed,
}
"""Those that end; what a live one promises beyond is in ``test_network_source.py`` and ``test_webcam.py``."""


@pytest.fixture(params=SOURCES)
def open_it(request: pytest.FixtureRequest, clip: Path) -> Callable[[], Source]:
    return lambda: SOURCES[request.param](clip)


def test_info_describes_the_frames_before_they_are_read(open_it: Callable[[], Source]) -> None:
    with open_it() as source:
        info = source.info
        frames = list(source)
    assert len(frames) == 12
    assert {frame.geometry for frame in frames} == {(info.width, info.height, info.format)}
    assert {frame.time_base for frame in frames} == {info.time_base}
    assert info.live == isinstance(source, PacedSource | PushedSource)
    if not isinstance(source, PushedSource):
        assert info.frames == len(frames)
        assert info.duration_seconds == pytest.approx(len(frames) / info.rate)


def test_time_only_rises(open_it: Callable[[], Source]) -> None:
    with open_it() as source:
        times = [frame.pts for frame in source]
    assert all(earlier < later for earlier, later in itertools.pairwise(times))


def test_items_are_the_same_frames_and_packets_of_known_streams(open_it: Callable[[], Source]) -> None:
    with open_it() as source, open_it() as again:
        known = {stream.index for stream in source.info.streams}
        items = list(source.items())
        frames = [item for item in items if isinstance(item, Frame)]
        packets = [item for item in items if isinstance(item, Packet)]
        for ours, other in zip(frames, again, strict=True):
            assert ours.pts == other.pts
            assert all(map(np.array_equal, ours.planes, other.planes))
    assert len(frames) + len(packets) == len(items)
    assert {packet.stream for packet in packets} == known


def test_it_is_iterated_once(open_it: Callable[[], Source]) -> None:
    with open_it() as source:
        assert list(source)
        assert list(source) == []


def test_it_closes_twice_early_and_in_the_middle(open_it: Callable[[], Source]) -> None:
    unread = open_it()
    unread.close()
    unread.close()
    assert list(unread) == []
    source = open_it()
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []


def test_frames_outlive_the_source(open_it: Callable[[], Source]) -> None:
    with open_it() as source:
        kept = [(frame, [plane.copy() for plane in frame.planes]) for frame in source]
    for frame, copies in kept:
        assert all(map(np.array_equal, frame.planes, copies))


@pytest.mark.parametrize(
    "url",
    [
        "synthetic:64",
        "synthetic:64x48?speed=2",
        "synthetic:0x48",
        "synthetic:64x48?rate=1/0",
        "synthetic:4x4?bit_depth=3",
    ],
)
def test_synthetic_refuses_a_wrong_address(url: str) -> None:
    with pytest.raises(SourceError, match=r"got "):
        open_source(url)


def test_addresses_find_their_source(clip: Path) -> None:
    with open_source("synthetic:70x50?frames=3&rate=30000/1001&subsampling=422&bit_depth=10") as source:
        assert isinstance(source, SyntheticSource)
        assert (source.info.width, source.info.height, source.info.format.name) == (70, 50, "yuv422p10le")
        assert len(list(source)) == 3
    for path in (clip, str(clip), f"file:{clip}", f"file://{clip}"):
        with open_source(path) as source:
            assert isinstance(source, FileSource)


def test_a_name_with_a_colon_is_a_path(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file:odd.mkv").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    with open_source("file:odd.mkv") as source:
        assert len(list(source)) == 12


def test_an_unknown_scheme_is_refused_without_its_password() -> None:
    with pytest.raises(SourceError, match=r"allowed are a path and file:, synthetic:") as caught:
        open_source("gopher://me:hunter2@example.org/x?token=abc")
    assert "hunter2" not in str(caught.value)
    assert "abc" not in str(caught.value)
