"""Live video to an address: RTSP, RTMP, and MPEG-TS over UDP or TCP.

Encoding happens here, sending in a process of its own (:mod:`streams.push`), to which only coded packets travel: some
kilobytes a picture through a pipe, where the picture itself would be megabytes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from streams.errors import SinkError, SinkRefusedError
from streams.frame import Frame, Item, PixelFormat
from streams.push import Order
from streams.redact import Address
from streams.sinks.base import Sink
from streams.sinks.containers import Container
from streams.sinks.encoders import EncoderOptions, check_codec
from streams.sinks.output import LiveOutput
from streams.sinks.pusher import Pusher
from streams.sinks.sound import only_best_sound
from streams.sources.base import SourceInfo

log = logging.getLogger(__name__)

_TICK = Fraction(1, 90_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carriage:
    """How video is put onto the network under one scheme."""

    name: str
    muxer: str
    sounds: tuple[str, ...]
    codecs: tuple[str, ...] = ("h264", "h265")
    options: Mapping[str, str] = field(default_factory=dict)
    query: str = ""

    @property
    def container(self) -> Container:
        """What is written into the pipe, on behalf of what is sent."""
        return Container(
            name=self.name,
            muxer="nut",
            codecs=self.codecs[:1],
            text_subtitle="",
            trial="matroska",
            sounds=self.sounds,
        )


_RTMP = _Carriage(
    name="RTMP", muxer="flv", codecs=("h264",), sounds=("aac",), options={"flvflags": "no_duration_filesize"}
)
_TS_SOUNDS = ("aac", "mp3", "mp2", "ac3")
CARRIAGES: Mapping[str, _Carriage] = MappingProxyType(
    {
        "rtsp": _Carriage(name="RTSP", muxer="rtsp", sounds=("aac", "opus", "pcm_alaw", "pcm_mulaw")),
        "rtmp": _RTMP,
        "rtmps": _RTMP,
        # Seven packets of MPEG-TS are what fits through every Ethernet in one piece.
        "udp": _Carriage(name="MPEG-TS", muxer="mpegts", sounds=_TS_SOUNDS, query="pkt_size=1316"),
        "tcp": _Carriage(name="MPEG-TS", muxer="mpegts", sounds=_TS_SOUNDS),
    }
)


class NetworkSink(Sink):
    """Sends video with its sound to one address over one connection; when that is lost, :meth:`write` raises, for good.

    :meth:`write` waits for the peer, up to the given times: put it behind a :class:`streams.sinks.DetachedSink`, which
    also connects again. The first stream of sound is sent, encoded anew if receivers would not take it as it is, and
    left out if the peer takes none. With sound a picture is sent when the next packet comes, of whichever kind.

    The first frame of a connection tells the peer what will follow, and is not sent: it is as old as connecting took,
    and players would keep that delay. Its :meth:`write` returns once the peer has accepted; that of a later frame once
    the sending process has it, which may be a few packets before the peer.

    Args:
        url: ``rtsp://``, ``rtmp://``, ``rtmps://``, ``udp://`` or ``tcp://``.
        info: what is known of the input.
        width, height, format: of the frames that will come first.
        options: for the encoder.
        sample_aspect_ratio: of the output, otherwise the input's.
        transport: how RTSP carries pictures.
        bits_per_second: what the connection carries; otherwise by size and rate, 0.1 bit a pixel.
        connect_seconds: how long the peer may take to answer, above 0.
        write_seconds: how long it may take nothing, above 0.

    Raises:
        UnsupportedStreamError: the container does not hold the codec that was asked for.
        SinkError: nothing here sends to addresses of that scheme.
    """

    def __init__(
        self,
        url: str,
        *,
        info: SourceInfo,
        width: int,
        height: int,
        format: PixelFormat,  # noqa: A002
        options: EncoderOptions | None = None,
        sample_aspect_ratio: Fraction | None = None,
        transport: Literal["tcp", "udp"] = "tcp",
        bits_per_second: int | None = None,
        connect_seconds: float = 10.0,
        write_seconds: float = 5.0,
    ) -> None:
        self.address = Address(url)
        self._scheme = url.partition("://")[0].lower()
        if self._scheme not in CARRIAGES:
            raise SinkError(
                f"got {self.address}; allowed are addresses of {', '.join(f'{key}://' for key in CARRIAGES)}"
            )
        self._carriage = CARRIAGES[self._scheme]
        self._options = options or EncoderOptions()
        check_codec(self._carriage.name, self._carriage.codecs, options=self._options)
        self._info = info
        self._aspect = sample_aspect_ratio if sample_aspect_ratio is not None else info.sample_aspect_ratio
        self._transport = transport
        self._bits_per_second = bits_per_second
        self._connect_seconds, self._write_seconds = connect_seconds, write_seconds
        self._pusher: Pusher | None = None
        self._output: LiveOutput | None = None
        self._key = False
        self._over = self._broken_off = False

    def write(self, item: Item) -> None:
        """Send a frame; the first one connects. A frame of another geometry connects anew.

        Raises:
            SinkRefusedError: the peer does not let us in.
            SinkError: the peer cannot be reached, went away, or took nothing for too long.
        """
        if self._over:
            raise SinkError(f"the connection to {self.address} is over; open another")
        try:
            if not isinstance(item, Frame):
                if self._output is not None:
                    self._output.add_sound(item)
            elif self._output is None or item.geometry != self._output.geometry:
                self._connect(item)
            else:
                self._output.write(item, key=self._key)
                self._key = False
        except SinkError as error:
            self._over = True
            raise self._explained(error) from error

    def close(self) -> None:
        """Send what is left and take leave of the peer.

        Raises:
            SinkError: the peer did not take it.
        """
        if self._over:
            self.abort()
            return
        self._over = True
        try:
            self._disconnect()
        except SinkError as error:
            raise self._explained(error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """End the connection at once. Never raises."""
        self._over = True
        self.interrupt()
        output, self._output = self._output, None
        if output is not None:
            output.abort()
        pusher, self._pusher = self._pusher, None
        if pusher is not None:
            pusher.end(0)

    def interrupt(self) -> None:
        """Break the connection off: a write that waits for the peer raises, and so does every later one."""
        self._broken_off = True
        pusher = self._pusher
        if pusher is not None:
            pusher.kill()

    def _connect(self, frame: Frame) -> None:
        self._disconnect()
        self._pusher = Pusher(self._order())
        if self._broken_off:  # perhaps before there was a process to end
            raise SinkError(f"the connection to {self.address} was broken off")
        self._output = LiveOutput(
            self._pusher,
            name=str(self.address),
            container=self._carriage.container,
            info=only_best_sound(self._info),
            geometry=frame.geometry,
            options=self._options,
            aspect=self._aspect,
            time_base=_TICK,
            muxer_options={"flush_packets": "1"},
            bounded=True,
            bits_per_second=self._bits_per_second,
        )
        self._output.write(frame, key=True)
        self._output.announce_sound()
        if not self._pusher.await_ready():
            log.warning("%s takes no sound: the pictures are sent without it", self.address)
        # What follows is sent, and has to start with a picture that needs no other.
        self._key = True

    def _disconnect(self) -> None:
        output, self._output = self._output, None
        if output is not None:
            output.close()
        if self._pusher is not None:
            self._pusher.end(self._write_seconds)
            self._pusher = None

    def _order(self) -> Order:
        url, carriage = self.address.reveal(), self._carriage
        if carriage.query and carriage.query.partition("=")[0] not in url:
            url += ("&" if "?" in url else "?") + carriage.query
        # The sending process writes each packet when it comes; the least that FFmpeg takes is a microsecond.
        options = {**carriage.options, "max_interleave_delta": "1"}
        if self._scheme == "rtsp":
            options["rtsp_transport"] = self._transport
        return Order(
            url=url,
            muxer=carriage.muxer,
            options=options,
            connect_seconds=self._connect_seconds,
            write_seconds=self._write_seconds,
        )

    def _explained(self, error: SinkError) -> SinkError:
        """The same error with what the process had to say about it."""
        if self._pusher is None or not self._pusher.broken:
            return error
        verdict, words = self._pusher.reason()
        kind = SinkRefusedError if verdict == "refused" else SinkError
        return kind(f"cannot send to {self.address}: {words}")
