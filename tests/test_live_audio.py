"""Sound of live sources: on the clock of the pictures, through every output, and never in their way."""

from __future__ import annotations

import io
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import pytest
import stubs
from beeps import in_step, listener, moments_in, moments_of, packets_of, pairs
from live_checks import PATIENCE_SECONDS, is_marked, nothing_left
from rtsp_server import RATE, RtspServer
from stubs import LONG_SECONDS, StubEnhancer, StubSink, StubSource, names, wait_for

from streams.frame import Frame, Item, Packet
from streams.pipeline import Pipeline
from streams.queues import PACKET_LIMIT
from streams.sinks import DetachedSink, EncoderOptions, FanOut, HlsSink, NetworkSink, RecordingSink, Sink
from streams.sources import NetworkSource, Source, open_source
from streams.sources.backoff import Backoff
from streams.sources.base import SourceInfo
from streams.sources.sound import Microphone
from tests import written
from tests.peers import GstServer, NginxServer
from tests.receivers import free_port
from vsr.app.cli import main
from vsr.app.live_ends import open_live_source

FAST = EncoderOptions(preset="ultrafast", threads=1)
STEP = Fraction(1, RATE)


def opened(server: RtspServer, **options: Any) -> NetworkSource:
    return NetworkSource(server.url, backoff=Backoff(first_seconds=0.02, longest_seconds=0.1), **options)


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer(sound="PCMA") as server:
        yield server


def items_until(items: Iterator[Item], wanted: Callable[[list[Item]], bool]) -> list[Item]:
    seen: list[Item] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    for item in items:
        seen.append(item)
        if isinstance(item, Frame) and wanted(seen):
            return seen
        if time.monotonic() > deadline:
            break
    pytest.fail(f"{len(seen)} items, and not what was wanted: {moments_of(seen)}")


def has_pairs(count: int) -> Callable[[list[Item]], bool]:
    return lambda seen: len(pairs(moments_of(seen))) >= count


# --------------------------------------------------------------------------------------------------------- the source


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_sound_comes_on_the_clock_of_the_pictures(transport: str) -> None:
    with nothing_left(), RtspServer(sound="PCMA") as server, opened(server, transport=transport) as source:
        (stream,) = source.info.streams
        assert (stream.kind, stream.codec) == ("audio", "pcm_alaw")
        items = items_until(source.items(), has_pairs(2))
    assert in_step(moments_of(items), count=2)
    sound = packets_of(items)
    assert {packet.stream for packet in sound} == {stream.index}
    assert {packet.payload.time_base for packet in sound} == {source.info.time_base}
    times = [packet.payload.pts for packet in sound]
    assert times[0] >= 0
    assert {after - before for before, after in itertools.pairwise(times)} == {90_000 // RATE}


@pytest.mark.parametrize("open_it", [open_source, open_live_source])
def test_sound_that_is_not_wanted(server: RtspServer, open_it: Callable[..., Source]) -> None:
    with open_it(server.url, audio=False) as source:
        assert source.info.streams == ()
        assert packets_of(itertools.islice(source.items(), 10)) == []


@pytest.mark.parametrize("jump", [None, 4000, -4000])
def test_sound_moves_with_the_pictures(server: RtspServer, jump: int | None) -> None:
    with opened(server) as source:
        items = source.items()
        before = items_until(items, has_pairs(1))
        if jump is not None:
            server.jump(jump)
        else:
            server.stop()
            server.start()
        after = items_until(items, lambda seen: any(map(is_marked, frames_of(seen))))
        after += items_until(items, has_pairs(2))
    assert in_step(moments_of(before + after), count=3)
    times = [packet.payload.pts for packet in packets_of(before + after)]
    assert all(earlier < later for earlier, later in itertools.pairwise(times))


def frames_of(items: Iterable[Item]) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame)]


