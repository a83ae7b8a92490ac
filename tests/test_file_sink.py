"""Files as they are written: read back with PyAV, and compared with what went in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from streams.errors import SinkError, SinkExistsError, UnsupportedStreamError
from streams.frame import PixelFormat
from streams.hdr import ContentLight, MasteringDisplay
from streams.sinks import EncoderOptions, FileSink, available_encoders, same_file
from streams.sinks.encoders import encoder_named, open_encoder
from streams.sinks.hdr import Hdr
from streams.sinks.pictures import PictureMaker, choose_pix_fmt
from tests import written

UNEVEN = (0, 1, 2, 5, 6, 9, 10, 11, 30, 31)
BASES = ("1/90000", "1001/30000", "1/1000", "1/600", "1/25", "781/18749", "1/1000000", "1/3", "100/2997")
COLOURS = {"matrix": 9, "primaries": 9, "transfer": 16}
CODECS = [("h264", "mp4"), ("h265", "mp4"), ("av1", "mp4"), ("vp9", "webm"), ("ffv1", "mkv"), ("prores", "mov")]
HDR = {
    "mastering_display": MasteringDisplay(
        red=(Fraction(708, 1000), Fraction(292, 1000)),
        green=(Fraction(17, 100), Fraction(797, 1000)),
        blue=(Fraction(131, 1000), Fraction(46, 1000)),
        white=(Fraction(3127, 10000), Fraction(329, 1000)),
        min_luminance=Fraction(1, 200),
        max_luminance=Fraction(1000),
    ),
    "content_light": ContentLight(max_content=1000, max_average=400),
}

# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_every_time_base_is_exact(tmp_path: Path, base: str, start: int, ending: str) -> None:
    path, tick = tmp_path / f"a.{ending}", Fraction(base)
    ticks = [start + pts for pts in UNEVEN]
    written.write(path, written.frames(ticks, time_base=tick), codec="h264", facts={"rate": None})
    assert written.read(path).times == [pts * tick for pts in ticks]


def test_b_frames_are_on_and_change_no_time(tmp_path: Path) -> None:
    options = EncoderOptions(codec="h264", preset="veryfast")
    written.write(tmp_path / "a.mp4", written.frames(40), options=options)
    got = written.read(tmp_path / "a.mp4")
    assert got.times == [Fraction(n, 25) for n in range(40)]
    assert any(picture.pict_type == 3 for picture in got.pictures)


@pytest.mark.parametrize("base", BASES)
def test_matroska_rounds_to_milliseconds(tmp_path: Path, base: str) -> None:
    tick = Fraction(base)
    written.write(tmp_path / "a.mkv", written.frames(UNEVEN, time_base=tick), codec="h264")
    got = written.read(tmp_path / "a.mkv").times
    assert len(got) == len(UNEVEN)
    assert all(abs(a - b * tick) <= Fraction(1, 2000) for a, b in zip(got, UNEVEN, strict=True))


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_start_before_zero_moves_everything_and_loses_nothing(tmp_path: Path, ending: str) -> None:
    chapters = ({"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}},)
    frames = written.frames(range(-3, 7))
    written.write(tmp_path / f"a.{ending}", frames, codec="h264", facts={"chapters": chapters})
    got = written.read(tmp_path / f"a.{ending}")
    assert got.times == [Fraction(n, 25) for n in range(10)]
    if ending == "mkv":  # MP4's readers let the first chapter begin with the file
        assert got.chapters[0]["start"] * got.chapters[0]["time_base"] == Fraction(3, 25)


def test_the_last_frame_keeps_its_duration(tmp_path: Path) -> None:
    frames = [*written.frames(9), *written.frames([9], duration=50)]
    written.write(tmp_path / "a.mp4", frames, codec="ffv1")
    assert written.read(tmp_path / "a.mp4").stream["duration"] == Fraction(9 + 50, 25)


@pytest.mark.parametrize("ending", ["mp4", "mov"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize(
    ("ticks", "duration"),
    [((*range(12), 90), 1), (range(12), 100), ((*range(12), 90, 91, 92), 1), ((0, 80, 81, *range(90, 99)), 5)],
)
def test_a_gap_near_the_end_counts_for_the_length(
    tmp_path: Path, ticks: Sequence[int], duration: int, codec: str, ending: str
) -> None:
    *frames, last = written.frames(ticks)
    options = EncoderOptions(codec=codec, preset="veryfast")
    written.write(tmp_path / f"a.{ending}", [*frames, replace(last, duration=duration)], options=options)
    got = written.read(tmp_path / f"a.{ending}")
    assert got.times == [Fraction(tick, 25) for tick in ticks]
    assert got.stream["duration"] == Fraction(ticks[-1] + duration, 25)


def test_the_nominal_rate_is_stated(tmp_path: Path) -> None:
    tick = Fraction(1001, 30000)
    written.write(tmp_path / "a.mkv", written.frames(6, time_base=tick), codec="h264", facts={"rate": 1 / tick})
    assert written.read(tmp_path / "a.mkv").stream["rate"] == Fraction(30000, 1001)


def test_frames_out_of_order_or_off_the_clock_are_refused(tmp_path: Path) -> None:
    first, second = written.frames(2)
    for bad, words in ((first, "order"), (next(written.frames([7], time_base=Fraction(1, 99))), "time base")):
        sink = written.open_file(tmp_path / "a.mp4", written.info(first), codec="h264")
        sink.write(second)
        with pytest.raises(SinkError, match=words):
            sink.write(bad)
        sink.abort()


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    sink = written.open_file(tmp_path / "a.mp4", written.info(), codec="h264")
    with pytest.raises(SinkError, match="opened for"):
        sink.write(next(written.frames(1, size=(64, 64))))
    sink.abort()


# --- pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "ending"), CODECS)
def test_pictures_and_colours_come_back(tmp_path: Path, codec: str, ending: str) -> None:
    frames = list(written.frames(6, form=PixelFormat(**COLOURS)))
    written.write(tmp_path / f"a.{ending}", frames, codec=codec)
    got = written.read(tmp_path / f"a.{ending}")
    assert len(got.pictures) == 6
    assert max(map(written.error_of, got.pictures, frames)) < 3
    picture = got.pictures[0]
    assert (picture.colorspace, picture.color_primaries, picture.color_trc, picture.color_range) == (9, 9, 16, 1)


@pytest.mark.parametrize(("codec", "ending"), [pair for pair in CODECS if pair[0] != "vp9"])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_ten_bits_stay_ten_bits(tmp_path: Path, codec: str, ending: str, subsampling: str) -> None:
    frames = list(written.frames(3, form=PixelFormat(subsampling=subsampling, bit_depth=10)))
    written.write(tmp_path / f"a.{ending}", frames, codec=codec)
    picture = written.read(tmp_path / f"a.{ending}").pictures[0]
    assert picture.format.components[0].bits >= 10
    assert written.error_of(picture, frames[0]) < 2


@pytest.mark.parametrize(
    "form", [PixelFormat(bit_depth=16, subsampling="444"), PixelFormat(subsampling="gray", bit_depth=12)]
)
def test_ffv1_changes_no_sample(tmp_path: Path, form: PixelFormat) -> None:
    frames = list(written.frames(3, form=form, size=(97, 67)))
    written.write(tmp_path / "a.mkv", frames, codec="ffv1")
    got = written.read(tmp_path / "a.mkv")
    assert got.pictures[0].format.name == form.name
    assert max(map(written.error_of, got.pictures, frames)) == 0


def test_full_range_stays_full_and_prores_becomes_limited(tmp_path: Path) -> None:
    form = PixelFormat(range="full", subsampling="422")
    frames = list(written.frames(3, form=form))
    written.write(tmp_path / "a.mp4", frames, codec="h264")
    picture = written.read(tmp_path / "a.mp4").pictures[0]
    assert picture.color_range == 2
    assert written.error_of(picture, frames[0]) < 1
    written.write(tmp_path / "a.mov", frames, codec="prores")
    picture = written.read(tmp_path / "a.mov").pictures[0]
    limited = [plane * (219 / 255) + 16 for plane in frames[0].planes]
    middle = memoryview(picture.planes[0]).cast("H")[0] / 4
    assert middle == pytest.approx(float(limited[0][0, 0]), abs=2)


@pytest.mark.parametrize(("codec", "ending"), CODECS)
@pytest.mark.parametrize("subsampling", ["420", "422", "gray"])
def test_odd_sizes_keep_their_size(tmp_path: Path, codec: str, ending: str, subsampling: str) -> None:
    frames = list(written.frames(3, size=(97, 67), form=PixelFormat(subsampling=subsampling)))
    written.write(tmp_path / f"a.{ending}", frames, codec=codec)
    picture = written.read(tmp_path / f"a.{ending}").pictures[0]
    assert (picture.width, picture.height) == (97, 67)
    assert written.error_of(picture, frames[0]) < 2


@pytest.mark.parametrize(("codec", "pix_fmt"), [("h264", "yuv420p"), ("h264", "nv12"), ("h265", "yuv422p")])
def test_an_odd_size_in_a_format_without_is_named(codec: str, pix_fmt: str) -> None:
    asked: dict[str, Any] = {"width": 97, "height": 67, "asked": pix_fmt}
    with pytest.raises(UnsupportedStreamError, match=f"no odd size such as 97×67 in --pix-fmt {pix_fmt}"):
        choose_pix_fmt(encoder_named(codec), PixelFormat(), **asked)
    assert choose_pix_fmt(encoder_named("ffv1"), PixelFormat(), width=97, height=67, asked="yuv420p") == "yuv420p"


@pytest.mark.parametrize(
    ("codec", "form", "name"),
    [
        ("h264", PixelFormat(subsampling="444", bit_depth=12), "yuv444p10le"),
        ("h265", PixelFormat(subsampling="444", bit_depth=10), "yuv444p10le"),
        ("h264", PixelFormat(subsampling="gray"), "gray"),
        ("av1", PixelFormat(subsampling="gray"), "yuv420p"),
        ("av1", PixelFormat(subsampling="444", bit_depth=9), "yuv420p10le"),
        ("prores", PixelFormat(), "yuv422p10le"),
        ("prores", PixelFormat(subsampling="444", bit_depth=12), "yuv444p10le"),
    ],
)
def test_the_nearest_format_is_chosen(codec: str, form: PixelFormat, name: str) -> None:
    assert choose_pix_fmt(encoder_named(codec), form, width=64, height=64, asked=None) == name


def test_what_a_format_loses_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    choose_pix_fmt(encoder_named("h264"), PixelFormat(bit_depth=12), width=64, height=64, asked=None)
    assert "yuv420p10le, which is less" in caplog.text


def test_more_than_eight_bits_never_become_eight_unasked(tmp_path: Path) -> None:
    form = PixelFormat(bit_depth=10)
    if not available_encoders() or "yuv420p10le" in {
        f.name for f in av.codec.Codec("libvpx-vp9", "w").video_formats or ()
    }:
        pytest.skip("this libvpx encodes 10 bits")
    with pytest.raises(UnsupportedStreamError, match="choose another --codec"):
        choose_pix_fmt(encoder_named("vp9"), form, width=64, height=64, asked=None)
    assert choose_pix_fmt(encoder_named("vp9"), form, width=64, height=64, asked="yuv420p") == "yuv420p"
    written.write(tmp_path / "a.webm", written.frames(2, form=form))
    assert written.read(tmp_path / "a.webm").pictures[0].format.name == "yuv420p10le"


# --- what is said about the pictures ------------------------------------------------------------------------------


@pytest.mark.parametrize(("codec", "ending"), [*CODECS, ("vp9", "mkv"), ("av1", "mkv"), ("h264", "mkv")])
def test_sample_aspect_ratio_and_rotation(tmp_path: Path, codec: str, ending: str) -> None:
    facts = {"sample_aspect_ratio": Fraction(4, 3), "rotation": 90, "video_metadata": {"title": "Angle"}}
    written.write(tmp_path / f"a.{ending}", written.frames(2), codec=codec, facts=facts)
    got = written.read(tmp_path / f"a.{ending}")
    assert got.stream["sar"] == Fraction(4, 3)
    assert "Angle" in (got.stream["metadata"].get("title"), got.stream["metadata"].get("name"))
    assert got.pictures[0].rotation == 90


def test_a_mirrored_display_matrix_survives(tmp_path: Path) -> None:
    unit = 1 << 16
    matrix = (0, unit, 0, unit, 0, 0, 0, 0, 1 << 30)
    written.write(tmp_path / "a.mp4", written.frames(2), codec="h264", facts={"display_matrix": matrix})
    data = bytes(written.read(tmp_path / "a.mp4").pictures[0].side_data["DISPLAYMATRIX"])
    assert memoryview(data).cast("i").tolist() == list(matrix)


@pytest.mark.parametrize(
    ("codec", "ending"),
    [
        ("h265", "mp4"),
        ("h265", "mkv"),
        ("h264", "mp4"),
        ("av1", "mp4"),
        ("av1", "webm"),
        ("prores", "mov"),
        ("ffv1", "mkv"),
    ],
)
def test_hdr_side_data_is_in_the_file(tmp_path: Path, codec: str, ending: str) -> None:
    form = PixelFormat(bit_depth=10, **COLOURS)
    written.write(tmp_path / f"a.{ending}", written.frames(3, form=form), codec=codec, facts={"hdr": HDR})
    picture = written.read(tmp_path / f"a.{ending}").pictures[0]
    side_data = {data.type.name: bytes(data) for data in picture.side_data}
    numbers = memoryview(side_data["MASTERING_DISPLAY_METADATA"]).cast("i").tolist()
    ratios = [Fraction(a, b) for a, b in zip(numbers[0:20:2], numbers[1:20:2], strict=True)]
    assert [round(float(r), 3) for r in ratios] == [
        0.708,
        0.292,
        0.17,
        0.797,
        0.131,
        0.046,
        0.313,
        0.329,
        0.005,
        1000.0,
    ]
    assert memoryview(side_data["CONTENT_LIGHT_LEVEL"]).cast("I").tolist() == [1000, 400]


@pytest.mark.parametrize("codec", ["h264", "h265", "av1"])
def test_hdr_is_in_the_coded_pictures_too(codec: str) -> None:
    form = PixelFormat(bit_depth=10, **COLOURS)
    encoder = _open(codec, form, hdr=Hdr.of(HDR))
    decoder = av.CodecContext.create("libdav1d" if codec == "av1" else encoder.codec.canonical_name, "r")
    decoder.extradata = encoder.extradata
    maker = PictureMaker(form, width=96, height=64, pix_fmt=form.name)
    pictures = [maker.make(frame) for frame in written.frames(3, form=form)]
    packets = [packet for picture in [*pictures, None] for packet in encoder.encode(picture)]
    decoded = [picture for packet in [*packets, None] for picture in decoder.decode(packet)]
    names = {data.type.name for data in decoded[0].side_data}
    assert {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"} <= names


@pytest.mark.parametrize(("location", "number"), [("left", 0), ("center", 1), ("topleft", 2)])
@pytest.mark.parametrize(("codec", "params"), [("h264", "x264-params"), ("h265", "x265-params")])
def test_the_chroma_location_is_in_the_coded_stream(location: str, number: int, codec: str, params: str) -> None:
    plain = EncoderOptions(extra={params: f"chromaloc={number}", "chroma_sample_location": "unspecified"})
    stated = _open(codec, PixelFormat(chroma_location=location)).extradata
    assert stated == _open(codec, PixelFormat(), options=plain).extradata
    others = {"left", "center", "topleft"} - {location}
    assert all(stated != _open(codec, PixelFormat(chroma_location=other)).extradata for other in others)


@pytest.mark.parametrize(("location", "across", "down"), [("left", 1, 2), ("center", 2, 2), ("topleft", 1, 1)])
@pytest.mark.parametrize(("codec", "ending"), [("vp9", "webm"), ("ffv1", "mkv"), ("h264", "mkv")])
def test_the_chroma_location_is_in_the_container(
    tmp_path: Path, location: str, across: int, down: int, codec: str, ending: str
) -> None:
    form = PixelFormat(chroma_location=location, **COLOURS)
    written.write(tmp_path / f"a.{ending}", written.frames(2, form=form), codec=codec)
    siting = bytes.fromhex("55b781") + bytes([across]) + bytes.fromhex("55b881") + bytes([down])
    assert siting in (tmp_path / f"a.{ending}").read_bytes()


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm"])
def test_tags_and_chapters_survive(tmp_path: Path, ending: str) -> None:
    tick = Fraction(1, 1000)
    chapters = (
        {"id": 5639955558387732090, "start": 0, "end": 100, "time_base": tick, "metadata": {"title": "Schloß"}},
        {"id": 2, "start": 100, "end": 240, "time_base": tick, "metadata": {"title": "two"}},
    )
    tags = {"title": "A film", "artist": "Me", "my_own": "kept", "major_brand": "wrong", "ENCODER": "old"}
    facts = {
        "metadata": tags,
        "chapters": chapters,
        "video_metadata": {"title": "Angle", "BPS-eng": "1", "language": "deu"},
    }
    written.write(tmp_path / f"a.{ending}", written.frames(6), facts=facts)
    got = written.read(tmp_path / f"a.{ending}")
    lower = {key.lower(): value for key, value in got.metadata.items()}
    assert (lower["title"], lower["artist"], lower["my_own"]) == ("A film", "Me", "kept")
    assert lower.get("major_brand") != "wrong"
    assert lower.get("encoder") != "old"
    times = [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"]) for c in got.chapters]
    assert times == [(0, Fraction(1, 10), "Schloß"), (Fraction(1, 10), Fraction(24, 100), "two")]
    video = {key.lower(): value for key, value in got.stream["metadata"].items()}
    assert video.get("title", video.get("name")) == "Angle"
    assert video["language"] in ("deu", "ger")
    assert "bps-eng" not in video


def test_tags_that_mp4_knows_stay_where_players_look(tmp_path: Path) -> None:
    written.write(tmp_path / "a.mp4", written.frames(2), facts={"metadata": {"title": "T", "genre": "G"}})
    assert b"mdta" not in (tmp_path / "a.mp4").read_bytes()


# --- containers, encoders, options --------------------------------------------------------------------------------


def test_the_encoders_that_work_are_found_out() -> None:
    assert {"h264", "ffv1"} <= set(available_encoders())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.avi", {}, "allowed are .mp4, .mov, .mkv, .webm"),
        ("a", {}, "no ending"),
        ("a.webm", {"codec": "h264"}, "WebM cannot hold h264"),
        ("a.mov", {"codec": "ffv1"}, "MOV cannot hold ffv1"),
        ("a.mp4", {"codec": "prores"}, "MP4 cannot hold prores"),
        ("a.mov", {"codec": "av1"}, "MOV cannot hold av1"),
        ("a.mp4", {"codec": "h266"}, "no encoder is called 'h266'; allowed are h264"),
        ("a.mkv", {"codec": "ffv1", "crf": 3.0}, "no such setting"),
        ("a.mp4", {"preset": "warp"}, "got --preset warp, allowed for h264 are ultrafast, .*, placebo$"),
        ("a.mp4", {"codec": "h265", "preset": "warp"}, "allowed for h265 are"),
        ("a.mp4", {"codec": "av1", "preset": "warp"}, "allowed for av1 are 0, 1"),
        ("a.webm", {"preset": "9"}, "allowed for vp9 are -8"),
        ("a.mov", {"codec": "prores", "preset": "best"}, r"prores_ks refused 96×64 yuv422p10le \(.*profile=best"),
        ("a.mp4", {"crf": 99.0}, r"got --crf 99, allowed for h264 is 0 \(the best\) to 51"),
        ("a.mp4", {"crf": float("nan")}, "got --crf nan"),
        ("a.webm", {"crf": -1.0}, "got --crf -1, allowed for vp9 is 0"),
        ("a.mp4", {"extra": {"crf": "best"}}, r"libx264 refused 96×64 yuv420p \(.*crf=best"),
        ("a.mp4", {"pix_fmt": "rgb24"}, "does not take"),
        ("a.mp4", {"extra": {"no_such": "1"}}, "knows no option no_such"),
    ],
)
def test_what_cannot_be_is_said_before_work_begins(
    tmp_path: Path, name: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(SinkError, match=words):
        written.open_file(tmp_path / name, written.info(), options=EncoderOptions(**options))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_options_reach_the_encoder(tmp_path: Path) -> None:
    sizes = []
    for crf in (5, 45):
        options = EncoderOptions(codec="x264", crf=crf, preset="ultrafast", threads=1, extra={"g": "2"})
        written.write(tmp_path / f"{crf}.mp4", written.frames(8), options=options)
        got = written.read(tmp_path / f"{crf}.mp4")
        assert sum(picture.key_frame for picture in got.pictures) == 4
        sizes.append(sum(len(packet[0]) for packet in got.packets[0]))
    assert sizes[0] > sizes[1]


# --- names and accidents ------------------------------------------------------------------------------------------


def test_an_existing_file_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"mine")
    with pytest.raises(SinkExistsError):
        written.open_file(path, written.info())
    written.write(path, written.frames(2), codec="h264", overwrite=True)
    assert len(written.read(path).pictures) == 2


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with (
        pytest.raises(SinkExistsError, match="appeared"),
        written.open_file(path, written.info(), codec="h264") as sink,
    ):
        sink.write(next(written.frames(1)))
        path.write_bytes(b"mine")
    assert path.read_bytes() == b"mine"
    assert len(written.read(sink.partial).pictures) == 1


def test_a_stale_partial_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.partial.mp4").write_bytes(b"x" * 100_000)
    written.write(tmp_path / "a.mp4", written.frames(2), codec="h264")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm"])
def test_abort_leaves_a_playable_partial_file(tmp_path: Path, ending: str) -> None:
    sink = written.open_file(tmp_path / f"a.{ending}", written.info())
    for frame in written.frames(10):
        sink.write(frame)
    sink.abort()
    assert [path.name for path in tmp_path.iterdir()] == [f"a.partial.{ending}"]
    assert len(written.read(sink.partial).pictures) == 10


def test_abort_before_the_first_frame_leaves_nothing(tmp_path: Path) -> None:
    written.open_file(tmp_path / "a.mp4", written.info()).abort()
    assert not list(tmp_path.iterdir())


def test_a_file_without_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no frame"):
        written.open_file(tmp_path / "a.mp4", written.info()).close()
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_and_a_folder_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no folder"):
        written.open_file(tmp_path / "none" / "a.mp4", written.info())
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(SinkError, match="is a folder"):
        written.open_file(tmp_path / "a.mp4", written.info())


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SinkError, match="choose another folder"):
        written.open_file(tmp_path / "a.mp4", written.info())


def _open(codec: str, form: PixelFormat, *, hdr: Hdr | None = None, options: EncoderOptions | None = None) -> Any:
    return open_encoder(
        encoder_named(codec),
        width=96,
        height=64,
        pix_fmt=form.name,
        format=form,
        time_base=Fraction(1, 25),
        rate=None,
        sample_aspect_ratio=Fraction(1),
        hdr=hdr or Hdr(),
        options=options or EncoderOptions(),
    )


FULL_DISK = """
import resource, sys
from pathlib import Path
from streams.errors import SinkError
from streams.frame import PixelFormat
from tests import written
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
path = Path(sys.argv[1])
form = PixelFormat(subsampling="444")
sink = written.open_file(path, written.info(next(written.frames(1, form=form))), codec="{codec}")
try:
    with sink:
        for frame in written.frames(300, form=form):
            sink.write(frame)
