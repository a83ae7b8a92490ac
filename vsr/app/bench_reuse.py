"""``vsr bench --reuse``: what it brings to a scene at rest that only what changes is computed, and costs one in motion.

Only the network's stage is timed, on pictures that are in memory, and all runs take turns: processors that others share
get slower and faster meanwhile, and ratios of runs side by side bear that.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from streams.sources import FileSource
from vsr.app.clip import Clip
from vsr.app.doctor import examine
from vsr.app.enhancer import layout_of
from vsr.backends.base import Planes
from vsr.layout import Layout
from vsr.upscaler import PlanesJob, Upscaler

log = logging.getLogger(__name__)

# Pictures of a scene, which go round; of a file, so many from its beginning.
_ROUND, _FROM_FILE = 32, 64
_ROUNDS = 3
_WINDOW_SHARE = 4


@dataclass(frozen=True, slots=True)
class _Scene:
    layout: Layout
    pictures: list[Planes]


def bench_reuse(
    *,
    size: tuple[int, int],
    model: str,
    scale: int,
    reuse: str = "exact",
    device: str = "auto",
    source: str | None = None,
) -> dict[str, Any]:
    """Frames per second of the network's stage with reuse and without it, for scenes with less and less motion.

    Args:
        size: (width, height) of the scenes that are made here.
        model: the network.
        scale: 2, 3 or 4.
        reuse: as :class:`vsr.Upscaler` takes it.
        device: as :class:`vsr.Upscaler` takes it.
        source: a file whose first pictures are one more scene.

    Returns:
        Plain values: the machine; for each scene both rates, processor milliseconds of all cores a frame, and how many
        times more reuse made of both, the median of a few runs side by side; and ``rest_over_motion``, the mostly
        static scene against the moving one. Where others share the processor its own milliseconds tell more.
    """
    scenes = {name: _Scene(Layout(), list(make(size))) for name, make in _SCENES.items()}
    if source is not None:
        scenes[Path(source).name] = _from_file(source)
    plain, reusing = (Upscaler(model, scale=scale, device=device, reuse=how) for how in ("off", reuse))
    results = {name: _compare(plain, reusing, scene) for name, scene in scenes.items()}
    facts = examine()
    return {
        "job": f"{size[0]}x{size[1]} x{scale} by {model}, network's stage, reuse {reuse}",
        "machine": {key: facts[key] for key in ("cpu", "cuda", "packages")},
        "device": plain.choice.device,
        "precision": plain.choice.precision,
        "scenes": results,
        "rest_over_motion": {
            "fps": results["desk"]["fps"] / results["motion"]["fps"],
            "cpu": results["motion"]["cpu_ms"] / results["desk"]["cpu_ms"],
        },
    }


def _compare(plain: Upscaler, reusing: Upscaler, scene: _Scene) -> dict[str, float]:
    """Both in turn, and the medians."""
    for upscaler in (plain, reusing):
        _time(upscaler, scene)
    runs = np.array([[_time(plain, scene), _time(reusing, scene)] for _ in range(_ROUNDS)]) / len(scene.pictures)
    (off_seconds, off_cpu), (seconds, cpu) = np.median(runs, axis=0)
    gain, cpu_gain = np.median(runs[:, 0] / runs[:, 1], axis=0)
    return {
        "fps_off": 1 / float(off_seconds),
        "fps": 1 / float(seconds),
        "gain": float(gain),
        "cpu_ms_off": 1000 * float(off_cpu),
        "cpu_ms": 1000 * float(cpu),
        "cpu_gain": float(cpu_gain),
    }


def _time(upscaler: Upscaler, scene: _Scene) -> tuple[float, float]:
    """Seconds that one round takes, by the clock and of processor time; as many under way as in a pipeline."""
    under_way: deque[PlanesJob] = deque()
    started, cpu_started = time.perf_counter(), time.process_time()
    for planes in scene.pictures:
        under_way.append(upscaler.submit([planes], layout=scene.layout))
        if len(under_way) > upscaler.in_flight:
            under_way.popleft().result()
    while under_way:
        under_way.popleft().result()
    return time.perf_counter() - started, time.process_time() - cpu_started


def _motion(size: tuple[int, int]) -> Iterator[Planes]:
    """A camera that glides over photographs: no sample stays."""
    clip = Clip(width=size[0], height=size[1], frames=_ROUND, rate=30)
    return _planes(clip.pictures())


def _desk(size: tuple[int, int]) -> Iterator[Planes]:
    """A picture at rest; in it a window of a sixteenth of its area that shows a film, and a mark that blinks."""
    width, height = size
    still = Clip(width=width, height=height, frames=_ROUND, rate=30).truth(0)
    film = Clip(width=width // _WINDOW_SHARE, height=height // _WINDOW_SHARE, frames=_ROUND, rate=30)

    def pictures() -> Iterator[Any]:
        for number in range(_ROUND):
            picture = still.copy()
            picture[height // 2 : height // 2 + film.height, width // 2 : width // 2 + film.width] = film.truth(number)
            picture[height // 8 : height // 8 + 16, width // 8 : width // 8 + 2] = 255 * (number // 12 % 2)
            yield picture

    return _planes(pictures())


def _still(size: tuple[int, int]) -> Iterator[Planes]:
    """The same picture over and over."""
    return itertools.islice(itertools.cycle(itertools.islice(_motion(size), 1)), _ROUND)


_SCENES: dict[str, Callable[[tuple[int, int]], Iterable[Planes]]] = {"motion": _motion, "desk": _desk, "still": _still}


def _planes(pictures: Iterable[Any]) -> Iterator[Planes]:
    for picture in pictures:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        rows = [np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1) for plane in frame.planes]
        yield tuple(row[:, : plane.width].copy() for row, plane in zip(rows, frame.planes, strict=True))


def _from_file(path: str) -> _Scene:
    with FileSource(path, max_frames=_FROM_FILE) as source:
        frames = [item for item in source if hasattr(item, "planes")]
        return _Scene(
            layout_of(source.info.format), [tuple(plane.copy() for plane in frame.planes) for frame in frames]
        )
