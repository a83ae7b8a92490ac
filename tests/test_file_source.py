"""Files as sources: their times, their other streams, the part that is asked for, and what is wrong with them."""

from __future__ import annotations

import itertools
import logging
import resource
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest

from streams.errors import NoVideoError, SourceError, SourceNotFoundError
from streams.frame import Frame, Packet
from streams.sources import FileSource
from streams.sources.timing import Timestamps

VARIABLE_PTS = [0, 3003, 3100, 9000, 9001, 20_000, 21_001, 50_000, 50_900, 51_000]
TURNED = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
TICK_90K = Fraction(1, 90_000)


def at(pictures: list[av.VideoFrame], times: list[int]) -> list[av.VideoFrame]:
    for picture, pts in zip(pictures, times, strict=True):
        picture.pts, picture.time_base = pts, TICK_90K
    return pictures


@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_variable_times_are_carried_exactly(tmp_path: Path, b_frames: str) -> None:
    pictures = at(media.pattern(10, 64, 48), VARIABLE_PTS)
    path = media.write_clip(
        tmp_path / "vfr.mp4",
        pictures,
        codec="libx264",
        time_base=TICK_90K,
        options={"bf": b_frames, "b_strategy": "0", "preset": "veryfast", "video_track_timescale": "90000"},
    )
    with FileSource(path) as source:
        frames = list(source)
    assert [frame.seconds for frame in frames] == [pts * TICK_90K for pts in VARIABLE_PTS]
    assert source.repaired_timestamps == 0


def test_every_frame_that_the_decoder_delays_comes_out(tmp_path: Path) -> None:
    pictures = media.pattern(50, 64, 48)
    options = {"bf": "8", "b_strategy": "0", "refs": "8", "preset": "veryfast"}
    path = media.write_clip(tmp_path / "deep.mkv", pictures, codec="libx264", options=options)
    with FileSource(path) as source:
        assert [frame.pts for frame in source] == [picture.pts for picture in pictures]


def test_an_elementary_stream_gets_times_from_its_rate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = media.raw_h264(tmp_path / "bare.264", media.pattern(6, 64, 48), **{"x264-params": "bframes=0"})
    with FileSource(path) as source:
        frames = list(source)
    assert [frame.seconds for frame in frames] == [Fraction(index, 25) for index in range(6)]
    assert source.repaired_timestamps == 6
    assert caplog.text.count("timestamps were missing") == 1


def assigned(stamps: Timestamps, entries: list[tuple[int | None, int | None, int]]) -> list[int]:
    return [stamps.assign(pts, dts, duration) for pts, dts, duration in entries]


def test_times_that_do_not_rise_move_up_by_a_tick() -> None:
    stamps = Timestamps(time_base=TICK_90K)
    assert assigned(stamps, [(5, None, 0), (5, None, 0), (4, None, 0), (9, None, 0)]) == [5, 6, 7, 9]
    assert stamps.repaired == 2


def test_a_missing_time_follows_from_the_decoding_time_or_the_frame_before() -> None:
    stamps = Timestamps(time_base=TICK_90K, frame_seconds=Fraction(1, 30))
    assert assigned(stamps, [(-100, -100, 0), (None, 50, 40), (None, None, 0), (None, None, 0)]) == [-100, 50, 90, 3090]


def test_decoding_times_win_over_display_times_that_run_back_and_forth() -> None:
    stamps = Timestamps(time_base=Fraction(1, 30))
    guessed = assigned(stamps, [(1, 1, 1), (2, 2, 1), (4, 3, 1), (3, 4, 1), (5, 5, 1), (7, 6, 1), (6, 7, 1), (8, 8, 1)])
    assert guessed == [1, 2, 4, 5, 6, 7, 8, 9]


def test_other_streams_come_in_file_order_and_untouched(clip: Path) -> None:
    with FileSource(clip) as source, av.open(str(clip)) as container:
        items = list(source.items())
        ours = [bytes(item.payload) for item in items if isinstance(item, Packet)]
        theirs = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
        (sound,) = source.info.streams
    assert ours == theirs
    assert (sound.index, sound.kind, sound.codec) == (1, "audio", "pcm_s16le")
    first_frame = next(index for index, item in enumerate(items) if isinstance(item, Frame))
    last_packet = max(index for index, item in enumerate(items) if isinstance(item, Packet))
    assert first_frame < last_packet, "sound and pictures interleave"


