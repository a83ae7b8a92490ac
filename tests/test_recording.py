"""Recordings of live video: whole at every moment, in parts where they must be, and never over another file."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from streams.errors import SinkError, SinkExistsError, UnsupportedStreamError
from streams.frame import Frame, PixelFormat
from streams.sinks import EncoderOptions, FanOut, FileSink, RecordingSink, open_sink
from streams.sinks.timeline import Timeline, live_time_base
from streams.sources import open_source
from tests import media, written

MILLISECOND = Fraction(1, 1000)
ROOT = Path(__file__).parents[1]


def open_recording(path: Path, first: Frame, **more: Any) -> RecordingSink:
    more.setdefault("options", EncoderOptions(preset="ultrafast"))
    facts = {"width": first.width, "height": first.height, "format": first.format}
    return RecordingSink(path, info=written.info(first, live=True), **facts, **more)


def record(path: Path, frames: Iterable[Frame], **more: Any) -> list[Path]:
    frames = list(frames)
    with open_recording(path, frames[0], **more) as sink:
        for frame in frames:
            sink.write(frame)
    return sink.parts


def at(times: Iterable[int], **more: Any) -> list[Frame]:
    """Frames at so many milliseconds."""
    return list(written.frames(list(times), time_base=MILLISECOND, duration=0, **more))


def times_in(path: Path) -> list[Fraction]:
    """When the pictures of a file are shown, up to where it was cut off, if it was."""
    times = []
    with av.open(str(path)) as container, suppress(av.InvalidDataError):
        for picture in container.decode(video=0):
            assert picture.pts is not None
            times.append(picture.pts * Fraction(picture.time_base or 0))
    return times


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm"])
def test_frames_keep_their_uneven_times_and_start_at_zero(tmp_path: Path, ending: str) -> None:
    times = [50_000, 50_033, 50_071, 50_200, 50_201, 53_000]
    (path,) = record(tmp_path / f"live.{ending}", at(times), options=None)
    assert path == tmp_path / f"live.{ending}"
    got = written.read(path)
    assert got.times == [Fraction(time - times[0], 1000) for time in times]


def test_pictures_are_those_that_were_recorded(tmp_path: Path) -> None:
    frames = at(range(0, 400, 40))
    (path,) = record(tmp_path / "live.mp4", frames)
    got = written.read(path)
    assert len(got.pictures) == 10
    assert all(written.error_of(picture, frame) < 2 for picture, frame in zip(got.pictures, frames, strict=True))
    assert re.match(r"20\d\d-", got.metadata["creation_time"])


def test_deep_colour_stays_deep(tmp_path: Path) -> None:
    (path,) = record(tmp_path / "live.mkv", at(range(0, 200, 40), form=PixelFormat(bit_depth=10)))
    assert written.read(path).pictures[0].format.name == "yuv420p10le"


def test_another_size_goes_on_in_a_new_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = at(range(0, 400, 40)) + at(range(400, 600, 40), size=(64, 48)) + at(range(600, 680, 40))
    parts = record(tmp_path / "live.mp4", frames)
    assert [part.name for part in parts] == ["live.mp4", "live-0002.mp4", "live-0003.mp4"]
    contents = [written.read(part) for part in parts]
    assert [(len(each.pictures), each.pictures[0].width) for each in contents] == [(10, 96), (5, 64), (2, 96)]
    assert all(each.times[0] == 0 for each in contents)
    assert "96×64 yuv420p limited to 64×48 yuv420p limited: the recording goes on in a new part" in caplog.text


def test_other_colours_go_on_in_a_new_part(tmp_path: Path) -> None:
    frames = at([0, 40]) + at([80, 120], form=PixelFormat(range="full"))
    parts = record(tmp_path / "live.mp4", frames)
    full = 2
    assert [written.read(part).pictures[0].color_range == full for part in parts] == [False, True]


def test_segments_begin_on_time_with_a_key_frame(tmp_path: Path) -> None:
    times = [n * 37 for n in range(100)]
    parts = record(tmp_path / "live.mkv", at(times), segment_seconds=1)
    assert [part.name for part in parts] == [f"live-000{n}.mkv" for n in (1, 2, 3, 4)]
    contents = [written.read(part) for part in parts]
    # The plan is every full second; a segment begins with the first frame from there on.
    assert [len(each.pictures) for each in contents] == [28, 27, 27, 18]
    assert all(each.pictures[0].key_frame for each in contents)


def test_a_long_gap_skips_segments_and_makes_no_empty_ones(tmp_path: Path) -> None:
    parts = record(tmp_path / "live.mkv", at([0, 40, 10_000, 10_040, 10_990, 11_010]), segment_seconds=1)
    assert [len(written.read(part).pictures) for part in parts] == [2, 3, 1]


def test_no_file_is_ever_overwritten(tmp_path: Path) -> None:
    for name in ("live.mp4", "live-0001.mp4", "live-0002.mp4", "live-0004.mp4"):
        (tmp_path / name).write_bytes(b"dear to somebody")
    with pytest.raises(SinkExistsError, match="overwrite"):
        open_recording(tmp_path / "live.mp4", at([0])[0])
    parts = record(tmp_path / "live.mp4", at(range(0, 2100, 100)), segment_seconds=1)
    assert [part.name for part in parts] == ["live-0003.mp4", "live-0005.mp4", "live-0006.mp4"]
    changing = at([0]) + at([40], size=(64, 48))
    parts = record(tmp_path / "live.mp4", changing, overwrite=True)
    assert [part.name for part in parts] == ["live.mp4", "live-0007.mp4"]
    assert (tmp_path / "live-0002.mp4").read_bytes() == b"dear to somebody"


def test_names_with_the_time_of_day(tmp_path: Path) -> None:
    parts = record(tmp_path / "cam %Y%m%d.mkv", at(range(0, 2100, 100)), segment_seconds=1)
    assert [re.sub(r"\d{8}", "DATE", part.name) for part in parts] == [
        "cam DATE.mkv",
        "cam DATE-2.mkv",
        "cam DATE-3.mkv",
    ]


def test_a_clock_that_goes_back_does_not_end_the_recording(tmp_path: Path) -> None:
    (path,) = record(tmp_path / "live.mkv", at([90_000, 90_040, 90_039, 90_080, 0, 40, 80]))
    times = [float(time) for time in written.read(path).times]
    assert times[:4] == [0.0, 0.04, 0.041, 0.08]
    assert times[4:] == pytest.approx([0.119, 0.159, 0.199])


def test_timeline_leaves_a_good_clock_alone() -> None:
    line = Timeline(live_time_base(Fraction(1001, 30_000)))
    assert line.time_base == Fraction(1, 90_000)
    frames = written.frames([7, 8, 9, 12], time_base=Fraction(1001, 30_000))
    assert [line.place(frame).pts for frame in frames] == [0, 3003, 6006, 15_015]
    assert line.shift == -7 * Fraction(1001, 30_000)


def test_a_live_source_is_recorded_and_a_file_is_written_as_one(tmp_path: Path) -> None:
    first = at([0])[0]
    facts: dict[str, Any] = {"width": first.width, "height": first.height, "format": first.format}
    with pytest.raises(SinkError, match="no frame was recorded"):
        open_sink(tmp_path / "a.mp4", info=written.info(first, live=True), **facts).close()
    assert isinstance(open_sink(f"record:{tmp_path}/a.mp4", info=written.info(first), **facts), RecordingSink)
    assert isinstance(open_sink(tmp_path / "a.mp4", info=written.info(first), **facts), FileSink)


@pytest.mark.parametrize(
    ("name", "more", "error", "words"),
    [
        ("live.avi", {}, UnsupportedStreamError, "allowed are"),
        ("nowhere/live.mp4", {}, SinkError, "no folder"),
        ("live.mp4", {"segment_seconds": 0}, SinkError, "more than 0"),
        ("live.mp4", {"options": EncoderOptions(codec="theora")}, UnsupportedStreamError, "no encoder is called"),
    ],
)
def test_what_cannot_be_recorded_is_refused_at_once(
    tmp_path: Path, name: str, more: dict[str, Any], error: type[SinkError], words: str
) -> None:
    with pytest.raises(error, match=words):
        open_recording(tmp_path / name, at([0])[0], **more)
    assert list(tmp_path.iterdir()) == []


_RECORD_FOR_EVER = """
import itertools, sys, time
from fractions import Fraction
from pathlib import Path
from tests import written
from streams.sinks import EncoderOptions, RecordingSink
first, = written.frames([0], time_base=Fraction(1, 1000))
sink = RecordingSink(Path(sys.argv[1]), info=written.info(first, live=True), width=96, height=64, format=first.format,
                     options=EncoderOptions(preset="ultrafast"))
