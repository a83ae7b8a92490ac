"""Frames to write, and what a file that was written really holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from streams.frame import Frame, Packet, PixelFormat
from streams.sinks import EncoderOptions, FileSink
from streams.sources.base import SourceInfo

SIZE = (96, 64)
FAST = {"h264": "ultrafast", "h265": "ultrafast", "av1": "12", "vp9": "8"}


def frames(
    count_or_pts: int | Sequence[int],
    *,
    form: PixelFormat | None = None,
    size: tuple[int, int] = SIZE,
    time_base: Fraction = Fraction(1, 25),
    duration: int = 1,
) -> Iterator[Frame]:
    """Smooth pictures, each a little brighter to the right and down, that move."""
    form = form or PixelFormat()
    ticks = range(count_or_pts) if isinstance(count_or_pts, int) else count_or_pts
    step = 1 << (form.bit_depth - 8)
    for index, pts in enumerate(ticks):
        planes = []
        for plane in range(form.plane_count):
            rows, columns = np.mgrid[tuple(slice(0, n) for n in form.plane_shape(plane, *size))]
            values = 60 + 25 * plane + (rows + columns + 3 * index) * 0.5
            planes.append((values * step).astype(form.dtype))
        yield Frame(planes=tuple(planes), format=form, pts=pts, time_base=time_base, duration=duration)


def info(frame: Frame | None = None, **facts: Any) -> SourceInfo:
    """What a source would say that gives such frames."""
    frame = frame or next(frames(1))
    known: dict[str, Any] = {"width": frame.width, "height": frame.height, "format": frame.format}
    return SourceInfo(**{**known, "time_base": frame.time_base, "rate": Fraction(25), **facts})


def open_file(path: Path, source: SourceInfo, *, codec: str | None = None, **more: Any) -> FileSink:
    """A sink for frames as the source has them, with fast presets."""
    options = more.pop("options", None) or EncoderOptions(codec=codec, preset=FAST.get(codec or ""))
    return FileSink(
        path, info=source, width=source.width, height=source.height, format=source.format, options=options, **more
    )


def write(path: Path, items: Iterable[Frame | Packet], *, facts: dict[str, Any] | None = None, **more: Any) -> FileSink:
    """Write all and close; the closed sink."""
    items = list(items)
    first = next(item for item in items if isinstance(item, Frame))
    with open_file(path, info(first, **(facts or {})), **more) as sink:
        for item in items:
            sink.write(item)
    return sink


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a file holds, read with PyAV alone. ``text`` is FFmpeg's own description of it."""

    pictures: list[av.VideoFrame]
    times: list[Fraction]
    stream: dict[str, Any]
    metadata: dict[str, str]
    chapters: list[Any]
    streams: list[dict[str, Any]]
    packets: dict[int, list[Any]]


def read(path: Path) -> Written:
    """Decode the video, demux the rest."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        base = video.time_base or Fraction(0)
        pictures = list(container.decode(video))
        facts = {
            "codec": video.codec_context.codec.canonical_name,
            "sar": video.sample_aspect_ratio,
            "metadata": dict(video.metadata),
            "disposition": int(video.disposition),
            "duration": None if video.duration is None else video.duration * base,
            "rate": video.average_rate,
            "start": (video.start_time or 0) * base,
        }
        return Written(
            pictures=pictures,
            times=[picture.pts * base for picture in pictures],
            stream=facts,
            metadata=dict(container.metadata),
            chapters=list(container.chapters()),
            streams=[_describe(stream) for stream in container.streams],
            packets=_packets(path),
        )


def _packets(path: Path) -> dict[int, list[Any]]:
    packets: dict[int, list[Any]] = {}
    # Opened anew: a seek to 0 would pass over sound that begins before it.
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                times = tuple(None if t is None else t * packet.time_base for t in (packet.pts, packet.duration))
                packets.setdefault(packet.stream_index, []).append((bytes(packet), *times))
    return packets


def error_of(picture: av.VideoFrame, frame: Frame) -> float:
    """Mean absolute difference of the luma, on the scale of 8 bits."""
    bits = picture.format.components[0].bits
    plane = picture.planes[0]
    lines = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else np.uint16).reshape(plane.height, -1)
    got = lines[:, : picture.width] / 2.0 ** (bits - 8)
    return float(np.abs(got - frame.planes[0] / 2.0 ** (frame.format.bit_depth - 8)).mean())


def _describe(stream: Any) -> dict[str, Any]:
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else getattr(stream, "name", None)
    return {
        "type": stream.type,
        "codec": codec,
        "metadata": dict(stream.metadata),
        "disposition": int(stream.disposition),
        "data": getattr(stream, "data", None) if stream.type == "attachment" else None,
    }
