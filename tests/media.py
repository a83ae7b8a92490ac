"""Small clips, made on the spot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from streams.frame import Frame, PixelFormat, Plane
from streams.sources.formats import layout_of
from streams.sources.synthetic import SyntheticSource

TICK = Fraction(1, 1000)
_SOUND_RATE = 16_000


def to_av(frame: Frame) -> av.VideoFrame:
    """A copy of a frame as PyAV's, with its pts."""
    picture = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for plane, target in zip(frame.planes, picture.planes, strict=True):
        lines = np.frombuffer(memoryview(target), plane.dtype).reshape(plane.shape[0], -1)
        lines[:, : plane.shape[1]] = plane
    picture.pts, picture.time_base = frame.pts, frame.time_base
    return picture


def pattern(count: int, width: int, height: int, name: str = "yuv420p") -> list[av.VideoFrame]:
    """Pictures of a moving pattern, 40 ms apart, in any format that FFmpeg can make of a planar one."""
    layout = layout_of(name)
    form = PixelFormat(subsampling=layout.subsampling, bit_depth=layout.bit_depth)
    pictures = [to_av(frame) for frame in SyntheticSource(width=width, height=height, frames=count, format=form)]
    for index, picture in enumerate(pictures):
        picture.pts, picture.time_base = index * 40, TICK
    return pictures if layout.native else [picture.reformat(format=name) for picture in pictures]


def flashes(count: int, width: int, height: int, *, every: int = 0) -> list[av.VideoFrame]:
    """Pictures 40 ms apart, the first white (and then one of so many) and the others black."""
    pictures = []
    for index in range(count):
        picture = av.VideoFrame(width, height, "yuv420p")
        white = index % (every or count) == 0
        for plane, value in zip(picture.planes, (235 if white else 16, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        picture.pts, picture.time_base = index * 40, TICK
        pictures.append(picture)
    return pictures


def wave(samples: int, *, beep: bool) -> av.AudioFrame:
    """A beep or silence at 8 kHz."""
    values = np.sin(np.arange(samples) * (2 * np.pi * 1000 / 8000)) * (20_000 if beep else 0)
    sound = av.AudioFrame.from_ndarray(values.astype(np.int16)[None, :], format="s16", layout="mono")
    sound.sample_rate = 8000
    return sound


def telephony(samples: int, *, beep: bool, codec: str = "pcm_alaw") -> bytes:
    """The same, as telephones and cameras code it."""
    context: Any = av.CodecContext.create(codec, "w")
    context.sample_rate, context.layout, context.format = 8000, "mono", "s16"
    packets = [*context.encode(wave(samples, beep=beep)), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def write_flashes(output: Any, count: int, *, video_codec: str, sound_codec: str, rate: int, bf: int = 0) -> None:
    """Pictures of 64×48, 25 a second, with a flash and a beep of 40 ms each second; ``output`` is open for writing."""
    video = output.add_stream(video_codec, rate=25, options={"preset": "ultrafast", "bf": str(bf), "g": "25"})
    video.width, video.height = 64, 48
    sound = output.add_stream(sound_codec, rate=rate, layout="mono")
    for number, picture in enumerate(flashes(count, 64, 48, every=25)):
        output.mux(video.encode(picture))
        piece = wave(320, beep=number % 25 == 0)
        piece.pts, piece.time_base = number * 320, Fraction(1, 8000)
        output.mux(sound.encode(piece))
    output.mux(video.encode(None))
    output.mux(sound.encode(None))


def write_clip(
    path: Path,
    pictures: Iterable[av.VideoFrame],
    *,
    codec: str = "ffv1",
    rate: Fraction | int = 25,
    time_base: Fraction = TICK,
    options: Mapping[str, str] | None = None,
    sound_seconds: float = 0,
    sound_codec: str = "pcm_s16le",
    matrix: Sequence[int] | None = None,
    container_format: str | None = None,
    attachments: Sequence[tuple[str, str, bytes]] = (),
    **context: Any,
) -> Path:
    """Encode pictures by their own pts (in ``time_base``), with a tone as sound if wanted; returns ``path``.

    ``context`` sets attributes of the encoder (``color_range``, ``sample_aspect_ratio``, ``gop_size``, …).
    """
    pictures = list(pictures)
    with av.open(str(path), "w", format=container_format) as output:
        video = output.add_stream(codec, rate=rate, options=dict(options or {}))
        video.width, video.height, video.pix_fmt = pictures[0].width, pictures[0].height, pictures[0].format.name
        video.codec_context.time_base = time_base
        for name, value in context.items():
            setattr(video.codec_context, name, value)
        if matrix is not None:
            video.set_display_matrix(matrix)
        sound = output.add_stream(sound_codec, rate=_SOUND_RATE, layout="mono") if sound_seconds else None
        for name, mimetype, data in attachments:
            output.add_attachment(name, mimetype, data)
        for picture in pictures:
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        if sound is not None:
            output.mux([packet for chunk in _tone(sound_seconds) for packet in sound.encode(chunk)])
            output.mux(sound.encode(None))
    return path


def raw_h264(path: Path, pictures: list[av.VideoFrame], **options: str) -> Path:
    """Pictures as a bare H.264 stream, which holds no times."""
    options = {"preset": "ultrafast", **options}
    return write_clip(path, pictures, codec="libx264", options=options, container_format="h264")


@contextmanager
def piped(data: bytes) -> Iterator[str]:
    """The name of a pipe that holds ``data``, at most 64 KiB, and can be read once."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)


def planes(picture: av.VideoFrame) -> tuple[Plane, ...]:
    """Copies of the planes of a planar PyAV picture."""
    layout = layout_of(picture.format.name)
    form = PixelFormat(subsampling=layout.subsampling, bit_depth=layout.bit_depth)
    shapes = [form.plane_shape(index, picture.width, picture.height) for index in range(form.plane_count)]
    lines = [np.frombuffer(memoryview(plane), form.dtype).reshape(plane.height, -1) for plane in picture.planes]
    return tuple(line[:, : shape[1]].copy() for line, shape in zip(lines, shapes, strict=True))


def _tone(seconds: float) -> Iterable[av.AudioFrame]:
    # In pieces of 20 ms, so that the packets interleave with pictures and can be cut.
    step = _SOUND_RATE // 50
    for start in range(0, round(seconds * _SOUND_RATE), step):
        wave = np.sin(np.arange(start, start + step) * (2 * np.pi * 440 / _SOUND_RATE)) * 8000
        chunk = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None, :], format="s16", layout="mono")
        chunk.sample_rate, chunk.pts, chunk.time_base = _SOUND_RATE, start, Fraction(1, _SOUND_RATE)
        yield chunk
