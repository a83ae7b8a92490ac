"""Peers for network outputs: one that receives with PyAV, and ones that misbehave."""

from __future__ import annotations

import itertools
import json
import os
import queue
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

LONG = 60.0
"""Seconds; more than anything here takes on any machine."""

_NUMBERS = itertools.cycle(range(100))

_RECEIVE = """
import json, sys, av
url, form, options = json.loads(sys.argv[1])
with av.open(url, format=form, options=options, timeout=(60, 60)) as source:
    for packet in source.demux(video=0):
        if packet.size:
            print(packet.pts, packet.time_base, int(packet.is_keyframe), end=" ")
            for picture in packet.decode():
                print(picture.width, picture.height, end=" ")
            print(flush=True)
"""


class Got(NamedTuple):
    """A packet that arrived, and the size of the picture in it."""

    seconds: Fraction
    key: bool
    size: tuple[int, int] | None


class Receiver:
    """A process that receives video at an address and says what came."""

    def __init__(self, scheme: str, port: int) -> None:
        self.url = f"{scheme}://127.0.0.1:{port}" + {"rtsp": "/live", "rtmp": "/live/key"}.get(scheme, "")
        self.got: queue.Queue[Got] = queue.Queue()
        source, form, options = {
            "rtsp": (self.url, "rtsp", {"rtsp_flags": "listen", "listen_timeout": "60", "probesize": "32"}),
            "rtmp": (self.url, "flv", {"listen": "1", "timeout": "60"}),
            "tcp": (f"{self.url}?listen=1&listen_timeout=60000", "mpegts", {}),
            "udp": (f"{self.url}?timeout=60000000", "mpegts", {}),
        }[scheme]
        arguments = [sys.executable, "-c", _RECEIVE, json.dumps([source, form, options])]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def end(self) -> None:
        """Be gone."""
        self._process.kill()
        self._process.wait()
        self._reader.join(LONG)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            pts, base, key, *size = line.split()
            if pts != "None":
                shape = (int(size[0]), int(size[1])) if size else None
                self.got.put(Got(int(pts) * Fraction(base), key == "1", shape))


@contextmanager
def receiver(scheme: str, port: int) -> Iterator[Receiver]:
    peer = Receiver(scheme, port)
    try:
        yield peer
    finally:
        peer.end()


@contextmanager
def server(serve: Callable[[socket.socket], None], *, port: int = 0) -> Iterator[int]:
    """A TCP port at which every connection is handed to ``serve``, one after the other, and then closed."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Who stops reading is noticed once this is full.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    current: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listening.accept()
                current[:] = [peer]
                with peer, suppress(OSError):
                    serve(peer)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for peer in current:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        thread.join(LONG)


def read_all(peer: socket.socket) -> None:
    """Take everything until the end."""
    while peer.recv(1 << 16):
        pass


def read_nothing(peer: socket.socket) -> None:
    """Take the connection, and not a byte; ends when the peer or the server does."""
    poll = select.poll()
    poll.register(peer, select.POLLHUP | select.POLLRDHUP)
    poll.poll(LONG * 1000)


def rtsp_answers(peer: socket.socket, status: str, *, until: str = "") -> None:
    """Answer RTSP requests with ``status``, up to one of the kind ``until`` inclusive."""
    text = b""
    while got := peer.recv(1 << 16):
        text += got
        while (parts := _split_request(text)) is not None:
            request, text = parts
            number = next(line for line in request.splitlines() if line.lower().startswith("cseq"))
            more = 'WWW-Authenticate: Basic realm="x"' if status.startswith("401") else _session(request)
            peer.sendall(f"RTSP/1.0 {status}\r\n{number}\r\n{more}\r\n\r\n".encode())
            if until and request.startswith(until):
                return


def _session(request: str) -> str:
    lines = [line for line in request.splitlines() if line.lower().startswith("transport")]
    return "\r\n".join(["Session: 1", *lines])


def _split_request(text: bytes) -> tuple[str, bytes] | None:
    """The first whole request with its body, and what is behind it."""
    head, end, rest = text.partition(b"\r\n\r\n")
    if not end:
        return None
    sizes = [line for line in head.lower().splitlines() if line.startswith(b"content-length")]
    size = int(sizes[0].partition(b":")[2]) if sizes else 0
    return (head.decode(), rest[size:]) if len(rest) >= size else None


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """For who listens later and cannot say where: below the ports that systems give out, in a part of this process."""
    while True:
        port = 10_000 + os.getpid() % 200 * 100 + next(_NUMBERS)
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def pushers(parent: int | None = None) -> list[int]:
    """Processes that send for us, or for another process."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(entry.name)
            if b"streams.push" not in (entry / "cmdline").read_bytes():
                continue
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == (parent or os.getpid()):
                found.append(pid)
    return found
