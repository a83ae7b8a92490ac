from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import noise

from vsr.errors import PixelError
from vsr.pairs import crop_to_multiple, read_rgb
from vsr.resample import KERNELS, imresize, resize_axis, taps

# Keys' kernel at a quarter, three quarters, …: worked out on paper.
QUARTERS = (0.8671875, 0.2265625, -0.0703125, -0.0234375)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_equals_matlab_bit_for_bit(data_dir: Path, scale: int) -> None:
    expected = sorted((data_dir / f"matlab_lr/Set5/x{scale}").glob("*.png"))
    assert len(expected) == 5
    for path in expected:
        truth = crop_to_multiple(read_rgb(data_dir / "test_images/Set5" / path.name), scale)
        np.testing.assert_array_equal(imresize(truth, scale=1 / scale), read_rgb(path), err_msg=path.name)


def test_weights_of_halving_by_hand() -> None:
    index, weight = taps(16, 8)
    a, b, c, d = (value / 2 for value in QUARTERS)
    np.testing.assert_allclose(weight[4], [d, c, b, a, a, b, c, d], atol=1e-15)
    assert index[4].tolist() == [5, 6, 7, 8, 9, 10, 11, 12]


def test_weights_of_doubling_by_hand() -> None:
    index, weight = taps(8, 16)
    by_sample = dict(zip(index[8].tolist(), weight[8].tolist(), strict=True))
    near, next_, far, farthest = QUARTERS
    # Output sample 8 lies at 3.75.
    assert {key: value for key, value in by_sample.items() if value} == pytest.approx(
        {4: near, 3: next_, 5: far, 2: farthest}
    )


def test_an_edge_halved_by_hand() -> None:
    edge = np.tile(np.array([0, 0, 0, 0, 255, 255, 255, 255], np.uint8), (8, 1))
    np.testing.assert_array_equal(imresize(edge, scale=1 / 2), np.tile(np.array([0, 17, 238, 255], np.uint8), (4, 1)))
    np.testing.assert_array_equal(imresize(edge.T, scale=1 / 2), imresize(edge, scale=1 / 2).T)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("old", "new"), [(1, 1), (1, 7), (7, 1), (9, 18), (9, 27), (30, 10), (13, 5)])
@pytest.mark.parametrize("shift", [0.0, 0.125, -0.3])
def test_weights_add_up_to_one_and_stay_inside(kernel: str, old: int, new: int, shift: float) -> None:
    index, weight = taps(old, new, kernel=kernel, shift=shift)
    assert index.shape == weight.shape
    assert len(index) == new
    np.testing.assert_allclose(weight.sum(axis=1), 1.0, atol=1e-12)
    assert index.min() >= 0
    assert index.max() < old


def test_shift_moves_by_input_samples() -> None:
    ramp = np.arange(40.0)
    plain = resize_axis(ramp, 0, *taps(40, 80))
    moved = resize_axis(ramp, 0, *taps(40, 80, shift=0.2))
    np.testing.assert_allclose((moved - plain)[8:-8], 0.2, atol=1e-12)


def test_cached_weights_cannot_be_changed() -> None:
    for array in taps(10, 20):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("shape", "scale", "expected"),
    [((7, 9), 1 / 2, (4, 5)), ((7, 9, 3), 1 / 3, (3, 3, 3)), ((5, 4), 2, (10, 8)), ((1, 1), 1 / 4, (1, 1))],
)
def test_sizes_round_up(shape: tuple[int, ...], scale: float, expected: tuple[int, ...]) -> None:
    assert imresize(noise(*shape), scale=scale).shape == expected


def test_size_in_place_of_scale() -> None:
    image = noise(20, 30)
    np.testing.assert_array_equal(imresize(image, size=(10, 15)), imresize(image, scale=0.5))


def test_the_axis_that_shrinks_more_goes_first() -> None:
    image = noise(24, 40)
    columns_first = imresize(imresize(image, size=(24, 10)), size=(20, 10))
    rows_first = imresize(imresize(image, size=(20, 40)), size=(20, 10))
    assert (columns_first != rows_first).any()
    np.testing.assert_array_equal(imresize(image, size=(20, 10)), columns_first)


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_type_is_kept_and_constants_stay(kind: type) -> None:
    result = imresize(np.full((9, 12, 3), 77, kind), scale=1 / 3)
    assert result.dtype == kind
    np.testing.assert_allclose(result, 77, rtol=1e-6)


def test_floats_are_neither_rounded_nor_clipped() -> None:
    edge = np.tile(np.array([0.0, 0, 0, 0, 1, 1, 1, 1]), (8, 1))
    row = imresize(edge, scale=2)[8]
    assert row.min() < 0
    assert row.max() > 1


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (np.zeros((4, 4), np.uint8), {}, "one of the two"),
        (np.zeros((4, 4), np.uint8), {"scale": 2, "size": (8, 8)}, "one of the two"),
        (np.zeros((4, 4), np.uint8), {"scale": 0}, "0×0"),
        (np.zeros((4, 4), np.uint8), {"scale": -1}, "at least 1"),
        (np.zeros((4, 4), np.uint8), {"size": (0, 3)}, "0×3"),
        (np.zeros((4, 4), np.uint16), {"scale": 2}, "uint16"),
        (np.zeros((4, 4), bool), {"scale": 2}, "bool"),
        (np.zeros(4, np.uint8), {"scale": 2}, r"\(4,\)"),
        (np.zeros((0, 4), np.uint8), {"scale": 2}, r"\(0, 4\)"),
    ],
)
def test_refuses(image: np.ndarray, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PixelError, match=message):
        imresize(image, **arguments)
