"""Cameras: V4L2 on Linux, AVFoundation on macOS, DirectShow on Windows."""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import parse_qs

import av
from av.container import InputContainer

from streams.errors import AccessDeniedError, SourceError, SourceLostError, SourceNotFoundError
from streams.sources.connection import Sign, Traits
from streams.sources.devices import device_format, device_path, list_devices
from streams.sources.live import LiveSource
from streams.sources.probe import codec_name, nominal_rate
from streams.sources.status import Patience

log = logging.getLogger(__name__)

Encoding = Literal["auto", "mjpeg", "raw"]

_POLL_SECONDS = 0.25
_USB2_BYTES_PER_SECOND = 35_000_000
"""What a USB 2 camera can send; above it uncompressed pictures come a few per second, and MJPEG at the full rate."""
_RAW_BYTES_PER_SAMPLE = 2
_USUAL_RATE = 30
_NEARLY = Fraction(9, 10)
_ADDRESS = re.compile(r"(?:webcam(?::(?P<camera>[^?]*))?|(?P<path>/dev/video\d+))(?:\?(?P<query>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Which camera, and what is wanted from it.

    Attributes:
        path, format: what FFmpeg opens, and as what.
        size: (width, height), or None: what the camera stands at.
        rate: pictures per second, or None.
        encoding: compressed or raw pictures; ``"auto"``: whichever comes faster at that size and rate.
    """

    path: str
    format: str
    size: tuple[int, int] | None = None
    rate: Fraction | None = None
    encoding: Encoding = "auto"

    def attempts(self) -> Sequence[Mapping[str, str]]:
        """FFmpeg's options to try, the best first."""
        common = {}
        if self.size is not None:
            common["video_size"] = "{}x{}".format(*self.size)
        if self.rate is not None:
            common["framerate"] = str(self.rate)
        # The other systems' inputs have no such choice, or under other names.
        compressed = {**common, "input_format": "mjpeg"} if self.format == "v4l2" else {**common, "vcodec": "mjpeg"}
        if self.encoding == "raw" or self.format == "avfoundation":
            return [common]
        if self.encoding == "mjpeg":
            return [compressed]
        if self.size is None:
            return [common]
        needed = self.size[0] * self.size[1] * _RAW_BYTES_PER_SAMPLE * (self.rate or _USUAL_RATE)
        return [compressed, common] if needed > _USB2_BYTES_PER_SECOND else [common, compressed]


def is_webcam(url: str) -> bool:
    """Whether an address means a camera."""
    return _ADDRESS.fullmatch(url) is not None


def parse_camera(url: str, *, platform: str = sys.platform, **wanted: Any) -> Camera:
    """From an address such as ``webcam``, ``webcam:1?size=1280x720&rate=30&encoding=mjpeg`` or ``/dev/video0``.

    Args:
        url: the address; a camera's own name may stand for its number where the system has such names.
        platform: as :data:`sys.platform`.
        wanted: ``size`` (``"1280x720"``), ``rate`` and ``encoding``, each before what the address says.

    Raises:
        SourceError: for an option that does not exist or a value that is none.
    """
    found = _ADDRESS.fullmatch(url)
    if found is None:
        raise SourceError(f"got {url!r}, which names no camera; try webcam:0 or /dev/video0")
    options = {name: values[-1] for name, values in parse_qs(found["query"] or "").items()}
    options |= {name: str(value) for name, value in wanted.items() if value is not None}
    size, rate, encoding = options.pop("size", ""), options.pop("rate", ""), options.pop("encoding", "auto")
    if options:
        raise SourceError(f"got {', '.join(options)} for {url!r}; allowed are size, rate, encoding")
    sides = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", size)
    if size and sides is None:
        raise SourceError(f"got size {size!r}, allowed is WIDTHxHEIGHT; try 1280x720")
    if encoding not in get_args(Encoding):
        raise SourceError(f"got encoding {encoding!r}, allowed are {', '.join(get_args(Encoding))}")
    return Camera(
        path=found["path"] or device_path(found["camera"] or "0", platform=platform),
        format=device_format(platform),
        size=(int(sides[1]), int(sides[2])) if sides else None,
        rate=_rate(rate) if rate else None,
        encoding=encoding,
    )


class WebcamSource(LiveSource):
    """The pictures of a camera; unplugged and plugged in again it goes on: see ``LiveSource``.

    Args:
        url: as :func:`parse_camera` reads it.
        size, rate, encoding: likewise. Where the camera does not have the rate, its nearest is taken.
        options: of :class:`streams.sources.status.Patience` and of ``LiveSource``.

    Raises:
        SourceNotFoundError: there is no such camera; the message lists those that there are.
        AccessDeniedError: the user may not open it.
        SourceLostError: another program has it, or it does not answer.
        SourceError: it does not offer what is wanted, or as :func:`parse_camera`.
    """

    def __init__(
        self,
        url: str = "webcam",
        *,
        size: str | None = None,
        rate: Fraction | float | str | None = None,
        encoding: Encoding | None = None,
        open_timeout_seconds: float = 5.0,
        stall_timeout_seconds: float = 3.0,
        max_retries: int | None = None,
        wait: bool = False,
        **options: Any,
    ) -> None:
        patience = Patience(
            open_timeout_seconds=open_timeout_seconds,
            stall_timeout_seconds=stall_timeout_seconds,
            max_retries=max_retries,
            wait=wait,
        )
        camera = parse_camera(url, size=size, rate=rate, encoding=encoding)
        self._known = False
        super().__init__(lambda: self._session(camera), name=camera.path, patience=patience, **options)

    def _session(self, camera: Camera) -> WebcamSession:
        try:
            session = WebcamSession(camera)
        except AccessDeniedError as error:
            # A camera that was just plugged in belongs to root until the system has set its rights.
            if self._known:
                raise SourceLostError(str(error)) from error
            raise
        self._known = True
        return session


class WebcamSession:
    """A camera that is open.

    Raises:
        SourceError: as :class:`WebcamSource`.
    """

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._container = _open(camera)
        try:
            self._stream = self._container.streams.video[0]
            self._descriptor = _unblocked(camera) if camera.format == "v4l2" else None
            rate = nominal_rate(self._stream)
            self.traits = Traits(codec=codec_name(self._stream), rate=rate)
        except BaseException:
            self._container.close()
            raise

    def events(self) -> Iterator[av.VideoFrame | Sign]:
        """Pictures as they come."""
        while True:
            if not self._ready():
                yield Sign.QUIET
                continue
            try:
                for packet in self._container.demux(self._stream):
                    pictures = self._decode(packet)
                    # Its memory is the driver's, and an error's traceback would keep it until after the end of that.
                    del packet
                    yield from pictures
                raise SourceLostError(f"{self._camera.path}: the camera ended its stream")
            except (av.error.BlockingIOError, av.error.ExitError, av.error.TimeoutError):
                yield Sign.QUIET
            except (av.FFmpegError, OSError) as error:
                raise _translate(self._camera, error) from error

    def close(self) -> None:
        """Give the camera back."""
        self._container.close()

    def _ready(self) -> bool:
        if self._descriptor is None:
            # Where there is nothing to wait on, a camera without a new picture says so at once.
            time.sleep(0.002)
            return True
        readable, _, failed = select.select([self._descriptor], [], [self._descriptor], _POLL_SECONDS)
        return bool(readable or failed)

    def _decode(self, packet: av.Packet[Any]) -> list[av.VideoFrame]:
        try:
            pictures = self._stream.decode(packet)
        except (av.error.InvalidDataError, av.error.EOFError) as error:
            log.debug("%s: skipped a picture: %s", self._camera.path, error)
            return []
        if self.traits.codec == "rawvideo":
            # Uncoded pictures lie in the driver's own memory, which is gone with the camera; pictures may stay longer.
            for picture in pictures:
                picture.make_writable()
        return pictures


def _open(camera: Camera) -> InputContainer:
    """The camera in the first encoding that comes at the wanted rate, else in the one that comes nearest."""
    attempts, slower = camera.attempts(), dict[Fraction, Mapping[str, str]]()
    failure: SourceError | None = None
    for options in attempts:
        try:
            container = _attempt(camera, options)
        except SourceError as error:
            number = getattr(error.__cause__, "errno", None)
            if number not in {errno.EINVAL, errno.ENOTTY, errno.EIO, None}:
                raise
            # One that says what the camera has instead came without an error of the driver.
            failure = error if failure is None or number is None else failure
            continue
        rate = nominal_rate(container.streams.video[0])
        if not camera.rate or not rate or rate >= camera.rate * _NEARLY:
            return container
        # As with the size, a driver sets the nearest rate and says nothing.
        log.info("%s: %s gives %.4g pictures a second, wanted are %.4g", camera.path, dict(options), rate, camera.rate)
        if len(attempts) == 1:
            return container
        container.close()
        slower.setdefault(rate, options)
    if slower:
        return _attempt(camera, slower[max(slower)])
    assert failure is not None
    raise failure


def _attempt(camera: Camera, options: Mapping[str, str]) -> InputContainer:
    try:
        container = av.open(camera.path, format=camera.format, options=dict(options), timeout=(None, _POLL_SECONDS))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _translate(camera, error) from error
    # A driver that does not know the size sets the nearest that it knows, and says nothing.
    nearest = (container.streams.video[0].width, container.streams.video[0].height)
    if camera.size in {None, nearest}:
        return container
    container.close()
    raise SourceError(f"{camera.path}: does not offer {_wish(camera)}; the nearest is {nearest[0]}×{nearest[1]}")


def _unblocked(camera: Camera) -> int:
    """The descriptor by which FFmpeg holds the camera, made so that reading it never waits: a driver may, for ever."""
    wanted = os.path.realpath(camera.path)
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if os.path.realpath(entry) == wanted:
                os.set_blocking(int(entry.name), False)
                return int(entry.name)
        except OSError:
            continue
    raise SourceLostError(f"{camera.path}: went away while it was opened")


def _translate(camera: Camera, error: Exception) -> SourceError:
    """What a failure of FFmpeg or of the driver means for whoever gave the address."""
    path, number = camera.path, getattr(error, "errno", None)
    if number == errno.ENOENT:
        known = ", ".join(f"{device.address} ({device.name})" for device in list_devices()) or "none"
        return SourceNotFoundError(f"{path}: there is no such camera; there are: {known}")
    if number in {errno.EACCES, errno.EPERM}:
        return AccessDeniedError(f"{path}: permission denied; join the group that may use cameras (often 'video')")
    if number == errno.EBUSY:
        return SourceLostError(f"{path}: another program uses the camera; close that one")
    if number in {errno.ENODEV, errno.ENXIO}:
        return SourceLostError(f"{path}: the camera was unplugged")
    if number in {errno.EINVAL, errno.ENOTTY}:
        return SourceError(
            f"{path}: does not offer {_wish(camera)}, or is no camera; try another size, rate or encoding"
        )
    return SourceLostError(f"{path}: the camera failed ({getattr(error, 'strerror', None) or error}); plug it in again")


def _wish(camera: Camera) -> str:
    size = "{}×{}".format(*camera.size) if camera.size else "pictures"
    rate = f" at {camera.rate}/s" if camera.rate else ""
    return size + rate + ("" if camera.encoding == "auto" else f" as {camera.encoding}")


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise SourceError(f"got rate {text!r}, allowed are numbers above 0; try 30 or 30000/1001") from error
    if rate <= 0:
        raise SourceError(f"got rate {text!r}, allowed are numbers above 0; try 30")
    return rate
