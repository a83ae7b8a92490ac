"""``vsr bench``: how fast files become larger files here, beside the ways in which one would do it otherwise.

Every figure of one call is taken in one run on one machine, so that ratios hold where absolute times do not: shared
processors drift. The clip is made on the spot from bundled photographs.
"""

from __future__ import annotations

import importlib.util
import logging
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import torch

from vsr.app.bench_stages import bench_to_nothing, measure_limits
from vsr.app.clip import Clip, write_clip
from vsr.app.doctor import examine
from vsr.app.jobs import upscale_video
from vsr.app.profile import Profile, check_profile
from vsr.app.report import Progress, Report
from vsr.backends.base import Numbers
from vsr.backends.openvino import OpenVINOBackend
from vsr.errors import ConfigError
from vsr.models import build_network
from vsr.models.base import Network, macs_per_input_sample
from vsr.models.ecbsr import ECBSR, ECBSRConfig
from vsr.models.interpolation import Interpolation
from vsr.models.quantized import calibrate, quantize
from vsr.weights import load_network

log = logging.getLogger(__name__)

Plane = npt.NDArray[np.uint8]
_PRESET, _CRF = "veryfast", 18
_WARM_UP_FRAMES = 8
_REPEATS = 42


def bench_speed(
    *,
    frames: int,
    size: tuple[int, int],
    models: Sequence[str],
    scale: int,
    baselines: bool,
    profile: Path | None = None,
) -> dict[str, Any]:
    """Frames per second of each network through the whole pipeline, and of the same job done otherwise.

    Args:
        frames: length of the clip.
        size: (width, height) of the clip.
        models: networks to run.
        scale: 2, 3 or 4.
        baselines: also ESPCN through ``cv2.dnn``, a plain loop with PyTorch in fp32, and FFmpeg's bicubic scaler.
        profile: where to write what every thread did in the first network's run: ``.json`` for Perfetto, or
            ``.svg``; one that is there is replaced.

    Returns:
        Plain values: the machine and its limits; for each run frames per second and milliseconds per frame of each
        stage, and what is left of them without an encoder; ratios.

    Raises:
        ConfigError: ``baselines`` without OpenCV or onnx; another ending of ``profile``.
        SinkError: there is no folder for ``profile``.
    """
    if profile is not None:
        check_profile(profile, overwrite=True)
    if baselines and not all(importlib.util.find_spec(name) for name in ("cv2", "onnx")):
        raise ConfigError("the comparison needs opencv and onnx; 'pip install vsr[bench]', or give --no-baselines")
    facts = examine()
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, Clip(width=size[0], height=size[1], frames=frames, rate=30), crf=18, sound=False)
        target = Path(folder) / "out.mp4"
        limits = measure_limits()
        runs: dict[str, dict[str, Any]] = {}
        for name in models:
            collected = Profile() if profile is not None and not runs else None
            runs[name] = _pipeline(clip, target, model=name, scale=scale, profile=collected)
            if profile is not None and collected is not None:
                collected.write(profile)
            runs[name]["to_nothing"] = bench_to_nothing(clip, model=name, scale=scale, limits=limits)
        if baselines:
            shorter = max(_WARM_UP_FRAMES, frames // 5)
            runs["espcn, cv2.dnn"] = _plain_loop(clip, target, _cv2_espcn(size, scale), scale=scale, frames=shorter)
            runs["espcn, plain PyTorch fp32"] = _plain_loop(
                clip, target, _torch_espcn(scale), scale=scale, frames=shorter
            )
            runs["FFmpeg's scaler, bicubic"] = _scaled(clip, target, scale=scale)
    return {
        "job": f"{size[0]}x{size[1]} H.264 to x{scale} H.264 {_PRESET} crf {_CRF}, {frames} frames",
        "machine": {key: facts[key] for key in ("cpu", "cuda", "packages")},
        "limits": asdict(limits),
        "runs": runs,
        "ratios": _ratios(runs),
    }


def bench_memory(*, frames: int) -> dict[str, Any]:
    """Peak resident memory of a 1080p to 2160p job with the default network, and whether it grows with time.

    Args:
        frames: length of the clip.

    Returns:
        Plain values; ``early_mib`` and ``late_mib`` are the resident memory after a third of the frames and at the end.
    """
    samples: list[float] = []
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, Clip(width=1920, height=1080, frames=frames, rate=30), crf=18, sound=False)
        before = _resident_mib()

        def watch(_: Progress) -> None:
            samples.append(_resident_mib())

        report = upscale_video(clip, Path(folder) / "out.mp4", scale=2, preset=_PRESET, on_progress=watch)
    return {
        "job": f"1920x1080 to 3840x2160, {frames} frames, {report.model} {report.precision} on {report.device}",
        "fps": report.fps,
        "before_mib": before,
        "early_mib": samples[len(samples) // 3],
        "late_mib": samples[-1],
        "peak_mib": max(samples),
        "process_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def bench_shapes(*, size: tuple[int, int], scale: int) -> dict[str, Any]:
    """Milliseconds of all cores that luma networks of several shapes take for a frame; weights do not matter for that.

    Args:
        size: (width, height) of the frame.
        scale: 2, 3 or 4.

    Returns:
        Plain values: for each shape its MACs per luma sample, and the median time in fp32 and in int8.
    """
    networks: dict[str, Network] = {
        f"ecbsr, {layers} hidden of {width}": ECBSR(ECBSRConfig(scale=scale, layers=layers, width=width)).folded()
        for layers, width in ((3, 16), (4, 12), (4, 16), (5, 16), (2, 32), (4, 32))
    }
    networks["espcn"] = build_network("espcn", scale=scale)
    plane = np.random.default_rng(0).integers(16, 236, size[::-1], dtype=np.uint8)
    shapes = {}
    for name, network in networks.items():
        network.eval().requires_grad_(False)
        rounded = quantize(network).eval().requires_grad_(False)
        calibrate(rounded, torch.from_numpy(plane[:128, :128]).float().div(255)[None, None])
        shapes[name] = {
            "macs": macs_per_input_sample(network),
            "fp32_ms": _median_ms(network, plane, precision="fp32"),
            "int8_ms": _median_ms(rounded, plane, precision="int8"),
        }
    return {"job": f"one {size[0]}x{size[1]} luma plane, x{scale}, OpenVINO, all cores on it", "shapes": shapes}


def _median_ms(network: Network, plane: Plane, *, precision: str) -> float:
    runner = OpenVINOBackend(precision=precision, latency=True).runner(network, Numbers())
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        runner.submit([plane]).result()
        times.append(time.perf_counter() - start)
    return float(np.median(times[2:])) * 1000


def _pipeline(clip: Path, target: Path, *, model: str, scale: int, profile: Profile | None) -> dict[str, Any]:
    # The first run of a network compiles it, as the first frame of every job does; only steady speed is compared.
    upscale_video(clip, target, model=model, scale=scale, preset=_PRESET, overwrite=True, max_frames=_WARM_UP_FRAMES)
    first: list[Progress] = []
    last: list[Progress] = []

    def watch(progress: Progress) -> None:
        if progress.frames == _WARM_UP_FRAMES:
            first.append(progress)
        last[:] = [progress]

    report = upscale_video(
        clip, target, model=model, scale=scale, preset=_PRESET, overwrite=True, on_progress=watch, profile=profile
    )
    seconds = last[0].elapsed_seconds - first[0].elapsed_seconds
    log.info("%s: %d frames in %.1f s", model, report.frames_out, report.wall_seconds)
    return {
        "fps": (last[0].frames - first[0].frames) / seconds,
        "fps_with_start": report.fps,
        "first_frame_seconds": report.first_frame_seconds,
        "device": report.device,
        "precision": report.precision,
        "stage_ms": dict(report.stage_ms),
        "wall_over_slowest_stage": _overhead(report),
    }


def _overhead(report: Report) -> float:
    return report.wall_seconds * 1000 / report.frames_out / max(report.stage_ms.values())


def _plain_loop(clip: Path, target: Path, luma: Callable[[Plane], Plane], *, scale: int, frames: int) -> dict[str, Any]:
    """One thread: decode, enlarge, encode, frame after frame, as a first script would."""
    chroma = Interpolation(scale)
    started = 0.0
    with av.open(str(clip)) as source, _encoder(target, source, scale) as (container, stream):
        for index, frame in enumerate(source.decode(video=0)):
            if index == frames:
                break
            if index == 2:
                started = time.perf_counter()
            planes = [_array(plane) for plane in frame.planes]
            small = torch.from_numpy(np.stack(planes[1:])).float()[:, None]
            u, v = chroma(small).round().clamp(0, 255).byte()[:, 0].numpy()
            container.mux(stream.encode(_picture([luma(planes[0]), u, v], frame)))
        container.mux(stream.encode(None))
    return {"fps": (frames - 2) / (time.perf_counter() - started), "device": "cpu", "precision": "fp32"}


def _scaled(clip: Path, target: Path, *, scale: int) -> dict[str, Any]:
    """The floor: one thread, FFmpeg's own scaler, the same encoder."""
    begun = time.perf_counter()
    frames = 0
    with av.open(str(clip)) as source, _encoder(target, source, scale) as (container, stream):
        for frame in source.decode(video=0):
            large = frame.reformat(stream.width, stream.height, interpolation="BICUBIC")
            large.pts, large.time_base, large.pict_type = frame.pts, frame.time_base, 0
            container.mux(stream.encode(large))
            frames += 1
        container.mux(stream.encode(None))
    return {"fps": frames / (time.perf_counter() - begun), "device": "cpu", "precision": "swscale"}


@contextmanager
def _encoder(target: Path, source: Any, scale: int) -> Iterator[tuple[Any, Any]]:
    video = source.streams.video[0]
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=video.average_rate)
        stream.width, stream.height, stream.pix_fmt = video.width * scale, video.height * scale, "yuv420p"
        stream.options = {"preset": _PRESET, "crf": str(_CRF)}
        yield container, stream


def _array(plane: Any) -> Plane:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _picture(planes: Sequence[Plane], like: Any) -> av.VideoFrame:
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], "yuv420p")
    for target, plane in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(memoryview(target), np.uint8).reshape(target.height, target.line_size)
        rows[:, : target.width] = plane
    frame.pts, frame.time_base = like.pts, Fraction(like.time_base)
    return frame


