"""Video over a network: RTSP, RTMP, HTTP (HLS among it), and MPEG-TS or the like over UDP and TCP."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import av
from av.stream import Discard
from av.video.stream import VideoStream

from streams.errors import AccessDeniedError, NoVideoError, SourceError, SourceLostError, SourceNotFoundError
from streams.redact import Address, RedactingFilter, redact, scrub
from streams.sources.connection import Event, Sign, Traits
from streams.sources.live import LiveSource
from streams.sources.probe import codec_name, nominal_rate
from streams.sources.sound import Microphone
from streams.sources.status import Patience

log = logging.getLogger(__name__)

Transport = Literal["tcp", "udp", "http"]

_GRACE_SECONDS = 0.5
"""How much longer FFmpeg waits for data than whoever wants the pictures: he is to be the one who tells a stall, and a
connection is useless after a read that FFmpeg gave up, which may have stopped in the middle of a packet."""
_HLS_LULL_SECONDS = 30.0
"""An HLS server is asked again when a segment should be ready; they are ten seconds long, and may be late."""
_HIGHEST_RATE = 1000
_NO_TIMESTAMPS = 0x80
"""AVFMT_NOTIMESTAMPS: what FFmpeg says of such formats' times is a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How one scheme is read.

    Attributes:
        protocols: all that FFmpeg may use for it: never files, whatever a playlist or a redirection says.
        options: of FFmpeg.
    """

    protocols: str
    options: Mapping[str, str] = field(default_factory=dict)


# A probe of five seconds, FFmpeg's default, is five seconds of delay at every connection.
_SHORT_PROBE = {"probesize": "1000000", "analyzeduration": "1000000"}
# The parameters of an RTSP stream come with its description. Its times are counted on where their 32 bits are full; if
# FFmpeg takes a step back for that once more, it moves pictures and sound by different times.
_RTSP = _Kind(
    protocols="rtp,udp,tcp,http,httpproxy",
    options={"probesize": "32", "max_delay": "200000", "correct_ts_overflow": "0"},
)
_RTSPS = _Kind(protocols="rtp,srtp,udp,tcp,tls,crypto", options=_RTSP.options)
_WEB = _Kind(protocols="http,https,tls,tcp,httpproxy,crypto,data", options=_SHORT_PROBE)
_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "rtsp": _RTSP,
        "rtsps": _RTSPS,
        "rtmp": _Kind(protocols="rtmp,tcp", options=_SHORT_PROBE),
        "rtmps": _Kind(protocols="rtmps,rtmp,tls,tcp", options=_SHORT_PROBE),
        "http": _WEB,
        "https": _WEB,
        "udp": _Kind(protocols="udp", options={**_SHORT_PROBE, "overrun_nonfatal": "1"}),
        "tcp": _Kind(protocols="tcp", options=_SHORT_PROBE),
    }
)
NETWORK_SCHEMES = tuple(_KINDS)
"""What :class:`NetworkSource` opens."""

_TIMED_OUT = (av.error.ExitError, av.error.TimeoutError)
_MEANINGS: Sequence[tuple[type[BaseException] | tuple[type[BaseException], ...], type[SourceError], str]] = (
    (
        av.error.HTTPUnauthorizedError,
        AccessDeniedError,
        "name or password is missing or wrong (401); give them as in rtsp://NAME:PASSWORD@HOST",
    ),
    (
        av.error.HTTPForbiddenError,
        AccessDeniedError,
        "the server forbids it (403); check the rights of this name there",
    ),
    (av.error.HTTPNotFoundError, SourceNotFoundError, "the server has no such stream (404); check the path"),
    (_TIMED_OUT, SourceLostError, "no answer in time; check the host, the port and the network"),
    (ConnectionRefusedError, SourceLostError, "nothing listens there (connection refused); check host and port"),
    (
        av.error.ProtocolNotFoundError,
        SourceError,
        "leads to a protocol that is not allowed there, or that this FFmpeg does not know",
    ),
)

# FFmpeg's own lines hold addresses. Nobody hears them unless he asks PyAV for them, and then without passwords.
_FFMPEG_LOGGERS = (*NETWORK_SCHEMES, "rtp", "tls", "hls", "sdp", "generic", "mpegts", "flv", "httpproxy", "crypto")
for _name in _FFMPEG_LOGGERS:
    logging.getLogger(f"libav.{_name}").addFilter(RedactingFilter())


class NetworkSource(LiveSource):
    """Video from an address, with retries: see :class:`streams.sources.live.LiveSource`.

    What the server says has an end (a film over HTTP) is none that goes on for ever: its end ends the iteration, and
    ``info.live`` is false. HLS and other lumpy inputs are given out at their own pace.

    Args:
        url: ``rtsp://``, ``rtsps://``, ``rtmp://``, ``rtmps://``, ``http://``, ``https://``, ``udp://`` or ``tcp://``.
        transport: how RTSP carries pictures: ``"tcp"`` loses none; ``"udp"`` is for servers that offer nothing else,
            ``"http"`` for a way through a proxy.
        options: of :class:`streams.sources.status.Patience` and of ``LiveSource``.

    Raises:
        SourceError: for another scheme, no host, or as ``LiveSource``.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: Transport = "tcp",
        open_timeout_seconds: float = 5.0,
        stall_timeout_seconds: float = 5.0,
        max_retries: int | None = None,
        wait: bool = False,
        **options: Any,
    ) -> None:
        if transport not in get_args(Transport):
            raise SourceError(f"got transport {transport!r}, allowed are {', '.join(get_args(Transport))}")
        patience = Patience(
            open_timeout_seconds=open_timeout_seconds,
            stall_timeout_seconds=stall_timeout_seconds,
            max_retries=max_retries,
            wait=wait,
        )
        address = Address(url)
        kind = _kind_of(address)
        super().__init__(
            lambda: NetworkSession(address, kind, transport=transport, patience=patience),
            name=str(address),
            patience=patience,
            **options,
        )


