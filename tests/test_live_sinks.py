"""Outputs to the network, to real peers: some that receive, and some that refuse, freeze, vanish and come back."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streams.errors import SinkError, SinkExistsError, SinkRefusedError, UnsupportedStreamError
from streams.frame import Frame, PixelFormat
from streams.sinks import DetachedSink, EncoderOptions, FanOut, HlsSink, NetworkSink, NullSink, Sink, open_sink
from streams.sources.backoff import Backoff
from tests import written
from tests.receivers import LONG, free_port, pushers, read_all, read_nothing, receiver, rtsp_answers, server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")

FAST = EncoderOptions(preset="ultrafast", threads=1)
FIRST = next(written.frames(1))
FACTS: dict[str, Any] = {
    "info": written.info(FIRST, live=True),
    "width": FIRST.width,
    "height": FIRST.height,
    "format": FIRST.format,
}

# Ended with the test that opened them, also where it fails in the middle.
OPENED: list[DetachedSink] = []


@pytest.fixture(autouse=True)
def _no_process_is_left_behind() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().abort()
    until(lambda: not pushers())


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def network(url: str, **more: Any) -> NetworkSink:
    return NetworkSink(url, **{**FACTS, "options": FAST, **more})


def detached(url: str, **more: Any) -> DetachedSink:
    backoff = Backoff(first_seconds=0.05, longest_seconds=0.2)
    OPENED.append(DetachedSink(lambda: network(url, **more), name=url, backoff=backoff))
    return OPENED[-1]


def camera(*, size: tuple[int, int] = written.SIZE, noise: bool = False) -> Iterator[Frame]:
    """Frames for ever, as fast as they are asked for, 40 ms apart; noise is what no encoder makes small."""
    chance = np.random.default_rng(0)
    for frame in written.frames(range(10**6), size=size):
        if noise:
            planes = tuple(chance.integers(16, 235, plane.shape, np.uint8) for plane in frame.planes)
            yield Frame(planes=planes, format=frame.format, pts=frame.pts, time_base=frame.time_base)
        else:
            yield frame


def send_until(sink: Sink, condition: Callable[[], object], frames: Iterator[Frame] | None = None) -> None:
    frames = frames or camera()

    def step() -> object:
        sink.write(next(frames))
        return condition()

    until(step)


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "tcp", "udp"])
def test_a_peer_receives_what_is_sent(scheme: str) -> None:
    port = free_port(socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM)
    # Deep colour is sent as what every receiver takes.
    form = PixelFormat(bit_depth=10, subsampling="444") if scheme == "tcp" else PixelFormat()
    with receiver(scheme, port) as peer, detached(peer.url, format=form) as sink:
        # More than lie between two key frames: who comes in the middle sees nothing before the next.
        send_until(sink, lambda: peer.got.qsize() >= 60, written.frames(range(10**6), form=form))
        got = [peer.got.get() for _ in range(60)]
    # With RTSP the first picture comes without a time, and who listens to UDP comes when he comes.
    assert got[0].key or scheme in ("rtsp", "udp")
    assert written.SIZE in {each.size for each in got}
    steps = {after.seconds - before.seconds for before, after in pairwise(got)}
    # Frames that were dropped leave gaps; no time is made up.
    assert all(abs(step * 25 - round(step * 25)) < 0.05 and step > 0 for step in steps)
    assert sink.status()[0].state == "closed"


def test_who_joins_late_waits_for_no_more_than_two_seconds_of_video() -> None:
    with receiver("tcp", free_port()) as peer, detached(peer.url) as sink:
        send_until(sink, lambda: peer.got.qsize() >= 120)
        got = [peer.got.get() for _ in range(120)]
    key = got[0].seconds
    for before, after in pairwise(got):
        # A key frame is due after two seconds, and made of the first frame from there on.
        assert before.seconds - key < 2.01
        key = after.seconds if after.key else key
    assert sum(each.key for each in got) > 2


def test_it_waits_for_a_peer_and_finds_it_again_when_it_returns() -> None:
    port = free_port()
    sink = detached(f"tcp://127.0.0.1:{port}", write_seconds=2)
    send_until(sink, lambda: sink.status()[0].state == "waiting")
    assert "refused" in str(sink.status()[0].error)
    for returns in range(2):
        with server(read_all, port=port):
            send_until(sink, lambda: sink.status()[0].state == "running")
            assert sink.status()[0].reconnects == returns
        send_until(sink, lambda: sink.status()[0].state == "waiting")
    sink.abort()


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp"])
def test_a_peer_that_never_answers_stops_nobody(scheme: str) -> None:
    with server(read_nothing) as port:
        sink = network(f"{scheme}://127.0.0.1:{port}/live/x", connect_seconds=0.5)
        heart = threading.Event()
        beats = []

        def beat() -> None:
            while not heart.wait(0.01):
                beats.append(time.monotonic())

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            with pytest.raises(SinkError, match=r"no answer within 0\.5 s"):
                sink.write(FIRST)
        finally:
            heart.set()
            thread.join()
            sink.abort()
    # FFmpeg connects with Python's lock held: in this process nothing else would have run meanwhile.
    assert len(beats) > 10


def freeze_while_recording(peer: socket.socket) -> None:
    rtsp_answers(peer, "200 OK", until="RECORD")
    read_nothing(peer)


@pytest.mark.parametrize(("scheme", "serve"), [("rtsp", freeze_while_recording), ("tcp", read_nothing)])
def test_a_peer_that_freezes_costs_frames_and_is_left(scheme: str, serve: Callable[[socket.socket], None]) -> None:
    size = (640, 360)
    facts: dict[str, Any] = {"width": size[0], "height": size[1], "write_seconds": 0.5, "bits_per_second": 40_000_000}
    with server(serve) as port:
        stuck, free = detached(f"{scheme}://127.0.0.1:{port}/x", **facts), NullSink()
        fan = FanOut([stuck, free])
        frames = camera(size=size, noise=True)
        send_until(fan, lambda: "took nothing for 0.5 s" in str(stuck.status()[0].error), frames)
        assert stuck.status()[0].dropped > 0
        assert free.frames > stuck.status()[0].frames
        fan.abort()


def test_a_peer_that_hangs_up_again_and_again_is_called_again() -> None:
    with server(lambda peer: peer.recv(2048) and None) as port:
        sink = detached(f"tcp://127.0.0.1:{port}")
        send_until(sink, lambda: sink.status()[0].reconnects >= 1)
        sink.abort()


def test_a_wrong_password_is_not_tried_again_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with server(lambda peer: rtsp_answers(peer, "401 Unauthorized")) as port:
        sink = detached(f"rtsp://me:secret@127.0.0.1:{port}/live")
        with pytest.raises(SinkRefusedError, match="401") as raised:
            send_until(sink, lambda: False)
        sink.abort()
    # What is written while the peer makes up its mind does not count.
    assert (sink.status()[0].state, sink.status()[0].frames) == ("failed", 0)
    shown = f"{caplog.text} {raised.value} {raised.value.__cause__} {sink.status()}"
    assert "secret" not in shown
    assert f"rtsp://***@127.0.0.1:{port}" in shown


def test_the_process_that_sends_shows_no_password_and_does_not_hear_ctrl_c() -> None:
    with server(read_nothing) as port:
        sink = detached(f"rtsp://me:secret@127.0.0.1:{port}/live", connect_seconds=30)
        send_until(sink, pushers)
        (pid,) = pushers()
        assert b"secret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert os.getpgid(pid) != os.getpgid(0)
        sink.abort()


def test_a_sending_process_that_takes_no_order_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = tmp_path / "deaf"
    deaf.write_text("#!/bin/sh\nexec <&-\nkill -STOP $$\n")
    deaf.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(deaf))
    longer_than_a_pipe = "x" * (1 << 20)
    with pytest.raises(SinkError, match="did not take its order"):
        network(f"tcp://127.0.0.1:1/{longer_than_a_pipe}").write(FIRST)
    assert not pushers()


_SEND_FOR_EVER = """
import sys
from streams.sinks import NetworkSink
from tests import written
first = next(written.frames(1))
sink = NetworkSink(sys.argv[1], info=written.info(first), width=96, height=64, format=first.format, write_seconds=1)
for frame in written.frames(range(10**6)):
    sink.write(frame)
    print("sent", flush=True)