def test_pictures_that_stand_still_are_a_stall_though_the_sound_goes_on(server: RtspServer) -> None:
    with opened(server, stall_timeout_seconds=0.5) as source:
        items = source.items()
        items_until(items, lambda seen: len(frames_of(seen)) > 3)
        server.blind = True
        threading.Timer(1.0, setattr, (server, "blind", False)).start()
        items_until(items, lambda seen: is_marked(frames_of(seen)[-1]))
        assert source.status.stalls >= 1


def test_a_stream_of_sound_that_is_promised_and_never_comes_holds_nothing_up(server: RtspServer) -> None:
    server.muted = True
    with opened(server) as source:
        assert len(source.info.streams) == 1
        assert len(frames_of(itertools.islice(source.items(), 30))) == 30


@pytest.mark.parametrize("first", [None, "PCMU"], ids=["none", "other"])
def test_sound_that_is_other_after_a_loss_is_left_out_and_told_once(
    server: RtspServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, first: str | None
) -> None:
    server.sound = first
    with opened(server) as source, recording(tmp_path / "live.mp4", source.info) as sink:
        items = source.items()
        for sound in ("PCMA", "PCMA", first):
            seen = items_until(items, lambda seen: len(frames_of(seen)) > 10)
            server.stop()
            server.sound = sound
            server.start()
            seen += items_until(items, lambda seen: is_marked(frames_of(seen)[-1]))
            for item in seen:
                sink.write(item)
        for item in itertools.islice(items, 30):
            sink.write(item)
    assert caplog.text.count("left out") == 1
    with av.open(str(tmp_path / "live.mp4")) as got:
        assert len(got.streams.audio) == (first is not None)
        assert sum(1 for _ in got.decode(video=0)) > 30


def test_aac_is_given_out_as_files_hold_it(tmp_path: Path) -> None:
    pictures = media.pattern(25, 64, 48)
    options: dict[str, Any] = {"codec": "libx264", "sound_seconds": 1, "sound_codec": "aac"}
    stream = media.write_clip(tmp_path / "with_headers.ts", pictures, **options)
    film = media.write_clip(tmp_path / "without.mp4", pictures, **options)
    with av.open(str(stream)) as source:
        microphone = Microphone.beside(source.streams.video[0], name="a stream")
        assert microphone is not None
        taken = [
            bytes(sound.payload) for packet in source.demux(microphone.stream) for sound in microphone.take(packet)
        ]
    with av.open(str(film)) as source:
        assert taken == [bytes(packet) for packet in source.demux(audio=0) if packet.size]
        configuration = source.streams.audio[0].codec_context.extradata
    # The film's may go on with what it does not use.
    assert microphone.info.template.codec_context.extradata == configuration[:2]


def test_files_at_their_own_pace_with_and_without_sound(clip: Path) -> None:
    with open_source(clip, realtime=True, audio=False) as source:
        assert source.info.streams == ()
        assert packets_of(source.items()) == []
    with open_source(clip, audio=False) as source:
        assert len(source.info.streams) == 1


# -------------------------------------------------------------------------------------------------------- the outputs


def recording(path: Path, info: SourceInfo, **more: Any) -> RecordingSink:
    options = EncoderOptions(threads=1) if path.suffix == ".webm" else FAST
    facts = {"width": info.width, "height": info.height, "format": info.format}
    return RecordingSink(path, info=info, options=options, **facts, **more)


class Slow(StubEnhancer):
    """Takes three pictures' time for each, and so loses two of three."""

    def submit(self, frames: Any) -> Any:
        time.sleep(3 / RATE)
        return super().submit(frames)


