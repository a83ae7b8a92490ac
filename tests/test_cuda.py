"""On a real GPU: the same pixels as on the CPU, whatever way they take there."""

from __future__ import annotations

import ctypes
import random
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import media
import numpy as np
import pytest
import torch
from pictures import difference, network, noise, photo
from test_cuda_runner import Loud, dark_then_bright, expected_of

from streams.frame import Frame, Surface
from streams.sinks import available_encoders
from streams.sources import FileSource
from vsr import Upscaler
from vsr.app.enhancer import UpscalerEnhancer
from vsr.app.jobs import upscale_video
from vsr.backends.base import Numbers
from vsr.backends.cuda import CudaBackend, CudaRunner
from vsr.backends.device import cuda_device
from vsr.layout import Layout
from vsr.tiles import TiledRunner

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True)
def _whole_memory() -> Iterator[None]:
    yield
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.mark.parametrize("name", ["espcn", "ecbsr", "bicubic", "srcnn", "nearest"])
@pytest.mark.parametrize("numbers", [Numbers(), Numbers(full_range=True), Numbers(bit_depth=10), Numbers(bit_depth=16)])
def test_full_precision_is_that_of_the_cpu(name: str, numbers: Numbers) -> None:
    net = network(name, 2)
    planes = [noise(61, 76, bit_depth=numbers.bit_depth, seed=seed) for seed in range(3)]
    results = CudaBackend.on("cuda", precision="fp32").runner(net, numbers).submit(planes).result()
    for plane, result in zip(planes, results, strict=True):
        largest, share = difference(result, expected_of(net, plane, numbers))
        assert largest <= (1 if numbers.bit_depth < 16 else 16)
        assert share < (0.01 if numbers.bit_depth < 16 else 1)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("name", ["espcn", "ecbsr"])
def test_half_precision_is_close(name: str, precision: str) -> None:
    net, plane = network(name, 2), photo(120, 152)
    [result] = CudaBackend.on("cuda", precision=precision).runner(net, Numbers()).submit([plane]).result()
    assert difference(result, expected_of(net, plane, Numbers()))[0] <= 3


@pytest.mark.parametrize("graphs", [False, True])
def test_many_batches_at_once_never_mix(graphs: bool) -> None:
    rng = random.Random(0)
    runner = CudaBackend.on("cuda", precision="fp32", graphs=graphs).runner(network("nearest", 2), Numbers())
    jobs: deque[tuple[np.ndarray, Any]] = deque()
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for number in range(120):
        plane = noise(*rng.choice([(270, 480), (64, 64), (1, 9)]), seed=number)
        jobs.append((plane, runner.submit([plane, plane[::-1]])))
        while len(jobs) > rng.randint(1, 5):
            given, job = jobs.popleft()
            kept.append((given, job.result()[1]))
    for given, result in kept:
        np.testing.assert_array_equal(result, given[::-1].repeat(2, axis=0).repeat(2, axis=1))


def test_graphs_are_recorded_and_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    net, planes = network("espcn", 2), [noise(90, 120, seed=seed) for seed in range(10)]
    eager, recorded = (
        CudaBackend.on("cuda", precision="fp16", graphs=graphs).runner(net, Numbers()) for graphs in (False, True)
    )
    for plane in planes:
        one, other = (runner.submit([plane]).result()[0] for runner in (eager, recorded))
        assert difference(one, other)[0] <= 1
    assert "no CUDA graph" not in caplog.text
    assert isinstance(recorded, CudaRunner)
    [ring] = recorded._rings.values()
    assert len(ring.prepare._replays) == 3  # type: ignore[attr-defined]


def test_overflow_is_computed_again(caplog: pytest.LogCaptureFixture) -> None:
    runner = CudaBackend.on("cuda", precision="fp16").runner(Loud(), Numbers())
    planes = dark_then_bright(12)
    jobs = [runner.submit([plane]) for plane in planes]
    assert [int(job.result()[0][0, 0]) for job in jobs] == [int(plane[0, 0]) for plane in planes]
    assert caplog.text.count("going on in fp32") == 1


