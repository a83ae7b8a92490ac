"""The sound of a live input: which stream it is, packets that outlive their connection, and their place in time.

A connection is closed while its packets still wait in queues, and what it knew of its streams goes with it. So packets
are copied, and named after a stream that is kept for as long as somebody knows of it.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream

from streams.frame import Packet
from streams.sources.anchor import LIVE_TIME_BASE, Anchor, SoundAnchor
from streams.sources.base import StreamInfo

log = logging.getLogger(__name__)

# By their numbers in the configuration of an AAC decoder (ISO/IEC 14496-3).
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_LOW_COMPLEXITY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPacket:
    """Coded sound as a session gives it out.

    Attributes:
        payload: a packet that belongs to no stream, of raw data as in a file; pts and time base are the stream's.
    """

    payload: Any


class Microphone:
    """The sound stream of an open input.

    Attributes:
        stream: the ``av`` stream to demux.
        info: what sinks have to know; its template stays valid when the input is closed.
    """

    def __init__(self, stream: AudioStream) -> None:
        self.stream = stream
        self._kind: tuple[int, int] | None = None
        self._told = False
        context = stream.codec_context
        self._has_headers = context.codec.canonical_name == "aac" and not context.extradata
        self.info = StreamInfo(
            index=stream.index,
            kind="audio",
            codec=context.codec.canonical_name,
            language=stream.language if stream.language != "und" else None,
            template=_lasting(stream, _aac_configuration(context) if self._has_headers else None),
        )

    @classmethod
    def beside(cls, video: Any, *, name: str) -> Microphone | None:
        """The one that goes with a video stream; None where there is none, or none that can be passed on.

        Args:
            video: a stream of the open input.
            name: of the input in messages.
        """
        stream = video.container.streams.best("audio", related=video)
        if stream is None:
            return None
        context = stream.codec_context
        if context is None or not context.sample_rate or not context.layout.nb_channels:
            log.info("%s: what its sound is cannot be told, and it is left out", name)
            return None
        try:
            return cls(stream)
        except (av.FFmpegError, ValueError) as error:
            log.info("%s: its sound is left out: %s", name, error)
            return None

    def take(self, packet: av.Packet[Any]) -> list[SoundPacket]:
        """What a packet of :attr:`stream` holds; nothing if it is empty."""
        data = bytes(packet)
        if self._has_headers:
            if self._is_other(data):
                return []
            data = data[_header_size(data) :]
        if not data:
            return []
        own: Any = av.Packet(data)
        own.pts = own.dts = packet.pts if packet.pts is not None else packet.dts
        own.time_base, own.duration, own.is_keyframe = packet.time_base, packet.duration or 0, True
        return [SoundPacket(payload=own)]

    def _is_other(self, data: bytes) -> bool:
        """Whether a packet is not as the first was, and so not as its receivers were told."""
        if not _header_size(data):
            return False
        # Its profile, rate and channels.
        kind = (data[2] & 0xFD, data[3] & 0xC0)
        self._kind = self._kind or kind
        if kind != self._kind and not self._told:
            self._told = True
            log.warning("the sound has another rate or other channels now, and is left out until it is as before")
        return kind != self._kind


class Hearing:
    """Puts the sound of one connection after another onto the clock of the pictures, as packets of one stream.

    Args:
        pictures: their clock.
        name: of the input in messages.
        wanted: otherwise every packet is left out.
    """

    def __init__(self, pictures: Anchor, *, name: str, wanted: bool = True) -> None:
        self._anchor = SoundAnchor(pictures)
        self._name, self._wanted = name, wanted
        self._stream: StreamInfo | None = None
        self._settled = self._told = self._open = self._told_astray = False

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """The one stream, or nothing."""
        return (self._stream,) if self._stream is not None else ()

    def connected(self, sound: StreamInfo | None) -> None:
        """A new connection has begun. Only sound as the first connection had it can be passed on."""
        self._anchor.restart()
        if not self._settled:
            self._stream, self._settled = sound if self._wanted else None, True
        self._open = self._stream is not None and sound is not None and _alike(self._stream, sound)
        if self._wanted and sound is not None and not self._open and not self._told:
            self._told = True
            what = f"is no more {_words(self._stream)} but" if self._stream is not None else "came late, as"
            log.warning("%s: its sound %s %s: it is left out; start anew to have it", self._name, what, _words(sound))

    def place(self, sound: SoundPacket, *, arrived: float) -> Packet | None:
        """The packet at its place on the clock of the pictures; None if it has none."""
        if not self._open or self._stream is None:
            return None
        payload = sound.payload
        base = Fraction(payload.time_base or 0)
        seconds = None if payload.pts is None else float(payload.pts * base)
        length = float(payload.duration * base)
        pts = self._anchor.place(seconds, length_seconds=length, arrived=arrived)
        if self._anchor.astray and not self._told_astray:
            self._told_astray = True
            log.warning("%s: sound and pictures have different clocks; the sound is placed as it comes", self._name)
        if pts is None:
            return None
        payload.pts = payload.dts = pts
        payload.time_base, payload.duration = LIVE_TIME_BASE, round(length / LIVE_TIME_BASE)
        payload.stream = self._stream.template
        return Packet(stream=self._stream.index, payload=payload)


def _lasting(stream: AudioStream, configuration: bytes | None) -> Any:
    """A stream of the same parameters that depends on no input; with ``configuration`` for its decoder."""
    # A format that takes streams of every kind.
    output = av.open(io.BytesIO(), "w", format="mpegts")
    copy = output.add_stream_from_template(stream, opaque=True)
    if configuration is not None:
        copy.codec_context.extradata = configuration
        # Only now the parameters that others copy are made from those of the codec.
        output.start_encoding()
    return copy


def _aac_configuration(context: Any) -> bytes:
    """What an AAC decoder is told where each packet says it itself, in a header, and is to say it no more."""
    halved = "HE-AAC" in (context.profile or "")
    rate = context.sample_rate // 2 if halved else context.sample_rate
    if rate not in _AAC_RATES:
        raise ValueError(f"got AAC of {rate} Hz, which has no number")
    channels = 1 if context.profile == "HE-AACv2" else context.layout.nb_channels
    bits = _AAC_LOW_COMPLEXITY << 11 | _AAC_RATES.index(rate) << 7 | min(channels, 7) << 3
    return bits.to_bytes(2, "big")


def _header_size(data: bytes) -> int:
    """How long the ADTS header of an AAC packet is; 0 if it has none."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return 0
    return 7 if data[1] & 1 else 9


def _alike(one: StreamInfo, other: StreamInfo) -> bool:
    """Whether packets of one stream can follow those of the other."""
    return _facts(one) == _facts(other)


def _facts(stream: StreamInfo) -> tuple[Any, ...]:
    context = stream.template.codec_context
    return stream.codec, context.sample_rate, context.layout.nb_channels, context.extradata


def _words(stream: StreamInfo) -> str:
    context = stream.template.codec_context
    return f"{stream.codec}, {context.sample_rate} Hz, {context.layout.name}"
