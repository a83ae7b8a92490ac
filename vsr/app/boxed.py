"""Holds the size of a live output, whatever the source's pictures become: fitted inside, with black bars beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.enhancer import Enhancer, Pending
from streams.frame import Frame, PixelFormat, Plane
from vsr.app.enhancer import layout_of
from vsr.app.fit import fit_planes
from vsr.app.stated import stated


class BoxedEnhancer:
    """Gives every picture of another enhancer one size; its shape stays, and its matrix is stated.

    Args:
        enhancer: the other one.
        size: (width, height) of the output, in luma samples.
        first: (width, height) of the pictures that fill it; they say what shape a sample of the output has.
    """

    def __init__(self, enhancer: Enhancer, *, size: tuple[int, int], first: tuple[int, int]) -> None:
        self._enhancer = enhancer
        self._size, self._first = size, first

    def submit(self, frames: Sequence[Frame]) -> Pending:
        """As the other one."""
        frame = frames[0]
        inner = inner_size((frame.width, frame.height), size=self._size, first=self._first)
        return _Boxed(self._enhancer.submit(frames), self._size, inner, stated(frame.format, lines=frame.height))

    def reset(self) -> None:
        """As the other one."""
        self._enhancer.reset()


@dataclass(frozen=True, slots=True)
class _Boxed:
    pending: Pending
    size: tuple[int, int]
    inner: tuple[int, int]
    form: PixelFormat

    def result(self) -> list[Frame]:
        return [replace(frame, planes=self._boxed(frame), format=self.form) for frame in self.pending.result()]

    def _boxed(self, frame: Frame) -> tuple[Plane, ...]:
        width, height = self.inner
        planes = fit_planes(tuple(frame.planes), layout=layout_of(self.form), width=width, height=height)
        return planes if self.inner == self.size else _pad(planes, self.form, self.size)


def inner_size(picture: tuple[int, int], *, size: tuple[int, int], first: tuple[int, int]) -> tuple[int, int]:
    """The largest (width, height) in which a picture fits into ``size``, where one of ``first`` fills it.

    Sides are even, unless they are those of ``size``; a bar of a single sample is not worth drawing.
    """
    wide, high = (picture[side] * size[side] / first[side] for side in (0, 1))
    ratio = min(size[0] / wide, size[1] / high)
    return _side(wide * ratio, size[0]), _side(high * ratio, size[1])


def _side(length: float, limit: int) -> int:
    return limit if limit - length < 2 else max(2, 2 * round(length / 2))


def _pad(planes: Sequence[Plane], form: PixelFormat, size: tuple[int, int]) -> tuple[Plane, ...]:
    width, height = size
    rows, columns = planes[0].shape
    # Whole chroma samples aside, for every subsampling there is.
    top, left = (height - rows) // 4 * 2, (width - columns) // 4 * 2
    padded: list[Plane] = []
    for index, plane in enumerate(planes):
        shape = form.plane_shape(index, width, height)
        canvas: npt.NDArray[Any] = np.full(shape, _black(form, index), form.dtype)
        down, right = top * shape[0] // height, left * shape[1] // width
        canvas[down : down + plane.shape[0], right : right + plane.shape[1]] = plane
        padded.append(canvas)
    return tuple(padded)


def _black(form: PixelFormat, plane: int) -> int:
    """The number that black has in a plane."""
    at_8_bit = 128 if plane else (0 if form.range == "full" else 16)
    return at_8_bit << (form.bit_depth - 8)
