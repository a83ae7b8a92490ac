"""The other streams: what is copied, converted, made anew or left out; packets come out as they went in."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.subtitles.subtitle import SubtitleSet

from streams.frame import Frame, Item, Packet
from streams.sinks import EncoderOptions, FileSink, open_sink
from streams.sources import FileSource
from tests import written

SOUNDS = (
    ("deu", "Ton", Disposition.default),
    ("eng", "Commentary", Disposition.comment),
    ("jpn", None, Disposition(0)),
)
LINES = (
    (Fraction(1, 5), Fraction(2, 5), "<i>Hello</i> there\nWörld"),
    (Fraction(4, 5), Fraction(1, 5), "2 < 3 {really}"),
)
FONT = bytes(range(256)) * 40
TICK = Fraction(1, 1000)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of pictures, three sound tracks, SubRip subtitles, a font, and chapters, in Matroska."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = [output.add_stream("aac", rate=48000, layout="mono") for _ in SOUNDS]
        for stream, (language, title, disposition) in zip(sounds, SOUNDS, strict=True):
            stream.metadata["language"] = language
            stream.metadata.update({"title": title} if title else {})
            stream.disposition = disposition
        text = output.add_mux_stream("subrip")
        text.metadata["language"] = "fra"
        text.disposition = Disposition.forced
        output.add_attachment("font.ttf", "application/x-truetype-font", FONT)
        output.set_chapters([{"id": 1, "start": 0, "end": 500, "time_base": TICK, "metadata": {"title": "One"}}])
        output.start_encoding()
        output.mux([packet for picture in [*_pictures(), None] for packet in video.encode(picture)])
        for stream in sounds:
            output.mux([packet for chunk in [*_silence(), None] for packet in stream.encode(chunk)])
        for start, duration, words in LINES:
            packet = av.Packet(words.encode())
            packet.pts = packet.dts = int(start / TICK)
            packet.duration, packet.time_base, packet.stream = int(duration / TICK), TICK, text
            output.mux(packet)
    return path


def _pictures() -> list[av.VideoFrame]:
    pictures = []
    for index in range(25):
        picture = av.VideoFrame.from_ndarray(np.full((72, 64), 60 + index, np.uint8), format="yuv420p")
        picture.pts, picture.time_base = index, Fraction(1, 25)
        pictures.append(picture)
    return pictures


def _silence() -> list[av.AudioFrame]:
    chunks = []
    for index in range(47):
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        chunk.sample_rate, chunk.pts, chunk.time_base = 48000, index * 1024, Fraction(1, 48000)
        chunks.append(chunk)
    return chunks


def copy(source_path: Path, path: Path, **more: Any) -> FileSink:
    """Everything of one file into another."""
    with FileSource(source_path) as source:
        info = source.info
        options = EncoderOptions(preset=more.pop("preset", None))
        with FileSink(
            path, info=info, width=info.width, height=info.height, format=info.format, options=options, **more
        ) as sink:
            for item in source.items():
                sink.write(item)
    return sink


def _of_type(got: written.Written, kind: str) -> list[dict[str, Any]]:
    return [stream for stream in got.streams if stream["type"] == kind]


def _packets(got: written.Written, kind: str, nth: int = 0) -> list[Any]:
    indices = [index for index, stream in enumerate(got.streams) if stream["type"] == kind]
    return got.packets.get(indices[nth], [])


def test_matroska_keeps_everything(film: Path, tmp_path: Path) -> None:
    sink = copy(film, tmp_path / "a.mkv")
    before, after = written.read(film), written.read(tmp_path / "a.mkv")
    assert not sink.dropped
    assert after.times == before.times
    for kind in ("audio", "subtitle", "attachment"):
        assert [s["codec"] for s in _of_type(after, kind)] == [s["codec"] for s in _of_type(before, kind)]
        assert [s["disposition"] for s in _of_type(after, kind)] == [s["disposition"] for s in _of_type(before, kind)]
        tags = [
            [
                {k: s["metadata"].get(k) for k in ("language", "title", "filename", "mimetype")}
                for s in _of_type(x, kind)
            ]
            for x in (before, after)
        ]
        assert tags[0] == tags[1]
    for nth in range(3):
        assert _packets(after, "audio", nth) == _packets(before, "audio", nth)
    assert _packets(after, "subtitle") == _packets(before, "subtitle")
    assert _of_type(after, "attachment")[0]["data"] == FONT
    assert after.chapters[0]["metadata"]["title"] == "One"


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_mp4_keeps_the_sound_and_converts_the_words(film: Path, tmp_path: Path, ending: str) -> None:
    sink = copy(film, tmp_path / f"a.{ending}")
    before, after = written.read(film), written.read(tmp_path / f"a.{ending}")
    assert [str(plan.stream.kind) for plan in sink.dropped] == ["attachment"]
    assert after.times == before.times
    sounds = _of_type(after, "audio")
    codes = ["ger", "eng", "jpn"] if ending == "mov" else ["deu", "eng", "jpn"]
    assert [sound["metadata"].get("language") for sound in sounds] == codes
    assert [sound["metadata"].get("name") for sound in sounds] == ["Ton", "Commentary", None]
    assert sounds[0]["disposition"] & Disposition.default
    if ending == "mp4":
        assert sounds[1]["disposition"] & Disposition.comment
    for nth in range(3):
        ours, theirs = _packets(after, "audio", nth), _packets(before, "audio", nth)
        assert [packet[0] for packet in ours] == [packet[0] for packet in theirs]
        assert all(abs(a[1] - b[1]) <= TICK for a, b in zip(ours, theirs, strict=True))
    subtitle = _of_type(after, "subtitle")[0]
    assert subtitle["codec"] == "mov_text"
    assert subtitle["metadata"]["language"] == "fra"
    words = [packet for packet in _packets(after, "subtitle") if len(packet[0]) > 2]
    assert [(start, duration) for _, start, duration in words] == [(start, duration) for start, duration, _ in LINES]
    assert b"Hello there\nW\xc3\xb6rld" in words[0][0]
    assert b"styl" in words[0][0]


def test_words_survive_mp4_and_come_back(film: Path, tmp_path: Path) -> None:
    copy(film, tmp_path / "a.mp4")
    sink = copy(tmp_path / "a.mp4", tmp_path / "b.mkv")
    got = written.read(tmp_path / "b.mkv")
    assert [plan.target for plan in sink.plans if plan.action == "convert"] == ["subrip"]
    assert _of_type(got, "subtitle")[0]["codec"] == "subrip"
    lines = [(start, duration, text.decode().replace("\r", "")) for text, start, duration in _packets(got, "subtitle")]
    assert [line[:2] for line in lines] == [line[:2] for line in LINES]
    assert lines[0][2] == LINES[0][2]
    assert [sound["metadata"].get("title") for sound in _of_type(got, "audio")] == ["Ton", "Commentary", None]
    assert len(got.chapters) == 1


def test_webm_takes_the_words_and_says_what_it_leaves(film: Path, tmp_path: Path) -> None:
    sink = copy(film, tmp_path / "a.webm", preset="8")
    assert [plan.stream.kind for plan in sink.dropped] == ["audio"] * 3 + ["attachment"]
    got = written.read(tmp_path / "a.webm")
    assert _of_type(got, "subtitle")[0]["codec"] == "webvtt"
    assert len(_packets(got, "subtitle")) == 2


def test_what_is_left_out_is_in_the_log(film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy(film, tmp_path / "a.mp4")
    assert "attachment stream 5" in caplog.text
    assert "left out" in caplog.text


@pytest.mark.parametrize("order", ["sound first", "pictures first", "sound ten pictures late"])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_the_order_of_arrival_does_not_matter(film: Path, tmp_path: Path, order: str, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    with FileSource(film) as source:
        info = source.info
        items = list(source.items())
        frames: list[Item] = [item for item in items if isinstance(item, Frame)]
        packets: list[Item] = [item for item in items if isinstance(item, Packet)]
        if order == "sound first":
            items = packets + frames
        elif order == "pictures first":
            items = frames + packets
        else:
            items = frames[:10] + packets + frames[10:]
        with written.open_file(path, info, codec="h264") as sink:
            for item in items:
                sink.write(item)
    got = written.read(path)
    assert len(got.times) == 25
    assert [len(_packets(got, "audio", nth)) for nth in range(3)] == [48] * 3


def test_everything_moves_with_a_video_that_starts_before_zero(film: Path, tmp_path: Path) -> None:
    back = 10
    with FileSource(film) as source:
        info = source.info
        with written.open_file(tmp_path / "a.mkv", info, codec="h264") as sink:
            for item in source.items():
                ticks = int(Fraction(back, 25) / info.time_base)
                sink.write(replace(item, pts=item.pts - ticks) if isinstance(item, Frame) else item)
    before, after = written.read(film), written.read(tmp_path / "a.mkv")
    assert after.times[0] == 0
    assert after.times[-1] == Fraction(24, 25)
    moved = [packet[1] for packet in _packets(after, "subtitle")]
    assert moved == [packet[1] + Fraction(back, 25) for packet in _packets(before, "subtitle")]


def test_packets_of_an_unknown_stream_are_ignored(tmp_path: Path) -> None:
    with written.open_file(tmp_path / "a.mp4", written.info(), codec="h264") as sink:
        sink.write(next(written.frames(1)))
        sink.write(Packet(stream=9, payload=av.Packet(b"x")))
    assert len(written.read(tmp_path / "a.mp4").streams) == 1


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_raw_sound_is_kept_or_refused_before_work_begins(tmp_path: Path, layout: str, ending: str) -> None:
    film, path = tmp_path / "raw.mkv", tmp_path / f"a.{ending}"
    channels = av.AudioLayout(layout).nb_channels
    with av.open(str(film), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = output.add_stream("pcm_s16le", rate=8000, layout=layout)
        chunk = av.AudioFrame.from_ndarray(np.zeros((1, 800 * channels), np.int16), format="s16", layout=layout)
        chunk.sample_rate, chunk.pts = 8000, 0
        output.mux([p for frame in [*_pictures(), None] for p in video.encode(frame)])
        output.mux(sound.encode(chunk))
    sink = copy(film, path)  # Matroska does not say which channel is which
    assert len(_packets(written.read(path), "audio") if not sink.dropped else [1]) == 1
    assert not sink.dropped or layout == "5.1"


def _cover_film(path: Path) -> Path:
    """A film with a cover picture, in MP4."""
    jpeg = av.CodecContext.create("mjpeg", "w")
    jpeg.width, jpeg.height, jpeg.pix_fmt, jpeg.time_base = 32, 32, "yuvj420p", Fraction(1, 25)
    picture = av.VideoFrame(32, 32, "yuvj420p")
    picture.pts = 0
    data = bytes(jpeg.encode(picture)[0])
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        cover = output.add_mux_stream("mjpeg", width=32, height=32)
        cover.disposition = Disposition.attached_pic
        output.start_encoding()
        packet = av.Packet(data)
        packet.pts = packet.dts = 0
        packet.time_base, packet.stream = Fraction(1, 25), cover
        output.mux(packet)
        output.mux([p for frame in [*_pictures(), None] for p in video.encode(frame)])
    return path


def test_a_cover_picture_survives(tmp_path: Path) -> None:
    film = _cover_film(tmp_path / "film.mp4")
    for source, target in (("film.mp4", "a.mp4"), ("film.mp4", "b.mkv"), ("b.mkv", "c.mkv"), ("b.mkv", "d.mp4")):
        sink = copy(tmp_path / source, tmp_path / target)
        got = written.read(tmp_path / target)
        assert not sink.dropped, target
        assert [bool(s["disposition"] & Disposition.attached_pic) for s in got.streams] == [False, True], target
        assert len(got.times) == 25
    assert [plan.action for plan in copy(film, tmp_path / "e.mov").plans] == ["drop"]


def _ass_film(path: Path, film: Path) -> Path:
    """The film's pictures with one styled line."""
    with av.open(str(film)) as source, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0], opaque=True)
        text = output.add_stream("ass")
        header = (
            "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\n"
            "Style: Default,Arial,16\n\n[Events]\n"
            "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n\0"
        )
        text.codec_context.subtitle_header = header.encode()
        output.start_encoding()
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = video
                output.mux(packet)
        event = rb"0,0,Default,,0,0,0,,{\pos(10,20)\c&H0000FF&}Red, {\b1}bold{\b0}\Nbelow"
        packet = text.codec_context.encode_subtitle(SubtitleSet.create(event, start=0, end=1))
        packet.pts = packet.dts = 100
        packet.duration, packet.time_base, packet.stream = 300, TICK, text
        output.mux(packet)
    return path


