"""A USB camera in software: what it says and sends goes to the kernel's own drivers by USB/IP (vhci_hcd, uvcvideo).

It speaks UVC 1.0 with a bulk endpoint, as a camera with USB 2 does: uncoded pictures large and slow or small and fast,
MJPEG in both sizes and fast. Unplugged and plugged in it is for the kernel what it is for a real one.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import av
import media

NAME = "Stand-in Camera"
SMALL, LARGE = (320, 240), (1280, 720)
_PICTURES = 4

_VHCI = Path("/sys/devices/platform/vhci_hcd.0")
_HIGH_SPEED = 3
_BUSY_SECONDS = 30.0
_DEVICE_ID = 1
_ECONNRESET, _EPIPE = -104, -32
# USB/IP: what the kernel asks and how it is answered, 48 bytes each.
_SUBMIT, _UNLINK, _SUBMITTED, _UNLINKED = 1, 2, 3, 4
_HEAD, _ASKED, _ANSWERED = struct.Struct(">5I"), struct.Struct(">IiiiI8s"), struct.Struct(">iiiii8x")
# Requests of USB and of UVC.
_GET_STATUS, _GET_DESCRIPTOR, _GET_CONFIGURATION, _GET_INTERFACE = 0, 6, 8, 10
_SET_CUR, _GET_LEN, _GET_INFO = 1, 0x85, 0x86
_PROBE, _COMMIT = 1, 2
_STREAMING = 1
_ENDPOINT = 0x81
_PAYLOAD = 16 * 1024
_TICKS = 10_000_000
"""UVC counts in units of 100 ns."""


@dataclass(frozen=True, slots=True)
class Format:
    """What the camera offers in one encoding: sizes, each with its rate."""

    encoding: str
    frames: tuple[tuple[tuple[int, int], int], ...]


FORMATS = (Format("yuyv422", ((SMALL, 15), (LARGE, 2))), Format("mjpeg", ((SMALL, 15), (LARGE, 15))))


def _pictures(encoding: str, size: tuple[int, int]) -> list[bytes]:
    """What is sent again and again."""
    shown = media.pattern(_PICTURES, *size)
    if encoding != "mjpeg":
        return [picture.reformat(format=encoding).to_ndarray().tobytes() for picture in shown]
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt, context.time_base = *size, "yuvj420p", media.TICK
    coded = [context.encode(picture.reformat(format="yuvj420p")) for picture in shown]
    return [bytes(packet) for packets in coded for packet in packets]


def _block(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([len(body) + 1]) + body


def _frame(index: int, size: tuple[int, int], rate: int, *, kind: int) -> bytes:
    width, height = size
    interval, pixels = _TICKS // rate, width * height * 2
    facts = struct.pack("<BBHHIIIIBI", index, 0, width, height, 1, pixels * rate * 8, pixels, interval, 1, interval)
    return _block(bytes([0x24, kind]), facts)


def _format(index: int, offered: Format) -> bytes:
    count, raw = len(offered.frames), offered.encoding != "mjpeg"
    if raw:
        guid = b"YUY2\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
        head = _block(bytes([0x24, 4, index, count]), guid, bytes([16, 1, 0, 0, 0, 0]))
    else:
        head = _block(bytes([0x24, 6, index, count, 1, 1, 0, 0, 0, 0]))
    frames = [_frame(number, *frame, kind=5 if raw else 7) for number, frame in enumerate(offered.frames, 1)]
    return head + b"".join(frames) + _block(bytes([0x24, 13, 1, 1, 4]))


def _configuration() -> bytes:
    terminals = _block(struct.pack("<BBBHBBHHHB3x", 0x24, 2, 1, 0x0201, 0, 0, 0, 0, 0, 3))
    terminals += _block(struct.pack("<BBBHBBB", 0x24, 3, 2, 0x0101, 0, 1, 0))
    control = _block(struct.pack("<BBHHIBB", 0x24, 1, 0x0100, 13 + len(terminals), 6_000_000, 1, _STREAMING))
    formats = b"".join(_format(index, offered) for index, offered in enumerate(FORMATS, 1))
    size = 13 + len(FORMATS) + len(formats)
    count = len(FORMATS)
    streaming = _block(struct.pack("<BBBHBBBBBBB", 0x24, 1, count, size, _ENDPOINT, 0, 2, 0, 0, 0, 1), bytes(count))
    body = (
        _block(bytes([11, 0, 2, 0x0E, 3, 0, 0]))
        + _block(bytes([4, 0, 0, 0, 0x0E, 1, 0, 0]))
        + control
        + terminals
        + _block(bytes([4, _STREAMING, 0, 1, 0x0E, 2, 0, 0]))
        + streaming
        + formats
        + _block(struct.pack("<BBBHB", 5, _ENDPOINT, 2, 512, 0))
    )
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 250) + body


_DEVICE = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0102, 0x0100, 0, 1, 0, 1)
_STRINGS = {0: b"\x04\x03\x09\x04", 1: _block(b"\3", NAME.encode("utf-16-le"))}


class UsbCamera:
    """Plugged in from the moment it is made; :meth:`unplug` and :meth:`plug` as often as one likes.

    Attributes to set at any time:
        frozen: it sends nothing, and says nothing about that.
    """

    def __init__(self) -> None:
        self.frozen = False
        self._chosen = self._negotiated(1, 1)
        self._coded = {
            (offered.encoding, size): _pictures(offered.encoding, size)
            for offered in FORMATS
            for size, _ in offered.frames
        }
        self._lock = threading.Lock()
        self._plug: socket.socket | None = None
        self.plug()

    @property
    def node(self) -> Path | None:
        """Where the kernel shows its pictures: ``/dev/videoN``; None while there is none."""
        for found in sorted(Path("/sys/class/video4linux").glob("video*")):
            with suppress(OSError):
                if NAME in (found / "name").read_text() and (found / "index").read_text().strip() == "0":
                    return Path("/dev", found.name)
        return None

    def plug(self) -> None:
        ours, theirs = socket.socketpair()
        self._plug, self._waiting = ours, list[tuple[int, int]]()
        self._thread = threading.Thread(target=self._serve, args=(ours,), daemon=True)
        self._thread.start()
        self._sender = threading.Thread(target=self._send, args=(ours,), daemon=True)
        self._sender.start()
        with theirs:
            self._attach(theirs)

    def unplug(self) -> None:
        plug, self._plug = self._plug, None
        if plug is not None:
            plug.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._sender.join()
            plug.close()

    def _attach(self, theirs: socket.socket) -> None:
        """Hand a plug to the kernel, which may still be busy with the end of the last one."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                (_VHCI / "attach").write_text(f"0 {theirs.fileno()} {_DEVICE_ID} {_HIGH_SPEED}")
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def _serve(self, plug: socket.socket) -> None:
        """Answer the kernel until it is unplugged."""
        with suppress(OSError, EOFError), plug.makefile("rb") as asked:
            while True:
                command, number, _, inward, endpoint = _HEAD.unpack(_exactly(asked, _HEAD.size))
                flags, length, _, _, _, setup = _ASKED.unpack(_exactly(asked, _ASKED.size))
                if command == _UNLINK:
                    self._forget(plug, number, flags)
                    continue
                data = b"" if inward else _exactly(asked, length)
                if endpoint:
                    with self._lock:
                        self._waiting.append((number, length))
                    continue
                answer = self._control(setup, data)
                with self._lock:
                    if answer is None or inward:
                        _answer(plug, number, answer if answer is None else answer[:length])
                    else:
                        _answer(plug, number, taken=len(data))

    def _forget(self, plug: socket.socket, number: int, unlinked: int) -> None:
        with self._lock:
            pending = [each for each in self._waiting if each[0] != unlinked]
            status = _ECONNRESET if len(pending) < len(self._waiting) else 0
            self._waiting = pending
            plug.sendall(_HEAD.pack(_UNLINKED, number, 0, 0, 0) + _ANSWERED.pack(status, 0, 0, 0, 0))

    def _control(self, setup: bytes, data: bytes) -> bytes | None:
        """The answer to a request; None where there is no such request."""
        kind, request, value, index, _ = struct.unpack("<BBHHH", setup)
        if kind & 0x60 == 0x20:
            return self._of_class(request, value >> 8, index, data)
        if request == _GET_DESCRIPTOR:
            known = {1: _DEVICE, 2: _configuration(), 3: _STRINGS.get(value & 0xFF)}
            return known.get(value >> 8)
        return {_GET_STATUS: b"\0\0", _GET_CONFIGURATION: b"\1", _GET_INTERFACE: b"\0"}.get(request, b"")

    def _of_class(self, request: int, selector: int, index: int, data: bytes) -> bytes | None:
        if index != _STREAMING or selector not in (_PROBE, _COMMIT):
            return None
        if request == _SET_CUR:
            self._chosen = self._negotiated(*struct.unpack_from("<xxBB", data))
            return b""
        return {_GET_LEN: struct.pack("<H", len(self._chosen)), _GET_INFO: b"\3"}.get(request, self._chosen)

    def _negotiated(self, form: int, frame: int) -> bytes:
        form = min(max(form, 1), len(FORMATS))
        frame = min(max(frame, 1), len(FORMATS[form - 1].frames))
        (width, height), rate = FORMATS[form - 1].frames[frame - 1]
        return struct.pack("<HBBI5H2I", 0, form, frame, _TICKS // rate, 0, 0, 0, 0, 0, width * height * 2, _PAYLOAD)

    def _send(self, plug: socket.socket) -> None:
        """Send pictures at their rate whenever the kernel waits for some."""
        with suppress(OSError):
            for count in itertools.count():
                form, frame = struct.unpack_from("<xxBB", self._chosen)
                size, rate = FORMATS[form - 1].frames[frame - 1]
                pictures = self._coded[FORMATS[form - 1].encoding, size]
                time.sleep(1 / rate)
                if self._plug is not plug:
                    return
                if not self.frozen and self._waiting:
                    self._send_picture(plug, pictures[count % len(pictures)], parity=count % 2)

    def _send_picture(self, plug: socket.socket, picture: bytes, *, parity: int) -> None:
        room = _PAYLOAD - 2
        for start in range(0, len(picture), room):
            ends = start + room >= len(picture)
            head = bytes([2, 0x80 | parity | (2 if ends else 0)])
            while not self._waiting:
                if self._plug is not plug:
                    return
                time.sleep(0.001)
            with self._lock:
                if not self._waiting:
                    return  # it was taken back: nobody looks any more
                number, length = self._waiting.pop(0)
                _answer(plug, number, (head + picture[start : start + room])[:length])


def _answer(plug: socket.socket, number: int, data: bytes | None = b"", *, taken: int = 0) -> None:
    """Give what was asked for, or say how much of what came was taken; None: there is no such thing."""
    status, count = (_EPIPE, 0) if data is None else (0, len(data) or taken)
    head = _HEAD.pack(_SUBMITTED, number, 0, 0, 0) + _ANSWERED.pack(status, count, 0, 0, 0)
    plug.sendall(head + (data or b""))


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data
