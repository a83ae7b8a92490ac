"""Frames through the upscaler: their marks stay, and reducing them to a size keeps chroma where it belongs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from streams.frame import Frame, PixelFormat
from vsr.app.enhancer import UpscalerEnhancer, layout_of
from vsr.app.fit import fit_planes
from vsr.layout import Layout
from vsr.upscaler import Upscaler

# How far the first chroma sample of a pair lies beyond the first luma sample: (down, across).
SITES = {"left": (0.5, 0.0), "center": (0.5, 0.5), "topleft": (0.0, 0.0)}


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler("bicubic", scale=2, device="torch")


def noise_frame(form: PixelFormat, *, width: int = 18, height: int = 14, pts: int = 7, seed: int = 0) -> Frame:
    generator = np.random.default_rng(seed)
    shapes = [form.plane_shape(index, width, height) for index in range(form.plane_count)]
    planes = tuple(generator.integers(0, 1 << form.bit_depth, shape).astype(form.dtype) for shape in shapes)
    return Frame(planes=planes, format=form, pts=pts, time_base=Fraction(1001, 30000), duration=2, corrupt=True)


@pytest.mark.parametrize("subsampling", ["gray", "420", "422", "444"])
@pytest.mark.parametrize(("bit_depth", "range_"), [(8, "limited"), (8, "full"), (10, "limited"), (16, "full")])
@pytest.mark.parametrize("size", [None, (31, 25)])
def test_marks_and_format_stay(upscaler, subsampling, bit_depth, range_, size):
    form = PixelFormat(subsampling=subsampling, bit_depth=bit_depth, range=range_, matrix=9, primaries=9, transfer=16)
    frame = replace(noise_frame(form, width=17, height=13), discontinuity=True)
    (made,) = UpscalerEnhancer(upscaler, size=size).submit([frame]).result()
    assert (made.width, made.height) == (size or (34, 26))
    assert made.format == form
    assert (made.pts, made.time_base, made.duration) == (7, Fraction(1001, 30000), 2)
    assert made.corrupt
    assert made.discontinuity


def test_a_batch_keeps_its_order(upscaler):
    enhancer = UpscalerEnhancer(upscaler)
    frames = [noise_frame(PixelFormat(), pts=pts, seed=pts) for pts in (5, 9, 10)]
    together = enhancer.submit(frames).result()
    assert [frame.pts for frame in together] == [5, 9, 10]
    for frame, made in zip(frames, together, strict=True):
        (alone,) = enhancer.submit([frame]).result()
        assert all(np.array_equal(x, y) for x, y in zip(alone.planes, made.planes, strict=True))


def test_the_input_is_left_alone(upscaler):
    frame = noise_frame(PixelFormat())
    before = [plane.copy() for plane in frame.planes]
    UpscalerEnhancer(upscaler, size=(20, 20)).submit([frame]).result()
    assert all(np.array_equal(x, y) for x, y in zip(before, frame.planes, strict=True))


def ramp_error(layout: Layout, *, axis: int, size_in: tuple[int, int], size_out: tuple[int, int]) -> float:
    """How far, in luma samples of the output, chroma of a colour ramp lies from where it belongs."""
    factor = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}[layout.subsampling][axis]
    site = SITES[layout.chroma_location][axis] if factor == 2 else 0.0
    shape = layout.chroma_shape(*size_in)
    # The colour of the scene, as a function of luma position, sampled where the chroma samples are.
    slope = 100.0
    line = 1000 + slope * (factor * np.arange(shape[axis]) + site)
    plane = np.broadcast_to(line[:, None] if axis == 0 else line[None, :], shape).round().astype(np.uint16)
    luma = np.zeros(size_in, np.uint16)
    made = fit_planes((luma, plane, plane), layout=layout, width=size_out[1], height=size_out[0])[1]
    ratio = size_out[axis] / size_in[axis]
    positions = factor * np.arange(made.shape[axis]) + site
    expected = 1000 + slope * ((positions + 0.5) / ratio - 0.5)
    got = np.median(made.astype(float), axis=1 - axis)
    inner = slice(6, -6)
    # The mean: a cubic kernel stretched by a broken number ripples about a ramp, which moves nothing.
    return float(abs((got - expected)[inner].mean()) / slope * ratio)


@pytest.mark.parametrize("location", ["left", "center", "topleft"])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size_out", [(90, 120), (81, 97), (119, 159), (64, 150)])
def test_fit_keeps_the_phase_of_chroma(location, subsampling, axis, size_out):
    layout = Layout(subsampling=subsampling, bit_depth=16, chroma_location=location)
    assert ramp_error(layout, axis=axis, size_in=(120, 160), size_out=size_out) < 0.02


@pytest.mark.parametrize("location", ["left", "center"])
def test_network_and_fit_together_keep_the_phase(upscaler, location):
    form = PixelFormat(bit_depth=16, chroma_location=location)
    width, height, to_width, to_height = 80, 60, 120, 90
    site = SITES[location][1]
    line = 1000 + 400.0 * (2 * np.arange(width // 2) + site)
    chroma = np.broadcast_to(line[None, :], (height // 2, width // 2)).round().astype(np.uint16)
    luma = np.zeros((height, width), np.uint16)
    frame = Frame(planes=(luma, chroma, chroma), format=form, pts=0, time_base=Fraction(1, 25))
    (made,) = UpscalerEnhancer(upscaler, size=(to_width, to_height)).submit([frame]).result()
    ratio = to_width / width
    expected = 1000 + 400.0 * ((2 * np.arange(to_width // 2) + site + 0.5) / ratio - 0.5)
    error = (made.planes[1][10].astype(float) - expected)[6:-6].mean() / 400 * ratio
    assert abs(error) < 0.02


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_fit_overshoots_no_limit(bit_depth):
    peak = (1 << bit_depth) - 1
    luma = np.zeros((40, 40), np.uint8 if bit_depth == 8 else np.uint16)
    luma[:, 20:] = peak
    (made,) = fit_planes((luma,), layout=Layout(subsampling="gray", bit_depth=bit_depth), width=33, height=33)
    assert made.dtype == luma.dtype
    assert made.max() == peak
    assert made.min() == 0


def test_fit_of_a_flat_picture_is_flat():
    layout = Layout(subsampling="420", bit_depth=10)
    planes = (np.full((31, 41), 512, np.uint16), np.full((16, 21), 300, np.uint16), np.full((16, 21), 700, np.uint16))
    made = fit_planes(planes, layout=layout, width=27, height=29)
    assert [plane.shape for plane in made] == [(29, 27), (15, 14), (15, 14)]
    assert [set(plane.ravel().tolist()) for plane in made] == [{512}, {300}, {700}]


def test_layout_says_what_the_format_says():
    form = PixelFormat(subsampling="422", bit_depth=12, range="full", chroma_location="topleft")
    expected = Layout(subsampling="422", bit_depth=12, full_range=True, chroma_location="topleft")
    assert layout_of(form) == expected
