"""The part of a file that is asked for: pictures, sound, chapters and cover together."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import media
import numpy as np
import pytest
from av.stream import Disposition

from streams.errors import SourceError
from streams.frame import Frame, Packet
from streams.sources import FileSource
from streams.sources.trim import Part


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures, 40 ms apart, a key frame every ten, with sound."""
    path = tmp_path_factory.mktemp("media") / "long.mkv"
    options = {"preset": "veryfast", "g": "10", "x264-params": "scenecut=0", "qp": "0"}
    return media.write_clip(path, media.pattern(60, 64, 48), codec="libx264", options=options, sound_seconds=2.4)


@pytest.mark.parametrize("start", [0.04, 0.4, 1.0, 1.23, 2.3])
def test_a_start_is_met_to_the_frame_and_moves_the_clock(long_clip: Path, start: float) -> None:
    with FileSource(long_clip) as whole:
        reference = list(whole)
    with FileSource(long_clip, start_seconds=start) as source:
        items = list(source.items())
    frames = [item for item in items if isinstance(item, Frame)]
    expected = [frame for frame in reference if frame.seconds >= Fraction(start).limit_denominator(1000)]
    assert [frame.pts + expected[0].pts for frame in frames] == [frame.pts for frame in expected]
    assert frames[0].pts == 0
    assert all(map(np.array_equal, frames[0].planes, expected[0].planes))
    sound = [item.payload for item in items if isinstance(item, Packet)]
    assert 0 <= sound[0].pts * sound[0].time_base < Fraction(21, 1000)


def test_a_duration_ends_pictures_and_sound_together(long_clip: Path) -> None:
    with FileSource(long_clip, start_seconds=0.8, duration_seconds=0.6) as source:
        assert (source.info.frames, source.info.duration_seconds) == (15, pytest.approx(0.6))
        items = list(source.items())
    assert sum(isinstance(item, Frame) for item in items) == 15
    sound = [item.payload.pts * item.payload.time_base for item in items if isinstance(item, Packet)]
    assert Fraction(57, 100) < sound[-1] < Fraction(60, 100)


def test_a_frame_limit_stops_the_source(long_clip: Path) -> None:
    with FileSource(long_clip, max_frames=7) as source:
        assert source.info.frames == 7
        assert [frame.pts for frame in source] == [index * 40 for index in range(7)]


def test_a_part_of_a_stream_without_times_is_found_by_decoding(tmp_path: Path) -> None:
    path = media.raw_h264(tmp_path / "bare.264", media.pattern(20, 64, 48))
    with FileSource(path, start_seconds=0.4, duration_seconds=0.2) as source:
        assert [frame.seconds for frame in source] == [Fraction(index, 25) for index in range(5)]


def test_a_part_of_a_pipe_is_found_without_opening_it_again(tmp_path: Path) -> None:
    path = media.raw_h264(tmp_path / "bare.264", media.pattern(20, 64, 48))
    with FileSource(path) as whole, media.piped(path.read_bytes()) as pipe:
        expected = list(whole)[10:]
        with FileSource(pipe, start_seconds=0.4) as source:
            frames = list(source)
    assert all(np.array_equal(got.planes[0], want.planes[0]) for got, want in zip(frames, expected, strict=True))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"start_seconds": 1.2, "duration_seconds": 1.0}, [("two", 0, 0.8), ("three", 0.8, 1.0)]),
        ({"duration_seconds": 1.5}, [("one", 0, 1), ("two", 1, 1.5)]),
        ({"max_frames": 20}, [("one", 0, 0.8)]),
        ({"start_seconds": 0.6, "max_frames": 20}, [("one", 0, 0.4), ("two", 0.4, 0.8)]),
    ],
)
def test_chapters_are_cut_with_the_part(
    long_clip: Path, tmp_path: Path, part: dict[str, Any], expected: list[tuple[str, float, float]]
) -> None:
    path = tmp_path / "chapters.mkv"
    with av.open(str(long_clip)) as given, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        marks = [(0, 1000, "one"), (1000, 2000, "two"), (2000, 2400, "three")]
        output.set_chapters(
            [
                {"id": index, "start": start, "end": end, "time_base": media.TICK, "metadata": {"title": title}}
                for index, (start, end, title) in enumerate(marks)
            ]
        )
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    with FileSource(path) as source:
        assert len(source.info.chapters) == 3
    with FileSource(path, **part) as source:
        spans = [
            (c["metadata"]["title"], float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]))
            for c in source.info.chapters
        ]
    assert spans == [(title, pytest.approx(first), pytest.approx(last)) for title, first, last in expected]


@pytest.mark.parametrize("start", [0.0, 0.4])
def test_a_number_of_pictures_ends_the_sound_with_them(long_clip: Path, start: float) -> None:
    with FileSource(long_clip, start_seconds=start, max_frames=10) as source:
        items = list(source.items())
    assert sum(isinstance(item, Frame) for item in items) == 10
    sound = [item.payload.pts * item.payload.time_base for item in items if isinstance(item, Packet)]
    assert Fraction(37, 100) < sound[-1] < Fraction(40, 100)


@pytest.mark.parametrize("tick", [-1, 0])
def test_sound_before_the_start_is_left_out_where_the_start_is_at_zero(tick: int) -> None:
    part = Part(start=Fraction(2, 5), origin=Fraction(-2, 5), shift=Fraction(0))
    stream = SimpleNamespace(disposition=Disposition(0))
    packet: Any = SimpleNamespace(stream=stream, pts=tick, dts=tick, time_base=Fraction(1, 8000))
    assert part.move(packet) == (tick >= 0)


def test_a_cover_picture_survives_a_start(tmp_path: Path) -> None:
    jpeg = av.CodecContext.create("mjpeg", "w")
    jpeg.width, jpeg.height, jpeg.pix_fmt, jpeg.time_base = 32, 32, "yuvj420p", Fraction(1, 25)
    data = bytes(jpeg.encode(media.pattern(1, 32, 32, "yuvj420p")[0])[0])
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"g": "10"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        cover = output.add_mux_stream("mjpeg", width=32, height=32)
        cover.disposition = Disposition.attached_pic
        output.start_encoding()
        packet = av.Packet(data)
        packet.pts, packet.dts, packet.time_base, packet.stream = 0, 0, Fraction(1, 25), cover
        output.mux(packet)
        output.mux([p for picture in [*media.pattern(30, 64, 48), None] for p in video.encode(picture)])
    with FileSource(path, start_seconds=0.8) as source:
        covers = [item.payload for item in source.items() if isinstance(item, Packet)]
    assert [(packet.pts, packet.dts, bytes(packet)) for packet in covers] == [(0, 0, data)]


def test_a_start_after_the_end_is_refused(long_clip: Path) -> None:
    with pytest.raises(SourceError, match="no picture at or after 9 s"):
        FileSource(long_clip, start_seconds=9)


def test_a_part_between_two_pictures_is_refused(tmp_path: Path) -> None:
    first, last = media.pattern(2, 64, 48)
    last.pts = 2000
    path = media.write_clip(tmp_path / "still.mkv", [first, last])
    with pytest.raises(SourceError, match=r"no picture from 0\.5 until 2 s"):
        FileSource(path, start_seconds=0.5, duration_seconds=1)
