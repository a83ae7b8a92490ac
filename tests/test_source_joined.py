"""Recordings that were joined into one file, whose times begin anew on the way."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import media
import pytest

from streams.frame import Frame, Packet
from streams.sources import FileSource
from streams.sources.splice import Splicer


def recording(path: Path, *, sound_seconds: float) -> Path:
    """Fifty pictures, 40 ms apart and displayed in another order than coded, with sound, as a transport stream."""
    return media.write_clip(
        path,
        media.pattern(50, 64, 48),
        codec="libx264",
        time_base=Fraction(1, 25),
        options={"preset": "veryfast", "bf": "2"},
        sound_seconds=sound_seconds,
        sound_codec="mp2",
        container_format="mpegts",
    )


def joined(tmp_path: Path, *parts: Path) -> Path:
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_joined_recordings_go_on_where_the_one_before_ends(tmp_path: Path) -> None:
    part = recording(tmp_path / "part.ts", sound_seconds=1.9)
    with FileSource(part) as source:
        alone = [item for item in source.items() if isinstance(item, Packet)]
    with FileSource(joined(tmp_path, part, part, part)) as source:
        items = list(source.items())
    frames = [item for item in items if isinstance(item, Frame)]
    assert [frame.pts - frames[0].pts for frame in frames] == [index * 3600 for index in range(150)]
    assert [index for index, frame in enumerate(frames) if frame.discontinuity] == [50, 100]
    assert source.repaired_timestamps == 0
    sound = [item.payload.pts for item in items if isinstance(item, Packet)]
    assert sound == [packet.payload.pts + 180_000 * index for index in range(3) for packet in alone]


def spliced(entries: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(stream, dts) pairs as they come out of a splicer for which stream 0 is the video."""
    splicer = Splicer(0)
    packets: list[Any] = [
        SimpleNamespace(stream_index=stream, pts=dts, dts=dts, duration=40, time_base=media.TICK)
        for stream, dts in entries
    ]
    placed = [ready for packet in packets for ready in splicer.place(packet)] + splicer.flush()
    return [(packet.stream_index, packet.dts) for packet in placed]


def test_a_stream_that_begins_anew_before_the_video_waits_for_it() -> None:
    given = [(0, 400), (1, 400), (1, 0), (0, 440), (1, 40), (0, 0), (0, 40)]
    assert spliced(given) == [(0, 400), (1, 400), (0, 440), (1, 480), (1, 520), (0, 480), (0, 520)]


def test_a_sparse_stream_moves_with_the_video_though_it_never_steps_back() -> None:
    given = [(2, 1000), (0, 4000), (0, 0), (2, 3990), (0, 3000), (2, 3000)]
    assert spliced(given) == [(2, 1000), (0, 4000), (0, 4040), (2, 3990), (0, 7040), (2, 7040)]


@pytest.mark.parametrize("count", [400, 1000])
def test_sound_that_begins_anew_alone_keeps_its_times_and_all_of_its_packets(count: int) -> None:
    entries = [(stream, index % [count, 300][stream] * 40) for index in range(count) for stream in (0, 1)]
    assert sorted(spliced(entries)) == sorted(entries)