def test_out_of_memory_makes_batches_smaller(caplog: pytest.LogCaptureFixture) -> None:
    net = network("espcn", 2)
    runner = TiledRunner(
        CudaBackend.on("cuda", precision="fp16").runner(net, Numbers()), scale=2, margin=4, side=4096, in_flight=3
    )
    planes = [noise(540, 960, seed=seed) for seed in range(8)]
    expected = runner.submit(planes).result()
    cuda_device(0).trim()
    used = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((used + (256 << 20)) / torch.cuda.mem_get_info()[1])
    runner.runner.free()  # type: ignore[attr-defined]
    results = runner.submit(planes).result()
    assert "out of memory with 8 pictures at once" in caplog.text
    assert all(difference(one, other)[0] <= 1 for one, other in zip(results, expected, strict=True))


@pytest.mark.parametrize("subsampling", ["420", "444"])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_pictures_with_colour(subsampling: Any, bit_depth: int) -> None:
    layout = Layout(subsampling=subsampling, bit_depth=bit_depth)
    sides = [(90, 160), *[layout.chroma_shape(90, 160)] * 2]
    pictures = [tuple(noise(*side, bit_depth=bit_depth, seed=seed) for side in sides) for seed in range(5)]
    results, expected = (
        Upscaler("ecbsr", device=device, precision="fp32").submit(pictures, layout=layout).result()
        for device in ("cuda", "torch")
    )
    for result, wanted in zip(results, expected, strict=True):
        assert all(difference(plane, other)[0] <= 1 for plane, other in zip(result, wanted, strict=True))


def test_all_devices_as_one() -> None:
    up = Upscaler("nearest", device="cuda:all")
    planes = [noise(30, 40, seed=seed) for seed in range(9)]
    jobs = [up.submit([(plane,)], layout=Layout(subsampling="gray")) for plane in planes]
    for plane, job in zip(planes, jobs, strict=True):
        np.testing.assert_array_equal(job.result()[0][0], plane.repeat(2, axis=0).repeat(2, axis=1))


def test_decoding_on_the_gpu_gives_the_same_pictures(tmp_path: Path) -> None:
    path = media.write_clip(tmp_path / "clip.mp4", media.pattern(9, 256, 192), codec="libx264")
    decoded = []
    for hwaccel in ("cuda", "none"):
        with FileSource(path, hwaccel=hwaccel) as source:  # type: ignore[arg-type]
            decoded.append([[plane.copy() for plane in frame.planes] for frame in source])
    for one, other in zip(*decoded, strict=True):
        assert all(np.array_equal(plane, same) for plane, same in zip(one, other, strict=True))


@pytest.fixture(params=["yuv420p", "yuv420p10le"])
def coded(request: Any, tmp_path: Path) -> Path:
    """Sixty pictures of a codec that every decoder of a GPU knows at this bit depth."""
    try:
        ctypes.CDLL("nvcuvid.dll" if sys.platform == "win32" else "libnvcuvid.so.1")
    except OSError as error:
        pytest.skip(f"no decoder of the driver's here, as in containers that were given none ({error})")
    codec = {"yuv420p": "libx264", "yuv420p10le": "libx265"}[request.param]
    return media.write_clip(tmp_path / "clip.mp4", media.pattern(60, 256, 192, request.param), codec=codec)


