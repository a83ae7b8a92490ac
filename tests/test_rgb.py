"""Networks on RGB behind the one door: colours as true as on the way of luma, tiles, and memory that runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pictures import colour_photo, difference, network, noise, photo
from torch import Tensor

from vsr import Upscaler
from vsr.backends.pytorch import TorchBackend
from vsr.errors import DeviceError, PixelError
from vsr.layout import Layout
from vsr.models import build_network
from vsr.models.base import Network
from vsr.models.interpolation import Interpolation
from vsr.tiles import widest_layer

MATRICES = [1, 4, 5, 6, 7, 9]
DEEP = ["srresnet", "srgan", "rrdb", "esrgan"]


class Bicubic(Network):
    """Cubic convolution of each of three channels: what a network on RGB does at its plainest."""

    channels = 3

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale, self.body = scale, Interpolation(scale)
        self.receptive_field = self.body.receptive_field

    def forward(self, x: Tensor) -> Tensor:
        count, channels, rows, columns = x.shape
        larger: Tensor = self.body(x.reshape(count * channels, 1, rows, columns))
        return larger.view(count, channels, rows * self.scale, columns * self.scale)


def smooth(rows: int, columns: int, layout: Layout, *, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Planes of a picture of soft waves of colour."""
    peak, phase = layout.numbers.peak, np.random.default_rng(seed).uniform(0, 6, 3)
    shapes = [(rows, columns), *[layout.chroma_shape(rows, columns)] * 2]
    planes = []
    for index, (down, across) in enumerate(shapes):
        y, x = np.mgrid[:down, :across] * (1.0 if index == 0 else rows / down)
        wave = np.sin(x / 9 + phase[index]) * np.cos(y / 11 + phase[-index])
        planes.append(np.round(peak * (0.5 + 0.2 * wave)).astype(layout.numbers.dtype))
    return tuple(planes[: 1 if layout.subsampling == "gray" else 3])


