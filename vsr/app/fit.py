"""Reduces what a network made to the size that was asked for, with each chroma sample where it belongs."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from vsr.backends.base import Plane
    from vsr.layout import Layout


def fit_planes(planes: tuple[Plane, ...], *, layout: Layout, width: int, height: int) -> tuple[Plane, ...]:
    """Resize the planes of one picture by antialiased cubic convolution.

    Args:
        planes: (Y,) or (Y, U, V), as ``layout`` says; not written to.
        layout: of the input and the output alike.
        width: of the output's luma.
        height: of the output's luma.

    Returns:
        Planes of the same type, in the same range; chroma is sited as it was.
    """
    rows, columns = planes[0].shape
    if (rows, columns) == (height, width):
        return planes
    ratios = height / rows, width / columns
    peak = layout.numbers.peak
    luma = _resize(planes[0], (height, width), ratios, (0.0, 0.0), peak)
    shape = layout.chroma_shape(height, width)
    shift = layout.chroma_shift(ratios[0])[0], layout.chroma_shift(ratios[1])[1]
    return (luma, *(_resize(plane, shape, ratios, shift, peak) for plane in planes[1:]))


def _resize(
    plane: Plane, shape: tuple[int, int], ratios: tuple[float, float], shift: tuple[float, float], peak: int
) -> Plane:
    """``shape`` samples that lie 1/ratio apart, the whole grid moved by ``shift`` input samples (down, across)."""
    starts = shift
    ends = tuple(begin + size / ratio for begin, size, ratio in zip(starts, shape, ratios, strict=True))
    # Pillow takes no box that leaves the picture; chroma of odd sizes and sited at an edge does, by a sample or two.
    margins = [
        (ceil(max(0.0, -begin)), ceil(max(0.0, end - size)))
        for begin, end, size in zip(starts, ends, plane.shape, strict=True)
    ]
    (top, _), (left, _) = margins
    box = (starts[1] + left, starts[0] + top, ends[1] + left, ends[0] + top)
    # Pillow's 16-bit mode is off by several steps, and slower than its floats.
    source: npt.NDArray[Any] = plane if plane.dtype == np.uint8 else plane.astype(np.float32)
    if any(map(any, margins)):
        source = np.pad(source, margins, mode="edge")
    resized = Image.fromarray(source).resize((shape[1], shape[0]), Image.Resampling.BICUBIC, box=box)
    if plane.dtype == np.uint8:
        return np.asarray(resized, np.uint8)
    return np.rint(np.asarray(resized, np.float32)).clip(0, peak).astype(np.uint16)
