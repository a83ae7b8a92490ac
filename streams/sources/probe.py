"""What is known of an input before its frames are read."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, get_args

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Stream
from av.video.stream import VideoStream

from streams.frame import PixelFormat
from streams.hdr import parse_content_light, parse_mastering_display
from streams.sources.base import SourceInfo, StreamInfo, StreamKind
from streams.sources.rotate import rotation_of

_UNIT = 1 << 16
# What a player would do with the matrix at these angles, as MP4 writes it.
_MATRICES = {
    90: (0, -_UNIT, 0, _UNIT, 0, 0, 0, 0, 1 << 30),
    180: (-_UNIT, 0, 0, 0, -_UNIT, 0, 0, 0, 1 << 30),
    270: (0, _UNIT, 0, -_UNIT, 0, 0, 0, 0, 1 << 30),
}


def describe(container: InputContainer, stream: VideoStream, frame: av.VideoFrame, form: PixelFormat) -> SourceInfo:
    """The input as its first decoded picture shows it; what the container claims only where a picture cannot tell."""
    matrix = display_matrix(frame)
    rate = nominal_rate(stream)
    duration = _duration_seconds(container, stream)
    frames = stream.frames or (round(duration * rate) if duration and rate else None)
    return SourceInfo(
        width=frame.width,
        height=frame.height,
        format=form,
        time_base=stream.time_base or Fraction(1, 90_000),
        rate=rate,
        frames=frames,
        duration_seconds=duration,
        sample_aspect_ratio=stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1),
        rotation=rotation_of(matrix) if matrix else 0,
        display_matrix=matrix,
        codec=stream.codec_context.name,
        streams=tuple(_stream_info(other) for other in container.streams if other.index != stream.index),
        metadata=dict(container.metadata),
        video_metadata=dict(stream.metadata),
        video_disposition=int(stream.disposition),
        chapters=tuple(container.chapters()),
        hdr=_hdr(frame),
    )


def codec_name(stream: VideoStream) -> str:
    """FFmpeg's name of the codec, whichever decoder serves it: ``av1``, not ``libdav1d``."""
    return str(stream.codec_context.codec.canonical_name)


def nominal_rate(stream: VideoStream) -> Fraction | None:
    """Pictures per second as FFmpeg guesses, or None."""
    return next((rate for rate in (stream.guessed_rate, stream.average_rate) if rate), None)


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The nine integers of the display matrix that goes with a picture, or None."""
    try:
        data = _side_data(frame)
        # Where something in it is newer than PyAV, the rotation is still to be had.
        if data is None:
            return _MATRICES.get(frame.rotation % 360)
    except (ValueError, OverflowError):
        return None
    raw = data.get("DISPLAYMATRIX", b"")
    return struct.unpack("=9i", raw) if len(raw) == 36 and any(raw) else None


def _stream_info(stream: Stream) -> StreamInfo:
    kind: StreamKind = stream.type if stream.type in get_args(StreamKind) else "data"  # type: ignore[assignment]
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else getattr(stream, "name", None)
    return StreamInfo(
        index=stream.index,
        kind=kind,
        codec=codec or "unknown",
        language=stream.language,
        title=stream.metadata.get("title"),
        template=stream,
    )


def _duration_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _hdr(frame: av.VideoFrame) -> Mapping[str, Any]:
    data = _side_data(frame) or {}
    found = {
        "mastering_display": parse_mastering_display(data.get(Type.MASTERING_DISPLAY_METADATA.name, b"")),
        "content_light": parse_content_light(data.get(Type.CONTENT_LIGHT_LEVEL.name, b"")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _side_data(frame: av.VideoFrame) -> dict[str, bytes] | None:
    try:
        entries: Iterable[Any] = frame.side_data
        return {entry.type.name: bytes(entry) for entry in entries}
    except ValueError:
        return None
