"""Whole jobs: a real clip in, a larger one out, and what becomes of everything else in the file."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import pytest

import vsr
from streams.errors import Cancelled, SinkError, SinkExistsError, SourceError
from streams.pipeline import Pipeline
from streams.sinks import EncoderOptions
from streams.sources import FileSource
from vsr.app import jobs
from vsr.app.jobs import Progress, upscale_video
from vsr.app.sizes import plan_size
from vsr.errors import ConfigError, UnknownModelError

FAST: dict[str, Any] = {"model": "bicubic", "device": "torch", "preset": "ultrafast"}


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def uneven_clip(path: Path) -> Path:
    """Pictures at uneven times, the first of them late."""
    pictures = media.pattern(9, 48, 32)
    for picture, pts in zip(pictures, (1500, 1501, 1540, 1600, 1601, 1607, 2500, 2510, 4000), strict=True):
        picture.pts = pts
    return media.write_clip(path, pictures, sound_seconds=0.3)


def test_a_clip_comes_out_larger_and_complete(clip, tmp_path):
    target = tmp_path / "out.mkv"
    seen: list[Progress] = []
    report = upscale_video(clip, target, scale=3, on_progress=seen.append, **FAST)
    assert report.input_size == (64, 48)
    assert report.output_size == (192, 144)
    assert (report.model, report.scale, report.device, report.format) == ("bicubic", 3, "cpu", "yuv420p")
    assert report.frames_in == report.frames_out == 12
    assert times(target) == times(clip)
    assert sound(target) == sound(clip)
    assert [progress.frames for progress in seen] == list(range(1, 13))
    assert report.output_bytes == target.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_uneven_times_are_exact(tmp_path):
    source = uneven_clip(tmp_path / "uneven.mkv")
    for name in ("out.mkv", "out.mp4"):
        upscale_video(source, tmp_path / name, **FAST)
        assert times(tmp_path / name) == times(source)


@pytest.mark.parametrize("name", ["gray", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p16le", "gray10le"])
def test_every_format_stays(name, tmp_path):
    source = media.write_clip(tmp_path / "in.mkv", media.pattern(2, 48, 32, name))
    report = upscale_video(source, tmp_path / "out.mkv", model="bicubic", device="torch", codec="ffv1")
    assert report.format == name
    with FileSource(tmp_path / "out.mkv") as made:
        assert made.info.format.name == name


@pytest.mark.parametrize("to", [None, "100x70"])
def test_colour_tags_and_aspect_stay(to, tmp_path):
    facts = {"color_range": 2, "colorspace": 1, "color_primaries": 1, "color_trc": 13}
    source = media.write_clip(
        tmp_path / "in.mkv", media.pattern(2, 48, 32), sample_aspect_ratio=Fraction(4, 3), **facts
    )
    upscale_video(source, tmp_path / "out.mp4", to=to, **FAST)
    with FileSource(source) as before, FileSource(tmp_path / "out.mp4") as after:
        assert after.info.format == before.info.format
        shapes = [info.sample_aspect_ratio * info.width / info.height for info in (before.info, after.info)]
        assert shapes[0] == shapes[1]


def test_to_a_size_is_exact(clip, tmp_path):
    report = upscale_video(clip, tmp_path / "out.mp4", to="150x100", **FAST)
    assert (report.scale, report.output_size) == (3, (150, 100))
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (150, 100)
        assert sum(1 for _ in made.decode(video=0)) == 12


def test_a_sample_tells_of_the_whole(clip, tmp_path):
    report = upscale_video(clip, tmp_path / "out.mkv", max_frames=3, **FAST)
    assert report.frames_out == 3
    assert report.whole_frames == 12
    assert report.whole_bytes == report.output_bytes * 4
    assert report.whole_seconds is not None
    assert report.whole_seconds > report.wall_seconds


def test_a_part(clip, tmp_path):
    report = upscale_video(clip, tmp_path / "out.mkv", start_seconds=0.16, duration_seconds=0.2, **FAST)
    assert report.frames_out == 5
    assert times(tmp_path / "out.mkv") == [Fraction(40 * index, 1000) for index in range(5)]


@pytest.mark.parametrize(("asked", "taken"), [(0, 0), (2, 2), (3, 3), (10_000, 3)])
def test_no_more_threads_than_cores(asked, taken, clip, tmp_path, monkeypatch, caplog):
    told: dict[str, Any] = {}

    def options(**settings):
        told["encoder"] = settings["threads"]
        return EncoderOptions(**settings)

    def pipeline(*parts, in_flight, **settings):
        told["in_flight"] = in_flight
        return Pipeline(*parts, in_flight=in_flight, **settings)

    for module in ("base", "native", "openvino"):
        monkeypatch.setattr(f"vsr.backends.{module}.usable_cores", lambda: 3)
    monkeypatch.setattr(jobs, "EncoderOptions", options)
    monkeypatch.setattr(jobs, "Pipeline", pipeline)
    upscale_video(clip, tmp_path / "out.mkv", model="bicubic", scale=2, threads=asked, max_frames=2)
    assert told["encoder"] == (taken or None)
    assert told["in_flight"] <= 1 + (taken or 3)
    warnings = [record.message for record in caplog.records if "threads" in record.message]
    assert warnings == ["got 10000 threads, this process may use 3 cores; so many are taken"] * (asked > 3)


def test_the_report_is_json(clip, tmp_path):
    report = upscale_video(clip, tmp_path / "out.mkv", **FAST)
    plain = report.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["output_size"] == [128, 96]
    assert plain["fps"] == report.fps > 0
    assert set(plain["stage_ms"]) == {"decode", "enhance", "encode"}


def test_what_the_container_cannot_hold_is_reported_and_logged(clip, tmp_path, caplog):
    report = upscale_video(clip, tmp_path / "out.webm", model="bicubic", device="torch")
    assert len(report.dropped) == 1
    assert "pcm_s16le" in report.dropped[0]
    assert "pcm_s16le" in caplog.text


def test_an_existing_output_is_safe(clip, tmp_path):
    target = tmp_path / "out.mkv"
    target.write_text("mine")
    with pytest.raises(SinkExistsError, match="--overwrite"):
        upscale_video(clip, target, **FAST)
    assert target.read_text() == "mine"
    upscale_video(clip, target, overwrite=True, **FAST)
    assert len(times(target)) == 12


@pytest.mark.parametrize("link", [False, True])
def test_the_input_is_never_the_output(clip, tmp_path, link):
    source = tmp_path / "in.mkv"
    source.write_bytes(clip.read_bytes())
    target = source
    if link:
        target = tmp_path / "link.mkv"
        target.symlink_to(source)
    with pytest.raises(SinkError, match="is the input itself"):
        upscale_video(source, target, overwrite=True, **FAST)
    assert source.read_bytes() == clip.read_bytes()


def test_a_partial_file_can_be_an_input_and_is_not_overwritten(clip, tmp_path):
    source = tmp_path / "film.partial.mkv"
    source.write_bytes(clip.read_bytes())
    with pytest.raises(SinkError, match="rename"):
        upscale_video(source, tmp_path / "film.mkv", **FAST)
    assert source.read_bytes() == clip.read_bytes()
    assert upscale_video(source, tmp_path / "other.mkv", **FAST).frames_out == 12


def test_stopping_leaves_a_playable_partial_file(tmp_path):
    source = media.write_clip(tmp_path / "in.mkv", media.pattern(60, 64, 48))
    stop = threading.Event()
    with pytest.raises(Cancelled, match=r"plays: .*out\.partial\.mp4"):
        upscale_video(source, tmp_path / "out.mp4", stop=stop, on_progress=lambda _: stop.set(), **FAST)
    assert not (tmp_path / "out.mp4").exists()
    assert 1 <= len(times(tmp_path / "out.partial.mp4")) < 60


def test_stopping_before_the_first_frame_leaves_nothing(clip, tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        upscale_video(clip, tmp_path / "out.mkv", stop=stop, **FAST)
    assert not (tmp_path / "out.mkv").exists()


def test_an_error_of_the_caller_ends_the_job(clip, tmp_path):
    def fail(_: Progress) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        upscale_video(clip, tmp_path / "out.mkv", on_progress=fail, **FAST)
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"scale": 7}, ConfigError, "got scale 7, allowed are 2, 3, 4"),
        ({"scale": 2, "to": "720p"}, ConfigError, "leave out"),
        ({"to": "10x10"}, ConfigError, "smaller than the input"),
        ({"to": "1080p"}, ConfigError, "more than 4 times"),
        ({"to": "huge"}, ConfigError, "allowed are 720p"),
        ({"model": "magic"}, UnknownModelError, "magic"),
        ({"start_seconds": 60}, SourceError, "start earlier"),
        ({"codec": "h999"}, SinkError, "h999"),
    ],
)
def test_mistakes_leave_nothing_behind(clip, tmp_path, options, error, text):
    with pytest.raises(error, match=text):
        upscale_video(clip, tmp_path / "out.mkv", **(FAST | options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "to", "expected", "scale"),
    [
        ((960, 540), "1080p", (1920, 1080), 2),
        ((640, 480), "720p", (960, 720), 2),
        ((480, 854), "1080p", (1080, 1922), 3),
        ((854, 480), "1440p", (2562, 1440), 3),
        ((640, 360), "1000x700", (1000, 700), 2),
        ((640, 360), "641x1440", (641, 1440), 4),
    ],
)
def test_sizes(size, to, expected, scale):
    plan = plan_size(*size, to=to)
    assert ((plan.width, plan.height), plan.scale) == (expected, scale)


def test_sizes_are_those_that_are_seen():
    # A phone held upright: stored lying, shown standing.
    assert plan_size(640, 480, to="1080p", rotation=270).height == 1080
    turned = plan_size(640, 480, to="960x1280", rotation=90)
    assert (turned.width, turned.height) == (1280, 960)
    # Samples half as wide as high: what is stored 720 wide is seen 360 wide, which is the shorter side.
    narrow = plan_size(720, 480, to="1080p", sample_aspect_ratio=Fraction(1, 2))
    assert narrow.width == 1080
    assert narrow.sample_aspect_ratio == Fraction(1, 2)


def test_an_exact_size_keeps_the_shape():
    plan = plan_size(720, 576, to="1280x720", sample_aspect_ratio=Fraction(64, 45))
    assert plan.sample_aspect_ratio * Fraction(1280, 720) == Fraction(64, 45) * Fraction(720, 576)


def test_the_job_is_part_of_the_public_api():
    assert vsr.upscale_video is upscale_video


@pytest.mark.parametrize(("lines", "stated"), [(360, 6), (720, 1)])
def test_a_matrix_that_is_not_stated_is_what_the_input_means(tmp_path, lines, stated):
    source = media.write_clip(tmp_path / "in.mkv", media.pattern(1, 64, lines))
    upscale_video(source, tmp_path / "out.mp4", **FAST)
    with av.open(str(tmp_path / "out.mp4")) as made:
        picture = next(made.decode(video=0))
    assert picture.height == 2 * lines
    assert (picture.colorspace, picture.color_primaries, picture.color_trc) == (stated, 2, 2)


def test_gray_has_no_matrix(tmp_path):
    source = media.write_clip(tmp_path / "in.mkv", media.pattern(1, 64, 48, "gray"))
    upscale_video(source, tmp_path / "out.mkv", **FAST)
    with av.open(str(tmp_path / "out.mkv")) as made:
        assert next(made.decode(video=0)).colorspace == 2


def test_a_mistake_keeps_an_earlier_partial_file(clip, tmp_path):
    partial = tmp_path / "keep.partial.mkv"
    partial.write_bytes(clip.read_bytes())
    for mistake in ({"model": "typo"}, {"preset": "typo"}, {"codec": "typo"}):
        with pytest.raises((UnknownModelError, SinkError)):
            upscale_video(clip, tmp_path / "keep.mkv", **(FAST | mistake))
    assert partial.read_bytes() == clip.read_bytes()
