"""The benchmark of a GPU from a file to a sink that only counts: decoding in software and on the GPU."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from streams.pipeline import Pipeline
from streams.sinks import NullSink
from streams.sources import FileSource
from streams.sources.hwaccel import HardwareDecoding
from vsr.app.clip import Clip, write_clip
from vsr.app.cuda_bench import Bench, Skipped, rounded
from vsr.app.enhancer import UpscalerEnhancer
from vsr.upscaler import Upscaler

_FRAMES, _TIMES = 96, 16
_QUEUE = 8


def measured(bench: Bench) -> Iterator[dict[str, Any]]:
    """Frames per second of decoding alone, and of the whole, with the milliseconds of each stage."""
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        clip = Path(folder) / "clip.mp4"
        begun = time.perf_counter()
        _write(bench, clip)
        yield rounded({"clip": f"{bench.size[0]}x{bench.size[1]} H.264", "made_in_s": time.perf_counter() - begun})
        ways: tuple[HardwareDecoding, ...] = ("none", "cuda")
        for way in ways:
            yield _decoded(clip, way)
        for way in ways:
            for batch in (4, 8):
                if not bench.in_time:
                    raise Skipped(f"no time for --hwaccel {way}, batches of {batch}")
                yield _run(bench, clip, way, batch=batch)


def _write(bench: Bench, path: Path) -> None:
    """A clip, and then itself again and again: making pictures takes longer than enlarging them."""
    width, height = bench.size
    frames, times = (8, 2) if bench.rehearse else (_FRAMES, _TIMES)
    once = path.with_name("once.mp4")
    clip = Clip(width=width, height=height, frames=frames, rate=30)
    write_clip(once, clip, crf=20, preset="veryfast", sound=False)
    with av.open(str(path), "w") as target:
        stream: Any = None
        shift = 0
        for _ in range(times):
            with av.open(str(once)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    target.mux(packet)
                shift += video.duration or 0


def _decoded(clip: Path, way: HardwareDecoding) -> dict[str, Any]:
    with FileSource(clip, hwaccel=way) as source:
        on_gpu, begun = source.on_gpu, time.perf_counter()
        count = sum(1 for _ in source)
        seconds = time.perf_counter() - begun
    return rounded({"decoding alone": way, "on_gpu": on_gpu, "frames": count, "fps": count / seconds})


def _run(bench: Bench, clip: Path, way: HardwareDecoding, *, batch: int) -> dict[str, Any]:
    up = Upscaler("espcn", device=bench.device)
    fps, stages = 0.0, {}
    # The first time over finds the fastest kernels and records them; with a few frames only.
    for frames in (12 * batch, None):
        with FileSource(clip, hwaccel=way, max_frames=frames) as source:
            pipeline = Pipeline(
                source,
                UpscalerEnhancer(up),
                NullSink(),
                batch_size=batch,
                queue_size=_QUEUE,
                in_flight=up.in_flight + 1,
            )
            report = pipeline.run()
        fps = report.frames_out / report.wall_seconds
        stages = {name: round(stage.ms_per_frame, 3) for name, stage in report.stages.items()}
    bench.reach("pipeline_fps", fps)
    return rounded({"hwaccel": way, "batch": batch, "fps": fps}) | {"stage_ms": stages}