def test_everything_is_recorded_in_step_though_pictures_are_late_and_dropped(
    server: RtspServer, tmp_path: Path
) -> None:
    with opened(server) as source:
        endings = ("mp4", "mov", "mkv", "webm")
        recordings = [recording(tmp_path / f"live.{ending}", source.info) for ending in endings]
        pipeline = Pipeline(source, Slow(), FanOut(recordings), queue_size=1, in_flight=1, overflow="drop_oldest")
        threading.Timer(4.5, pipeline.finish).start()
        report = pipeline.run()
    assert sum(report.dropped.values()) > 20
    assert report.packets > 90
    # With two of three pictures lost, so are many flashes; the beeps say when they would have been.
    for sink in recordings:
        moments = moments_in(sink.path)
        beeps = [seconds for kind, seconds in moments if kind == "beep"]
        assert len(beeps) >= 3
        assert [later - earlier for earlier, later in itertools.pairwise(beeps)] == pytest.approx(
            [1.0] * (len(beeps) - 1), abs=0.001
        )
        assert all(abs(flash - beep) < STEP for flash, beep in pairs(moments))


def test_recordings_are_in_step_with_their_source(server: RtspServer, tmp_path: Path) -> None:
    sounds = {"mp4": "aac", "mov": "pcm_alaw", "mkv": "aac", "webm": "opus"}
    with opened(server) as source:
        sink = FanOut([recording(tmp_path / f"live.{ending}", source.info) for ending in sounds])
        for item in items_until(source.items(), has_pairs(2)):
            sink.write(item)
        sink.close()
    for ending, codec in sounds.items():
        path = tmp_path / f"live.{ending}"
        assert in_step(moments_in(path), count=2)
        with av.open(str(path)) as got:
            assert got.streams.audio[0].codec_context.codec.canonical_name == codec


INFO = written.info(next(written.frames(1)), live=True)
TELEPHONE_TICK = Fraction(1, 8000)


def sounding(info: SourceInfo = INFO) -> tuple[SourceInfo, Callable[..., Packet]]:
    """An input with a telephone's sound, and what makes packets of 40 ms of it, counted from the first picture on."""
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as output:
        output.mux(output.add_stream("pcm_alaw", rate=8000, layout="mono").encode(media.wave(320, beep=False)))
    file.seek(0)
    with av.open(file) as source:
        stream = Microphone(source.streams.audio[0]).info

    def packet(number: int, *, beep: bool = False) -> Packet:
        payload: Any = av.Packet(media.telephony(320, beep=beep))
        payload.pts = payload.dts = number * 320
        payload.time_base, payload.duration, payload.is_keyframe = TELEPHONE_TICK, 320, True
        payload.stream = stream.template
        return Packet(stream=stream.index, payload=payload)

    return replace(info, streams=(stream,)), packet


def interleaved(frames: Iterable[Frame], packet: Callable[..., Packet], numbers: Iterable[int]) -> Iterator[Item]:
    """Each frame with the sound of its time behind it; a beep at every tenth."""
    wanted = set(numbers)
    for frame in frames:
        yield frame
        if frame.pts in wanted:
            yield packet(frame.pts, beep=frame.pts % 10 == 0)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_a_gap_stays_a_gap(tmp_path: Path, ending: str) -> None:
    info, packet = sounding()
    path = tmp_path / f"live.{ending}"
    with recording(path, info) as sink:
        for item in interleaved(written.frames(75), packet, [*range(21), *range(59, 75)]):
            sink.write(item)
    beeps = [seconds for kind, seconds in moments_in(path) if kind == "beep"]
    # An encoder starts with a piece that fades in, and may have begun another where the gap is.
    assert beeps == pytest.approx([0, 0.4, 0.8, 2.4, 2.8], abs=0.025)
    assert beeps[1:] == pytest.approx([0.4, 0.8, 2.4, 2.8], abs=0.003)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("heard", [25, 200])
def test_a_recording_is_whole_at_any_time_also_when_the_sound_has_ceased(
    tmp_path: Path, ending: str, heard: int
) -> None:
    info, packet = sounding()
    path = tmp_path / f"live.{ending}"
    with recording(path, info) as sink:
        for item in interleaved(written.frames(200), packet, range(heard)):
            sink.write(item)
        # As somebody finds it after a power cut.
        seen, last = shown(path), [seconds for kind, seconds in moments_in(path) if kind == "beep"][-1]
    assert seen[-1] > 8 - 2.6
    assert last > min(8 - 2.6, 0.75)


