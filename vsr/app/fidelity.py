"""Upscales every file of a folder and compares what comes out with what went in: ``python -m vsr.app.fidelity DIR``.

Made for collections of odd files. For each there are two good ends: an output with every frame at its exact time, or
one clear error and nothing under the output's name.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from streams.errors import StreamError
from streams.sources import FileSource, SourceInfo
from streams.sources.formats import pixel_format
from streams.sources.probe import codec_name, describe
from vsr.app.jobs import upscale_video
from vsr.app.report import Report
from vsr.errors import VsrError

MKV_TICK = Fraction(1, 1000)
"""Matroska rounds every time to this; MP4 to nothing."""

_KEEPS_MKV = frozenset({".mkv", ".webm"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One file and its output.

    Attributes:
        name: of the file.
        error: the message that the job ended with, or None; then ``error_kind`` is its class and the rest is empty.
        before: codec, size and format of the input; ``after`` of the output.
        frames_in, frames_out: counted by decoding both.
        time_error: the largest distance of an output frame from its time, in seconds; ``tick`` what rounding allows.
        moved: how many frames are farther from their time than that.
        repaired: how many the job says it gave a time, because their own was missing or not rising.
        streams: what became of the other streams, counted by kind of fate: ``{"copy": 2}``.
        changed: facts about the picture that are not as they were, in words.
        left_behind: a file lies under the final name although there was an error.
    """

    name: str
    error: str | None = None
    error_kind: str = ""
    before: str = ""
    after: str = ""
    frames_in: int = 0
    frames_out: int = 0
    time_error: Fraction = Fraction(0)
    tick: Fraction = Fraction(0)
    moved: int = 0
    repaired: int = 0
    streams: dict[str, int] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    left_behind: bool = False

    @property
    def good(self) -> bool:
        """Whether this is one of the two good ends."""
        if self.error is not None:
            return not self.left_behind
        return self.frames_in == self.frames_out > 0 and self.moved <= self.repaired


def compare(path: Path, folder: Path, *, most_pixels: int | None = None) -> Comparison:
    """Upscale a file into ``folder`` (×2, the fastest way there is) and compare.

    Args:
        path: the file.
        folder: where the output goes; it is removed again.
        most_pixels: take only as many frames as hold so many luma samples together (two at least); None takes all.
    """
    target = folder / f"out{'.mkv' if path.suffix.lower() in _KEEPS_MKV else '.mp4'}"
    try:
        max_frames = _affordable(path, most_pixels) if most_pixels is not None else None
        report = upscale_video(
            path, target, model="nearest", device="torch", threads=1, preset="ultrafast", crf=30, max_frames=max_frames
        )
        return _compared(path, target, report, max_frames=max_frames)
    except (StreamError, VsrError) as error:
        message = str(error).replace(f"{path.parent}{os.sep}", "")
        return Comparison(name=path.name, error=message, error_kind=type(error).__name__, left_behind=target.exists())
    finally:
        for leftover in (target, target.with_name(f"out.partial{target.suffix}")):
            leftover.unlink(missing_ok=True)


def markdown(comparisons: Iterable[Comparison]) -> Iterator[str]:
    """The lines of a table."""
    yield "| file | in | out | frames | repaired | largest error in time | other streams | not as it was |"
    yield "|---|---|---|---|---|---|---|---|"
    for each in comparisons:
        name = each.name.replace("|", "\\|")
        if each.error is not None:
            yield f"| {name} | | {each.error_kind} | | | | | {each.error} |"
            continue
        frames = f"{each.frames_in}" if each.frames_in == each.frames_out else f"{each.frames_in} → {each.frames_out}"
        time = f"{float(each.time_error * 1000):.3g} ms" if each.time_error else "0"
        streams = ", ".join(f"{count} {fate}" for fate, count in each.streams.items())
        cells = name, each.before, each.after, frames, each.repaired or "", time, streams, ", ".join(each.changed)
        yield f"| {' | '.join(map(str, cells))} |"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 1 if any file ended badly."""
    parser = argparse.ArgumentParser(prog="python -m vsr.app.fidelity", description="Upscale odd files and compare.")
    parser.add_argument("folder", type=Path, help="every file in it is tried")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument("--most-pixels", type=int, metavar="N", help="only as many frames as hold N samples together")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # the table says it all
    try:
        return _compare_all(options)
    finally:
        logging.disable(logging.NOTSET)


def _compare_all(options: argparse.Namespace) -> int:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(path for path in options.folder.iterdir() if path.is_file()):
            result = compare(path, Path(folder), most_pixels=options.most_pixels)
            results.append(result)
            print("good" if result.good else "BAD ", path.name, result.error or "", file=sys.stderr, flush=True)
    bad = [result.name for result in results if not result.good]
    whole = sum(result.error is None for result in results)
    head = f"{len(results)} files: {whole} upscaled, {len(results) - whole} refused, {len(bad)} bad."
    table = "\n".join([_PREFACE, head, "", *markdown(results), ""])
    if options.markdown is not None:
        options.markdown.write_text(table, encoding="utf-8")
    else:
        print(table)
    return 1 if bad else 0


_PREFACE = """# Fidelity