def enlarged(path: Path, *, hwaccel: Any, batch: int = 4, leave: bool = False, tile: int | None = None) -> list[Frame]:
    up = Upscaler("espcn", device="cuda", precision="fp32", tile=tile)
    enhancer = UpscalerEnhancer(up, leave=leave)
    pending: deque[Any] = deque()
    made: list[Frame] = []
    with FileSource(path, hwaccel=hwaccel) as source:
        frames = list(source)
        assert all(isinstance(frame.planes, Surface) == (hwaccel == "cuda") for frame in frames)
        for first in range(0, len(frames), batch):
            pending.append(enhancer.submit(frames[first : first + batch]))
            if len(pending) > up.in_flight:
                made += pending.popleft().result()
        del frames
    return made + [frame for job in pending for frame in job.result()]


@pytest.mark.parametrize(("leave", "tile"), [(False, None), (False, 150), (True, None), (True, 150)])
def test_pictures_that_stay_on_the_gpu_are_the_same(coded: Path, leave: bool, tile: int | None) -> None:
    stayed, copied = (enlarged(coded, hwaccel=way, leave=leave, tile=tile) for way in ("cuda", "none"))
    assert len(stayed) == len(copied) == 60
    for one, other in zip(stayed, copied, strict=True):
        assert isinstance(one.planes, Surface) == leave
        assert (one.pts, one.format) == (other.pts, other.format)
        # How convolutions are computed may depend on the memory that is free: a step, and hardly ever.
        assert all(difference(plane, same)[0] <= 1 for plane, same in zip(one.planes, other.planes, strict=True))


def test_a_decoder_that_goes_on_writes_into_no_picture_that_is_used(coded: Path) -> None:
    """Frames are let go at once, so that FFmpeg may use their memory again as early as it ever can."""
    up = Upscaler("nearest", device="cuda")
    enhancer = UpscalerEnhancer(up)
    pending: deque[Any] = deque()
    made: list[Frame] = []
    with FileSource(coded, hwaccel="cuda") as source:
        for frame in source:
            pending.append(enhancer.submit([frame]))
            if len(pending) > up.in_flight:
                made += pending.popleft().result()
    made += [frame for job in pending for frame in job.result()]
    with FileSource(coded) as source:
        for frame, larger in zip(source, made, strict=True):
            np.testing.assert_array_equal(larger.planes[0], frame.planes[0].repeat(2, axis=0).repeat(2, axis=1))


def test_the_context_is_shared_whoever_comes_first(coded: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.zeros(1, device="cuda")
    with caplog.at_level("INFO"):
        assert len(enlarged(coded, hwaccel="cuda")) == 60
    assert "pictures stay on GPU 0" in caplog.text
    assert "copied to the host" not in caplog.text


def test_memory_of_decoded_pictures_is_given_back(coded: Path) -> None:
    enlarged(coded, hwaccel="cuda")
    cuda_device(0).trim()
    before = torch.cuda.mem_get_info()[0]
    for _ in range(5):
        enlarged(coded, hwaccel="cuda")
    cuda_device(0).trim()
    assert before - torch.cuda.mem_get_info()[0] < 64 << 20


def test_from_file_to_file_on_the_gpu(coded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if "hevc_nvenc" not in available_encoders():
        pytest.skip("this GPU has no NVENC for H.265, as those for data centres")
    with caplog.at_level("INFO"):
        upscale_video(
            coded, tmp_path / "gpu.mp4", model="espcn", device="cuda", hwaccel="cuda", codec="hevc_nvenc", crf=10
        )
    assert "larger pictures stay on GPU 0 for hevc_nvenc" in caplog.text
    assert "pictures stay on GPU 0 from the decoder to the network" in caplog.text
    upscale_video(coded, tmp_path / "host.mkv", model="espcn", device="cuda", codec="ffv1")
    with FileSource(tmp_path / "gpu.mp4") as ours, FileSource(tmp_path / "host.mkv") as theirs:
        for one, other in zip(ours, theirs, strict=True):
            peak = (1 << one.format.bit_depth) - 1
            for plane, wanted in zip(one.planes, other.planes, strict=True):
                error = np.square(plane.astype(float) - wanted).mean()
                assert 10 * np.log10(peak**2 / max(error, 1e-9)) > 35
