"""A whole job: one video file in, a larger and sharper one out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.errors import Cancelled, SinkError
from streams.pipeline import Pipeline
from streams.sinks import EncoderOptions, FileSink, partial_path, same_file
from streams.sources import FileSource
from streams.stats import Report as RunReport
from streams.stats import Stats
from vsr.app.networks import Selection, select_network
from vsr.app.report import Progress, Report
from vsr.app.sizes import SizePlan, plan_size, size_label
from vsr.app.stated import stated

if TYPE_CHECKING:
    from streams.frame import ChromaLocation, PixelFormat
    from streams.sources.base import SourceInfo
    from streams.sources.filters import Deinterlace
    from streams.sources.hwaccel import HardwareDecoding
    from vsr.app.profile import Profile
    from vsr.upscaler import Upscaler

__all__ = ["Progress", "Report", "upscale_video"]

logger = logging.getLogger(__name__)

_QUEUE_BYTES = 96 << 20
_QUEUE_FRAMES = 8
_GPU_BATCH = 4
_STOP_POLL_SECONDS = 0.1
_MATRIX_NAMES = {1: "BT.709", 6: "BT.601"}


def upscale_video(
    src: str | Path,
    dst: str | Path,
    *,
    model: str | None = None,
    scale: int | None = None,
    to: str | None = None,
    weights: str | Path | None = None,
    blend: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    threads: int = 0,
    reuse: str = "auto",
    codec: str | None = None,
    crf: float | None = None,
    preset: str | None = None,
    pix_fmt: str | None = None,
    deinterlace: Deinterlace = "auto",
    rotate: bool = False,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    max_frames: int | None = None,
    overwrite: bool = False,
    chroma_location: ChromaLocation | None = None,
    hwaccel: HardwareDecoding = "none",
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    profile: Profile | None = None,
) -> Report:
    """Upscale a video file.

    Every frame keeps its time exactly, its bit depth, range and colour tags (a matrix that is not stated is stated, as
    players tell it from the number of lines); sound, subtitles, chapters and tags are
    copied. The output is written under ``NAME.partial.EXT`` and gets its name when it is whole; an error or ``stop``
    leaves the partial file playable.

    Args:
        src: any file that FFmpeg reads.
        dst: ``.mp4``, ``.mov``, ``.mkv`` or ``.webm``.
        model: a name that ``vsr.list_models()`` gives; ``"ecbsr"``, or what ``weights`` hold, where none is given.
        scale: 2, 3 or 4, as the network has it; 2, or else its smallest, where ``to`` is not given either.
        to: in place of ``scale``: ``"720p"``, ``"1080p"``, ``"1440p"``, ``"2160p"`` (the shorter side as it is seen)
            or ``"WxH"``; at most four times the input. The next larger network output is reduced to it.
        weights: a file of weights in place of the shipped ones; it says which network and scale it is for, and what
            ``model`` and ``scale`` say must agree.
        blend: as :class:`vsr.Upscaler` takes it.
        device: as :class:`vsr.Upscaler` takes it.
        precision: as :class:`vsr.Upscaler` takes it.
        tile: as :class:`vsr.Upscaler` takes it.
        threads: CPU cores for the network, and threads of the encoder; 0 for all, and as many as the encoder likes.
            More than this process may use are not taken: each would cost a frame's memory, and bring nothing.
        reuse: as :class:`vsr.Upscaler` takes it.
        codec: ``"h264"``, ``"h265"``, ``"av1"``, ``"vp9"``, ``"ffv1"``, ``"prores"``, …; None: the container's usual.
        crf: quality on the encoder's own scale, lower is better.
        preset: the encoder's speed against size, in its own words.
        pix_fmt: to encode, in FFmpeg's words; None keeps bit depth and subsampling.
        deinterlace: ``"auto"`` where frames are flagged as interlaced, ``"on"``, ``"off"``.
        rotate: turn the pixels upright, in place of passing the rotation on as metadata.
        start_seconds: skip what comes before, counted from the first picture.
        duration_seconds: how much to take from there; None for all.
        max_frames: stop after so many; the report then tells ``whole_frames``.
        overwrite: replace ``dst`` if it exists.
        chroma_location: ``"left"``, ``"center"`` or ``"topleft"``, if it is known better than the codec's convention.
        hwaccel: ``"none"``; ``"auto"``: decode on a GPU where there is one; ``"cuda"``: the same, with a warning where
            software has to do. It is that of ``device``, of several the first.
        on_progress: called from another thread after each frame written; what it raises ends the job.
        stop: set it, from any thread, to end the job.
        profile: collects what every thread did when.

    Returns:
        What was done.

    Raises:
        streams.errors.SourceError: ``src`` cannot be read, or is no video.
        streams.errors.SinkError: ``dst`` exists, cannot be written, or cannot hold what was asked for.
        streams.errors.Cancelled: ``stop`` was set; the message says where the partial file lies.
        vsr.errors.VsrError: a size, network, device or precision that does not exist here.

    Example:
        >>> report = upscale_video("in.mp4", "out.mp4", scale=2)  # doctest: +SKIP
        >>> report.frames_out, report.output_size  # doctest: +SKIP
        (240, (1920, 1080))
    """
    size_label(scale, to)
    selection = select_network(model, scale=scale, to=to, weights=weights, blend=blend)
    src, dst = Path(src), Path(dst)
    part: dict[str, Any] = {"start_seconds": start_seconds, "duration_seconds": duration_seconds}
    _refuse_own_input(src, dst)
    with FileSource(
        src,
        deinterlace=deinterlace,
        rotate=rotate,
        chroma_location=chroma_location,
        max_frames=max_frames,
        hwaccel=hwaccel,
        gpu=_first_gpu(device),
        **part,
    ) as source:
        info = source.info
        plan = plan_size(
            info.width,
            info.height,
            scale=scale,
            to=to,
            sample_aspect_ratio=info.sample_aspect_ratio,
            rotation=info.rotation,
            scales=selection.scales,
        )
        from vsr.app.enhancer import layout_of
        from vsr.upscaler import Upscaler

        threads = _usable(threads)
        upscaler = Upscaler(
            selection.model,
            scale=plan.scale,
            network=selection.network,
            blend=selection.blend,
            device=device,
            precision=precision,
            tile=tile,
            threads=threads,
            reuse=reuse,
        )
        form = _stated(info)
        upscaler.check(layout_of(form))
        whole = (plan.width, plan.height) == (info.width * plan.scale, info.height * plan.scale)
        encoder = EncoderOptions(
            codec=codec,
            crf=crf,
            preset=preset,
            pix_fmt=pix_fmt,
            threads=threads or None,
            gpu=upscaler.gpu if whole else None,
        )
        with FileSink(
            dst,
            info=info,
            width=plan.width,
            height=plan.height,
            format=form,
            options=encoder,
            overwrite=overwrite,
            sample_aspect_ratio=plan.sample_aspect_ratio,
        ) as sink:
            job = _Job(src, source, sink, upscaler, plan, selection)
            run, first_frame_seconds = job.run(on_progress=on_progress, stop=stop, profile=profile)
    whole_frames = _whole_frames(src, part) if max_frames is not None else None
    return job.report(run, first_frame_seconds=first_frame_seconds, whole_frames=whole_frames)


@dataclass(frozen=True, slots=True)
class _Job:
    """The parts of a job, open and matched to one another."""

    src: Path
    source: FileSource
    sink: FileSink
    upscaler: Upscaler
    plan: SizePlan
    selection: Selection

    def run(
        self,
        *,
        on_progress: Callable[[Progress], None] | None,
        stop: threading.Event | None,
        profile: Profile | None,
    ) -> tuple[RunReport, float]:
        """What the pipeline did, and how long the first frame took."""
        from vsr.app.enhancer import UpscalerEnhancer

        plan, choice = self.plan, self.upscaler.choice
        watch = _Watch(on_progress, self.source.info.frames)
        logger.info(
            "%s x%d on %s, %s: %s", self.selection.model, plan.scale, choice.device, choice.precision, choice.reason
        )
        pipeline = Pipeline(
            self.source,
            UpscalerEnhancer(self.upscaler, size=(plan.width, plan.height), leave=self.sink.takes_surfaces),
            self.sink,
            batch_size=_GPU_BATCH if choice.device.startswith("cuda") else 1,
            queue_size=_queue_size(plan, bit_depth=self.source.info.format.bit_depth),
            # One more than it takes to be busy: the next frame is handed in before the oldest is waited for.
            in_flight=self.upscaler.in_flight + 1,
            on_frame=watch,
            observer=profile,
        )
        try:
            with _stopping(pipeline, stop), nullcontext() if profile is None else profile.collecting():
                run = pipeline.run()
        except Cancelled as error:
            raise Cancelled(f"stopped after {self.sink.frames} frames; {self._remains()}") from error
        return run, watch.first_frame_seconds

    def report(self, run: RunReport, *, first_frame_seconds: float, whole_frames: int | None) -> Report:
        info, choice = self.source.info, self.upscaler.choice
        return Report(
            input=str(self.src),
            output=str(self.sink.path),
            model=self.selection.model,
            weights=self.selection.weights,
            blend=self.selection.blend,
            scale=self.plan.scale,
            device=choice.device,
            precision=choice.precision,
            reason=choice.reason,
            input_size=(info.width, info.height),
            output_size=(self.plan.width, self.plan.height),
            sample_aspect_ratio=self.plan.sample_aspect_ratio,
            format=info.format.name,
            frames_in=run.frames_in,
            frames_out=run.frames_out,
            packets=run.packets,
            streams=tuple(str(plan) for plan in self.sink.plans),
            dropped=tuple(str(plan) for plan in self.sink.dropped),
            repaired_timestamps=self.source.repaired_timestamps,
            skipped_packets=self.source.skipped_packets,
            damaged_subtitles=self.sink.damaged_subtitles,
            wall_seconds=run.wall_seconds,
            first_frame_seconds=first_frame_seconds,
            stage_ms={name: stage.ms_per_frame for name, stage in run.stages.items()},
            slowest_stage=run.slowest_stage,
            input_bytes=self.src.stat().st_size,
            output_bytes=self.sink.path.stat().st_size,
            whole_frames=whole_frames,
        )

    def _remains(self) -> str:
        if not self.sink.frames:
            return "nothing was written yet"
        return f"what was written until then plays: {self.sink.partial}"


def _first_gpu(device: str) -> int:
    """The index in ``"cuda:1"`` and ``"cuda:1,2"``; 0 where a device names none."""
    index = device.partition(":")[2].partition(",")[0]
    return int(index) if index.isdecimal() else 0


def _usable(threads: int) -> int:
    from vsr.backends.base import usable_cores

    cores = usable_cores()
    if threads > cores:
        logger.warning("got %d threads, this process may use %d cores; so many are taken", threads, cores)
    return min(threads, cores)


def _refuse_own_input(src: Path, dst: Path) -> None:
    if same_file(dst, src):
        raise SinkError(f"{dst} is the input itself; choose another name for the output")
    if same_file(partial_path(dst), src):
        raise SinkError(f"{src} is where {dst.name} is kept while it is written; rename the input or the output")


def _stated(info: SourceInfo) -> PixelFormat:
    """The input's format with the matrix that players assume where it states none."""
    form = stated(info.format, lines=info.height)
    if form != info.format:
        name = _MATRIX_NAMES[form.matrix]
        logger.info(
            "the input does not state its matrix; the output states %s, as its %d lines mean", name, info.height
        )
    return form