class NetworkSession:
    """One open connection to an address.

    Raises:
        SourceError: as :class:`streams.sources.live.LiveSource`.
    """

    def __init__(self, address: Address, kind: _Kind, *, transport: Transport, patience: Patience) -> None:
        self._address = address
        options = {**kind.options, "protocol_whitelist": kind.protocols}
        parts = urlsplit(address.reveal())
        lull = _HLS_LULL_SECONDS if parts.path.lower().endswith(".m3u8") else 0.0
        read_seconds = max(patience.stall_timeout_seconds, lull) + _GRACE_SECONDS
        if parts.scheme.lower() in {"rtsp", "rtsps"}:
            options["rtsp_transport"] = transport
        try:
            self._container = av.open(
                address.reveal(),
                options=options,
                timeout=(patience.open_timeout_seconds, read_seconds),
                metadata_errors="replace",
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _translate(address, error) from scrub(error)
        try:
            self._stream = self._choose()
            self.traits = self._describe(lull)
        except BaseException:
            self._container.close()
            raise

    def events(self) -> Iterator[Event]:
        """Pictures and sound as they come."""
        microphone = self._microphone
        streams = (self._stream, microphone.stream) if microphone is not None else (self._stream,)
        try:
            for packet in self._container.demux(*streams):
                if microphone is not None and packet.stream_index != self._stream.index:
                    yield from microphone.take(packet)
                    continue
                if packet.size == 0:
                    break
                pictures = self._decode(packet)
                yield from pictures
                if not pictures:
                    yield Sign.ALIVE
        except (av.FFmpegError, OSError) as error:
            raise _translate(self._address, error) from scrub(error)
        yield from self._end()

    def close(self) -> None:
        """Close the connection."""
        self._container.close()

    def _end(self) -> Iterator[av.VideoFrame | Sign]:
        if self.traits.duration_seconds is None:
            raise SourceLostError(f"{self._address}: the other side ended the connection")
        yield from self._decode(None)
        yield Sign.OVER

    def _decode(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        try:
            return self._stream.decode(packet)
        except av.error.EOFError:
            return []
        except (av.FFmpegError, ValueError) as error:
            # Packets that were lost on the way leave those around them damaged.
            log.debug("%s: skipped a packet: %s", self._address, redact(error))
            return []

    def _choose(self) -> VideoStream:
        stream = self._container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise NoVideoError(f"{self._address}: has no video; check the address")
        if stream.codec_context is None:
            raise NoVideoError(f"{self._address}: this FFmpeg has no decoder for its video; choose another codec there")
        self._microphone = microphone = Microphone.beside(stream, name=str(self._address))
        for other in self._container.streams:
            if other.index not in (stream.index, microphone.stream.index if microphone is not None else None):
                other.discard = Discard.all
        return stream

    def _describe(self, lull_seconds: float) -> Traits:
        container, stream = self._container, self._stream
        rate = nominal_rate(stream)
        timed = not int(container.format.flags) & _NO_TIMESTAMPS
        lumpy = urlsplit(self._address.reveal()).scheme.lower() in {"http", "https"}
        duration = container.duration / av.time_base if lumpy and container.duration else None
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        return Traits(
            codec=codec_name(stream),
            rate=rate if timed and rate and rate <= _HIGHEST_RATE else None,
            sample_aspect_ratio=aspect or Fraction(1),
            trusted_times=timed,
            paced=lumpy and duration is None and timed,
            lull_seconds=lull_seconds,
            duration_seconds=duration,
            sound=self._microphone.info if self._microphone is not None else None,
        )


def _kind_of(address: Address) -> _Kind:
    try:
        parts = urlsplit(address.reveal())
    except ValueError as error:
        raise SourceError(f"got {address}, which is no address ({redact(error)})") from scrub(error)
    kind = _KINDS.get(parts.scheme.lower())
    if kind is None:
        raise SourceError(f"got {address}; allowed are {', '.join(f'{scheme}://' for scheme in _KINDS)}")
    if not parts.netloc:
        raise SourceError(f"got {address}, which names no host; try {parts.scheme.lower()}://HOST/PATH")
    return kind


def _translate(address: Address, error: Exception) -> SourceError:
    """What a failure of FFmpeg means for whoever gave the address."""
    for kind, translation, text in _MEANINGS:
        if isinstance(error, kind):
            return translation(f"{address}: {text}")
    reason = redact(getattr(error, "strerror", None) or error)
    if getattr(error, "errno", None) == errno.EIO:
        # FFmpeg's RTMP has no other word for a silence, for a refusal and for an end.
        reason = "nothing came, or the other side broke off"
    return SourceLostError(f"{address}: {reason}; check the address and whether it is sending")