for frame in written.frames(range(0, 10**7, 40), time_base=Fraction(1, 1000), duration=0):
    sink.write(frame)
    if frame.pts % 1000 == 0:
        print(frame.pts // 1000, flush=True)
        time.sleep(0.05)
"""


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_what_was_recorded_until_the_program_was_killed_can_be_played(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"live.{ending}"
    program = [sys.executable, "-c", _RECORD_FOR_EVER, str(path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 6:
                process.kill()
                break
        seconds = int(line)
    times = times_in(path)
    # All but the second that was not yet on the disk, and not a frame out of its place.
    assert times == [Fraction(n, 25) for n in range(len(times))]
    assert len(times) >= 25 * (seconds - 2)


_FILL_THE_DISK = """
import resource, signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from tests import written
from streams.errors import SinkError
from streams.frame import Frame
from streams.sinks import FanOut, NullSink, RecordingSink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
noise = np.random.default_rng(0)
first, = written.frames([0], time_base=Fraction(1, 1000))
recording = RecordingSink(Path(sys.argv[1]), info=written.info(first, live=True), width=96, height=64,
                          format=first.format)
null = NullSink()
with FanOut([recording, null]) as fan:
    for index in range(400):
        planes = tuple(noise.integers(16, 235, plane.shape, np.uint8) for plane in first.planes)
        fan.write(Frame(planes=planes, format=first.format, pts=40 * index, time_base=first.time_base))
print(null.frames, recording.status()[0].state)
print(*fan.errors)
try:
    recording.write(first)
except SinkError as error:
    print(error)
"""


def test_a_full_disk_ends_the_recording_clearly_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "live.mp4"
    run = subprocess.run(
        [sys.executable, "-c", _FILL_THE_DISK, str(path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    others, reason, after = run.stdout.splitlines()
    assert others == "400 failed"
    assert re.fullmatch(r"cannot write .*live\.mp4: File too large", reason)
    assert "nothing can be recorded any more" in after
    assert len(times_in(path)) > 10


def test_two_cannot_record_into_one_file(tmp_path: Path) -> None:
    frames = at([0, 40])
    first = open_recording(tmp_path / "live.mp4", frames[0])
    first.write(frames[0])
    second = open_recording(tmp_path / "live.mp4", frames[0], overwrite=True)
    with pytest.raises(SinkError, match="another"):
        second.write(frames[0])
    second.abort()
    first.write(frames[1])
    first.close()
    assert len(written.read(tmp_path / "live.mp4").pictures) == 2


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_sound_is_recorded_where_it_belongs(tmp_path: Path, ending: str) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", media.pattern(50, 64, 48), sound_seconds=2)
    sound = {time: data for data, time, _ in written.read(clip).packets[1]}
    with open_source(clip) as source:
        info = source.info
        recordings = [
            RecordingSink(
                tmp_path / f"{name}.{ending}", info=info, width=64, height=48, format=info.format, segment_seconds=1
            )
            for name in ("one", "two")
        ]
        with FanOut(recordings) as sink:
            for item in source.items():
                sink.write(item)
    for recording in recordings:
        first, second = (written.read(part) for part in recording.parts)
        for part, start in ((first, 0), (second, 1)):
            assert len(part.pictures) == 25
            assert len(part.packets[1]) > 40
            assert all(data == sound[time + start] for data, time, _ in part.packets[1])


def test_status_names_the_part(tmp_path: Path) -> None:
    with open_recording(tmp_path / "live.mp4", at([0])[0]) as sink:
        for frame in at([0, 40]) + at([80], size=(64, 48)):
            sink.write(frame)
        (status,) = sink.status()
    assert (status.name, status.state, status.frames) == (str(tmp_path / "live-0002.mp4"), "running", 3)
    assert sink.status()[0].state == "closed"
