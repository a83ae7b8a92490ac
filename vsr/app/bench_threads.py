"""``vsr bench --threads-sweep``: how the processor is best divided between the network and the encoder of a file's job.

Each round runs every division once, and a division is compared with the usual one of its own round: what the neighbours
of a shared processor do in the minutes between, they do to both.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from streams.pipeline import Pipeline
from streams.sinks import EncoderOptions, FileSink
from streams.sources import FileSource
from vsr.app.clip import Clip, write_clip
from vsr.app.doctor import examine
from vsr.app.enhancer import UpscalerEnhancer
from vsr.backends.base import usable_cores
from vsr.upscaler import Upscaler

_PRESET = "veryfast"
_ROUNDS = 7
_USUAL = "usual"


@dataclass(frozen=True, slots=True)
class _Division:
    """Threads of the network (0: all cores) and of the encoder (0: its own choice), and frames under way besides."""

    network: int = 0
    encoder: int = 0
    ahead: int = 1


def bench_threads(*, frames: int, size: tuple[int, int], model: str, scale: int) -> dict[str, Any]:
    """Milliseconds a frame of the same job, with one thing at a time other than ``vsr upscale`` has it.

    Args:
        frames: length of the clip.
        size: (width, height) of the clip.
        model: the network.
        scale: 2, 3 or 4.

    Returns:
        Plain values: the machine, and for each division the medians of the wall's and the processor's milliseconds a
        frame, and of their ratios to ``usual`` in the same round; below 1 is better than usual.
    """
    divisions = _divisions(usable_cores())
    upscalers = {
        count: Upscaler(model, scale=scale, threads=count) for count in {d.network for d in divisions.values()}
    }
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in divisions}
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, Clip(width=size[0], height=size[1], frames=frames, rate=30), crf=18, sound=False)
        job = partial(_run, clip, Path(folder) / "out.mp4")
        for upscaler in upscalers.values():
            job(upscaler, _Division(), frames=2)
        for number in range(_ROUNDS):
            # Each time another one is the first, and every other time the last is.
            order = list(divisions)[number:] + list(divisions)[:number]
            for name in order[:: -1 if number % 2 else 1]:
                runs[name].append(job(upscalers[divisions[name].network], divisions[name], frames=frames))
    facts = examine()
    return {
        "job": f"{size[0]}x{size[1]} H.264 to x{scale} H.264 {_PRESET} by {model}, {frames} frames, {_ROUNDS} rounds",
        "machine": {key: facts[key] for key in ("cpu", "cuda", "packages")},
        "divisions": {name: _figures(runs[name], runs[_USUAL]) for name in divisions},
    }


def _divisions(cores: int) -> dict[str, _Division]:
    half = max(1, cores // 2)
    counts = sorted({1, half, cores, cores + half})
    return {
        _USUAL: _Division(),
        **{f"network {count}": _Division(network=count) for count in counts if count != cores},
        **{f"encoder {count}": _Division(encoder=count) for count in counts},
        f"network {half}, encoder {half}": _Division(network=half, encoder=half),
        **{f"ahead {count}": _Division(ahead=count) for count in (0, 2, 4)},
    }


def _run(clip: Path, target: Path, upscaler: Upscaler, division: _Division, *, frames: int) -> tuple[float, float]:
    """Milliseconds a frame, by the clock and of the processor."""
    options = EncoderOptions(preset=_PRESET, threads=division.encoder or None)
    with FileSource(clip, max_frames=frames) as source:
        info = source.info
        width, height = info.width * upscaler.scale, info.height * upscaler.scale
        with FileSink(
            target, info=info, width=width, height=height, format=info.format, options=options, overwrite=True
        ) as sink:
            pipeline = Pipeline(
                source, UpscalerEnhancer(upscaler), sink, in_flight=max(1, upscaler.in_flight + division.ahead)
            )
            begun = time.process_time()
            report = pipeline.run()
            processor_seconds = time.process_time() - begun
    return 1000 * report.wall_seconds / report.frames_out, 1000 * processor_seconds / report.frames_out


def _figures(own: list[tuple[float, float]], usual: list[tuple[float, float]]) -> dict[str, float]:
    pairs = list(zip(own, usual, strict=True))
    return {
        "wall_ms": median(wall for wall, _ in own),
        "processor_ms": median(processor for _, processor in own),
        "wall_ratio": median(mine[0] / its[0] for mine, its in pairs),
        "processor_ratio": median(mine[1] / its[1] for mine, its in pairs),
    }