except SinkError as error:
    print("SinkError", error)
"""


@pytest.mark.parametrize(("codec", "ending"), [("ffv1", "mkv"), ("ffv1", "mp4"), ("h264", "mp4")])
def test_a_full_disk_is_one_clear_error(tmp_path: Path, codec: str, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    code = FULL_DISK.format(codec=codec)
    if codec == "h264":
        code = code.replace("60_000", "6_000")
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[1],
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("SinkError cannot write")
    assert "File too large" in run.stdout
    assert not path.exists()
    if ending == "mkv":
        assert written.read(tmp_path / "a.partial.mkv").pictures


def test_a_dying_encoder_is_one_error_and_then_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = written.open_file(tmp_path / "a.mp4", written.info(), codec="h264")
    frames = list(written.frames(6))
    for frame in frames[:3]:
        sink.write(frame)

    def die(_frame: object) -> object:
        raise av.error.ExternalError(1, "the encoder died")

    monkeypatch.setattr(sink._track._maker, "make", die)
    with pytest.raises(SinkError, match="died"):
        sink.write(frames[3])
    with pytest.raises(SinkError, match="finished"):
        sink.write(frames[4])
    with pytest.raises(SinkError, match="earlier error"):
        sink.close()
    assert not sink.path.exists()


def test_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert not same_file(path, path)
    path.write_bytes(b"")
    (tmp_path / "link.mp4").symlink_to(path)
    assert same_file(tmp_path / "link.mp4", f"{tmp_path}/./a.mp4")
    assert not same_file(path, "rtsp://camera/1")


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    assert FileSink.plan(tmp_path / "a.mp4", info=written.info()) == ()
    assert not list(tmp_path.iterdir())


def test_a_name_with_a_colon_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("take:1.mp4", "http:foo.mp4"):
        written.write(Path(name), written.frames(2), codec="h264")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["http:foo.mp4", "take:1.mp4"]


def test_an_earlier_partial_file_stays_until_there_is_a_frame(tmp_path: Path) -> None:
    partial = tmp_path / "a.partial.mp4"
    partial.write_bytes(b"an hour of work")
    written.open_file(tmp_path / "a.mp4", written.info()).abort()
    with pytest.raises(SinkError, match="no frame"):
        written.open_file(tmp_path / "a.mp4", written.info()).close()
    assert partial.read_bytes() == b"an hour of work"


@pytest.mark.parametrize("stale", [False, True])
def test_two_writers_of_one_name(tmp_path: Path, stale: bool) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "a.mp4"
    if stale:
        (tmp_path / "a.partial.mp4").write_bytes(b"old")
    with written.open_file(path, written.info(), codec="h264") as first:
        for frame in written.frames(3):
            first.write(frame)
        with pytest.raises(SinkError, match="another job"):
            written.open_file(path, written.info(), codec="h264")
    with pytest.raises(SinkExistsError):
        written.open_file(path, written.info(), codec="h264")
    assert len(written.read(path).pictures) == 3


def test_the_second_writer_is_refused_with_its_first_frame_at_the_latest(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first, second = (written.open_file(tmp_path / "a.mp4", written.info(), codec="h264") for _ in range(2))
    frames = list(written.frames(4))
    first.write(frames[0])
    with pytest.raises(SinkError, match="another job"):
        second.write(frames[0])
    second.abort()
    for frame in frames[1:]:
        first.write(frame)
    first.close()
    assert len(written.read(tmp_path / "a.mp4").pictures) == 4


def test_a_folder_under_the_partial_name(tmp_path: Path) -> None:
    (tmp_path / "a.partial.mp4").mkdir()
    with pytest.raises(SinkError, match="in the way"):
        written.open_file(tmp_path / "a.mp4", written.info())


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot write"):
        written.open_file(tmp_path / f"{'a' * 250}.mp4", written.info())
