"""Pictures that never leave the GPU, on a pretended one: the same bits, in order, and released in time."""

from __future__ import annotations

import logging
import random
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Any

import media
import numpy as np
import pytest
import torch
from fake_device import FOREIGN, FakeDevice, RaceError
from gpu_pictures import GpuPicture, decoded_on_gpu, pretend_cuda, same, semi_planar, surface_frame
from pictures import network, noise
from test_cuda_runner import Loud, dark_then_bright

from streams.frame import Frame, PixelFormat, Surface
from streams.sources import FileSource
from streams.sources.surfaces import DecodedSurface
from vsr import Upscaler
from vsr.app.enhancer import UpscalerEnhancer
from vsr.backends.base import Numbers
from vsr.backends.cuda import CudaBackend
from vsr.backends.surfaces import DevicePlane, device_planes
from vsr.tiles import TiledRunner


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    return pretend_cuda(monkeypatch)


def never(_: Any) -> Any:
    raise AssertionError("copied to the host")


@pytest.mark.parametrize("bit_depth", [8, 10, 16])
@pytest.mark.parametrize("name", ["espcn", "bicubic"])
@pytest.mark.parametrize("tile", [None, 20])
def test_the_result_is_that_of_the_host_bit_for_bit(
    name: str, bit_depth: int, tile: int | None, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecodedSurface, "download", never)
    enhancer = UpscalerEnhancer(Upscaler(network=network(name, 2), tile=tile))
    pairs = [surface_frame(34, 46, bit_depth=bit_depth, seed=seed) for seed in range(3)]
    there, here = (enhancer.submit([pair[place] for pair in pairs]).result() for place in (0, 1))
    for one, other in zip(there, here, strict=True):
        assert same(one.planes, other.planes)
        assert one.geometry == other.geometry


@pytest.mark.parametrize(("ours", "of_gpu"), [("yuv420p", "nv12"), ("yuv420p10le", "p010le")])
def test_from_a_file_to_larger_pictures(
    ours: str, of_gpu: str, tmp_path: Path, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.write_clip(tmp_path / "clip.mkv", media.pattern(6, 64, 48, ours), codec="ffv1")
    enhancer = UpscalerEnhancer(Upscaler(network=network("espcn", 2)))

    def larger() -> list[Frame]:
        with FileSource(path) as source:
            return [made for frame in source for made in enhancer.submit([frame]).result()]

    expected = larger()
    pictures = decoded_on_gpu(monkeypatch, of_gpu)
    for one, other in zip(larger(), expected, strict=True):
        assert same(one.planes, other.planes)
        assert (one.pts, one.format) == (other.pts, other.format)
    assert sum(picture.downloads for picture in pictures) == 0


@pytest.mark.parametrize("seed", range(6))
def test_many_batches_while_the_decoder_goes_on(seed: int) -> None:
    """The decoder writes few surfaces again and again, each when its result is there, and late in its own stream."""
    rng = random.Random(seed)
    device = FakeDevice(lambda _: rng.choice([0.0, 1.0, 9.0]))
    runner = CudaBackend(device, precision="fp32").runner(network("nearest", 2), Numbers())
    free = deque(device.memory(5 * 8).view(5, 8) for _ in range(6))
    jobs: deque[tuple[np.ndarray, torch.Tensor, Any]] = deque()

    def finish() -> None:
        given, memory, job = jobs.popleft()
        np.testing.assert_array_equal(job.result()[0], given.repeat(2, axis=0).repeat(2, axis=1))
        free.append(memory)

    for number in range(40):
        memory, plane = free.popleft(), noise(5, 8, seed=number)
        decode(device, memory, plane)
        jobs.append((plane, memory, runner.submit([DevicePlane(memory)])))
        device.host_works(rng.choice([0.0, 2.0]))
        if len(jobs) > rng.randint(1, 5) or not free:
            finish()
    while jobs:
        finish()


def decode(device: FakeDevice, memory: torch.Tensor, plane: np.ndarray) -> None:
    def work() -> None:
        memory.copy_(torch.from_numpy(plane))

    device.launch(device.stream(FOREIGN), work, reads=[], writes=[memory])


def test_a_picture_that_is_not_waited_for_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    runner = CudaBackend(device, precision="fp32").runner(network("nearest", 2), Numbers())
    memory = device.memory(20).view(4, 5)
    decode(device, memory, noise(4, 5))
    monkeypatch.setattr(device, "foreign", lambda: device.record(device.stream("up")))
    with pytest.raises(RaceError, match=r"read by up .* write by foreign"):
        runner.submit([DevicePlane(memory)])


def test_a_surface_that_is_written_too_early_would_be_found() -> None:
    device = FakeDevice()
    runner = CudaBackend(device, precision="fp32").runner(network("nearest", 2), Numbers())
    memory = device.memory(20).view(4, 5)
    job = runner.submit([DevicePlane(memory)])
    with pytest.raises(RaceError, match=r"write by foreign .* read by up"):
        decode(device, memory, noise(4, 5))
    job.result()


def test_surfaces_are_released_when_the_result_is_there(device: FakeDevice) -> None:
    enhancer = UpscalerEnhancer(Upscaler(network=network("nearest", 2)))
    form = PixelFormat()
    watched, pending = [], []
    for number in range(12):
        picture, _, memory = semi_planar(8, 10, seed=number)
        frame = Frame(
            planes=DecodedSurface(GpuPicture(picture), form), format=form, pts=number, time_base=Fraction(1, 25)
        )
        watched.append(memory)
        pending.append(enhancer.submit([frame]))
        del picture, frame
    assert all(memory() is not None for memory in watched)
    made = [pending.pop(0).result() for _ in range(12)]
    assert [memory() for memory in watched] == [None] * 12
    assert len(made) == 12


def test_a_job_alone_keeps_the_memory_that_it_reads() -> None:
    device = FakeDevice()
    runner = CudaBackend(device, precision="fp32").runner(network("nearest", 2), Numbers())
    picture, _, memory = semi_planar(8, 10)
    capsules = [plane.__dlpack__() for plane in picture.planes]
    del picture
    job = runner.submit(list(device_planes(capsules, bit_depth=8)[:1]))  # type: ignore[arg-type]
    del capsules
    device.finish()
    assert memory() is not None
    job.result()
    assert memory() is None


def test_overflow_is_computed_again_from_what_is_on_the_device(caplog: pytest.LogCaptureFixture) -> None:
    runner = CudaBackend(FakeDevice(), precision="fp16").runner(Loud(), Numbers())
    planes = dark_then_bright(12)
    jobs = [runner.submit([DevicePlane(torch.from_numpy(plane))]) for plane in planes]  # type: ignore[list-item]
    assert [int(job.result()[0][0, 0]) for job in jobs] == [int(plane[0, 0]) for plane in planes]
    assert caplog.text.count("going on in fp32") == 1


def test_too_little_memory_makes_batches_smaller() -> None:
    device = FakeDevice(memory_limit=3 * (2 * 36 + 2 * 144 + 16))
    runner = TiledRunner(
        CudaBackend(device, precision="fp32").runner(network("nearest", 2), Numbers()),
        scale=2,
        margin=0,
        side=100,
        in_flight=3,
    )
    planes = [noise(6, 6, seed=seed) for seed in range(8)]
    results = runner.submit([DevicePlane(torch.from_numpy(plane)) for plane in planes]).result()  # type: ignore[misc]
    assert same(results, [plane.repeat(2, axis=0).repeat(2, axis=1) for plane in planes])


def test_a_plane_on_a_device_is_as_an_array_to_whoever_asks() -> None:
    picture, planes, _ = semi_planar(6, 8, bit_depth=10)
    found = device_planes([plane.__dlpack__() for plane in picture.planes], bit_depth=10)
    for plane, array in zip(found, planes, strict=True):
        assert (plane.shape, plane.ndim, plane.size, plane.dtype) == (array.shape, 2, array.size, array.dtype)
        tile = plane[1:3, 0:3]
        target = torch.zeros(tile.shape, dtype=torch.int16)
        tile.write_to(target)
        assert np.array_equal(target.numpy().view(np.uint16), array[1:3, 0:3])


# Which pictures go which way, and what is said of it.


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("pictures")]


