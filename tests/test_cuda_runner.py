"""What a CUDA device does with planes, done on the CPU behind a device that only pretends to be one."""

from __future__ import annotations

import logging
import random
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fake_device import FakeDevice, always
from pictures import difference, network, noise, photo

from vsr import Upscaler, luma
from vsr.backends import Choice, make_backend
from vsr.backends.base import Backend, Numbers
from vsr.backends.cuda import CudaBackend, CudaRunner
from vsr.backends.pytorch import TorchBackend
from vsr.layout import Layout
from vsr.models.base import Network
from vsr.tiles import TiledRunner


def expected_of(net: Network, plane: np.ndarray, numbers: Numbers) -> np.ndarray:
    return TorchBackend().runner(net, numbers).submit([plane]).result()[0]


def backend(device: FakeDevice | None = None, **options: Any) -> CudaBackend:
    return CudaBackend(device or FakeDevice(), **{"precision": "fp32"} | options)


@pytest.mark.parametrize("name", ["espcn", "ecbsr", "bicubic", "srcnn", "nearest"])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(
    "numbers", [Numbers(), Numbers(full_range=True), Numbers(bit_depth=10), Numbers(bit_depth=16, full_range=True)]
)
def test_bytes_to_bytes_is_what_floats_give(name: str, scale: int, numbers: Numbers) -> None:
    net = network(name, scale)
    planes = [noise(11, 14, bit_depth=numbers.bit_depth, seed=seed) for seed in range(3)]
    results = backend().runner(net, numbers).submit(planes).result()
    for plane, result in zip(planes, results, strict=True):
        expected = expected_of(net, plane, numbers)
        assert result.dtype == numbers.dtype
        assert result.shape == expected.shape
        # Another order of additions may fall on the other side of a half, sixteen bits wide on that of several steps.
        largest, share = difference(result, expected)
        assert largest <= (1 if numbers.bit_depth < 16 else 8)
        assert share < (0.002 if numbers.bit_depth < 16 else 0.5)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_close(precision: str) -> None:
    net, plane = network("espcn", 2), photo(40, 52)
    [result] = backend(precision=precision).runner(net, Numbers()).submit([plane]).result()
    assert 0 < difference(result, expected_of(net, plane, Numbers()))[0] <= 3


@pytest.mark.parametrize("seed", range(8))
def test_many_batches_in_flight_keep_their_order(seed: int) -> None:
    rng = random.Random(seed)
    device = FakeDevice(lambda _: rng.choice([0.0, 1.0, 9.0]))
    runner = backend(device).runner(network("nearest", 2), Numbers())
    shapes = [(5, 7), (4, 4), (1, 9)]
    planes = [noise(*rng.choice(shapes), seed=n) for n in range(40)]
    jobs = deque((plane, runner.submit([plane])) for plane in planes[:4])
    for plane in planes[4:] + [None] * 4:
        given, job = jobs.popleft()
        device.host_works(rng.choice([0.0, 2.0]))
        np.testing.assert_array_equal(job.result()[0], given.repeat(2, axis=0).repeat(2, axis=1))
        if plane is not None:
            jobs.append((plane, runner.submit([plane])))


def test_planes_may_be_written_over_once_they_are_handed_in() -> None:
    runner = backend().runner(network("nearest", 2), Numbers())
    plane = noise(6, 6)
    given = plane.copy()
    job = runner.submit([plane])
    plane[:] = 0
    np.testing.assert_array_equal(job.result()[0], given.repeat(2, axis=0).repeat(2, axis=1))
    assert job.result()[0] is job.result()[0]