def test_ass_becomes_plain_words_and_says_so(film: Path, tmp_path: Path) -> None:
    source = _ass_film(tmp_path / "ass.mkv", film)
    sink = copy(source, tmp_path / "a.mp4")
    assert "positions, fonts and colours are lost" in str(sink.plans[0])
    words = next(packet for packet in _packets(written.read(tmp_path / "a.mp4"), "subtitle") if len(packet[0]) > 2)
    assert words[0][2:].startswith(b"Red, bold\nbelow")
    assert words[1:] == (Fraction(1, 10), Fraction(3, 10))
    assert copy(source, tmp_path / "b.mkv").plans[0].action == "copy"


def test_the_sound_of_mp4_that_begins_before_zero_moves_no_picture(tmp_path: Path, film: Path) -> None:
    copy(film, tmp_path / "a.mp4")
    copy(tmp_path / "a.mp4", tmp_path / "b.mkv")
    first, second = written.read(tmp_path / "a.mp4"), written.read(tmp_path / "b.mkv")
    assert _packets(first, "audio")[0][1] < 0
    assert second.times == first.times == [Fraction(n, 25) for n in range(25)]


# --- real files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ending", "kinds", "dropped"),
    [
        ("sample_with_chapters.mp4", "mp4", ["video", "audio", "data"], []),
        ("sample_with_ass_subtitles.mkv", "mp4", ["video", "audio", "subtitle"], []),
        ("sample_with_pgs_subtitles.mkv", "mkv", ["video", "audio", "subtitle"], []),
        ("sample_with_pgs_subtitles.mkv", "mp4", ["video", "audio"], ["hdmv_pgs_subtitle"]),
        ("sample_with_vobsub.mkv", "mp4", ["video", "audio", "subtitle"], []),
        ("fate_hdr10tags-both.mkv", "mkv", ["video", "attachment"], []),
        ("sample_rotate_and_reflect.mp4", "mov", ["video", "audio"], []),
        ("nasa_13013.mp4", "mkv", ["video", "video", "audio", "subtitle", "audio", "subtitle"], []),
        ("ios9.mov", "mp4", ["video", "audio"], ["unknown", "unknown"]),
        ("fragmented_captions.mp4", "mkv", ["video"], []),
        ("foreman_vp9.webm", "webm", ["video"], []),
    ],
)
def test_real_files(
    data_dir: Path, tmp_path: Path, name: str, ending: str, kinds: list[str], dropped: list[str]
) -> None:
    source_path, path = data_dir / "odd_videos" / name, tmp_path / f"a.{ending}"
    times = []
    with FileSource(source_path) as source:
        info = source.info
        options = EncoderOptions(preset="8" if ending == "webm" else "ultrafast")
        with open_sink(
            path, info=info, width=info.width, height=info.height, format=info.format, options=options
        ) as sink:
            for item in source.items():
                if isinstance(item, Frame):
                    times.append(item.seconds)
                sink.write(item)
    assert isinstance(sink, FileSink)
    got = written.read(path)
    assert [stream["type"] for stream in got.streams] == kinds
    assert [plan.stream.codec for plan in sink.dropped] == dropped
    exact = ending in ("mp4", "mov")
    assert len(got.times) == len(times)
    assert max(abs(a - b) for a, b in zip(got.times, times, strict=True)) <= (0 if exact else Fraction(1, 2000))
    assert got.stream["sar"] == pytest.approx(info.sample_aspect_ratio, rel=0.01)
    assert got.pictures[0].rotation % 360 == info.rotation
    assert [chapter["metadata"]["title"] for chapter in got.chapters] == [c["metadata"]["title"] for c in info.chapters]