def shown(path: Path) -> list[float]:
    """Times of the pictures of a file, up to where it breaks off."""
    times: list[float] = []
    with av.open(str(path)) as container, suppress(av.InvalidDataError):
        times.extend(picture.time for picture in container.decode(video=0))
    return times


def test_every_part_has_the_sound_of_its_pictures(tmp_path: Path) -> None:
    info, packet = sounding()
    frames = [*written.frames(50), *written.frames(range(50, 100), size=(64, 48))]
    early = [packet(number, beep=number % 10 == 0) for number in range(100)]
    with recording(tmp_path / "live.mkv", info) as sink:
        # The sound runs ahead of the pictures by five packets.
        for item in early[:5]:
            sink.write(item)
        for frame in frames:
            for item in early[frame.pts + 5 : frame.pts + 6]:
                sink.write(item)
            sink.write(frame)
    assert len(sink.parts) == 2
    for part in sink.parts:
        beeps = [seconds for kind, seconds in moments_in(part) if kind == "beep"]
        # What ran ahead is in the second part alone.
        assert max(beeps) < 2
        assert beeps[:5] == pytest.approx([0, 0.4, 0.8, 1.2, 1.6], abs=0.025)


def test_sound_that_cannot_be_is_left_out_and_the_pictures_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    info, packet = sounding()
    path = tmp_path / "live.mov"
    with recording(path, info) as sink:
        for number, frame in enumerate(written.frames(20)):
            sink.write(frame)
            sink.write(packet(5 if number == 10 else number))
    assert len(written.read(path).pictures) == 20
    assert len(written.read(path).packets[1]) >= 19
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm"])
def test_a_recording_whose_sound_never_comes_is_whole(tmp_path: Path, ending: str) -> None:
    info, _ = sounding()
    with recording(tmp_path / f"live.{ending}", info) as sink:
        for frame in written.frames(60):
            sink.write(frame)
    assert len(written.read(sink.path).pictures) == 60


def test_what_is_heard_while_no_picture_passes_takes_no_more_than_its_room() -> None:
    stuck = threading.Event()
    source = StubSource([*map(stubs.frame, range(3)), *map(stubs.packet, range(5000)), stubs.frame(3)])
    sink = StubSink(before_write=lambda _: stuck.wait(LONG_SECONDS) and None)
    pipeline = Pipeline(source, StubEnhancer(), sink, queue_size=1, in_flight=1, overflow="drop_oldest")
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    wait_for(lambda: source.ended_by is not None)
    stuck.set()
    thread.join(LONG_SECONDS)
    heard = names(sink.items)
    # The newest of them, in both queues and between the two.
    assert len(heard) <= 3 * PACKET_LIMIT + 4
    assert heard[-2:] == ["p4999", 3]


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "tcp", "udp"])
def test_a_peer_hears_what_is_sent(server: RtspServer, scheme: str) -> None:
    port = free_port(socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM)
    url = f"{scheme}://127.0.0.1:{port}" + {"rtsp": "/live", "rtmp": "/live/key"}.get(scheme, "")
    address, form, options = {
        "rtsp": (url, "rtsp", {"rtsp_flags": "listen", "listen_timeout": "60"}),
        "rtmp": (url, "flv", {"listen": "1", "timeout": "60"}),
        "tcp": (f"{url}?listen=1&listen_timeout=60000", "mpegts", {}),
        "udp": (f"{url}?timeout=60000000", "mpegts", {}),
    }[scheme]
    with opened(server) as source, listener(address, form, options) as got:
        sink = detached(url, source)
        try:
            send_until(sink, source, lambda: len(pairs(moments_heard(got))) >= 2)
        finally:
            sink.abort()
        heard = list(got.queue)
    assert heard[0] == ("codecs", ["h264", "pcm_alaw" if scheme == "rtsp" else "aac"])
    assert in_step(heard[1:], count=2)