"""


def test_the_sending_process_ends_with_the_program_that_was_killed() -> None:
    root = Path(__file__).parents[1]
    with server(read_all) as port:
        program = [sys.executable, "-c", _SEND_FOR_EVER, f"tcp://127.0.0.1:{port}"]
        with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=root) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            (pid,) = pushers(process.pid)
            process.kill()
        until(lambda: not Path(f"/proc/{pid}").exists() or _is_gone(pid))


def _is_gone(pid: int) -> bool:
    """Dead, and only not yet buried by whoever inherited it."""
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def test_another_size_is_sent_over_a_new_connection() -> None:
    heads: list[bytes] = []

    def note_first(peer: socket.socket) -> None:
        heads.append(peer.recv(1 << 16))
        read_all(peer)

    with server(note_first) as port:
        sink = network(f"tcp://127.0.0.1:{port}")
        for frame in [*written.frames(3), *written.frames(range(3, 6), size=(64, 48))]:
            sink.write(frame)
        sink.close()
    assert len(heads) == 2


@pytest.mark.parametrize(
    ("url", "more", "error", "words"),
    [
        ("srt://me:secret@host:1", {}, SinkError, "allowed are a path and .*rtsp://"),
        ("rtmp://host/live", {"options": EncoderOptions(codec="av1")}, UnsupportedStreamError, "RTMP carries no av1"),
        ("udp://host:1", {"options": EncoderOptions(codec="vp9")}, UnsupportedStreamError, "MPEG-TS carries no vp9"),
        ("hls:{}", {"options": EncoderOptions(codec="ffv1")}, UnsupportedStreamError, "HLS carries no ffv1"),
        ("hls:{}", {"list_size": 1}, SinkError, "2 or more"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(
    tmp_path: Path, url: str, more: dict[str, Any], error: type[SinkError], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        open_sink(url.format(tmp_path), **FACTS, **more)
    assert "secret" not in str(raised.value)


def test_addresses_open_detached_sinks_that_can_be_limited() -> None:
    with server(lambda peer: None) as port:
        sink = open_sink(f"rtsp://127.0.0.1:{port}/x", **FACTS, max_retries=0)
        assert isinstance(sink, DetachedSink)
        with pytest.raises(SinkError, match="cannot send to"):
            send_until(sink, lambda: False)
        sink.abort()


# HLS


def hls(folder: Path, frames: list[Frame], **more: Any) -> HlsSink:
    with HlsSink(folder, **{**FACTS, "options": FAST, **more}) as sink:
        for frame in frames:
            sink.write(frame)
    return sink


def test_a_folder_holds_the_newest_seconds_and_no_more(tmp_path: Path) -> None:
    sink = hls(tmp_path / "web", list(written.frames(25 * 14)), list_size=2)
    text = sink.playlist.read_text()
    assert text.count("#EXTINF:2.000000") == 2
    assert "#EXT-X-ENDLIST" in text
    named = [line for line in text.splitlines() if line.endswith(".ts")]
    present = sorted(path.name for path in (tmp_path / "web").glob("*.ts"))
    assert len(named) == 2
    assert set(named) <= set(present)
    assert len(present) <= 4
    with av.open(str(sink.playlist)) as got:
        assert sum(1 for _ in got.decode(video=0)) == 25 * 4


def test_another_size_goes_on_behind_a_discontinuity(tmp_path: Path) -> None:
    frames = [*written.frames(50), *written.frames(range(50, 100), size=(64, 48))]
    sink = hls(tmp_path / "live.m3u8", frames)
    assert sink.playlist == tmp_path / "live.m3u8"
    assert sink.playlist.read_text().count("#EXT-X-DISCONTINUITY\n") == 1
    with av.open(str(sink.playlist)) as got:
        assert [picture.width for picture in got.decode(video=0)] == [96] * 50 + [64] * 50


def test_a_playlist_goes_on_only_if_that_is_allowed(tmp_path: Path) -> None:
    hls(tmp_path, list(written.frames(50)))
    with pytest.raises(SinkExistsError, match="exists"):
        hls(tmp_path, list(written.frames(50)))
    (tmp_path / "index-999999.ts").write_bytes(b"left over")
    (tmp_path / "index-notes.ts").write_bytes(b"somebody's")
    sink = hls(tmp_path, list(written.frames(50)), overwrite=True)
    with av.open(str(sink.playlist)) as got:
        assert sum(1 for _ in got.decode(video=0)) == 100
    assert not (tmp_path / "index-999999.ts").exists()
    assert (tmp_path / "index-notes.ts").exists()


def test_odd_names_of_folders(tmp_path: Path) -> None:
    sink = hls(tmp_path / "50% of: all", list(written.frames(60)))
    with av.open(f"file:{sink.playlist}") as got:
        assert sum(1 for _ in got.decode(video=0)) == 60


_FILL_THE_DISK = """
import resource, sys
from streams.errors import SinkError
from streams.sinks import HlsSink
from tests import written
from tests.test_live_sinks import FACTS, FAST, camera
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
sink = HlsSink(sys.argv[1], **FACTS, options=FAST, bits_per_second=8_000_000)
for _, frame in zip(range(int(sys.argv[2])), camera(noise=True)):
    sink.write(frame)
print("written")
sink.close()
"""


@pytest.mark.parametrize("frames", [30, 300], ids=["told at the end", "told while it lasts"])
def test_segments_that_the_disk_does_not_take_are_noticed(tmp_path: Path, frames: int) -> None:
    command = [sys.executable, "-c", _FILL_THE_DISK, str(tmp_path), str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert "SinkError: cannot write" in done.stderr
    assert "cut off" in done.stderr
    assert done.stdout == ("written\n" if frames == 30 else "")


def test_a_folder_that_goes_away_is_noticed(tmp_path: Path) -> None:
    sink = HlsSink(tmp_path / "web", **FACTS, options=FAST)
    frames = camera()
    for _ in range(75):
        sink.write(next(frames))
    shutil.rmtree(tmp_path / "web")
    with pytest.raises(SinkError, match="cannot write"):
        send_until(sink, lambda: False, frames)
    assert sink.status()[0].state == "failed"
