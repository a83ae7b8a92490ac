"""The one door: ranges, depths, memory layouts, batches, and what it refuses."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import weakref
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from pictures import difference, network, noise, photo
from skimage import data

from vsr import Upscaler
from vsr.errors import ConfigError, DeviceError, PixelError, UnknownModelError, WeightsError
from vsr.layout import Layout
from vsr.models import build_network
from vsr.resample import resize_axis, taps

PLAIN = ["nearest", "bilinear", "bicubic"]


def on_torch(model: str = "bicubic", scale: int = 2, **arguments: Any) -> Upscaler:
    """An upscaler that starts in no time; networks with weights get random ones."""
    net = None if model in PLAIN else network(model, scale)
    return Upscaler(model, scale=scale, device="torch", precision="fp32", network=net, **arguments)


@pytest.mark.parametrize("model", [*PLAIN, "espcn", "ecbsr"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_luma_of_eight_and_sixteen_bits(model: str, scale: int) -> None:
    up = on_torch(model, scale)
    small = up.luma(photo(9, 13))
    assert (small.shape, small.dtype) == ((9 * scale, 13 * scale), np.uint8)
    fine = up.luma(photo(9, 13).astype(np.uint16) * 4, bit_depth=10)
    assert (fine.shape, fine.dtype) == ((9 * scale, 13 * scale), np.uint16)
    # Both are rounded from the same number: by an eighth of a step the one, by half a step the other.
    assert np.abs(fine / 4 - small).max() <= 0.5 + 0.125


@pytest.mark.parametrize("model", [*PLAIN, "espcn", "ecbsr"])
def test_full_range_is_mapped_there_and_back(model: str) -> None:
    up = on_torch(model)
    share = photo(20, 20).astype(float) / 255
    limited = np.round((16 + 219 * share) * 256).astype(np.uint16)
    full = np.round(65535 * share).astype(np.uint16)
    as_limited = (up.luma(limited, bit_depth=16) / 256 - 16) / 219
    as_full = up.luma(full, bit_depth=16, full_range=True) / 65535
    np.testing.assert_allclose(as_full, np.clip(as_limited, 0, 1), atol=1e-4)


def test_full_range_matters_to_a_network() -> None:
    up = on_torch("espcn")
    assert difference(up.luma(photo()), up.luma(photo(), full_range=True))[0] > 0


@pytest.mark.parametrize("value", [0, 1, 15, 16, 235, 236, 250, 255])
@pytest.mark.parametrize("model", PLAIN)
def test_numbers_beyond_the_limited_range_are_kept(model: str, value: int) -> None:
    picture = np.full((6, 7), value, np.uint8)
    np.testing.assert_array_equal(on_torch(model, 3).luma(picture), np.full((18, 21), value))


@pytest.mark.parametrize("bit_depth", [8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("model", PLAIN)
def test_constants_stay_at_every_depth(model: str, bit_depth: int, full_range: bool) -> None:
    peak = (1 << bit_depth) - 1
    kind = np.uint8 if bit_depth == 8 else np.uint16
    layout = Layout(bit_depth=bit_depth, full_range=full_range)
    up = on_torch(model)
    for value in (0, 1, peak // 3, peak - 1, peak):
        planes = tuple(np.full(shape, value, kind) for shape in ((6, 8), (3, 4), (3, 4)))
        for plane in up.submit([planes], layout=layout).result()[0]:
            assert plane.dtype == kind
            np.testing.assert_array_equal(plane, value)


@pytest.mark.parametrize(("bit_depth", "peak"), [(8, 255), (10, 1023), (16, 65535)])
def test_overshoot_is_clipped_and_never_wraps(bit_depth: int, peak: int) -> None:
    edge = np.zeros((4, 12), np.uint8 if bit_depth == 8 else np.uint16)
    edge[:, 6:] = peak
    result = on_torch().luma(edge, bit_depth=bit_depth)
    assert (np.diff(result.astype(int), axis=1) >= 0).all()
    assert result.min() == 0
    assert result.max() == peak


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_bicubic_luma_equals_the_float_reference(bit_depth: int) -> None:
    picture = noise(11, 14, bit_depth=bit_depth)
    expected = picture.astype(float)
    for axis in (0, 1):
        expected = resize_axis(expected, axis, *taps(picture.shape[axis], picture.shape[axis] * 3))
    result = on_torch(scale=3).luma(picture, bit_depth=bit_depth)
    assert np.abs(result - np.clip(expected, 0, (1 << bit_depth) - 1)).max() < 0.501


def padded(plane: np.ndarray) -> np.ndarray:
    buffer = np.zeros((plane.shape[0], plane.shape[1] + 37), plane.dtype)
    buffer[:, : plane.shape[1]] = plane
    return buffer[:, : plane.shape[1]]


VIEWS = {
    "rows apart, as decoders have them": padded,
    "columns apart": lambda plane: plane.repeat(2, axis=1)[:, ::2],
    "upside down": lambda plane: plane[::-1].copy()[::-1],
    "mirrored": lambda plane: plane[:, ::-1].copy()[:, ::-1],
    "by columns": np.asfortranarray,
    "of foreign memory": lambda plane: np.frombuffer(plane.tobytes(), plane.dtype).reshape(plane.shape),
}


@pytest.mark.parametrize("how", VIEWS)
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_any_view_of_memory_is_taken_and_left_alone(how: str, bit_depth: int) -> None:
    layout = Layout(bit_depth=bit_depth)
    planes = (noise(12, 18, bit_depth=bit_depth), noise(6, 9, bit_depth=bit_depth), noise(6, 9, bit_depth=bit_depth))
    views = tuple(VIEWS[how](plane) for plane in planes)
    for view in views:
        view.setflags(write=False)
    up = on_torch("ecbsr")
    expected, result = (up.submit([given], layout=layout).result()[0] for given in (planes, views))
    for a, b, view, plane in zip(result, expected, views, planes, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(view, plane)


@pytest.mark.parametrize("device", ["torch", "openvino"])
def test_a_batch_is_its_pictures_in_their_order(device: str) -> None:
    up = Upscaler(network=network("ecbsr", 2), device=device, precision="fp32", threads=2)
    layout = Layout()
    batch = [(noise(10, 14, seed=n), noise(5, 7, seed=n + 10), noise(5, 7, seed=n + 20)) for n in range(5)]
    together = up.submit(batch, layout=layout).result()
    assert len(together) == 5
    for planes, result in zip(batch, together, strict=True):
        alone = up.submit([planes], layout=layout).result()[0]
        for a, b in zip(result, alone, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("device", ["torch", "openvino"])
def test_planes_are_copied_before_submit_returns(device: str) -> None:
    up = Upscaler("nearest", device=device, threads=1)
    planes = tuple(noise(*shape) for shape in ((40, 60), (20, 30), (20, 30)))
    kept, jobs = [], []
    for _ in range(3):
        kept.append(tuple(plane.copy() for plane in planes))
        jobs.append(up.submit([planes], layout=Layout()))
        for plane in planes:
            np.invert(plane, out=plane)
    for job, copies in zip(jobs, kept, strict=True):
        expected = up.submit([copies], layout=Layout()).result()[0]
        for a, b in zip(job.result()[0], expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_results_belong_to_the_caller() -> None:
    up = on_torch()
    first = up.luma(photo())
    kept = first.copy()
    second = up.luma(photo(60, 76)[::-1])
    second[:] = 0
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("subsampling", ["gray", "420", "422", "444"])
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (7, 1), (5, 9)])
def test_odd_and_tiny_sizes(subsampling: Literal["gray", "420", "422", "444"], size: tuple[int, int]) -> None:
    layout = Layout(subsampling=subsampling)
    planes = tuple(noise(*(layout.chroma_shape(*size) if index else size)) for index in range(3))
    planes = planes[: 1 if subsampling == "gray" else 3]
    result = on_torch("ecbsr", 3).submit([planes], layout=layout).result()[0]
    layout.check(result)
    assert result[0].shape == (3 * size[0], 3 * size[1])


@pytest.mark.parametrize("scale", [2, 4])
def test_rgb_equals_bicubic_of_each_channel(scale: int) -> None:
    # Of low contrast, so that nothing leaves the cube of colours.
    rgb = (data.astronaut()[:40, 200:230] // 2 + 64).astype(np.uint8)
    expected = rgb.astype(float)
    for axis in (0, 1):
        expected = resize_axis(expected, axis, *taps(rgb.shape[axis], rgb.shape[axis] * scale))
    result = on_torch(scale=scale)(rgb)
    assert result.dtype == np.uint8
    assert np.abs(result - expected).max() < 0.6


def test_gray_stays_gray() -> None:
    rgb = photo(20, 20)[..., None].repeat(3, axis=2)
    result = on_torch("espcn")(rgb)
    assert (result == result[..., :1]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda up: up.luma(noise(4, 4, 3)), r"\(4, 4, 3\) uint8, a luma plane is H×W"),
        (lambda up: up.luma(np.zeros((4, 4))), "float64"),
        (lambda up: up.luma(noise(4, 4), bit_depth=10), "bit_depth=10 with uint8"),
        (lambda up: up.luma(noise(4, 4, bit_depth=10), bit_depth=8), "bit_depth=8 with uint16"),
        (lambda up: up.luma(noise(4, 0)), "4×0"),
        (lambda up: up(noise(4, 4)), r"\(4, 4\) uint8, a picture is H×W×3 uint8; for one plane use .luma"),
        (lambda up: up(noise(4, 4, 4)), r"\(4, 4, 4\)"),
        (lambda up: up(noise(4, 4, 3, bit_depth=10)), "uint16"),
        (lambda up: up.submit([], layout=Layout()), "no pictures"),
        (lambda up: up.submit([(noise(4, 4),)], layout=Layout()), "1 planes, 420 has 3"),
        (
            lambda up: up.submit([(noise(4, 4),), (noise(4, 6),)], layout=Layout(subsampling="gray")),
            r"\(4, 6\) and \(4, 4\) in one batch",
        ),
    ],
)
def test_refuses_pixels(call: Any, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        call(on_torch())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "magic"}, UnknownModelError, "'magic', allowed are ecbsr, "),
        ({"model": "ecbsr", "scale": 7}, UnknownModelError, "scale 7 for ecbsr, allowed are 2, 3, 4"),
        ({"model": "bicubic", "scale": 0}, UnknownModelError, "scale 0"),
        ({"model": "bicubic", "device": "tpu"}, DeviceError, "'tpu', allowed are auto, cpu, native, openvino, torch"),
        ({"threads": -1}, ConfigError, "threads=-1, it must be at least 1, or 0"),
        ({"model": "bicubic", "precision": "fp8"}, DeviceError, "'fp8', allowed are .* bf16, int16, int8"),
        ({"model": "bicubic", "precision": "int8"}, DeviceError, "int8 .* allow fp32"),
    ],
)
def test_refuses_what_is_not_there(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Upscaler(**arguments)


def test_a_model_without_weights_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.weights.index", tuple)
    with pytest.raises(WeightsError, match="no fp32 weights of espcn ×2 are shipped; there are: none"):
        Upscaler("espcn")


def test_refuses_a_network_of_another_scale_or_kind() -> None:
    with pytest.raises(ConfigError, match="×3, it must be of 1 or 3 and ×2"):
        Upscaler(network=network("espcn", 3))
    colours = network("espcn", 2)
    colours.channels = 4
    with pytest.raises(ConfigError, match="4 channels"):
        Upscaler(network=colours)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_chroma_is_never_done_in_half_precision(precision: str) -> None:
    """Ten bits do not fit a float of sixteen."""
    net = network("ecbsr", 2)
    up = Upscaler(network=net, device="torch", precision=precision)
    layout = Layout(bit_depth=10)
    planes = (noise(8, 8, bit_depth=10), noise(4, 4, bit_depth=10), noise(4, 4, bit_depth=10))
    result = up.submit([planes], layout=layout).result()[0]
    expected = on_torch().submit([planes], layout=layout).result()[0]
    for a, b in zip(result[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_network_in_its_training_form_is_folded() -> None:
    net = build_network("ecbsr", scale=2)
    up = Upscaler(network=net, device="torch")
    assert up.network is not net
    largest, share = difference(up.luma(photo()), Upscaler(network=net.folded(), device="torch").luma(photo()))
    assert (largest, share) == (0, 0)


def test_its_memory_is_free_as_soon_as_it_is_gone() -> None:
    """Compiled networks are large; they must not wait for the collector of cycles."""
    up = on_torch("ecbsr")
    up.submit([(noise(4, 4), noise(2, 2), noise(2, 2))], layout=Layout()).result()
    remains = weakref.ref(up)
    gc.disable()
    try:
        del up
        assert remains() is None
    finally:
        gc.enable()


def test_sixteen_bits_unless_said_otherwise() -> None:
    picture = noise(6, 7, bit_depth=16)
    up = on_torch()
    np.testing.assert_array_equal(up.luma(picture), up.luma(picture, bit_depth=16))


def test_a_blend_is_never_ignored() -> None:
    with pytest.raises(ConfigError, match=r"blend=0.5 for bicubic, only networks that paint texture"):
        Upscaler("bicubic", blend=0.5)
    with pytest.raises(ConfigError, match=r"blend=1.0 for a network of its own"):
        Upscaler(network=network("espcn", 2), blend=1.0)


def test_it_is_neither_pickled_nor_copied() -> None:
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="make one where it is used"):
            way(on_torch())


@pytest.mark.parametrize(
    "way", [lambda up: up.luma(noise(4, 5)), lambda up: up(noise(4, 5, 3))], ids=["a plane", "a picture"]
)
@pytest.mark.parametrize("model", ["bicubic", "srresnet"])
def test_a_fork_of_its_process_is_refused(
    model: str, way: Callable[[Upscaler], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    up = on_torch(model)
    way(up)
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(DeviceError, match="make one in each process"):
        way(up)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_is_told_so_at_once() -> None:
    up = Upscaler("espcn", device="openvino")
    up.luma(noise(4, 5))
    child = os.fork()
    if not child:
        try:
            signal.alarm(20)
            up.luma(noise(4, 5))
        except DeviceError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
