"""From the planes of a frame to the picture that an encoder takes, without a detour through RGB."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from streams.errors import UnsupportedStreamError
from streams.frame import Frame, PixelFormat
from streams.sinks.encoders import RANGES, Encoder, fits, set_colours, takes

log = logging.getLogger(__name__)

_DEPTHS = (8, 9, 10, 12, 14, 16)
_CHROMA = ("gray", "420", "422", "444")  # the least first
_SEMI_PLANAR = {("420", 8): "nv12", ("420", 10): "p010le"}  # what the encoders of graphics cards take


def choose_pix_fmt(encoder: Encoder, form: PixelFormat, *, width: int, height: int, asked: str | None) -> str:
    """FFmpeg's name of the pixel format to encode: the one asked for, or the nearest that the encoder takes.

    The nearest loses no bits where that can be had, then no chroma, then adds as little as it can. What is lost is said
    in the log, and so is a size that makes H.264 and H.265 store more chroma; more than 8 bits never become 8 unless
    they are asked to.

    Raises:
        UnsupportedStreamError: the encoder does not take the format asked for, that size, or more than 8 bits.
    """
    if asked is not None:
        if not takes(encoder.library, asked):
            raise UnsupportedStreamError(f"{encoder.name} does not take --pix-fmt {asked}; leave it out")
        if not fits(encoder, _chroma_of(asked), width=width, height=height):
            raise UnsupportedStreamError(
                f"{encoder.name} has no odd size such as {width}×{height} in --pix-fmt {asked}; leave that out, "
                f"ask for an even size with --to, or choose --codec av1 or ffv1"
            )
        return asked
    for depth, chroma, name in _nearest_first(form):
        if not fits(encoder, chroma, width=width, height=height) or not takes(encoder.library, name):
            continue
        if depth == 8 < form.bit_depth:
            break
        if depth < form.bit_depth or _CHROMA.index(chroma) < _CHROMA.index(form.subsampling):
            log.warning("%s does not take %s: encoding %s, which is less", encoder.name, form.name, name)
        elif not fits(encoder, form.subsampling, width=width, height=height):
            log.warning("%s has no odd sizes in %s: encoding %s, which few devices play", encoder.name, form.name, name)
        return name
    raise UnsupportedStreamError(
        f"{encoder.name} cannot keep {form.name} at {width}×{height} here; choose another --codec (av1, h265, ffv1), "
        f"or --pix-fmt yuv420p for 8 bits"
    )


def _chroma_of(pix_fmt: str) -> str:
    layout = av.VideoFormat(pix_fmt)
    if layout.chroma_width(2) == 2:
        return "444"
    return "422" if layout.chroma_height(2) == 2 else "420"


def _nearest_first(form: PixelFormat) -> list[tuple[int, str, str]]:
    def distance(candidate: tuple[int, str, str]) -> tuple[int, ...]:
        bits = candidate[0] - form.bit_depth
        chroma = _CHROMA.index(candidate[1]) - _CHROMA.index(form.subsampling)
        return max(-bits, 0), max(-chroma, 0), max(bits, 0), max(chroma, 0)

    return sorted(_candidates(), key=distance)


def _candidates() -> Iterator[tuple[int, str, str]]:
    for depth in _DEPTHS:
        for chroma in _CHROMA:
            yield depth, chroma, _name(chroma, depth)
            if (chroma, depth) in _SEMI_PLANAR:
                yield depth, chroma, _SEMI_PLANAR[chroma, depth]


def _name(chroma: str, depth: int) -> str:
    return ("gray" if chroma == "gray" else f"yuv{chroma}p") + ("" if depth == 8 else f"{depth}le")


class PictureMaker:
    """Copies the planes of frames of one geometry into pictures of ``pix_fmt``, a new one for each.

    Attributes:
        format: what the pictures hold: that of the frames, in limited range where ``limited_only``.
    """

    def __init__(self, form: PixelFormat, *, width: int, height: int, pix_fmt: str, limited_only: bool = False) -> None:
        self.format = replace(form, range="limited") if limited_only else form
        self._source = form
        self._width, self._height = width, height
        self._pix_fmt = pix_fmt
        # swscale takes every gray for full range and would stretch it on the way to colour: the chroma is added here.
        grows = form.subsampling == "gray" and not pix_fmt.startswith("gray")
        self._layout = _name("420", form.bit_depth) if grows else form.name
        self._converts = self._layout != pix_fmt or self.format != form
        # One for all frames: a frame's own method would build its tables anew every time.
        self._reformatter = VideoReformatter()

    def make(self, frame: Frame) -> Any:
        """A new ``av.VideoFrame`` with the pixels of ``frame``, its colours, pts and time base."""
        picture = av.VideoFrame(self._width, self._height, self._layout)
        neutral = 1 << (self._source.bit_depth - 1)
        for index, target in enumerate(picture.planes):
            samples = np.frombuffer(memoryview(target), np.dtype(self._source.dtype)).reshape(target.height, -1)[
                :, : target.width
            ]
            samples[...] = frame.planes[index] if index < len(frame.planes) else neutral
        if self._converts:
            # One thread: swscale's own split a picture of odd height in ways that let it write a row twice.
            set_colours(picture, self._source)
            picture = self._reformatter.reformat(
                picture,
                format=self._pix_fmt,
                interpolation="BICUBIC",
                src_color_range=RANGES[self._source.range],
                dst_color_range=RANGES[self.format.range],
                threads=1,
            )
        return self._stated(picture, frame)

    def _stated(self, picture: Any, frame: Frame) -> Any:
        set_colours(picture, self.format)
        picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
        # A type that a decoder left behind would dictate key frames to the encoder.
        picture.pict_type = 0
        return picture
