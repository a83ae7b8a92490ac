"""What of a run's time goes where, and what share of what the processor could do at best that is."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from streams.pipeline import Pipeline
from streams.sinks import NullSink
from streams.sources import FileSource
from streams.stats import Report as RunReport
from streams.stats import Stats
from vsr.app.enhancer import UpscalerEnhancer
from vsr.app.profile import Profile
from vsr.models.base import macs_per_input_sample
from vsr.native import load
from vsr.upscaler import Upscaler

_QUEUE_FRAMES = 8
_COPIED_BYTES = 256 << 20
# A round of warming up: the network is compiled, or its weights are packed, and memory is there.
_WARM_UP_FRAMES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What this machine could do at best.

    Attributes:
        int8_macs_per_second: multiplications and additions of one core in 8 bit; 0 where that is not known.
        copied_bytes_per_second: of memory far larger than the caches.
    """

    int8_macs_per_second: float
    copied_bytes_per_second: float


def measure_limits() -> Limits:
    """Ask the machine; takes about two seconds."""
    library = load()
    macs = max(library.peak_macs_per_second() for _ in range(3)) if library is not None else 0.0
    source = np.ones(_COPIED_BYTES, np.uint8)
    target = np.zeros_like(source)
    begun = perf_counter()
    for _ in range(3):
        np.copyto(target, source)
    return Limits(int8_macs_per_second=macs, copied_bytes_per_second=3 * _COPIED_BYTES / (perf_counter() - begun))


def bench_to_nothing(clip: Path, *, model: str, scale: int, limits: Limits) -> dict[str, Any]:
    """Decode a clip, enlarge it and throw it away: what the pipeline does without an encoder.

    Args:
        clip: a video.
        model: a name of the registry.
        scale: 2, 3 or 4.
        limits: of this machine.

    Returns:
        Plain values: the rate; milliseconds per frame of every kind of work; how full the queues were; which stage set
        the pace; the peak memory of the process until then; and the network's share of the limit.
    """
    upscaler = Upscaler(model, scale=scale)
    _run(clip, upscaler, frames=_WARM_UP_FRAMES)
    profile, fills = Profile(), _Fills()
    with profile.collecting():
        run = _run(clip, upscaler, profile=profile, fills=fills)
    parts = {name: 1000 * seconds / run.frames_out for name, seconds in sorted(profile.seconds.items())}
    with FileSource(clip) as source:
        samples = source.info.width * source.info.height
    return {
        "fps": run.fps,
        "parts_ms": parts,
        "queues": fills.as_dict(),
        "slowest_stage": run.slowest_stage,
        "starved_ms": {name: 1000 * stage.starved_seconds / run.frames_out for name, stage in run.stages.items()},
        "blocked_ms": {name: 1000 * stage.blocked_seconds / run.frames_out for name, stage in run.stages.items()},
        "process_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "share_of_int8_limit": _share(upscaler, samples, parts, limits),
    }


def _share(upscaler: Upscaler, samples: int, parts: Mapping[str, float], limits: Limits) -> float | None:
    """Of the multiplications that one core could have done while it was at the network; None where that is unknown."""
    native = upscaler.choice.device == "native" and upscaler.choice.precision == "int8"
    if not native or not limits.int8_macs_per_second or "network" not in parts:
        return None
    macs = macs_per_input_sample(upscaler.network) * samples
    return macs / (parts["network"] / 1000) / limits.int8_macs_per_second


class _Fills:
    """How full the queues are, seen whenever a frame is written."""

    def __init__(self) -> None:
        self.frames = self.input = self.output = self.most_input = self.most_output = 0

    def __call__(self, stats: Stats) -> None:
        self.frames += 1
        self.input += stats.input_fill
        self.output += stats.output_fill
        self.most_input = max(self.most_input, stats.input_fill)
        self.most_output = max(self.most_output, stats.output_fill)

    def as_dict(self) -> dict[str, float]:
        frames = max(1, self.frames)
        return {
            "size": _QUEUE_FRAMES,
            "before_network_mean": self.input / frames,
            "before_network_most": self.most_input,
            "behind_network_mean": self.output / frames,
            "behind_network_most": self.most_output,
        }


def _run(
    clip: Path,
    upscaler: Upscaler,
    *,
    frames: int | None = None,
    profile: Profile | None = None,
    fills: _Fills | None = None,
) -> RunReport:
    with FileSource(clip, max_frames=frames) as source:
        pipeline = Pipeline(
            source,
            UpscalerEnhancer(upscaler),
            NullSink(),
            queue_size=_QUEUE_FRAMES,
            in_flight=upscaler.in_flight + 1,
            on_frame=fills,
            observer=profile,
        )
        return pipeline.run()
