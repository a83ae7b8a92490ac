"""The video of an output: an encoder, and the stream of the container into which its packets go."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition
from av.video.frame import PictureType

from streams.errors import SinkError, UnsupportedStreamError
from streams.frame import Frame, PixelFormat
from streams.sinks.aspect import SPARE, state_aspect
from streams.sinks.containers import Container, add_copy, header_fits, holds_codec
from streams.sinks.encoders import (
    UNKNOWN_RATE,
    Encoder,
    EncoderOptions,
    encoder_named,
    open_encoder,
    takes,
    working_encoder,
)
from streams.sinks.hdr import Hdr
from streams.sinks.pictures import PictureMaker, choose_pix_fmt
from streams.sinks.remux import has_rival
from streams.sinks.surfaces import SurfaceMaker, surface_layout
from streams.sinks.tags import quicktime_language, stream_tags
from streams.sinks.template import open_template
from streams.sources.base import SourceInfo

log = logging.getLogger(__name__)

# A clock on which everything falls exactly may be this fine; old players compute with 32 bits.
_FINEST_CLOCK = 20_000_000


class VideoTrack:
    """Encodes frames, in order, into packets for one stream of a container.

    Every frame goes in with its own pts on the source's time base, and one packet comes out for each.

    Attributes:
        takes_surfaces: pictures that lie on the GPU of ``options`` are encoded there; others are, too.
    """

    def __init__(
        self,
        container: Container,
        *,
        info: SourceInfo,
        width: int,
        height: int,
        format: PixelFormat,  # noqa: A002
        options: EncoderOptions,
        sample_aspect_ratio: Fraction,
    ) -> None:
        self._container, self._info = container, info
        self._size = width, height
        self._format = format
        self._aspect = sample_aspect_ratio
        self.time_base = info.time_base
        self._hdr = Hdr.of(info.hdr)
        self.encoder = choose_encoder(container, format, options=options)
        self._template = open_template(self.encoder.codec, width=width, height=height, format=format, hdr=self._hdr)
        self._maker: PictureMaker
        self.takes_surfaces = self._open_on_gpu(options)
        if not self.takes_surfaces:
            self._open(options)
        self._stream: Any = None
        self._last_pts: int | None = None
        self._end = 0
        self._lead: int | None = None
        self._durations: dict[int, int] = {}
        if not header_fits(container, self.add_to):
            raise UnsupportedStreamError(_misfit(container, self.encoder))

    def _open_on_gpu(self, options: EncoderOptions) -> bool:
        (width, height), gpu = self._size, options.gpu
        layout = surface_layout(self.encoder, self._format, width=width, height=height, options=options)
        if layout is None or gpu is None:
            return False
        self.pix_fmt = layout
        self._maker = SurfaceMaker(self._format, width=width, height=height, pix_fmt=layout, gpu=gpu)
        try:
            self._context = self._opened(options, gpu=gpu)
        except (SinkError, av.FFmpegError, OSError, ValueError, NotImplementedError) as error:
            log.warning("larger pictures are copied to the host: no %s on GPU %d (%s)", self.encoder.name, gpu, error)
            return False
        log.info("larger pictures stay on GPU %d for %s", gpu, self.encoder.name)
        return True

    def _open(self, options: EncoderOptions) -> None:
        width, height = self._size
        self.pix_fmt = choose_pix_fmt(self.encoder, self._format, width=width, height=height, asked=options.pix_fmt)
        self._maker = PictureMaker(
            self._format, width=width, height=height, pix_fmt=self.pix_fmt, limited_only=self.encoder.limited_only
        )
        self._context = self._opened(options)

    def _opened(self, options: EncoderOptions, *, gpu: int | None = None) -> Any:
        width, height = self._size
        return open_encoder(
            self.encoder,
            width=width,
            height=height,
            pix_fmt=self.pix_fmt,
            format=self._maker.format,
            time_base=self._info.time_base,
            rate=self._info.rate,
            sample_aspect_ratio=self._aspect,
            hdr=self._hdr,
            options=options,
            gpu=gpu,
        )

    def add_to(self, output: Any) -> None:
        """Make the stream, with every fact about the picture that the container can state."""
        stream = add_copy(output, self._template.streams.video[0])
        source, target = self._context, stream.codec_context
        target.extradata = source.extradata
        target.width, target.height, target.pix_fmt = source.width, source.height, self.pix_fmt
        target.sample_aspect_ratio = self._aspect
        target.color_range, target.colorspace = source.color_range, source.colorspace
        target.color_primaries, target.color_trc = source.color_primaries, source.color_trc
        target.reorder_depth = source.reorder_depth
        target.codec_tag = self._codec_tag()
        target.framerate = self._info.rate or Fraction(0)
        stream.time_base = self.time_base
        tags = stream_tags(self._info.video_metadata)
        if self._container.muxer == "mov":
            tags = {key: quicktime_language(tag) if key.lower() == "language" else tag for key, tag in tags.items()}
        if self._states_aspect_later:
            tags["title"] = next((tag for key, tag in tags.items() if key.lower() == "title"), "") + SPARE
        stream.metadata.clear()
        stream.metadata.update(tags)
        stream.disposition = self._info.video_disposition
        if has_rival(self._info):
            stream.disposition |= Disposition.default
        self._turn(stream)
        self._stream = stream

    def encode(self, frame: Frame, *, shift: Fraction, key: bool = False) -> Iterator[Any]:
        """The packets that are ready once ``frame`` is in, ``shift`` seconds later than it says.

        With ``key`` it becomes a key frame, where the encoder takes wishes.

        Raises:
            SinkError: a frame of another geometry, off the time base, or not later than the one before.
        """
        frame = self._checked(frame, shift=shift)
        interval = frame.pts - self._last_pts if self._last_pts is not None else 0
        nominal = round(1 / ((self._info.rate or UNKNOWN_RATE) * self.time_base))
        self._durations[frame.pts] = frame.duration or interval or max(nominal, 1)
        self._last_pts, self._end = frame.pts, frame.pts + self._durations[frame.pts]
        picture = self._maker.make(frame)
        if key:
            picture.pict_type = PictureType.I
        yield from self._packets(picture)

    def flush(self) -> Iterator[Any]:
        """The packets that the encoder still held. Nothing may be encoded after."""
        packets = list(self._packets(None))
        if packets and self._container.ticks_exactly:
            self._reach_the_end(packets[-1])
        yield from packets

    def finish(self, path: Path) -> None:
        """Add what can be said only in the finished file."""
        if self._states_aspect_later:
            state_aspect(path, width=self._size[0], height=self._size[1], aspect=self._aspect)

    @property
    def _states_aspect_later(self) -> bool:
        in_the_pictures = self.encoder.codec in ("h264", "hevc")
        return self._aspect != 1 and not self._container.ticks_exactly and not in_the_pictures

    @property
    def clock(self) -> int:
        """Ticks per second on which every time of this video falls."""
        return self.time_base.denominator

    def _packets(self, picture: Any | None) -> Iterator[Any]:
        for packet in self._context.encode(picture):
            packet.time_base = self.time_base
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            packet.stream = self._stream
            if self._lead is None:
                self._lead = packet.pts - packet.dts
            yield packet

    def _reach_the_end(self, last: Any) -> None:
        # MP4 keeps how long it is from one decoding time to the next, and FFmpeg's readers add that up to the length of
        # the video. Decoding is some pictures ahead: a gap before one of the last would be missing.
        lead = self._lead or 0
        last.dts = max(last.dts, last.pts - lead)
        last.duration = max(last.duration, self._end - lead - last.dts)

    def _checked(self, frame: Frame, *, shift: Fraction) -> Frame:
        expected = (*self._size, self._format.name)
        got = (frame.width, frame.height, frame.format.name)
        if got != expected:
            raise SinkError(f"got a frame of {got}, the output was opened for {expected}; open it for what will come")
        if shift or frame.time_base != self.time_base:
            pts = (frame.seconds + shift) / self.time_base
            if pts.denominator != 1:
                raise SinkError(
                    f"{frame} does not fall on the output's time base {self.time_base}; open it for that one"
                )
            ticks = round(frame.duration * frame.time_base / self.time_base)
            frame = replace(frame, pts=int(pts), time_base=self.time_base, duration=ticks)
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise SinkError(f"{frame} comes after one at {self._last_pts}; frames must come in the order of their pts")
        return frame

    def _codec_tag(self) -> Any:
        # Apple's players take H.265 in MP4 only under this name.
        if self.encoder.codec == "hevc" and self._container.ticks_exactly:
            return "hvc1"
        return self._context.codec_tag

    def _turn(self, stream: Any) -> None:
        matrix = self._info.display_matrix
        if matrix is not None:
            stream.set_display_matrix(_scaled(matrix, self._size, self._info))
        elif self._info.rotation:
            stream.set_display_rotation(self._info.rotation)


def choose_encoder(container: Container, form: PixelFormat, *, options: EncoderOptions) -> Encoder:
    """The encoder that was asked for, or the first of the container's own that keeps the bits of ``form``.

    Raises:
        UnsupportedStreamError: the name is not known, or the container has no place for its codec.
    """
    if options.codec is not None:
        encoder = working_encoder(options.codec)
        if not holds_codec(container, encoder.library):
            raise UnsupportedStreamError(_misfit(container, encoder))
        return encoder
    encoders = [encoder_named(name) for name in container.codecs]
    deep = [encoder for encoder in encoders if form.bit_depth == 8 or takes(encoder.library, "yuv420p10le")]
    return (deep or encoders)[0]


def exact_clock(video: int, others: Sequence[int]) -> int:
    """The ticks per second on which the video, chapters of milliseconds and, if not too fine, all others fall."""
    wishes = (lcm(video, 1000, *others), lcm(video, 1000))
    return next((clock for clock in wishes if clock <= _FINEST_CLOCK), video)


def _misfit(container: Container, encoder: Encoder) -> str:
    return f"{container.name} cannot hold {encoder.codec}; try another --codec or another ending, such as .mkv"


def _scaled(matrix: tuple[int, ...], size: tuple[int, int], info: SourceInfo) -> list[int]:
    """The matrix for a larger picture: the turn stays, the shift that follows it grows with the picture."""
    values = list(matrix)
    values[6] = values[6] * size[0] // info.width
    values[7] = values[7] * size[1] // info.height
    return values