def test_sound_goes_through_a_server_by_others_and_back(server: RtspServer, tmp_path: Path) -> None:
    def send() -> None:
        for item in source.items():
            sink.write(item)

    with NginxServer(tmp_path) as middle, opened(server) as source:
        sink = detached(middle.url(), source)
        sending = threading.Thread(target=send)
        sending.start()
        try:
            with NetworkSource(middle.url(), wait=True) as back:
                assert [stream.codec for stream in back.info.streams] == ["aac"]
                with recording(tmp_path / "back.mp4", back.info) as file:
                    for item in itertools.takewhile(lambda item: item_seconds(item) < 3, back.items()):
                        file.write(item)
        finally:
            source.close()
            sending.join()
            sink.abort()
    assert in_step(moments_in(tmp_path / "back.mp4"), count=2)


def test_a_server_that_takes_no_sound_gets_the_pictures(
    server: RtspServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with GstServer(tmp_path) as peer, opened(server) as source:
        sink = detached(peer.url("record/h264"), source)
        try:
            send_until(sink, source, lambda: sink.status()[0].frames >= 30)
        finally:
            sink.close()
    assert "takes no sound" in caplog.text
    assert sink.status()[0].reconnects == 0


def item_seconds(item: Item) -> float:
    return float(item.seconds if isinstance(item, Frame) else item.payload.pts * item.payload.time_base)


def moments_heard(got: Any) -> list[Any]:
    return [moment for moment in list(got.queue) if moment[0] != "codecs"]


def detached(url: str, source: Source) -> DetachedSink:
    info = source.info
    facts = {"info": info, "width": info.width, "height": info.height, "format": info.format, "options": FAST}
    backoff = Backoff(first_seconds=0.05, longest_seconds=0.2)
    return DetachedSink(lambda: NetworkSink(url, **facts), name=url, backoff=backoff)


def send_until(sink: Sink, source: Source, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    for item in source.items():
        sink.write(item)
        if condition():
            return
        assert time.monotonic() < deadline, "it did not come to pass"


def test_hls_has_its_sound_in_step(server: RtspServer, tmp_path: Path) -> None:
    with opened(server) as source:
        info = source.info
        facts = {"info": info, "width": info.width, "height": info.height, "format": info.format, "options": FAST}
        with HlsSink(tmp_path / "web", **facts) as sink:
            for item in items_until(source.items(), has_pairs(3)):
                sink.write(item)
    assert in_step(moments_in(sink.playlist), count=3)


def test_the_command_records_a_file_at_its_own_pace_with_its_sound(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    with av.open(str(film), "w") as output:
        media.write_flashes(output, 50, video_codec="libx264", sound_codec="aac", rate=48_000, bf=2)
    target = tmp_path / "rec.mp4"
    arguments = ["live", str(film), "--realtime", "-o", str(target), "--model", "bicubic", "--threads", "1", "-q"]
    assert main(arguments) == 0
    # One of the two: a busy machine drops pictures, be it the other flash.
    assert in_step(moments_in(target), count=1)
    with av.open(str(film)) as source, av.open(str(target)) as got:
        sound = [bytes(packet) for packet in source.demux(audio=0) if packet.size]
        copied = [bytes(packet) for packet in got.demux(audio=0) if packet.size]
    assert len(copied) >= len(sound) - 2
    assert copied == sound[len(sound) - len(copied) :]


def test_a_warning_names_no_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RtspServer() as server:
        server.userinfo = "camera:hunter2"
        url = server.url.replace("rtsp://", "rtsp://camera:hunter2@")
        with NetworkSource(url, backoff=Backoff(first_seconds=0.02)) as source:
            items = source.items()
            next(items)
            server.sound = "PCMA"
            server.drop()
            items_until(items, lambda seen: is_marked(frames_of(seen)[-1]))
    assert "came late" in caplog.text
    assert "hunter2" not in caplog.text