def test_attachments_and_cover_art_are_listed_and_never_taken_for_the_video(tmp_path: Path) -> None:
    picture = media.pattern(1, 320, 240, "yuvj420p")[0]
    picture.color_range = 2
    cover = media.write_clip(tmp_path / "cover.jpg", [picture], codec="mjpeg", container_format="mjpeg", color_range=2)
    path = media.write_clip(
        tmp_path / "attached.mkv",
        media.pattern(3, 64, 48),
        attachments=[
            ("cover.jpg", "image/jpeg", cover.read_bytes()),
            ("font.ttf", "application/x-truetype-font", b"not really a font"),
        ],
    )
    with FileSource(path) as source:
        assert (source.info.width, source.info.height) == (64, 48)
        assert [stream.kind for stream in source.info.streams] == ["video", "attachment"]
        assert len(list(source)) == 3


def test_tags_of_the_picture_reach_the_info(tmp_path: Path) -> None:
    path = media.write_clip(
        tmp_path / "tags.mp4",
        media.pattern(3, 64, 48),
        codec="libx264",
        color_range=2,
        colorspace=1,
        color_primaries=9,
        color_trc=16,
        sample_aspect_ratio=Fraction(4, 3),
        rate=Fraction(30000, 1001),
    )
    with FileSource(path) as source:
        info = source.info
    form = info.format
    assert (form.range, form.matrix, form.primaries, form.transfer) == ("full", 1, 9, 16)
    assert info.sample_aspect_ratio == Fraction(4, 3)
    assert info.codec == "h264"


def test_frames_are_views_of_the_decoders_memory(clip: Path) -> None:
    with FileSource(clip) as source:
        frame = next(iter(source))
    for plane, theirs in zip(frame.planes, frame.owner.planes, strict=True):
        assert np.shares_memory(plane, np.frombuffer(memoryview(theirs), np.uint8))


@pytest.mark.parametrize(
    "option",
    [
        {"start_seconds": -1},
        {"start_seconds": float("nan")},
        {"duration_seconds": 0},
        {"max_frames": 0},
        {"deinterlace": "maybe"},
    ],
)
def test_options_out_of_range_are_refused(clip: Path, option: dict[str, object]) -> None:
    with pytest.raises(SourceError, match=r"got .*allowed"):
        FileSource(clip, **option)


def test_a_size_that_changes_on_the_way_is_scaled_to_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    parts = [media.raw_h264(tmp_path / f"{width}.264", media.pattern(4, width, 48)) for width in (64, 96, 64, 128)]
    path = tmp_path / "joined.264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with FileSource(path) as source:
        frames = list(source)
    assert len(frames) == 16
    assert {frame.geometry for frame in frames} == {(64, 48, source.info.format)}
    assert caplog.text.count("scaled to the first") == 1


@pytest.mark.parametrize("mode", ["auto", "on", "off"])
def test_interlaced_pictures_become_whole_ones_at_the_same_times(tmp_path: Path, mode: str) -> None:
    woven = media.pattern(8, 96, 64)
    for picture in woven:
        # A fast sideways motion between the fields combs every other line.
        luma = np.frombuffer(memoryview(picture.planes[0]), np.uint8).reshape(64, -1)
        luma[1::2] = np.roll(luma[1::2], 9, axis=1)
    options = {"preset": "ultrafast", "x264-params": "tff=1:qp=4"}
    path = media.write_clip(tmp_path / "woven.mkv", woven, codec="libx264", options=options)
    with FileSource(path, deinterlace=mode) as source:
        frames = list(source)
    assert [frame.pts for frame in frames] == [picture.pts for picture in woven]
    combing = np.abs(np.diff(frames[4].planes[0].astype(int), axis=0)).mean()
    assert combing > 40 if mode == "off" else combing < 25


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_deinterlacer_gives_back_the_last_picture(tmp_path: Path, count: int) -> None:
    options = {"preset": "ultrafast", "x264-params": "tff=1"}
    path = media.write_clip(tmp_path / "few.mkv", media.pattern(count, 64, 64), codec="libx264", options=options)
    with FileSource(path) as source:
        assert len(list(source)) == count


def test_a_depth_that_the_deinterlacer_does_not_know_stays(tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "gray.mkv", media.pattern(4, 64, 48, "gray10le"))
    with FileSource(path, deinterlace="on") as source:
        frames = list(source)
    assert [frame.format.name for frame in frames] == ["gray10le"] * 4
    assert max(int(frame.planes[0].max()) for frame in frames) <= 1023


