"""Turning pictures upright by the display matrix of the file, mirrored ones too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.frame import PixelFormat, Plane

_CENTER = 0.5


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to lay a rectangle on itself: first swap rows and columns, then mirror.

    Attributes:
        transpose: rows become columns.
        mirror_x: left and right change places (afterwards).
        mirror_y: top and bottom change places (afterwards).
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def __bool__(self) -> bool:
        return self.transpose or self.mirror_x or self.mirror_y

    @classmethod
    def from_matrix(cls, matrix: Sequence[int]) -> Turn | None:
        """The turn that an MP4 display matrix (9 integers) asks for; None if it is no turn by right angles."""
        a, b, _, c, d = matrix[:5]
        straight, crossed = max(abs(a), abs(d)), max(abs(b), abs(c))
        if straight and not crossed and a and d:
            return cls(False, a < 0, d < 0)
        if crossed and not straight and b and c:
            return cls(True, c < 0, b < 0)
        return None

    def apply(self, plane: Plane) -> Plane:
        """The turned plane, a view."""
        turned = plane.T if self.transpose else plane
        return turned[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]


def rotation_of(matrix: Sequence[int]) -> int:
    """Degrees counter-clockwise by which a player turns the picture, to the nearest right angle: 0, 90, 180 or 270."""
    a, b = matrix[0], matrix[1]
    return 0 if not (a or b) else round(-math.degrees(math.atan2(b, a)) / 90) % 4 * 90


def turned_format(form: PixelFormat, turn: Turn) -> PixelFormat:
    """The format of turned pictures: chroma that lay at an edge of its luma samples comes to lie at their centre."""
    return replace(form, chroma_location="center") if turn and form.subsampling in ("420", "422") else form


def turn_planes(planes: Sequence[Plane], form: PixelFormat, turn: Turn) -> tuple[Plane, ...]:
    """Turned copies of the planes of a picture of ``form``; 4:2:2 must not be transposed (its chroma would be 4:4:0).

    A mirrored edge of left-sited chroma is the right edge, which no codec can name, and in odd sizes the last chroma
    sample has no partner: so subsampled chroma is moved, by at most half a chroma sample, to the centre.
    """
    height, width = planes[0].shape
    luma, *chroma = (_compact(turn.apply(plane)) for plane in planes)
    if form.subsampling not in ("420", "422"):
        return (luma, *chroma)
    x = 0.0 if form.chroma_location in ("left", "topleft") else _CENTER
    y = 0.0 if form.chroma_location == "topleft" else _CENTER
    if turn.transpose:
        x, y, width, height = y, x, height, width
    shift_x = _CENTER - _first_position(x, width, mirrored=turn.mirror_x)
    shift_y = _CENTER - _first_position(y, height, mirrored=turn.mirror_y)
    if form.subsampling == "422":
        shift_y = 0.0
    return (luma, *(_shift(_shift(plane, 1, shift_x / 2), 0, shift_y / 2) for plane in chroma))


def _compact(plane: Plane) -> Plane:
    return plane.copy(order="C")


def _typed(values: npt.NDArray[np.integer[Any]], like: Plane) -> Plane:
    return values.astype(np.uint8) if like.dtype == np.uint8 else values.astype(np.uint16)


def _first_position(site: float, size: int, *, mirrored: bool) -> float:
    """Where, in luma samples, the first chroma sample of a line lies after mirroring (``site``: before)."""
    return size - 1 - (site + 2 * ((size + 1) // 2 - 1)) if mirrored else site


def _shift(plane: Plane, axis: int, samples: float) -> Plane:
    """The plane read ``samples`` (−½ … ½) further along an axis, linearly, its edges repeated."""
    if not samples:
        return plane
    count = plane.shape[axis]
    step = 1 if samples > 0 else -1
    neighbour = plane.take(np.clip(np.arange(count) + step, 0, count - 1), axis=axis)
    quarters = round(abs(samples) * 4)
    mixed = plane.astype(np.uint32) * (4 - quarters) + neighbour.astype(np.uint32) * quarters
    return _typed((mixed + 2) >> 2, plane)