def _torch_espcn(scale: int) -> Callable[[Plane], Plane]:
    network = load_network("espcn", scale=scale)

    @torch.inference_mode()
    def luma(plane: Plane) -> Plane:
        out = network(torch.from_numpy(plane.copy()).float().div(255)[None, None])
        result: Plane = out.mul(255).round().clamp(0, 255).byte()[0, 0].numpy()
        return result

    return luma


def _cv2_espcn(size: tuple[int, int], scale: int) -> Callable[[Plane], Plane]:
    import cv2

    network = load_network("espcn", scale=scale)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "espcn.onnx"
        example = torch.zeros(1, 1, size[1], size[0])
        torch.onnx.export(network, (example,), str(path), dynamo=False, opset_version=13)
        runner = cv2.dnn.readNetFromONNX(str(path))

    def luma(plane: Plane) -> Plane:
        runner.setInput(cv2.dnn.blobFromImage(plane, 1 / 255))
        out = runner.forward()[0, 0]
        result: Plane = np.clip(np.round(out * 255), 0, 255).astype(np.uint8)
        return result

    return luma


def _ratios(runs: dict[str, dict[str, Any]]) -> dict[str, float]:
    """How many times faster each run of the pipeline is than each way to do without it."""
    others = [name for name in runs if ", " in name]
    return {
        f"{name} / {other}": runs[name]["fps"] / runs[other]["fps"]
        for name in runs
        if name not in others
        for other in others
    }


def _resident_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