def _second_film(path: Path, film: Path) -> Path:
    """The film's pictures twice, the second of them by default."""
    with av.open(str(film)) as source, av.open(str(path), "w") as output:
        streams = [output.add_stream_from_template(source.streams.video[0], opaque=True) for _ in range(2)]
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        output.start_encoding()
        for packet in source.demux(source.streams.video[0]):
            for stream in streams if packet.size else ():
                twin = av.Packet(bytes(packet))
                twin.pts, twin.dts, twin.time_base = packet.pts, packet.dts, packet.time_base
                twin.is_keyframe, twin.stream = packet.is_keyframe, stream
                output.mux(twin)
    return path


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_of_two_videos_the_new_one_is_the_default(film: Path, tmp_path: Path, ending: str) -> None:
    copy(_second_film(tmp_path / "two.mkv", film), tmp_path / f"a.{ending}")
    videos = _of_type(written.read(tmp_path / f"a.{ending}"), "video")
    assert [video["disposition"] & Disposition.default for video in videos] == [Disposition.default, 0]


def _in_latin1(item: Packet) -> Packet:
    payload = av.Packet("<i>Grüße</i>\ndéjà".encode("latin-1"))
    payload.pts, payload.dts, payload.duration = item.payload.pts, item.payload.dts, item.payload.duration
    payload.time_base = item.payload.time_base
    return replace(item, payload=payload)


def test_subtitles_that_are_not_utf8_are_read_as_western_text(
    film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FileSource(film) as source:
        info = source.info
        index = next(stream.index for stream in info.streams if stream.kind == "subtitle")
        with written.open_file(tmp_path / "a.mp4", info, codec="h264") as sink:
            for item in source.items():
                is_text = isinstance(item, Packet) and item.stream == index and item.payload.size
                sink.write(_in_latin1(item) if is_text else item)
    words = [packet for packet in _packets(written.read(tmp_path / "a.mp4"), "subtitle") if len(packet[0]) > 2]
    assert [(start, duration) for _, start, duration in words] == [(start, duration) for start, duration, _ in LINES]
    assert all("Grüße\ndéjà".encode() in text for text, _, _ in words)
    assert sink.damaged_subtitles == 2
    assert caplog.text.count("not in UTF-8") == 1
