"""From the planes of a frame to the picture that an encoder takes, without a detour through RGB."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from streams.errors import UnsupportedStreamError
from streams.frame import Frame, PixelFormat
from streams.sinks.encoders import Encoder, set_colours, takes

log = logging.getLogger(__name__)

_DEPTHS = (8, 9, 10, 12, 14, 16)
_CHROMA = ("gray", "420", "422", "444")  # the least first
_SEMI_PLANAR = {("420", 8): "nv12", ("420", 10): "p010le"}  # what the encoders of graphics cards take
_PLANAR = re.compile(r"(?:yuv(?P<chroma>420|422|444)p|gray)(?P<depth>9|1[0246])?(?:le)?")


def choose_pix_fmt(encoder: Encoder, form: PixelFormat, *, asked: str | None) -> str:
    """FFmpeg's name of the pixel format to encode: the one asked for, or the nearest that the encoder takes.

    The nearest loses no bits where that can be had, then no chroma, then adds as little as it can. Lost precision is
    said in the log; more than 8 bits never become 8 unless they are asked to.

    Raises:
        UnsupportedStreamError: the encoder does not take the format asked for, or only 8 bits of more.
    """
    if asked is not None:
        if not takes(encoder.library, asked):
            raise UnsupportedStreamError(f"{encoder.name} does not take --pix-fmt {asked}; leave it out for {form.name}")
        return asked
    if takes(encoder.library, form.name):
        return form.name
    for depth, chroma, name in _nearest_first(form):
        if takes(encoder.library, name):
            if depth == 8 < form.bit_depth:
                break
            if depth < form.bit_depth or _CHROMA.index(chroma) < _CHROMA.index(form.subsampling):
                log.warning("%s does not take %s: encoding %s, which is less", encoder.name, form.name, name)
            return name
    raise UnsupportedStreamError(
        f"{encoder.name} cannot keep the {form.bit_depth} bits of {form.name} here; "
        f"choose another --codec (h265, av1, ffv1), or --pix-fmt yuv420p for 8 bits"
    )


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
    """Copies the planes of frames of one geometry into pictures of ``pix_fmt``, a new one for each."""

    def __init__(self, form: PixelFormat, *, width: int, height: int, pix_fmt: str) -> None:
        self._format = form
        self._width, self._height = width, height
        self._pix_fmt = pix_fmt
        # swscale takes every gray for full range and would stretch it on the way to colour: the chroma is added here.
        grows = form.subsampling == "gray" and not pix_fmt.startswith("gray")
        self._layout = _name("420", form.bit_depth) if grows else form.name
        if grows and _PLANAR.fullmatch(pix_fmt) and takes_depth(pix_fmt) == form.bit_depth:
            self._layout = pix_fmt

    def make(self, frame: Frame) -> Any:
        """A new ``av.VideoFrame`` with the pixels of ``frame``, its colours, pts and time base."""
        picture = av.VideoFrame(self._width, self._height, self._layout)
        neutral = 1 << (self._format.bit_depth - 1)
        for index, target in enumerate(picture.planes):
            samples = np.frombuffer(target, self._format.dtype).reshape(target.height, -1)[:, : target.width]
            samples[...] = frame.planes[index] if index < len(frame.planes) else neutral
        self._describe(picture, frame)
        if self._layout != self._pix_fmt:
            picture = picture.reformat(format=self._pix_fmt, interpolation="BICUBIC")
            self._describe(picture, frame)
        return picture

    def _describe(self, picture: Any, frame: Frame) -> None:
        set_colours(picture, self._format)
        picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
        # A type that a decoder left behind would dictate key frames to the encoder.
        picture.pict_type = 0


def takes_depth(pix_fmt: str) -> int:
    """Bits of one luma sample of a pixel format of FFmpeg."""
    return int(av.VideoFormat(pix_fmt).components[0].bits)
