"""The meaning of planes; above all, that colour stays where it is when a picture is enlarged."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pictures import noise

from vsr import Upscaler
from vsr.errors import PixelError
from vsr.layout import Layout

Floats = npt.NDArray[np.float64]
LOCATIONS = ["left", "center", "topleft"]
# Luma samples per chroma sample, and where the chroma sample lies among several; down and across.
FACTORS = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}
SITES = {"left": (0.5, 0.0), "center": (0.5, 0.5), "topleft": (0.0, 0.0)}
BITS = 12


def places(count: int, factor: int, site: float) -> Floats:
    """Where chroma samples lie along an axis, in luma samples."""
    return np.arange(count) * factor + (site if factor == 2 else 0.0)


def edge(x: Floats) -> Floats:
    """An S-shaped change of colour about place 40.3, soft enough for any interpolation to follow it closely."""
    return 2048 + 1200 * np.tanh((x - 40.3) / 5)


def wave(x: Floats) -> Floats:
    return 2048 + 900 * np.sin(2 * np.pi * (x + 0.7) / 31)


def chroma_phase(
    layout: Layout, scale: int, *, axis: int, signal: Any, kept_as: Layout | None = None, device: str = "torch"
) -> float:
    """How far colour drifts along an axis, in output luma samples.

    Chroma is sampled from a function of place, enlarged, and compared with the function at the places where the output
    has its samples: the displacement is what least squares say.
    """
    shape = (80, 96)
    rows, columns = layout.chroma_shape(*shape)
    count, factor = (rows, columns)[axis], FACTORS[layout.subsampling][axis]
    site = SITES[layout.chroma_location][axis]
    samples = np.round(signal(places(count, factor, site))).astype(np.uint16)
    chroma = np.broadcast_to(samples[:, None] if axis == 0 else samples, (rows, columns))
    planes = (np.full(shape, 2048, np.uint16), chroma, chroma[::-1, ::-1])
    up = Upscaler("bicubic", scale=scale, device=device, threads=1)
    _, u, _ = up.submit([planes], layout=kept_as or layout).result()[0]
    line = u.mean(axis=1 - axis)
    where = (places(count * scale, factor, site) + 0.5) / scale - 0.5
    slope = (signal(where + 1e-4) - signal(where - 1e-4)) / 2e-4
    inner = slice(8 * scale, -8 * scale)
    off = (line - signal(where))[inner]
    return float((off * slope[inner]).sum() / (slope[inner] ** 2).sum() * scale)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_colour_does_not_drift(subsampling: Any, location: Any, scale: int) -> None:
    layout = Layout(subsampling=subsampling, chroma_location=location, bit_depth=BITS)
    for axis in (0, 1):
        for signal in (edge, wave):
            assert abs(chroma_phase(layout, scale, axis=axis, signal=signal)) < 0.02


def test_colour_does_not_drift_on_openvino() -> None:
    layout = Layout(chroma_location="left", bit_depth=BITS)
    assert abs(chroma_phase(layout, 2, axis=1, signal=edge, device="openvino")) < 0.02


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_planes_scaled_alone_would_drift(scale: int) -> None:
    """The measurement sees the fault that others have: left-sited chroma moves by (r - 1)/2."""
    left, alone = Layout(chroma_location="left", bit_depth=BITS), Layout(chroma_location="center", bit_depth=BITS)
    drift = chroma_phase(left, scale, axis=1, signal=edge, kept_as=alone)
    assert abs(drift) == pytest.approx((scale - 1) / 2, abs=0.03)
    assert abs(chroma_phase(left, scale, axis=0, signal=edge, kept_as=alone)) < 0.02


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("location", LOCATIONS)
def test_a_hard_edge_of_eight_bits_lies_where_the_reference_has_it(location: Any, scale: int) -> None:
    layout = Layout(chroma_location=location)
    chroma = np.full((20, 24), 60, np.uint8)
    chroma[:, 12:] = 190
    planes = (np.full((40, 48), 128, np.uint8), chroma, chroma)
    _, u, v = Upscaler("bicubic", scale=scale, device="torch").submit([planes], layout=layout).result()[0]
    np.testing.assert_array_equal(u, v)
    site = SITES[location][1]
    luma_places = (places(24 * scale, 2, site) + 0.5) / scale - 0.5
    expected = keys((luma_places - site) / 2, chroma[0].astype(float))
    assert np.abs(u - np.clip(expected, 0, 255)).max() <= 0.5 + 1e-4


def keys(where: Floats, samples: Floats) -> Floats:
    """Cubic convolution at any places by its textbook form: a Hermite spline with central differences."""
    padded = np.pad(samples, 3, mode="edge")
    first = np.floor(where).astype(int)
    t = where - first
    p = [padded[first + 3 + offset] for offset in (-1, 0, 1, 2)]
    before, after = (p[2] - p[0]) / 2, (p[3] - p[1]) / 2
    return (
        (2 * t**3 - 3 * t**2 + 1) * p[1] + (t**3 - 2 * t**2 + t) * before
        + (3 * t**2 - 2 * t**3) * p[2] + (t**3 - t**2) * after
    )  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "scale", "expected"),
    [
        (Layout(chroma_location="left"), 2, (0, 0.125)),
        (Layout(chroma_location="left"), 4, (0, 0.1875)),
        (Layout(chroma_location="center"), 3, (0, 0)),
        (Layout(chroma_location="topleft"), 2, (0.125, 0.125)),
        (Layout(subsampling="422", chroma_location="topleft"), 2, (0, 0.125)),
        (Layout(subsampling="444", chroma_location="topleft"), 4, (0, 0)),
    ],
)
def test_shift_by_hand(layout: Layout, scale: int, expected: tuple[float, float]) -> None:
    assert layout.chroma_shift(scale) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("subsampling", "expected"), [("gray", (5, 7)), ("420", (3, 4)), ("422", (5, 4)), ("444", (5, 7))]
)
def test_odd_sizes_round_up(subsampling: Any, expected: tuple[int, int]) -> None:
    assert Layout(subsampling=subsampling).chroma_shape(5, 7) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subsampling": "411"}, "'411', allowed are gray, 420, 422, 444"),
        ({"bit_depth": 7}, "7, allowed are 8 to 16"),
        ({"bit_depth": 17}, "17, allowed"),
        ({"chroma_location": "bottom"}, "'bottom', allowed are left, center, topleft"),
    ],
)
def test_refuses_impossible_layouts(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PixelError, match=message):
        Layout(**arguments)


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        ((noise(6, 8),), "1 planes, 420 has 3"),
        ((noise(6, 8), noise(3, 4), noise(3, 3)), r"plane 2 is \(3, 3\) uint8.*needs \(3, 4\) uint8"),
        ((noise(6, 8), noise(6, 8), noise(6, 8)), r"plane 1 is \(6, 8\)"),
        ((noise(6, 8, bit_depth=10), noise(3, 4), noise(3, 4)), "plane 0 .*uint16"),
        ((noise(6, 8, 3), noise(3, 4), noise(3, 4)), "rows × columns"),
        ((noise(0, 8), noise(0, 4), noise(0, 4)), "0×8"),
    ],
)
def test_refuses_planes_that_do_not_fit(planes: tuple[Any, ...], message: str) -> None:
    with pytest.raises(PixelError, match=message):
        Layout().check(planes)
