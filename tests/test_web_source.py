"""Films, playlists and transport streams over HTTP, TCP and UDP."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import media
import pytest
from beeps import in_step, moments_in
from live_checks import PATIENCE_SECONDS, is_marked, nothing_left, rises, take, until

from streams.errors import NoVideoError, SourceError, SourceNotFoundError
from streams.frame import Frame
from streams.sinks import EncoderOptions, FileSink, RecordingSink
from streams.sources import NetworkSource, open_source
from streams.sources.backoff import Backoff
from tests.fake_clock import FakeClock


@pytest.fixture
def no_leaks() -> Iterator[None]:
    with nothing_left():
        yield


class _Files(BaseHTTPRequestHandler):
    """Gives out what ``server.pages`` has for a path."""

    def do_GET(self) -> None:
        body = self.server.pages.get(self.path)
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        server.pages = {}
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def address(web: ThreadingHTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{web.server_address[1]}{path}"


def test_a_film_over_http_has_an_end(web: ThreadingHTTPServer, clip: Path) -> None:
    web.pages["/clip.mkv"] = clip.read_bytes()
    with open_source(address(web, "/clip.mkv")) as source:
        assert isinstance(source, NetworkSource)
        assert not source.info.live
        frames = list(source)
    assert len(frames) == 12
    assert [frame.pts for frame in frames] == [index * 3600 for index in range(12)]


def test_a_film_that_is_not_there(web: ThreadingHTTPServer) -> None:
    with pytest.raises(SourceNotFoundError, match="404"):
        NetworkSource(address(web, "/none.mkv"))


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One second of MPEG-TS, every fifth picture a key frame."""
    path = tmp_path_factory.mktemp("ts") / "second.ts"
    options = {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
    return media.write_clip(path, media.pattern(25, 64, 48), codec="libx264", options=options).read_bytes()


def test_a_live_playlist_is_given_out_at_its_own_pace(web: ThreadingHTTPServer, transport_stream: bytes) -> None:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
    lines += [f"#EXTINF:1.0,\n{number}.ts" for number in range(3)]
    web.pages["/live.m3u8"] = "\n".join([*lines, ""]).encode()
    web.pages |= {f"/{number}.ts": transport_stream for number in range(3)}
    clock = FakeClock()
    with NetworkSource(address(web, "/live.m3u8"), clock=clock) as source:
        assert source.info.live
        frames = list(itertools.islice(source.items(), 20))
    assert [frame.pts for frame in frames] == [index * 3600 for index in range(20)]
    assert [frame.arrived for frame in frames] == pytest.approx([index * 0.04 for index in range(20)])


def test_sound_of_a_live_playlist_stays_with_its_pictures(web: ThreadingHTTPServer, tmp_path: Path) -> None:
    whole = tmp_path / "whole.m3u8"
    with av.open(str(whole), "w", format="hls", container_options={"hls_time": "1"}) as output:
        media.write_flashes(output, 75, video_codec="libx264", sound_codec="aac", rate=48_000)
    # A server's playlist of what is still going on has no end.
    web.pages["/live.m3u8"] = whole.read_bytes().replace(b"#EXT-X-ENDLIST", b"")
    web.pages |= {f"/{path.name}": path.read_bytes() for path in tmp_path.glob("*.ts")}
    with NetworkSource(address(web, "/live.m3u8"), clock=FakeClock()) as source:
        assert [stream.codec for stream in source.info.streams] == ["aac"]
        with RecordingSink(tmp_path / "live.mp4", **facts(source), options=EncoderOptions(threads=1)) as sink:
            frames = 0
            for item in source.items():
                sink.write(item)
                frames += isinstance(item, Frame)
                if frames == 60:
                    break
    assert in_step(moments_in(tmp_path / "live.mp4"), count=2)


def facts(source: NetworkSource) -> dict[str, Any]:
    info = source.info
    return {"info": info, "width": info.width, "height": info.height, "format": info.format}


def test_a_film_over_http_has_its_sound(web: ThreadingHTTPServer, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "film.mkv"), "w") as output:
        media.write_flashes(output, 50, video_codec="libx264", sound_codec="aac", rate=48_000)
    web.pages["/film.mkv"] = (tmp_path / "film.mkv").read_bytes()
    with NetworkSource(address(web, "/film.mkv")) as source, FileSink(tmp_path / "copy.mp4", **facts(source)) as sink:
        for item in source.items():
            sink.write(item)
    assert in_step(moments_in(tmp_path / "copy.mp4"), count=2)