def _queue_size(plan: SizePlan, *, bit_depth: int) -> int:
    """As many frames as help against uneven stages, and fewer where each is large."""
    frame_bytes = 3 * plan.width * plan.height * (1 if bit_depth == 8 else 2)
    return max(2, min(_QUEUE_FRAMES, _QUEUE_BYTES // frame_bytes))


class _Watch:
    """Called after each frame written, on the encode thread."""

    def __init__(self, on_progress: Callable[[Progress], None] | None, total_frames: int | None) -> None:
        self._on_progress, self._total_frames = on_progress, total_frames
        self.first_frame_seconds = 0.0

    def __call__(self, stats: Stats) -> None:
        if stats.frames_out == 1:
            self.first_frame_seconds = stats.elapsed_seconds
        if self._on_progress is None:
            return
        self._on_progress(
            Progress(
                frames=stats.frames_out,
                total_frames=self._total_frames,
                elapsed_seconds=stats.elapsed_seconds,
                position_seconds=float(stats.position),
            )
        )


@contextmanager
def _stopping(pipeline: Pipeline, stop: threading.Event | None) -> Iterator[None]:
    """Pass ``stop`` on to the pipeline, also while no frame moves."""
    if stop is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if stop.wait(_STOP_POLL_SECONDS):
                pipeline.stop()
                return

    watcher = threading.Thread(target=watch, name="vsr-stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _whole_frames(src: Path, part: dict[str, Any]) -> int | None:
    with FileSource(src, **part) as source:
        return source.info.frames
