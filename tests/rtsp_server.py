"""A small RTSP server that fails on demand: H.264 over RTP, interleaved in TCP or over UDP, standard library and PyAV.

It answers what a player asks before it plays (RFC 2326), packs pictures as RFC 6184 says, and speaks no RTCP. Pictures
are encoded once per size and sent again and again: it costs next to nothing while a test waits. With sound (A-law or
µ-law, as from many cameras) a picture a second is white, and as long as it stays there is a beep.
"""

from __future__ import annotations

import base64
import functools
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import av
import media

RATE = 25
_TICKS = 90_000 // RATE
_GOP = 5
_PICTURES = 10
_PAYLOAD = 1200
BEEP_EVERY = 25
SOUND_RATE = 8000
_KINDS = {"PCMU": 0, "PCMA": 8}
_REASONS = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 461: "Unsupported Transport"}


@functools.cache
def coded(width: int, height: int, *, flashes: bool = False) -> tuple[tuple[bytes, ...], ...]:
    """The NAL units of some pictures, of which every fifth can be decoded alone."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = media.TICK, RATE
    context.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(_GOP), "x264-params": "repeat-headers=1"}
    pictures = media.flashes(BEEP_EVERY, width, height) if flashes else media.pattern(_PICTURES, width, height)
    packets = [p for picture in pictures for p in context.encode(picture)]
    packets += context.encode(None)
    return tuple(tuple(nal for nal in re.split(b"\0\0\0?\1", bytes(packet)) if nal) for packet in packets)


def payloads(nals: tuple[bytes, ...]) -> Iterator[tuple[bytes, bool]]:
    """What goes into the RTP packets of one picture, and which is the last."""
    for index, nal in enumerate(nals):
        last = index == len(nals) - 1
        if len(nal) <= _PAYLOAD:
            yield nal, last
            continue
        head, body = nal[0], nal[1:]
        for start in range(0, len(body), _PAYLOAD):
            ends = start + _PAYLOAD >= len(body)
            mark = (0x80 if start == 0 else 0) | (0x40 if ends else 0) | (head & 0x1F)
            yield bytes([(head & 0x60) | 28, mark]) + body[start : start + _PAYLOAD], last and ends


@functools.cache
def coded_sound(name: str) -> tuple[bytes, ...]:
    """Sound for the time of one picture each, of which the first is a beep and the others are silent."""
    codec = {"PCMA": "pcm_alaw", "PCMU": "pcm_mulaw"}[name]
    return tuple(media.telephony(SOUND_RATE // RATE, beep=number == 0, codec=codec) for number in range(BEEP_EVERY))


@dataclass(eq=False)
class _Client:
    sock: socket.socket
    udp: dict[int, tuple[str, int]] = field(default_factory=dict)
    playing: bool = False
    begun: bool = False
    sequence: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})
    last_request: dict[str, str] = field(default_factory=dict)


class RtspServer:
    """Serves ``url`` from the moment it is made until ``stop``; ``start`` serves it again at the same port.

    Attributes to set at any time:
        size: of the pictures.
        frozen: connections stay open, and nothing is sent or answered.
        status: answer DESCRIBE with this instead of 200.
        userinfo: ``"name:password"`` that is asked for, or None.
        loss: how many of the RTP packets to leave out, 0 to 1.
        ticks, ssrc: where the RTP clock stands and who sends; see ``jump``.
        sound: ``"PCMA"`` or ``"PCMU"``, and pictures that go with it; or None.
        muted, blind: the sound, or the pictures, are promised and not sent.
        connections: how many there were.
    """

    def __init__(self, *, width: int = 128, height: int = 96, sound: str | None = None) -> None:
        self.sound = sound
        self.muted = self.blind = False
        self.size = (width, height)
        self.frozen = False
        self.status = 200
        self.userinfo: str | None = None
        self.loss = 0.0
        self.ticks, self.ssrc = 1000, 1
        self.connections = 0
        self._chance = random.Random(0)
        self._port = 0
        self._clients: list[_Client] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._port}/live"

    def start(self) -> None:
        self._running = True
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._spawn(self._accept)
        self._spawn(self._send)

    def stop(self, *, reset: bool = False) -> None:
        """As a killed process: the port is closed, and so are all connections."""
        self._running = False
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop(reset=reset)
        for thread in self._threads:
            thread.join(5)
        self._threads.clear()
        self._udp.close()

    def drop(self, *, reset: bool = False) -> None:
        """End the connections; with ``reset`` by RST, as a router that forgot them does."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            if reset:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                # Wakes the thread that reads it, which closes it.
                client.sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)

    def jump(self, seconds: float) -> None:
        """Go on with another clock under another name, as an encoder that was restarted behind the server does."""
        self.ticks += round(seconds * 90_000)
        self.ssrc += 1

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, work, *arguments) -> None:
        thread = threading.Thread(target=work, args=arguments, name="test-rtsp", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while self._running:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            client = _Client(sock)
            with self._lock:
                self._clients.append(client)
            self._spawn(self._serve, client)

    def _serve(self, client: _Client) -> None:
        with client.sock, suppress(OSError):
            for method, url, headers in _requests(client.sock):
                while self.frozen and self._running:
                    time.sleep(0.02)
                client.sock.sendall(self._answer(client, method, url, headers).encode())
                client.playing |= method == "PLAY"
                if method == "TEARDOWN":
                    break
        with self._lock, suppress(ValueError):
            self._clients.remove(client)

    def _answer(self, client: _Client, method: str, url: str, headers: dict[str, str]) -> str:
        code, lines, body = 200, [f"CSeq: {headers.get('cseq', '0')}"], ""
        if method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif method == "DESCRIBE" and not self._knows(headers):
            code = 401
            lines.append('WWW-Authenticate: Basic realm="test"')
        elif method == "DESCRIBE" and self.status != 200:
            code = self.status
        elif method == "DESCRIBE":
            body = _description(self.sound)
            lines += ["Content-Type: application/sdp", f"Content-Base: {url}/", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            track = int(url.endswith("track1"))
            lines += [f"Transport: {self._transport(client, headers['transport'], track)}", "Session: 1;timeout=60"]
        elif method == "PLAY" and self.sound:
            ticks, base = self.ticks, url.rstrip("/")
            times = ((0, ticks), (1, _sound_ticks(ticks)))
            tracks = ",".join(f"url={base}/track{number};seq=0;rtptime={time & 0xFFFFFFFF}" for number, time in times)
            lines += ["Session: 1", f"RTP-Info: {tracks}"]
        else:
            lines.append("Session: 1")
        return "\r\n".join([f"RTSP/1.0 {code} {_REASONS.get(code, 'Failed')}", *lines, "", body])

    def _knows(self, headers: dict[str, str]) -> bool:
        if self.userinfo is None:
            return True
        return headers.get("authorization") == "Basic " + base64.b64encode(self.userinfo.encode()).decode()

    def _transport(self, client: _Client, wanted: str, track: int) -> str:
        ports = re.search(r"client_port=(\d+)", wanted)
        if "TCP" in wanted or ports is None:
            return f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
        client.udp[track] = ("127.0.0.1", int(ports[1]))
        own = self._udp.getsockname()[1]
        return f"RTP/AVP;unicast;client_port={ports[1]}-{int(ports[1]) + 1};server_port={own}-{own + 1}"

    def _send(self) -> None:
        number, due = 0, time.monotonic()
        while self._running:
            pictures = coded(*self.size, flashes=self.sound is not None)
            number += 1
            if not self.frozen:
                for client in [client for client in self._clients if client.playing]:
                    if not self.blind:
                        self._send_picture(client, pictures[number % len(pictures)], key=number % _GOP == 0)
                    if self.sound and not self.muted:
                        payload = coded_sound(self.sound)[number % BEEP_EVERY]
                        self._send_packet(client, 1, payload, _sound_ticks(self.ticks))
            self.ticks += _TICKS
            due += 1 / RATE
            time.sleep(max(0.0, due - time.monotonic()))

    def _send_picture(self, client: _Client, nals: tuple[bytes, ...], *, key: bool) -> None:
        client.begun |= key
        if not client.begun:
            return
        for payload, last in payloads(nals):
            self._send_packet(client, 0, payload, self.ticks, last=last)

    def _send_packet(self, client: _Client, track: int, payload: bytes, ticks: int, *, last: bool = False) -> None:
        client.sequence[track] = (client.sequence[track] + 1) & 0xFFFF
        kind = (0x80 if last else 0) | (_KINDS[self.sound or "PCMA"] if track else 96)
        ssrc = self.ssrc + 1000 * track
        header = struct.pack(">BBHII", 0x80, kind, client.sequence[track], ticks & 0xFFFFFFFF, ssrc)
        if self._chance.random() < self.loss:
            return
        packet = header + payload
        with suppress(OSError):
            if track in client.udp:
                self._udp.sendto(packet, client.udp[track])
            else:
                client.sock.sendall(struct.pack(">cBH", b"$", 2 * track, len(packet)) + packet)


def _sound_ticks(ticks: int) -> int:
    return ticks * SOUND_RATE // 90_000


def _requests(sock: socket.socket) -> Iterator[tuple[str, str, dict[str, str]]]:
    buffer = b""
    while True:
        if buffer[:1] == b"$" and len(buffer) >= 4:
            # The client's RTCP, between its requests.
            length = 4 + struct.unpack(">H", buffer[2:4])[0]
            if len(buffer) >= length:
                buffer = buffer[length:]
                continue
        elif b"\r\n\r\n" in buffer:
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            method, url, _ = first.split(" ", 2)
            yield method, url, {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
            continue
        received = sock.recv(4096)
        if not received:
            return
        buffer += received


def _description(sound: str | None) -> str:
    lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=test", "t=0 0", "m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000"]
    lines += ["a=fmtp:96 packetization-mode=1", f"a=framerate:{RATE}", "a=control:track0"]
    if sound:
        kind = _KINDS[sound]
        lines += [f"m=audio 0 RTP/AVP {kind}", f"a=rtpmap:{kind} {sound}/{SOUND_RATE}/1", "a=control:track1"]
    return "\r\n".join([*lines, ""])