def test_said_once(device: FakeDevice, caplog: pytest.LogCaptureFixture) -> None:
    enhancer = UpscalerEnhancer(Upscaler(network=network("nearest", 2)))
    with caplog.at_level(logging.INFO):
        for seed in range(3):
            enhancer.submit([surface_frame(8, 8, seed=seed)[0]]).result()
    assert said(caplog) == ["pictures stay on GPU 0 from the decoder to the network"]


@pytest.mark.parametrize(
    ("options", "gpu", "reason"),
    [
        ({}, 1, "GPU 1 decodes and GPU 0 computes"),
        ({"reuse": "exact"}, 0, "networks on RGB, several GPUs, and --reuse take them from there"),
    ],
)
def test_what_the_network_cannot_reach_is_copied(
    options: Any, gpu: int, reason: str, device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    enhancer = UpscalerEnhancer(Upscaler(network=network("nearest", 2), **options))
    there, here = surface_frame(8, 8, gpu=gpu)
    with caplog.at_level(logging.INFO):
        results = [enhancer.submit([frame]).result()[0] for frame in (there, here)]
    assert same(*(frame.planes for frame in results))
    assert said(caplog) == [f"pictures are copied to the host: {reason}"]


def test_a_network_on_the_processor_copies_them(caplog: pytest.LogCaptureFixture) -> None:
    enhancer = UpscalerEnhancer(Upscaler(network=network("nearest", 2), device="torch"))
    there, here = surface_frame(8, 8)
    with caplog.at_level(logging.INFO):
        assert same(*(enhancer.submit([frame]).result()[0].planes for frame in (there, here)))
    assert said(caplog) == ["pictures are copied to the host: the network runs on cpu"]


def test_what_cannot_be_read_there_is_copied_from_then_on(
    device: FakeDevice, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: Surface) -> Any:
        raise NotImplementedError("unsupported sw_format for DLPack export")

    monkeypatch.setattr(DecodedSurface, "export", refuse)
    enhancer = UpscalerEnhancer(Upscaler(network=network("nearest", 2)))
    for seed in range(2):
        there, here = surface_frame(8, 8, seed=seed)
        assert same(*(enhancer.submit([frame]).result()[0].planes for frame in (there, here)))
    assert said(caplog) == [
        "pictures are copied to the host: PyTorch cannot read them on the GPU (unsupported sw_format for DLPack export)"
    ]


def test_batches_of_both_kinds_are_copied(device: FakeDevice) -> None:
    enhancer = UpscalerEnhancer(Upscaler(network=network("nearest", 2)))
    pairs = [surface_frame(8, 8, seed=seed) for seed in range(2)]
    mixed = enhancer.submit([pairs[0][0], pairs[1][1]]).result()
    hosts = enhancer.submit([pairs[0][1], pairs[1][1]]).result()
    assert all(same(one.planes, other.planes) for one, other in zip(mixed, hosts, strict=True))
