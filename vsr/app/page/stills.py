"""Single pictures for a browser: frames as JPEG, as they are to be looked at, or a part of them sample by sample."""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from streams.frame import Frame, PixelFormat
from streams.sinks.encoders import RANGES
from streams.sinks.pictures import PictureMaker
from streams.tone import BT2020, HLG, PQ, SCREEN_OF_BT2020, peak_of, tone_curve
from vsr.app.stated import stated

if TYPE_CHECKING:
    from vsr.app.live_ends import Feed

Span: TypeAlias = tuple[float, float]
"""From which share of the width of a picture to which."""
WHOLE: Span = (0.0, 1.0)

_QUALITY, _LOUPE_QUALITY = 85, 92
_CHROMA_420, _CHROMA_444 = 2, 0
# Those that swscale has coefficients for, by the same numbers.
_KNOWN_MATRICES = frozenset({1, 4, 5, 6, 7, 9, 10})
_BT601 = 6
_EXACT = (
    Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
)
_SCALERS_KEPT = 12
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """One JPEG: its bytes, its size in pixels, and the column of the whole picture that it begins at."""

    jpeg: bytes
    width: int
    height: int
    left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a player shows the samples of a frame.

    Attributes:
        sample_aspect_ratio: width to height of one sample.
        rotation: degrees counter-clockwise by which the picture is turned: 0, 90, 180 or 270.
        peak_nits: how bright the picture gets, in cd/m²; of HDR alone.
    """

    sample_aspect_ratio: Fraction = Fraction(1)
    rotation: int = 0
    peak_nits: float = 1000.0

    @classmethod
    def of(cls, feed: Feed) -> Self:
        """As an output is told of its frames."""
        info = feed.info
        return cls(sample_aspect_ratio=feed.sample_aspect_ratio, rotation=info.rotation, peak_nits=peak_of(info.hdr))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loupe:
    """A part of the picture, to be seen sample by sample.

    Attributes:
        x, y: its centre in the picture as it is shown, from 0 (left, top) to 1.
        width, height: of the part as it is shown, in samples.
    """

    x: float
    y: float
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Which samples of a frame, as it is stored."""

    left: int
    top: int
    width: int
    height: int


def shown_size(frame: Frame, look: Look, *, width: int | None = None) -> tuple[int, int]:
    """(width, height) of the whole picture as it is shown, at most ``width`` wide and never larger than it is."""
    columns, rows = float(frame.width), float(frame.height)
    aspect = float(look.sample_aspect_ratio)
    # Samples that are not square are made so by shrinking the longer side: nothing is invented.
    columns, rows = (columns, rows / aspect) if aspect > 1 else (columns * aspect, rows)
    if look.rotation % 180:
        columns, rows = rows, columns
    ratio = min(1.0, (width or columns) / columns)
    return max(1, round(columns * ratio)), max(1, round(rows * ratio))


def loupe_box(frame: Frame, look: Look, loupe: Loupe) -> Box:
    """The samples that a loupe shows: inside the picture, beginning at whole chroma samples."""
    x, y, width, height = loupe.x, loupe.y, loupe.width, loupe.height
    if look.rotation % 180:
        width, height = height, width
    x, y = {0: (x, y), 90: (1 - y, x), 180: (1 - x, 1 - y), 270: (y, 1 - x)}[look.rotation]
    width, height = min(width, frame.width), min(height, frame.height)
    return Box(
        left=_begin(x * frame.width - width / 2, frame.width - width),
        top=_begin(y * frame.height - height / 2, frame.height - height),
        width=width,
        height=height,
    )