def test_the_end_of_a_tcp_stream_is_a_disconnect(no_leaks: None, transport_stream: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                with client, suppress(OSError):
                    client.sendall(transport_stream)

        server = threading.Thread(target=serve)
        server.start()
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with NetworkSource(url, backoff=Backoff(first_seconds=0.02)) as source:
            frames = source.items()
            seen = until(frames, is_marked)
            assert rises(seen)
            assert len(seen) >= 20
        server.join(PATIENCE_SECONDS)


def test_datagrams_that_stop_and_come_again(no_leaks: None, transport_stream: bytes) -> None:
    sending, ended = threading.Event(), threading.Event()
    # Held throughout, so that nobody else gets the port; datagrams go to who was bound last, which is FFmpeg.
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = held.getsockname()[1]

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for start in itertools.cycle(range(0, len(transport_stream), 1316)):
                sending.wait(PATIENCE_SECONDS)
                if ended.wait(0.01):
                    return
                sock.sendto(transport_stream[start : start + 1316], ("127.0.0.1", port))

    sender = threading.Thread(target=send)
    sender.start()
    sending.set()
    patience = {"stall_timeout_seconds": 0.5, "backoff": Backoff(first_seconds=0.02)}
    try:
        with NetworkSource(f"udp://127.0.0.1:{port}?reuse=1", **patience) as source:
            frames = source.items()
            take(frames, 3)
            sending.clear()
            threading.Timer(1.0, sending.set).start()
            assert rises(until(frames, lambda _: source.status.reconnects > 0))
            assert source.status.stalls >= 1
    finally:
        ended.set()
        sending.set()
        sender.join(PATIENCE_SECONDS)
        held.close()


def test_a_page_that_is_no_video(web: ThreadingHTTPServer, tmp_path: Path) -> None:
    web.pages["/page"] = b"<html>no video here</html>" * 50
    with pytest.raises(SourceError):
        NetworkSource(address(web, "/page"))
    sound = media.write_clip(tmp_path / "both.mkv", media.pattern(2, 32, 32), sound_seconds=0.1)
    with av.open(str(sound)) as both, av.open(str(tmp_path / "sound.mkv"), "w") as output:
        copy = output.add_stream_from_template(both.streams.audio[0])
        for packet in both.demux(both.streams.audio[0]):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    web.pages["/sound.mkv"] = (tmp_path / "sound.mkv").read_bytes()
    with pytest.raises(NoVideoError, match="no video"):
        NetworkSource(address(web, "/sound.mkv"))


def test_a_playlist_cannot_read_files(web: ThreadingHTTPServer, tmp_path: Path) -> None:
    segment = media.write_clip(
        tmp_path / "secret.ts", media.pattern(10, 64, 48), codec="libx264", options={"preset": "ultrafast"}
    )
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\n"
    web.pages["/mine.m3u8"] = f"{head}file://{segment}\n#EXT-X-ENDLIST\n".encode()
    web.pages["/own.m3u8"] = f"{head}own.ts\n#EXT-X-ENDLIST\n".encode()
    web.pages["/own.ts"] = segment.read_bytes()
    with NetworkSource(address(web, "/own.m3u8")) as source:
        assert len(list(source)) == 10
    with pytest.raises(SourceError):
        NetworkSource(address(web, "/mine.m3u8"), stall_timeout_seconds=1)