@pytest.mark.parametrize("location", ["left", "center", "topleft"])
@pytest.mark.parametrize("subsampling", ["gray", "420", "422", "444"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_as_true_as_on_the_way_of_luma(bit_depth: int, full_range: bool, subsampling: Any, location: Any) -> None:
    coloured = Upscaler(network=Bicubic(2), device="torch")
    plain = Upscaler("bicubic", device="torch")
    for matrix in MATRICES:
        layout = Layout(
            subsampling=subsampling, bit_depth=bit_depth, full_range=full_range, chroma_location=location, matrix=matrix
        )
        picture = smooth(40, 54, layout, seed=matrix)
        result, expected = (up.submit([picture], layout=layout).result()[0] for up in (coloured, plain))
        layout.check(result)
        for a, b in zip(result, expected, strict=True):
            assert difference(a[8:-8, 8:-8], b[8:-8, 8:-8])[0] <= 1


@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
@pytest.mark.parametrize("location", ["left", "center", "topleft"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_edge_of_colour_stays_where_it_is(subsampling: Any, location: Any, scale: int) -> None:
    """Chroma of a soft edge, measured against the function that it was sampled from."""
    layout = Layout(subsampling=subsampling, bit_depth=12, chroma_location=location, matrix=9)
    up = Upscaler(network=Bicubic(scale), scale=scale, device="torch")
    rows, columns = layout.chroma_shape(80, 96)
    for axis, (factor, site) in enumerate(layout.chroma_sites):

        def edge(where: Any) -> Any:
            return 2048 + 1200 * np.tanh((where - 40.3) / 5)

        samples = np.round(edge(np.arange((rows, columns)[axis]) * factor + site)).astype(np.uint16)
        chroma = np.broadcast_to(samples[:, None] if axis == 0 else samples, (rows, columns))
        _, made, _ = up.submit([(np.full((80, 96), 2048, np.uint16), chroma, chroma)], layout=layout).result()[0]
        line = made.mean(axis=1 - axis)
        where = (np.arange(len(line)) * factor + site + 0.5) / scale - 0.5
        slope = (edge(where + 1e-4) - edge(where - 1e-4)) / 2e-4
        inner = slice(8 * scale, -8 * scale)
        moved = ((line - edge(where)) * slope)[inner].sum() / (slope[inner] ** 2).sum() * scale
        assert abs(moved) < 0.02


@pytest.mark.parametrize("bit_depth", [8, 10, 16])
@pytest.mark.parametrize("value", [0, 1, 100, 250, 255])
def test_flat_colours_stay(bit_depth: int, value: int) -> None:
    layout = Layout(bit_depth=bit_depth, matrix=1)
    up = Upscaler(network=Bicubic(3), scale=3, device="torch")
    unit = 1 << (bit_depth - 8)
    numbers = (value * unit, 90 * unit, 170 * unit)
    planes = tuple(
        np.full(shape, n, layout.numbers.dtype) for shape, n in zip([(9, 7), (5, 4), (5, 4)], numbers, strict=True)
    )
    for made, number in zip(up.submit([planes], layout=layout).result()[0], numbers, strict=True):
        np.testing.assert_array_equal(made, number)


class Clipping(Bicubic):
    """Bicubic, but for numbers that a network was never shown."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.min() >= 0
        assert x.max() <= 1
        return super().forward(x)


def test_numbers_beyond_black_and_white_go_around_the_network() -> None:
    up, plain = Upscaler(network=Clipping(2), device="torch"), Upscaler("bilinear", device="torch")
    for value in (0, 5, 16, 100, 235, 250, 255):
        picture = np.full((8, 9), value, np.uint8)
        np.testing.assert_array_equal(up.luma(picture), plain.luma(picture))
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (4, 256))
    assert difference(up.luma(ramp), plain.luma(ramp))[0] <= 1


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("device", ["torch", "openvino"])
@pytest.mark.parametrize("scale", [2, 4])
def test_the_door_takes_every_network_on_rgb(name: str, device: str, scale: int) -> None:
    net = network(name, scale)
    up = Upscaler(network=net, scale=scale, device=device, threads=1)
    assert up.choice.precision == "fp32"
    rgb = colour_photo(19, 23)
    x = torch.from_numpy(rgb.copy()).movedim(-1, 0)[None].float() / 255
    expected = (net(x)[0] * 255).round().clamp(0, 255).byte().movedim(0, -1).numpy()
    largest, share = difference(up(rgb), expected)
    assert largest <= 1
    assert share < 1e-3
    layout = Layout(matrix=6)
    made = up.submit([smooth(19, 23, layout)], layout=layout).result()[0]
    layout.check(made)
    assert made[0].shape == (19 * scale, 23 * scale)


def test_planes_become_what_rgb_does() -> None:
    up = Upscaler(network=network("rrdb", 2), device="torch")
    layout = Layout(subsampling="444", bit_depth=16, full_range=True, matrix=9)
    rgb = colour_photo(20, 24)
    red, blue = 0.2627, 0.0593
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    numbers = [y * 65535, (b - y) / (2 - 2 * blue) * 65535 + 32768, (r - y) / (2 - 2 * red) * 65535 + 32768]
    planes = tuple(plane.round().astype(np.uint16) for plane in numbers)
    y, cb, cr = (plane.astype(float) for plane in up.submit([planes], layout=layout).result()[0])
    r = (y + (2 - 2 * red) * (cr - 32768)) / 257
    b = (y + (2 - 2 * blue) * (cb - 32768)) / 257
    made = np.stack([r, (y / 257 - red * r - blue * b) / (1 - red - blue), b], axis=-1)
    assert np.abs(made.clip(0, 255) - up(rgb)).max() < 0.51


def test_luma_alone_is_a_gray_picture() -> None:
    up = Upscaler(network=Bicubic(2), device="torch")
    expected = Upscaler("bicubic", device="torch").luma(photo())
    assert difference(up.luma(photo()), expected)[0] <= 1
    fine = photo().astype(np.uint16) * 4
    assert up.luma(fine, bit_depth=10).dtype == np.uint16


@pytest.mark.parametrize("device", ["torch", "openvino"])
def test_a_batch_is_its_pictures_in_their_order(device: str) -> None:
    up = Upscaler(network=network("srresnet", 2), device=device, threads=1)
    layout = Layout(matrix=1)
    batch = [smooth(12, 14, layout, seed=seed) for seed in range(3)]
    together = up.submit(batch, layout=layout).result()
    for picture, result in zip(batch, together, strict=True):
        for a, b in zip(result, up.submit([picture], layout=layout).result()[0], strict=True):
            assert difference(a, b)[0] <= 1


def test_refuses_a_layout_without_a_matrix() -> None:
    up = Upscaler(network=Bicubic(2), device="torch")
    planes = tuple(noise(*shape) for shape in ((4, 4), (2, 2), (2, 2)))
    with pytest.raises(PixelError, match="without a matrix"):
        up.submit([planes], layout=Layout())
    with pytest.raises(PixelError, match="matrix 10"):
        up.check(Layout(matrix=10))
    with pytest.raises(PixelError, match=r"\(0, 4, 3\)"):
        up(noise(0, 4, 3))
    Upscaler("bicubic", device="torch").check(Layout(matrix=10))


@pytest.mark.parametrize("name", ["srresnet", "rrdb"])
@pytest.mark.parametrize("device", ["torch", "openvino"])
def test_tiles_leave_no_trace(name: str, device: str) -> None:
    net = network(name, 2)
    rgb = colour_photo(150, 170)
    whole, tiled = (Upscaler(network=net, device=device, threads=1, tile=tile)(rgb) for tile in (None, 1))
    largest, share = difference(tiled, whole)
    assert largest <= 1
    assert share < 1e-3


def test_tiles_of_planes() -> None:
    layout = Layout(matrix=1, chroma_location="topleft")
    picture = (noise(61, 75), noise(31, 38), noise(31, 38, seed=1))
    whole, tiled = (
        Upscaler(network=Bicubic(3), scale=3, device="torch", tile=tile).submit([picture], layout=layout).result()[0]
        for tile in (None, 20)
    )
    for a, b in zip(tiled, whole, strict=True):
        assert difference(a, b)[0] <= 1


@pytest.mark.parametrize(
    ("name", "scale", "options", "expected"),
    [
        ("rrdb", 4, {"blocks": 1, "width": 64, "growth": 32}, 64 * 16),
        ("rrdb", 2, {"blocks": 1, "width": 16, "growth": 32}, 16 + 4 * 32),
        ("srresnet", 4, {"blocks": 1, "width": 64}, 64 * 16),
        ("ecbsr", 2, {}, 16),
    ],
)
def test_memory_is_that_of_the_widest_layer(name: str, scale: int, options: Any, expected: int) -> None:
    assert widest_layer(build_network(name, scale=scale, options=options).folded()) == expected


class Cramped:
    """A program on a machine with memory for ``room`` samples at once; remembers the batches that went through."""

    def __init__(self, program: Callable[[Tensor], Tensor], room: int, error: Exception) -> None:
        self.program, self.room, self.error = program, room, error
        self.device = torch.device("cpu")
        self.done: list[tuple[int, ...]] = []

    def __call__(self, x: Tensor) -> Tensor:
        if x[:, 0].numel() > self.room:
            raise self.error
        self.done.append(tuple(x.shape))
        return self.program(x)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
]


def cramped(room: int, error: Exception) -> tuple[Upscaler, Cramped]:
    up = Upscaler(network=Bicubic(2), device="torch")
    enlarger: Any = up._path._workers.worker  # type: ignore[union-attr]
    enlarger.program = Cramped(enlarger.program, room, error)
    return up, enlarger.program


@pytest.mark.parametrize("error", ERRORS)
def test_out_of_memory_halves_the_batch_and_loses_no_picture(error: Exception, caplog: Any) -> None:
    layout = Layout(matrix=1)
    batch = [smooth(40, 50, layout, seed=seed) for seed in range(5)]
    expected = Upscaler(network=Bicubic(2), device="torch").submit(batch, layout=layout).result()
    up, program = cramped(40 * 50 * 2, error)
    result = up.submit(batch, layout=layout).result()
    assert [shape[0] for shape in program.done] == [2, 2, 1]
    assert "out of memory with 5 pictures at once; going on with 2" in caplog.text
    for made, wanted in zip(result, expected, strict=True):
        for a, b in zip(made, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    # What was learnt holds for the next batch.
    program.done.clear()
    up.submit(batch, layout=layout)
    assert [shape[0] for shape in program.done] == [2, 2, 1]


def test_then_tiles_become_smaller(caplog: Any) -> None:
    layout = Layout(matrix=1)
    batch = [smooth(90, 120, layout, seed=seed) for seed in range(3)]
    up, program = cramped(70 * 70, ERRORS[0])
    result = up.submit(batch, layout=layout).result()
    assert [text.partition(";")[0] for text in caplog.messages] == [
        "out of memory with 3 pictures at once",
        "out of memory with tiles of 120",
    ]
    assert {shape[0] for shape in program.done} == {1}
    expected = Upscaler(network=Bicubic(2), device="torch").submit(batch, layout=layout).result()
    for made, wanted in zip(result, expected, strict=True):
        for a, b in zip(made, wanted, strict=True):
            assert difference(a, b)[0] <= 1
    rgb = colour_photo(90, 120)
    assert difference(up(rgb), Upscaler(network=Bicubic(2), device="torch")(rgb))[0] <= 1


def test_no_memory_at_all_is_an_error() -> None:
    up, _ = cramped(10, ERRORS[0])
    with pytest.raises(DeviceError, match="memory does not suffice even for tiles"):
        up.submit([smooth(90, 120, Layout(matrix=1))], layout=Layout(matrix=1))


def test_other_errors_are_passed_on() -> None:
    up, _ = cramped(10, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        up(colour_photo(20, 20))


class Loud(Bicubic):
    """Adds nothing, by way of numbers that sixteen bits of float do not reach."""

    def forward(self, x: Tensor) -> Tensor:
        one = x.new_ones(1, 1, 1, 1)
        large = torch.nn.functional.conv2d(x[:, :1], one * 1e6)
        return super().forward(x + 0 * large)


def test_half_precision_that_overflows_goes_on_in_full(caplog: Any) -> None:
    program = TorchBackend(precision="fp16").program(Loud(2))
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(program(x), Loud(2)(x))
    assert "going on in fp32" in caplog.text
