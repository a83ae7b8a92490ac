"""``vsr bench --scaling``: how the cost of a frame grows with its size, with the scale and with frames under way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from vsr.app.doctor import examine
from vsr.backends.base import Planes
from vsr.layout import Layout
from vsr.upscaler import PlanesJob, Upscaler

_SIZES = ((320, 180), (640, 360), (960, 540), (1280, 720), (1920, 1080))
_SCALES = (2, 3, 4)
_UNDER_WAY = (1, 2, 3, 4)
# Samples of input that each figure is measured on, in all: a second or so of one core.
_SAMPLES = 12_000_000
_ROUNDS = 3
_LAYOUT = Layout()


def bench_scaling(*, model: str, scale: int, size: tuple[int, int]) -> dict[str, Any]:
    """Milliseconds a frame of the network's stage, by one thing after the other.

    Args:
        model: the network.
        scale: 2, 3 or 4, where it is not what changes.
        size: (width, height), where it is not what changes.

    Returns:
        Plain values: the machine; ``by_size``, ``by_scale`` and ``by_frames_under_way``, each with the wall and the
        processor's milliseconds a frame, and the latter for a million samples of input. The shortest of three rounds.
    """
    upscaler = Upscaler(model, scale=scale)
    facts = examine()
    return {
        "job": f"{model}, network's stage, where nothing else is said {size[0]}x{size[1]} x{scale}",
        "machine": {key: facts[key] for key in ("cpu", "cuda", "packages")},
        "by_size": {f"{width}x{height}": _cost(upscaler, (width, height)) for width, height in _SIZES},
        "by_scale": {str(each): _cost(Upscaler(model, scale=each), size) for each in _SCALES},
        "by_frames_under_way": {str(count): _cost(upscaler, size, under_way=count) for count in _UNDER_WAY},
    }


def _cost(upscaler: Upscaler, size: tuple[int, int], *, under_way: int | None = None) -> dict[str, float]:
    frames = max(4, _SAMPLES // (size[0] * size[1]))
    pictures = list(_pictures(size))
    rounds = [_round(upscaler, pictures, frames, under_way or upscaler.in_flight + 1) for _ in range(_ROUNDS + 1)]
    # The first makes the network ready for the size.
    wall, processor = (1000 * min(times) / frames for times in zip(*rounds[1:], strict=True))
    return {
        "wall_ms": wall,
        "processor_ms": processor,
        "processor_ms_a_megasample": processor * 1e6 / (size[0] * size[1]),
    }


def _round(upscaler: Upscaler, pictures: list[Planes], frames: int, under_way: int) -> tuple[float, float]:
    jobs: deque[PlanesJob] = deque()
    wall, processor = time.perf_counter(), time.process_time()
    for index in range(frames):
        jobs.append(upscaler.submit([pictures[index % len(pictures)]], layout=_LAYOUT))
        if len(jobs) == under_way:
            jobs.popleft().result()
    for job in jobs:
        job.result()
    return time.perf_counter() - wall, time.process_time() - processor


def _pictures(size: tuple[int, int]) -> Iterator[Planes]:
    random = np.random.default_rng(0)
    width, height = size
    for _ in range(2):
        luma = random.integers(16, 236, (height, width), np.uint8)
        chroma = random.integers(16, 241, (2, (height + 1) // 2, (width + 1) // 2), np.uint8)
        yield luma, chroma[0], chroma[1]
