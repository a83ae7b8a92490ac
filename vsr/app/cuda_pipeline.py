"""The benchmark of a GPU from a file to a sink that only counts, and to NVENC: with and without a way over the host."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from streams.pipeline import Pipeline
from streams.sinks import EncoderOptions, FileSink, NullSink, available_encoders
from streams.sinks.base import Sink
from streams.sources import FileSource
from streams.sources.hwaccel import HardwareDecoding
from streams.stats import Report as Run
from vsr.app.clip import Clip, write_clip
from vsr.app.cuda_bench import Bench, Skipped, difference, rounded
from vsr.app.enhancer import UpscalerEnhancer
from vsr.upscaler import Upscaler

_FRAMES, _TIMES = 96, 16
_QUEUE = 8
_COMPARED = 8
_NVENC = "h264_nvenc"


@dataclass(frozen=True, slots=True)
class _Way:
    """How pictures travel: decoded by whom, and whether those of a GPU stay there."""

    name: str
    hwaccel: HardwareDecoding
    stay: bool


_WAYS = (
    _Way("software", "none", False),
    _Way("NVDEC, over the host", "cuda", False),
    _Way("NVDEC, stays", "cuda", True),
)


def measured(bench: Bench) -> Iterator[dict[str, Any]]:
    """Frames per second of decoding alone, and of the whole, with the milliseconds of each stage."""
    with tempfile.TemporaryDirectory(prefix="vsr-bench-") as folder:
        clip = Path(folder) / "clip.mp4"
        begun = time.perf_counter()
        _write(bench, clip)
        yield rounded({"clip": f"{bench.size[0]}x{bench.size[1]} H.264", "made_in_s": time.perf_counter() - begun})
        for way in _WAYS:
            yield _decoded(clip, way)
        yield _compared(bench, clip)
        for way in reversed(_WAYS):
            for batch in (4, 8):
                if not bench.in_time:
                    raise Skipped(f"no time for {way.name}, batches of {batch}")
                yield _through(bench, clip, way, batch=batch)
        yield from _encoded(bench, clip, Path(folder))


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


def _decoded(clip: Path, way: _Way) -> dict[str, Any]:
    with FileSource(clip, hwaccel=way.hwaccel) as source:
        on_gpu, begun = source.on_gpu, time.perf_counter()
        count = 0
        for frame in source:
            count += 1
            if not way.stay:
                frame.planes[0]  # looked at, it is copied
        seconds = time.perf_counter() - begun
    return rounded({"decoding alone": way.name, "on_gpu": on_gpu, "frames": count, "fps": count / seconds})


def _compared(bench: Bench, clip: Path) -> dict[str, Any]:
    """The largest difference that a way makes to the pictures, in steps of 8 bit; decoders agree to the bit."""
    made = []
    for way in _WAYS:
        with FileSource(clip, hwaccel=way.hwaccel, max_frames=_COMPARED) as source:
            enhancer = UpscalerEnhancer(_upscaler(bench, way))
            pending = [enhancer.submit([frame]) for frame in source]
            made.append([frame for job in pending for frame in job.result()])
    found = {
        way.name: max(difference(frame.planes, other.planes) for frame, other in zip(frames, made[0], strict=True))
        for way, frames in zip(_WAYS, made, strict=True)
    }
    return {"compared": len(made[0]), "max_difference": found}


def _through(bench: Bench, clip: Path, way: _Way, *, batch: int) -> dict[str, Any]:
    up = _upscaler(bench, way)
    # The first time over finds the fastest kernels and records them; with a few frames only.
    for frames in (12 * batch, None):
        with FileSource(clip, hwaccel=way.hwaccel, max_frames=frames) as source:
            run = _run(source, UpscalerEnhancer(up), NullSink(), up, batch=batch)
    bench.reach("pipeline_fps", run.frames_out / run.wall_seconds)
    return {"way": way.name, "on_gpu": source.on_gpu, "batch": batch} | _figures(run)


def _encoded(bench: Bench, clip: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """From a file to a file, where the GPU encodes; those for data centres do not."""
    codec = "h264" if bench.rehearse else _NVENC
    if codec not in available_encoders():
        yield {"encoder": codec, "works": False}
        return
    for way in _WAYS[1:]:
        if not bench.in_time:
            raise Skipped(f"no time for {codec}, {way.name}")
        up = _upscaler(bench, way)
        with FileSource(clip, hwaccel=way.hwaccel) as source:
            info = source.info
            with FileSink(
                folder / f"{way.stay}.mp4",
                info=info,
                width=2 * info.width,
                height=2 * info.height,
                format=info.format,
                options=EncoderOptions(codec=codec, gpu=up.gpu),
            ) as sink:
                run = _run(source, UpscalerEnhancer(up, leave=sink.takes_surfaces), sink, up, batch=4)
        yield {"encoder": codec, "works": True, "way": way.name, "takes_surfaces": sink.takes_surfaces} | _figures(run)


def _upscaler(bench: Bench, way: _Way) -> Upscaler:
    up = Upscaler("espcn", device=bench.device)
    if not way.stay:
        up.gpu = None
    return up


def _run(source: FileSource, enhancer: UpscalerEnhancer, sink: Sink, up: Upscaler, *, batch: int) -> Run:
    return Pipeline(source, enhancer, sink, batch_size=batch, queue_size=_QUEUE, in_flight=up.in_flight + 1).run()


def _figures(run: Run) -> dict[str, Any]:
    stages = {name: round(stage.ms_per_frame, 3) for name, stage in run.stages.items()}
    return rounded({"fps": run.frames_out / run.wall_seconds}) | {"stage_ms": stages}