What becomes of odd files. Made by `python -m vsr.app.fidelity DIR --markdown docs/fidelity.md`: each is upscaled ×2 to
MP4 (Matroska and WebM to MKV), then input and output are decoded with PyAV alone and every frame's time is compared.
MKV rounds times to 1 ms, which makes an error of up to 0.5 ms; MP4 does not. Frames without a time of their own are
counted and not compared; "repaired" is how many frames had none that rises and were given one. A matrix
that is not stated (2) comes out as what players take the input for: BT.601 (6) below 720 lines, BT.709 (1) from there.
"""


def _affordable(path: Path, most_pixels: int) -> int:
    with FileSource(path) as source:
        return max(2, most_pixels // (source.info.width * source.info.height))


def _compared(path: Path, target: Path, report: Report, *, max_frames: int | None) -> Comparison:
    info, times = _read(path, max_frames=max_frames)
    made, made_times = _read(target)
    tick = MKV_TICK if target.suffix == ".mkv" else Fraction(0)
    # What starts before zero is moved as a whole: see streams.sinks.file.
    shift = max(Fraction(0), -next((time for time in times if time is not None), Fraction(0)))
    pairs = zip(times, made_times, strict=False)
    errors = [abs(time + shift - other) for time, other in pairs if time is not None and other is not None]
    return Comparison(
        name=path.name,
        before=f"{info.codec} {info.width}×{info.height} {info.format.name}",
        after=f"{made.width}×{made.height} {made.format.name}",
        frames_in=len(times),
        frames_out=len(made_times),
        time_error=max(errors, default=Fraction(0)),
        tick=tick,
        moved=sum(error > tick / 2 for error in errors),
        repaired=report.repaired_timestamps,
        streams=dict(Counter(line.partition("): ")[2].split()[0] for line in report.streams)),
        changed=tuple(_changes(info, made)),
    )


def _read(path: Path, *, max_frames: int | None = None) -> tuple[SourceInfo, list[Fraction | None]]:
    """Facts and times of the best video, read without the project's own source: it must not excuse itself."""
    with av.open(str(path)) as container:
        stream = _best_video(container)
        # Threads lose the frames that are under way when damage ends the decoding.
        stream.thread_type = "SLICE"
        frames = itertools.islice(_decoded(container, stream), max_frames)
        first = next(frames)
        info = describe(container, stream, first, pixel_format(first, codec_name(stream)))
        whole = itertools.chain([first], frames)
        return info, [None if frame.pts is None else frame.pts * info.time_base for frame in whole]


def _best_video(container: InputContainer) -> VideoStream:
    best = container.streams.best("video")
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    return next((stream for stream in videos if best is not None and stream.index == best.index), videos[0])


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """What can be decoded, past damaged packets and up to where a damaged container ends."""
    with suppress(av.error.InvalidDataError):
        for packet in container.demux(stream):
            # The last packet is empty and asks for what the decoder still holds.
            with suppress(av.FFmpegError):
                yield from stream.decode(packet if packet.size else None)
            if not packet.size:
                return
    with suppress(av.FFmpegError):
        yield from stream.decode(None)


def _changes(info: SourceInfo, made: SourceInfo) -> Iterator[str]:
    facts = {
        "format": (info.format.name, made.format.name),
        "range": (info.format.range, made.format.range),
        "matrix": (info.format.matrix, made.format.matrix),
        "primaries": (info.format.primaries, made.format.primaries),
        "transfer": (info.format.transfer, made.format.transfer),
        "sample aspect": (info.sample_aspect_ratio, made.sample_aspect_ratio),
        "rotation": (info.rotation, made.rotation),
        "chapters": (len(info.chapters), len(made.chapters)),
        "HDR data": (sorted(info.hdr), sorted(made.hdr)),
    }
    for name, (before, after) in facts.items():
        if before != after:
            yield f"{name} {before} → {after}"


if __name__ == "__main__":
    sys.exit(main())