def run(runner: Any, count: int, *, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    planes = [noise(6, 6, seed=seed + n) for n in range(count)]
    return [(plane, runner.submit([plane]).result()[0]) for plane in planes]


def test_kernels_are_recorded_once_for_each_slot() -> None:
    device = FakeDevice()
    runner = backend(device).runner(network("nearest", 2), Numbers())
    assert all((result == plane.repeat(2, 0).repeat(2, 1)).all() for plane, result in run(runner, 20))
    assert device.captures == 3


def test_no_thread_records_what_it_has_not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN looks for the fastest way in every thread anew, and not while kernels are recorded."""
    device = FakeDevice()
    did: list[tuple[str, int]] = []
    capture, launch = device.capture, device.launch

    def told(what: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            did.append((what, threading.get_ident()))
            return act(*args, **options)

        return call

    monkeypatch.setattr(device, "capture", told("capture", capture))
    monkeypatch.setattr(device, "launch", told("launch", launch))
    runner = backend(device).runner(network("nearest", 2), Numbers())
    # As the workshop of a live run does before it hands a network over.
    workshop = threading.Thread(target=run, args=(runner, 5))
    workshop.start()
    workshop.join()
    assert all((result == plane.repeat(2, 0).repeat(2, 1)).all() for plane, result in run(runner, 12))
    assert device.captures == 3
    for at, (what, thread) in enumerate(did):
        assert what == "launch" or ("launch", thread) in did[:at]


def test_what_cannot_be_recorded_is_launched(caplog: pytest.LogCaptureFixture) -> None:
    device = FakeDevice()
    device.refuse_capture = True
    runner = backend(device).runner(network("nearest", 2), Numbers())
    assert all((result == plane.repeat(2, 0).repeat(2, 1)).all() for plane, result in run(runner, 20))
    [record] = caplog.records
    assert "no CUDA graph of (1, 6, 6) (fake: operation not permitted" in record.message


def test_no_graphs_where_none_are_wanted() -> None:
    device = FakeDevice()
    run(backend(device, graphs=False).runner(network("nearest", 2), Numbers()), 10)
    assert device.captures == 0


def test_a_compiler_that_fails_is_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Callable[..., None], **__: Any) -> Callable[..., None]:
        def call(*_: Any) -> None:
            raise RuntimeError("no compiler here\nand much more")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    runner = backend(means="compiled").runner(network("nearest", 2), Numbers())
    assert all((result == plane.repeat(2, 0).repeat(2, 1)).all() for plane, result in run(runner, 6))
    assert [record.message for record in caplog.records] == [
        "compiled arithmetic is not to be had (no compiler here); going on with plain"
    ]


def test_kernels_of_our_own_that_are_not_to_be_had_are_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "vsr.backends.chain", None)
    net, plane = network("espcn", 2), photo(20, 24)
    [result] = backend(precision="bf16", means="fused").runner(net, Numbers()).submit([plane]).result()
    assert difference(result, expected_of(net, plane, Numbers()))[0] <= 3
    assert "fused arithmetic is not to be had" in caplog.text


class Loud(Network):
    """Twice as large by repetition, by way of numbers that sixteen bits of float reach for dark samples only."""

    scale, receptive_field = 2, 0

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (torch.nn.Conv2d(1, 1, 1, bias=False) for _ in range(2))
        torch.nn.init.constant_(self.up.weight, 2.0**17)
        torch.nn.init.constant_(self.down.weight, 2.0**-17)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.up(x)).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def dark_then_bright(count: int) -> list[np.ndarray]:
    """Planes of which every one from the fifth on overflows."""
    return [np.full((4, 4), 16 if n < 5 else 200 + n, np.uint8) for n in range(count)]


@pytest.mark.parametrize("in_flight", [1, 3, 4])
def test_overflow_is_computed_again_and_no_frame_is_lost(in_flight: int, caplog: pytest.LogCaptureFixture) -> None:
    runner = backend(precision="fp16").runner(Loud(), Numbers())
    planes = dark_then_bright(12)
    results: list[np.ndarray] = []
    jobs: deque[Any] = deque()
    for plane in planes:
        jobs.append(runner.submit([plane, plane]))
        if len(jobs) >= in_flight:
            results += jobs.popleft().result()
    for job in jobs:
        results += job.result()
    assert [int(result[0, 0]) for result in results] == [int(plane[0, 0]) for plane in planes for _ in range(2)]
    assert [record.message for record in caplog.records] == ["torch.float16 overflowed on cpu; going on in fp32"]


def test_overflow_with_little_memory_is_computed_again_in_parts() -> None:
    device = FakeDevice()
    runner = backend(device, precision="fp16").runner(Loud(), Numbers())
    job = runner.submit([dark_then_bright(9)[n] for n in range(9)])
    # Three slots of three planes of 16 bytes, and four times that with a tail; not of five.
    device.memory_limit = 3 * (3 * 16 + 3 * 64 + 16)
    results = job.result()
    assert [int(result[0, 0]) for result in results] == [16] * 5 + [205, 206, 207, 208]
    assert device.trimmed >= 2


def test_out_of_memory_makes_batches_smaller_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    device = FakeDevice(memory_limit=3 * (2 * 36 + 2 * 144 + 16))
    runner = TiledRunner(
        backend(device).runner(network("nearest", 2), Numbers()), scale=2, margin=0, side=100, in_flight=3
    )
    planes = [noise(6, 6, seed=n) for n in range(8)]
    results = runner.submit(planes).result()
    for plane, result in zip(planes, results, strict=True):
        np.testing.assert_array_equal(result, plane.repeat(2, axis=0).repeat(2, axis=1))
    assert [record.message for record in caplog.records] == [
        "out of memory with 8 pictures at once; going on with 4",
        "out of memory with 4 pictures at once; going on with 2",
    ]


def test_out_of_memory_makes_tiles(caplog: pytest.LogCaptureFixture) -> None:
    net, plane = network("bicubic", 2), photo(80, 80)
    device = FakeDevice(memory_limit=3 * (48 * 48 * 5 + 16))
    runner = TiledRunner(
        backend(device).runner(net, Numbers()), scale=2, margin=net.receptive_field, side=100, in_flight=3
    )
    [result] = runner.submit([plane]).result()
    np.testing.assert_array_equal(result, expected_of(net, plane, Numbers()))
    assert "out of memory with tiles of 80; going on with 40" in caplog.text


def test_few_shapes_keep_their_memory() -> None:
    runner = backend().runner(network("nearest", 2), Numbers())
    assert isinstance(runner, CudaRunner)
    for rows in range(1, 12):
        runner.submit([noise(rows, 3)])
    assert len(runner._rings) == 4


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """Luma paths whose CUDA device is a fake: as a GPU would, it wants whole batches."""
    device = FakeDevice(always({"up": 1.0, "compute": 2.0, "down": 4.0}))

    def make(choice: Choice, **options: Any) -> Backend:
        if choice.device == "cuda":
            return CudaBackend(device, precision=choice.precision)
        return make_backend(choice, **options)

    monkeypatch.setattr(luma, "make_backend", make)
    return device


@pytest.mark.parametrize("subsampling", ["420", "444", "gray"])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1), ("fp16", 3)])
def test_pictures_with_colour(device: FakeDevice, subsampling: Any, precision: str, most: int) -> None:
    layout = Layout(subsampling=subsampling, bit_depth=10)
    sides = [(18, 22), *([layout.chroma_shape(18, 22)] * 2 if subsampling != "gray" else [])]
    pictures = [tuple(noise(*side, bit_depth=10, seed=n) // 4 for side in sides) for n in range(3)]
    path = luma.LumaPath(
        network("ecbsr", 2), Choice(device="cuda", precision=precision, reason=""), threads=0, tile=None
    )
    results = path.submit(pictures, layout=layout).result()
    expected = Upscaler(network=network("ecbsr", 2), device="torch").submit(pictures, layout=layout).result()
    for result, wanted in zip(results, expected, strict=True):
        assert len(result) == len(wanted) == len(sides)
        for plane, other in zip(result, wanted, strict=True):
            # Ten bits: a step of eight is four of these.
            assert difference(plane, other)[0] <= most * 4 * (precision == "fp16") + 1
    # Three pictures are one batch of luma, and one of chroma.
    assert sum(name == "compute" for name, *_ in device.log) == (1 if subsampling == "gray" else 2)


def test_numbers_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(backend(precision="fp16").runner(network("espcn", 2), Numbers()), 5)
    assert caplog.records == []
