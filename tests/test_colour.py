from __future__ import annotations

import numpy as np
import pytest

from vsr.colour import rgb_to_luma, rgb_to_ycbcr, rgb_to_ycbcr16, ycbcr16_to_rgb, ycbcr_to_rgb


@pytest.mark.parametrize(
    ("rgb", "ycbcr"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((128, 128, 128), (126, 128, 128)),
        ((255, 0, 0), (81, 90, 240)),
        ((0, 255, 0), (145, 54, 34)),
        ((0, 0, 255), (41, 240, 110)),
    ],
)
def test_known_colours(rgb: tuple[int, ...], ycbcr: tuple[int, ...]) -> None:
    pixel = np.array(rgb, np.uint8).reshape(1, 1, 3)
    assert rgb_to_ycbcr(pixel).ravel().tolist() == list(ycbcr)
    assert rgb_to_luma(pixel).tolist() == [[ycbcr[0]]]
    assert np.abs(ycbcr_to_rgb(rgb_to_ycbcr(pixel)).astype(int) - pixel).max() <= 1


def colours() -> np.ndarray:
    """The corners and faces of the cube, and a sample of the inside."""
    steps = np.array([0, 1, 2, 3, 127, 128, 252, 253, 254, 255], np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 1, 3)
    inside = np.random.default_rng(0).integers(0, 256, (50_000, 1, 3)).astype(np.uint8)
    return np.concatenate([grid, inside])


def test_sixteen_bits_come_back_unchanged() -> None:
    rgb = colours()
    planes = rgb_to_ycbcr16(rgb)
    assert [plane.dtype for plane in planes] == [np.uint16] * 3
    np.testing.assert_array_equal(ycbcr16_to_rgb(planes), rgb)


def test_eight_bits_come_back_nearly() -> None:
    rgb = colours()
    assert np.abs(ycbcr_to_rgb(rgb_to_ycbcr(rgb)).astype(int) - rgb).max() <= 2


def test_sixteen_bits_are_the_same_luma_in_finer_steps() -> None:
    rgb = colours()
    assert np.abs(rgb_to_ycbcr16(rgb)[0] / 256 - rgb_to_luma(rgb)).max() <= 0.5 + 1 / 512


def test_impossible_colours_are_clipped_not_wrapped() -> None:
    ycbcr = np.array([[[255, 255, 255], [0, 0, 0], [235, 16, 240]]], np.uint8)
    assert ycbcr_to_rgb(ycbcr)[0].tolist() == [[255, 125, 255], [0, 136, 0], [255, 208, 29]]