def resident_mebibytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to measure")
def test_memory_stays_flat_through_every_stage(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x264-params": "tff=1"}
    pictures = media.pattern(40, 640, 360)
    path = media.write_clip(tmp_path / "woven.mp4", pictures, codec="libx264", options=options, matrix=TURNED)

    def run() -> None:
        with FileSource(path, rotate=True) as source:
            assert sum(1 for _ in source) == 40

    run()
    before = resident_mebibytes()
    for _ in range(4):
        run()
    # 160 pictures of 0.33 MiB each went through; keeping even every other one would show.
    assert resident_mebibytes() - before < 20


def test_whole_pictures_pass_the_deinterlacer_untouched(tmp_path: Path) -> None:
    woven = media.raw_h264(tmp_path / "woven.264", media.pattern(3, 64, 64), **{"x264-params": "tff=1"})
    whole = media.raw_h264(tmp_path / "whole.264", media.pattern(5, 64, 64))
    path = tmp_path / "mixed.264"
    path.write_bytes(woven.read_bytes() + whole.read_bytes())
    with FileSource(path, deinterlace="auto") as source, FileSource(path, deinterlace="off") as reference:
        pairs = list(zip(source, reference, strict=True))
    assert len(pairs) == 8
    same = [all(map(np.array_equal, frame.planes, plain.planes)) for frame, plain in pairs]
    assert same == [False] * 3 + [True] * 5


def test_damage_in_the_middle_costs_only_the_damaged_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"preset": "ultrafast", "x264-params": "keyint=1"}
    path = media.write_clip(tmp_path / "hurt.mp4", media.pattern(30, 64, 48), codec="libx264", options=options)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for hurt in packets[12:14]:
        data[hurt.pos : hurt.pos + hurt.size] = bytes(hurt.size)
    path.write_bytes(data)
    with FileSource(path) as source:
        frames = list(source)
    assert len(frames) == 28
    assert source.skipped_packets == 2
    assert "2 damaged packets" in caplog.text


@pytest.mark.parametrize("hurt_packet", [-1, -2])
def test_damage_at_the_end_does_not_take_the_pictures_before_with_it(tmp_path: Path, hurt_packet: int) -> None:
    options = {"preset": "ultrafast", "x264-params": "keyint=6"}
    path = media.write_clip(tmp_path / "hurt.mp4", media.pattern(30, 64, 48), codec="libx264", options=options)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    hurt = packets[hurt_packet]
    data[hurt.pos : hurt.pos + hurt.size] = bytes(hurt.size)
    path.write_bytes(data)
    with FileSource(path) as source:
        times = [frame.pts for frame in source]
    assert len(times) == 29
    assert all(earlier < later for earlier, later in itertools.pairwise(times))


def test_damage_at_the_end_of_a_pipe_does_not_open_it_again(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x264-params": "keyint=6"}
    path = media.write_clip(tmp_path / "hurt.mkv", media.pattern(30, 64, 48), codec="libx264", options=options)
    data = path.read_bytes()
    with av.open(str(path)) as container:
        last = [bytes(packet) for packet in container.demux(video=0) if packet.size][-1]
    with media.piped(data.replace(last, bytes(len(last)))) as pipe, FileSource(pipe) as source:
        assert 0 < len(list(source)) < 30


def test_a_file_cut_short_gives_what_it_holds(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    data = clip.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with FileSource(path) as source:
        assert 0 < len(list(source)) < 12


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no such file"):
        FileSource(tmp_path / "none.mp4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"Once upon a time there was a film.\n" * 9, "not a media file"),
        (bytes(range(7, 251)) * 20, "not a media file"),
    ],
    ids=["empty", "text", "noise"],
)
def test_what_is_no_video_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        FileSource(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is a folder"):
        FileSource(tmp_path)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        chunk.sample_rate = 8000
        output.mux(stream.encode(chunk))
    with pytest.raises(NoVideoError, match="holds audio streams and no video"):
        FileSource(path)


def test_a_file_without_permission_is_refused(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so the refusal is played.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(SourceError, match="permission denied"):
        FileSource(clip)


def test_a_disk_that_fails_is_reported_after_the_pictures_before(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FileSource(clip)
    container = source._reader.container

    class Failing:
        def __getattr__(self, name: str) -> object:
            return getattr(container, name)

        def demux(self) -> Iterator[av.Packet]:
            yield from itertools.islice(container.demux(), 8)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(source._reader, "container", Failing())
    monkeypatch.setattr(source._reader, "_events", source._reader._run())
    frames = []
    with pytest.raises(SourceError, match="cannot be read on"):
        frames.extend(source)
    assert frames