class StillMaker:
    """Turns frames into JPEGs, and keeps its tables from one to the next. For one thread."""

    def __init__(self) -> None:
        self._scalers: OrderedDict[Any, VideoReformatter] = OrderedDict()

    def whole(self, frame: Frame, look: Look, *, width: int, span: Span = WHOLE) -> Still:
        """The picture as it is shown, of :func:`shown_size`, or some of its columns."""
        size = shown_size(frame, look, width=width)
        stored = size[::-1] if look.rotation % 180 else size
        picture, form = _picture(frame)
        if stored != (frame.width, frame.height) or form.bit_depth > 8:
            # In two steps: scaling straight to RGB takes several times as long.
            picture = self._scaled(picture, form, stored)
        # The fast conversion leaves the last columns of other widths as they were.
        fast = picture.width % 8 == 0
        pixels = self._convert(picture, form, Interpolation.BILINEAR if fast else _EXACT)
        return _encode(pixels, form, look, quality=_QUALITY, chroma=_CHROMA_420, span=span)

    def crop(self, frame: Frame, look: Look, box: Box) -> Still:
        """Some of its samples, each as one pixel, turned as the picture is, with the colour of each."""
        # Before it is cut: what players assume goes by the lines of the whole picture.
        whole = replace(frame, format=stated(frame.format, lines=frame.height))
        picture, form = _picture(_cut(whole, box))
        pixels = self._convert(picture, form, _EXACT)
        return _encode(pixels, form, look, quality=_LOUPE_QUALITY, chroma=_CHROMA_444)

    def _scaled(self, picture: av.VideoFrame, form: PixelFormat, size: tuple[int, int]) -> av.VideoFrame:
        narrow = replace(form, bit_depth=8)
        return self._scale(
            picture,
            form,
            width=size[0],
            height=size[1],
            format=narrow.name,
            dst_colorspace=form.matrix,
            dst_color_range=RANGES[form.range],
            interpolation=Interpolation.BICUBIC,
        )

    def _convert(self, picture: av.VideoFrame, form: PixelFormat, interpolation: Interpolation) -> Image.Image:
        rgb = self._scale(
            picture, form, format="rgb0", dst_color_range=RANGES["full"], interpolation=interpolation
        ).planes[0]
        # Four bytes a pixel is how Pillow keeps RGB itself: nothing is copied.
        pixels = np.frombuffer(memoryview(rgb), np.uint8)
        return Image.frombuffer("RGBX", (rgb.width, rgb.height), pixels, "raw", "RGBX", rgb.line_size, 1)

    def _scale(self, picture: av.VideoFrame, form: PixelFormat, **target: Any) -> av.VideoFrame:
        key = (picture.width, picture.height, picture.format.name, form.matrix, form.range, *target.items())
        scaler = self._scalers.setdefault(key, VideoReformatter())
        self._scalers.move_to_end(key)
        if len(self._scalers) > _SCALERS_KEPT:
            self._scalers.popitem(last=False)
        return scaler.reformat(
            picture, src_colorspace=form.matrix, src_color_range=RANGES[form.range], threads=1, **target
        )


def _picture(frame: Frame) -> tuple[av.VideoFrame, PixelFormat]:
    """The frame as PyAV's, always in colour, with a matrix that swscale knows."""
    form = stated(frame.format, lines=frame.height)
    # swscale takes every gray for full range: as colour it is what it says it is.
    name = form.name.replace("gray", "yuv420p")
    matrix = form.matrix if form.matrix in _KNOWN_MATRICES else _BT601
    picture = PictureMaker(form, width=frame.width, height=frame.height, pix_fmt=name).make(frame)
    colour = "420" if form.subsampling == "gray" else form.subsampling
    return picture, replace(form, subsampling=colour, matrix=matrix)


def _cut(frame: Frame, box: Box) -> Frame:
    form = frame.format
    planes = []
    for index, plane in enumerate(frame.planes):
        rows, columns = form.plane_shape(index, box.width, box.height)
        top, left = form.plane_shape(index, box.left, box.top)
        planes.append(plane[top : top + rows, left : left + columns])
    return replace(frame, planes=tuple(planes))


def _encode(
    pixels: Image.Image, form: PixelFormat, look: Look, *, quality: int, chroma: int, span: Span = WHOLE
) -> Still:
    turned = pixels.transpose(_TURNS[look.rotation]) if look.rotation else pixels
    left, right = (round(share * turned.width) for share in span)
    if span != WHOLE:
        # By far the most of the time goes into JPEG: what is not seen is cut off before, and not earlier.
        turned = turned.crop((left, 0, max(left + 1, right), turned.height))
    if form.transfer in (PQ, HLG):
        turned = _for_screen(turned, form, peak_nits=look.peak_nits)
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=quality, subsampling=chroma)
    return Still(jpeg=buffer.getvalue(), width=turned.width, height=turned.height, left=left)


def _for_screen(pixels: Image.Image, form: PixelFormat, *, peak_nits: float) -> Image.Image:
    """HDR as a screen without it can show it."""
    toned = pixels.convert("RGB").point(list(tone_curve(form.transfer, peak_nits=peak_nits)) * 3)
    return toned.convert("RGB", SCREEN_OF_BT2020) if form.primaries == BT2020 else toned


def _begin(place: float, most: int) -> int:
    return min(max(0, 2 * math.floor(place / 2 + 0.5)), most // 2 * 2)
