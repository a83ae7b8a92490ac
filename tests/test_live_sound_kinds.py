"""Sound of many kinds from live sources: copied where the output holds it, else encoded anew, and never an obstacle."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
import written
from beeps import in_step, moments_in
from test_live_audio import recording, sounding

from streams.frame import Packet
from streams.queues import PACKET_LIMIT
from streams.sinks import EncoderOptions, RecordingSink
from streams.sinks.containers import CONTAINERS
from streams.sinks.sound import make_voice, plan_voices
from streams.sources import open_source
from streams.sources.sound import Microphone

RATE = 48_000


def recorded(film: Path, target: Path) -> Path:
    """All of a file, written as a live source's would be."""
    options = EncoderOptions(threads=1) if target.suffix == ".webm" else EncoderOptions(preset="ultrafast", threads=1)
    with open_source(film) as source:
        info = source.info
        with RecordingSink(
            target, info=info, width=info.width, height=info.height, format=info.format, options=options
        ) as sink:
            for item in source.items():
                sink.write(item)
    return target


@pytest.mark.parametrize(
    ("name", "codec", "ending", "expected"),
    [
        # MP4 in fragments cannot say what these are before their first packet is there.
        ("a.ts", "ac3", "mp4", "aac"),
        ("a.ts", "eac3", "mp4", "aac"),
        ("a.ts", "ac3", "mov", "ac3"),
        ("a.ts", "eac3", "mkv", "eac3"),
        ("a.mov", "alac", "webm", "opus"),
        ("a.mov", "alac", "mkv", "alac"),
    ],
)
def test_every_recording_has_sound_that_it_holds(
    tmp_path: Path, name: str, codec: str, ending: str, expected: str
) -> None:
    film = tmp_path / name
    with av.open(str(film), "w") as output:
        media.write_flashes(output, 75, video_codec="libx264", sound_codec=codec, rate=RATE, bf=0)
    path = recorded(film, tmp_path / f"b.{ending}")
    with av.open(str(path)) as got:
        assert [stream.codec_context.codec.canonical_name for stream in got.streams.audio] == [expected]
    assert in_step(moments_in(path), count=2)


def coded(codec: str, form: str, *, layout: str, rate: int = RATE, count: int = 10) -> Iterator[tuple[Microphone, Any]]:
    """Packets of sound, as a connection gives them out, and what took them."""
    file = io.BytesIO()
    channels = av.AudioLayout(layout).nb_channels
    with av.open(file, "w", format=form) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        for number in range(count):
            wave = np.full((channels, 1024), 0.2, np.float32)
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout=layout)
            frame.rate, frame.pts, frame.time_base = rate, number * 1024, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, format=form) as source:
        microphone = Microphone(source.streams.audio[0])
        for packet in source.demux(microphone.stream):
            if packet.size:
                yield microphone, packet


def test_sound_that_goes_from_stereo_to_surround_and_back_is_encoded_throughout() -> None:
    layouts = ("stereo", "5.1(side)", "stereo")
    packets = [each for layout in layouts for each in coded("ac3", "ac3", layout=layout)]
    info = written.info(streams=(packets[0][0].info,))
    container = CONTAINERS[".webm"]
    with av.open(io.BytesIO(), "w", format="webm") as output:
        (plan,) = plan_voices(container, info, muxer_options={})
        voice = make_voice(plan, output=output, container=container)
        assert voice is not None
        got = []
        for number, (microphone, packet) in enumerate(packets):
            (sound,) = microphone.take(packet)
            sound.payload.pts = number * 1536
            sound.payload.time_base = Fraction(1, RATE)
            got += voice.carry(sound.payload, shift=Fraction(0))
        got += voice.flush()
    seconds = len(packets) * 1536 / RATE
    assert sum(float(packet.duration * packet.time_base) for packet in got) == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize(("ending", "expected"), [(".mp4", ("aac", "stereo")), (".mov", ("ac3", "5.1(side)"))])
def test_surround_is_kept_or_mixed_down(ending: str, expected: tuple[str, str], tmp_path: Path) -> None:
    """As docs/live.md says."""
    packets = list(coded("ac3", "ac3", layout="5.1(side)"))
    with recording(tmp_path / f"live{ending}", written.info(streams=(packets[0][0].info,))) as sink:
        for frame in written.frames(10):
            sink.write(frame)
        for number, (microphone, packet) in enumerate(packets):
            (sound,) = microphone.take(packet)
            sound.payload.pts, sound.payload.time_base = number * 1536, Fraction(1, RATE)
            sink.write(Packet(stream=packets[0][0].info.index, payload=sound.payload))
    with av.open(str(sink.parts[0])) as got:
        context = got.streams.audio[0].codec_context
        assert (context.codec.canonical_name, context.layout.name) == expected


def test_aac_that_changes_on_the_way_is_not_passed_on_as_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    before, *_ = coded("aac", "adts", layout="stereo")
    others = [*coded("aac", "adts", layout="mono"), *coded("aac", "adts", layout="stereo", rate=44_100)]
    microphone, packet = before
    assert len(microphone.take(packet)) == 1
    assert [microphone.take(other) for _, other in others] == [[]] * len(others)
    assert len(microphone.take(packet)) == 1
    assert caplog.text.count("another rate or other channels") == 1


@pytest.mark.parametrize(("ending", "piece_seconds"), [("mov", 0.002), ("mkv", 0.05)])
@pytest.mark.parametrize("late", [-8, 0, 8])
def test_every_sound_is_in_one_part_and_no_other(tmp_path: Path, ending: str, piece_seconds: float, late: int) -> None:
    """However long it comes before the picture of its time, or after it."""
    info, packet = sounding()
    with recording(tmp_path / f"live.{ending}", info, segment_seconds=1) as sink:
        for frame in written.frames(100):
            sink.write(frame)
            if 0 <= frame.pts - late < 100:
                sink.write(packet(frame.pts - late))
    spans = [span_of_sound(part) for part in sink.parts]
    first, last = (0.04 * -late, 1) if late < 0 else (0, 1 - 0.04 * late)
    begins, ends = zip(*spans, strict=True)
    assert begins == pytest.approx([first, 0, 0, 0], abs=piece_seconds)
    assert ends == pytest.approx([1, 1, 1, last], abs=piece_seconds)


def span_of_sound(path: Path) -> tuple[float, float]:
    """When it begins and ends; it is without gaps. To be read while it is being recorded, too."""
    with av.open(str(path)) as got, suppress(av.InvalidDataError):
        packets = [packet for packet in got.demux(audio=0) if packet.size]
    begin, end = (float(packets[index].pts * packets[index].time_base) for index in (0, -1))
    end += float(packets[-1].duration * packets[-1].time_base)
    assert sum(float(packet.duration * packet.time_base) for packet in packets) == pytest.approx(end - begin, abs=0.05)
    return begin, end


def test_sound_is_not_kept_for_pictures_that_do_not_come(tmp_path: Path) -> None:
    info, packet = sounding()
    path = tmp_path / "live.mov"
    with recording(path, info) as sink:
        sink.write(next(written.frames(1)))
        for number in range(1000):
            sink.write(packet(number))
        assert 0.04 * (1000 - 1.5 * PACKET_LIMIT) < span_of_sound(path)[1] < 0.04 * 1000
    assert span_of_sound(path) == pytest.approx((0, 40), abs=0.001)
