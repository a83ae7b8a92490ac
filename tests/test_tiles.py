"""Tiles: that they cover, that they are of one shape, and that they leave no trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from pictures import difference, network, noise, photo, to_floats

from vsr import Upscaler
from vsr.backends.base import Done, Job, Numbers, Plane, Runner
from vsr.backends.pytorch import TorchBackend
from vsr.errors import ConfigError, DeviceError
from vsr.layout import Layout
from vsr.models.quantized import calibrate, quantize
from vsr.tiles import TiledRunner, spans


@pytest.mark.parametrize("margin", [0, 1, 4, 6])
@pytest.mark.parametrize("extra", [1, 2, 16])
def test_spans_cover_an_axis_once_with_tiles_of_one_length(margin: int, extra: int) -> None:
    side = 2 * margin + extra
    for length in range(1, 4 * side):
        tiles = spans(length, side, margin)
        assert [sample for tile in tiles for sample in range(tile.keep_start, tile.keep_stop)] == list(range(length))
        assert len({tile.stop - tile.start for tile in tiles}) == 1
        if length > side:
            # As few as there can be, and not a sample larger than as many need to be.
            assert len(tiles) == -(-(length - 2 * margin) // extra)
            assert (tiles[0].stop - 2 * margin - 1) * len(tiles) < length - 2 * margin
        for tile in tiles:
            assert tile.stop - tile.start <= side
            assert tile.start == 0 or tile.keep_start - tile.start >= margin
            assert tile.stop == length or tile.stop - tile.keep_stop >= margin
            assert 0 <= tile.start <= tile.keep_start < tile.keep_stop <= tile.stop <= length


class Waiting:
    def __init__(self, runner: Counting, planes: list[Plane]) -> None:
        self.runner, self.planes = runner, planes

    def result(self) -> list[Plane]:
        self.runner.waiting -= 1
        return self.planes


class Counting:
    """A runner that sums what lies within two samples, in whole numbers, and counts its jobs."""

    def __init__(self) -> None:
        self.shapes: set[tuple[int, ...]] = set()
        self.waiting = self.most_waiting = 0

    def submit(self, planes: Sequence[Plane]) -> Job:
        self.shapes.add(planes[0].shape)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        return Waiting(self, [self.enlarge(plane) for plane in planes])

    @staticmethod
    def enlarge(plane: Plane) -> Plane:
        rows, columns = plane.shape
        padded = np.pad(plane.astype(np.uint16), 2)
        total = sum((i + 7 * j + 1) * padded[i : i + rows, j : j + columns] for i in range(5) for j in range(5))
        return np.asarray(total, np.uint16).repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.parametrize("shape", [(50, 70), (21, 100), (100, 3), (1, 64), (23, 21), (20, 20)])
@pytest.mark.parametrize("side", [5, 6, 20])
def test_exact_for_whole_numbers(shape: tuple[int, int], side: int) -> None:
    planes = [noise(*shape, bit_depth=9, seed=seed) for seed in range(2)]
    inner = Counting()
    tiled = TiledRunner(inner, scale=2, margin=2, side=20, in_flight=3)
    tiled.room.side = side
    for result, plane in zip(tiled.submit(planes).result(), planes, strict=True):
        np.testing.assert_array_equal(result, Counting.enlarge(plane))
    assert len(inner.shapes) == 1
    assert inner.most_waiting <= 3
    assert inner.waiting == 0


def test_a_margin_too_small_would_show() -> None:
    plane = noise(50, 70, bit_depth=9)
    result = TiledRunner(Counting(), scale=2, margin=1, side=20, in_flight=1).submit([plane]).result()[0]
    assert difference(result, Counting.enlarge(plane))[0] > 0


SHAPES = [(37, 45), (60, 9), (5, 60), (1, 50), (50, 1), (1, 1), (3, 2)]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("model", ["espcn", "ecbsr", "bicubic", "bilinear", "nearest"])
def test_torch_leaves_no_trace(model: str, scale: int) -> None:
    net = network(model, scale)
    whole = TorchBackend().runner(net, Numbers())
    tiled = TiledRunner(whole, scale=scale, margin=net.receptive_field, side=1, in_flight=1)
    assert tiled.room.side == 2 * net.receptive_field + 16
    tiled.room.side = 2 * net.receptive_field + 1 if model != "ecbsr" else tiled.room.side
    total = differing = 0
    for shape in SHAPES:
        plane = photo(*shape)
        expected, result = whole.submit([plane]).result()[0], tiled.submit([plane]).result()[0]
        largest, share = difference(result, expected)
        # Another shape may mean another order of sums, and a value that lies on the border of two whole numbers.
        assert largest <= 1
        total, differing = total + result.size, differing + share * result.size
    assert differing <= 1 + 1e-4 * total


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_openvino_leaves_no_trace_at_all(kind: str) -> None:
    net = network("ecbsr", 2)
    picture = photo(61, 75)
    if kind == "int8":
        net = quantize(net)
        calibrate(net, to_floats(picture))
    whole = Upscaler(network=net, device="openvino", precision=kind, threads=1)
    tiled = Upscaler(network=net, device="openvino", precision=kind, threads=1, tile=1)
    np.testing.assert_array_equal(tiled.luma(picture), whole.luma(picture))


@pytest.mark.parametrize("location", ["left", "topleft"])
def test_chroma_and_odd_sizes_in_tiles(location: str) -> None:
    layout = Layout(chroma_location=location)  # type: ignore[arg-type]
    planes = (noise(61, 75), noise(31, 38), noise(31, 38, seed=1))
    whole, tiled = (
        Upscaler("bicubic", scale=3, device="torch", tile=tile).submit([planes], layout=layout).result()[0]
        for tile in (None, 20)
    )
    for a, b, shape in zip(tiled, whole, [(183, 225), (92, 113), (92, 113)], strict=True):
        assert a.shape == b.shape == shape
        largest, share = difference(a, b)
        assert largest <= 1
        assert share < 1e-4


@pytest.mark.parametrize("tile", [0, -5])
def test_refuses_impossible_tiles(tile: int) -> None:
    with pytest.raises(ConfigError, match=f"tile={tile}"):
        Upscaler("bicubic", tile=tile)


def test_what_fits_one_tile_goes_straight_on() -> None:
    done = Done([noise(4, 4)])

    class Once:
        def submit(self, planes: Sequence[Plane]) -> Job:
            return done

    assert TiledRunner(Once(), scale=2, margin=1, side=20, in_flight=1).submit([noise(20, 20)]) is done


class Small:
    """A machine with memory for ``room`` samples at once; remembers how many planes it was given at a time."""

    def __init__(self, runner: Runner, room: int) -> None:
        self.runner, self.room = runner, room
        self.batches: list[int] = []

    def submit(self, planes: Sequence[Plane]) -> Job:
        if len(planes) * planes[0].size > self.room:
            raise torch.OutOfMemoryError("too large")
        self.batches.append(len(planes))
        return self.runner.submit(planes)


def test_out_of_memory_halves_a_batch_first_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    runner = TorchBackend().runner(network("ecbsr", 2), Numbers())
    pictures = [noise(30, 40, seed=seed) for seed in range(5)]
    cramped = Small(runner, 3 * 30 * 40)
    tiled = TiledRunner(cramped, scale=2, margin=6, side=1000, in_flight=2)
    results = tiled.submit(pictures).result()
    assert cramped.batches == [2, 2, 1]
    assert tiled.room.side == 1000
    assert "going on with 2" in caplog.text
    for result, picture in zip(results, pictures, strict=True):
        [expected] = runner.submit([picture]).result()
        assert difference(result, expected)[0] <= 1


def test_out_of_memory_makes_tiles_smaller_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    runner = TorchBackend().runner(network("ecbsr", 2), Numbers())
    picture = photo(90, 120)
    tiled = TiledRunner(Small(runner, 60 * 60), scale=2, margin=6, side=1000, in_flight=2)
    [result] = tiled.submit([picture]).result()
    [whole] = runner.submit([picture]).result()
    assert difference(result, whole)[0] <= 1
    assert "out of memory" in caplog.text
    hopeless = TiledRunner(Small(runner, 20), scale=2, margin=6, side=1000, in_flight=2)
    with pytest.raises(DeviceError, match="memory does not suffice"):
        hopeless.submit([picture])
