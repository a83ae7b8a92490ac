"""Planes to RGB and back: what the numbers mean, that nothing is lost, and that colour stays where it is."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from pictures import noise

from vsr.conversion import Conversion
from vsr.errors import PixelError
from vsr.layout import Layout
from vsr.resample import resize_axis, taps

CPU = torch.device("cpu")
MATRICES = [1, 4, 5, 6, 7, 9]
# R, G, B and what luma they make, from the definitions (H.273): Kr and Kb.
KR_KB = {
    1: (0.2126, 0.0722),
    4: (0.3, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
COLOURS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [0.2, 0.7, 0.4]])


def planes_of(values: npt.NDArray[Any], kind: type) -> tuple[npt.NDArray[Any], ...]:
    """Three planes of 1×N from N×3 numbers."""
    return tuple(values[:, channel].round().astype(kind)[None] for channel in range(3))


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bit_depth", [8, 10, 16])
def test_the_numbers_are_those_of_the_standard(matrix: int, full_range: bool, bit_depth: int) -> None:
    layout = Layout(subsampling="444", bit_depth=bit_depth, full_range=full_range, matrix=matrix)
    red, blue = KR_KB[matrix]
    y = COLOURS @ [red, 1 - red - blue, blue]
    cb, cr = (COLOURS[:, 2] - y) / (2 - 2 * blue), (COLOURS[:, 0] - y) / (2 - 2 * red)
    if full_range:
        peak = 2**bit_depth - 1
        numbers = np.stack([y * peak, cb * peak + 2 ** (bit_depth - 1), cr * peak + 2 ** (bit_depth - 1)], axis=1)
    else:
        numbers = np.stack([219 * y + 16, 224 * cb + 128, 224 * cr + 128], axis=1) * 2 ** (bit_depth - 8)
    numbers = numbers.clip(0, 2**bit_depth - 1)
    conversion = Conversion(layout, CPU)
    rgb = torch.tensor(COLOURS.T[None, :, None], dtype=torch.float32)
    for made, expected in zip(conversion.to_planes(rgb)[0], numbers.T, strict=True):
        assert np.abs(made[0] - expected).max() <= 0.51
    back = conversion.to_rgb([planes_of(numbers, layout.numbers.dtype)])[0, :, 0].numpy().T
    assert np.abs(back - COLOURS).max() <= 1.6 / 2**bit_depth * (1 if full_range else 255 / 219)


@pytest.mark.parametrize(("matrix", "name"), [(1, "ITU709"), (5, "ITU601"), (7, "SMPTE240M"), (9, "BT2020")])
@pytest.mark.parametrize("full_range", [False, True])
def test_as_ffmpeg_does(matrix: int, name: str, full_range: bool) -> None:
    """The direction that players go, on flat colours."""
    for value in noise(24, 3, seed=4) // 2 + 64:
        planes = tuple(np.full((16, 16), number, np.uint8) for number in value)
        frame = av.VideoFrame.from_ndarray(np.stack(planes), format="yuv444p", channel_last=False)
        sides = {"src_color_range": 2 if full_range else 1, "dst_color_range": 2}
        expected = frame.reformat(format="rgb24", src_colorspace=name, **sides).to_ndarray()[8, 8]
        layout = Layout(subsampling="444", full_range=full_range, matrix=matrix)
        rgb = Conversion(layout, CPU).to_rgb([planes])[0, :, 8, 8].numpy().clip(0, 1) * 255
        assert np.abs(rgb - expected).max() <= 2


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bit_depth", [8, 10, 12, 16])
def test_every_number_comes_back(matrix: int, full_range: bool, bit_depth: int) -> None:
    """Also those that no colour has: nothing is clipped on the way."""
    layout = Layout(subsampling="444", bit_depth=bit_depth, full_range=full_range, matrix=matrix)
    planes = tuple(noise(40, 50, bit_depth=bit_depth, seed=seed) for seed in range(3))
    conversion = Conversion(layout, CPU)
    for made, plane in zip(conversion.to_planes(conversion.to_rgb([planes]))[0], planes, strict=True):
        assert made.dtype == plane.dtype
        np.testing.assert_array_equal(made, plane)


@pytest.mark.parametrize("location", ["left", "center", "topleft"])
@pytest.mark.parametrize("subsampling", ["420", "422"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 7), (30, 41)])
def test_chroma_is_resampled_by_the_reference(subsampling: Any, location: Any, size: tuple[int, int]) -> None:
    layout = Layout(subsampling=subsampling, bit_depth=16, full_range=True, chroma_location=location, matrix=1)
    shape = layout.chroma_shape(*size)
    planes = (np.zeros(size, np.uint16), noise(*shape, bit_depth=16), noise(*shape, bit_depth=16, seed=1))
    offsets = {"left": (0.5, 0), "center": (0.5, 0.5), "topleft": (0, 0)}[location]
    axes = [0, 1] if subsampling == "420" else [1]
    up = planes[2].astype(float)
    for axis in axes:
        shift = 0.5 - (offsets[axis] + 0.5) / 2
        up = resize_axis(up, axis, *taps(shape[axis], size[axis], ratio=2.0, shift=shift))
    conversion = Conversion(layout, CPU)
    rgb = conversion.to_rgb([planes])
    red = rgb[0, 0].numpy() * 65535 / (2 * (1 - 0.2126)) + 32768
    assert np.abs(red - up).max() < 0.1
    down = up
    for axis in axes:
        down = resize_axis(down, axis, *taps(size[axis], shape[axis], ratio=0.5, shift=offsets[axis] - 0.5))
    made = conversion.to_planes(rgb)[0]
    assert [plane.shape for plane in made] == [size, shape, shape]
    assert np.abs(made[2] - down.clip(0, 65535)).max() < 0.7


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_gray_is_gray(bit_depth: int) -> None:
    conversion = Conversion(Layout(subsampling="gray", bit_depth=bit_depth), CPU)
    plane = noise(9, 11, bit_depth=bit_depth)
    rgb = conversion.to_rgb([(plane,), (plane[::-1],)])
    assert rgb.shape == (2, 3, 9, 11)
    assert (rgb == rgb[:, :1]).all()
    first, second = conversion.to_planes(rgb)
    np.testing.assert_array_equal(first[0], plane)
    np.testing.assert_array_equal(second[0], plane[::-1])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (2, r"without a matrix.*give one of 1 \(BT.709\)"),
        (0, r"matrix 0, a network on RGB takes 1 \(BT.709\).*on luma take any"),
        (8, "matrix 8"),
        (10, "matrix 10"),
        (14, "matrix 14"),
    ],
)
def test_refuses_what_is_no_matrix(matrix: int, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        Conversion(Layout(matrix=matrix), CPU)
