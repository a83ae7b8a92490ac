"""A report as a few lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from vsr.app.report import Report

_UNITS = ("B", "kB", "MB", "GB", "TB")


def summary_of(report: Report) -> str:
    """Where the result lies, what it is, how fast it was made, and what is not as it was."""
    return "\n  ".join([report.output, *_lines(report)])


def bytes_text(count: float) -> str:
    """``12.3 MB``."""
    step = 0
    while count >= 1000 and step < len(_UNITS) - 1:
        count, step = count / 1000, step + 1
    return f"{count:.3g} {_UNITS[step]}" if step else f"{count:.0f} B"


def seconds_text(seconds: float) -> str:
    """``8.1 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _lines(report: Report) -> Iterator[str]:
    sizes = "{}×{} → {}×{}".format(*report.input_size, *report.output_size)
    speed = f"{report.frames_out} frames in {seconds_text(report.wall_seconds)} ({report.fps:.1f} fps)"
    yield f"{sizes}, {speed}, {bytes_text(report.output_bytes)}"
    yield f"{report.model} ×{report.scale} on {report.device}, {report.precision}"
    yield ", ".join(f"{name} {ms:.1f}" for name, ms in report.stage_ms.items()) + " ms a frame"
    for stream in report.streams:
        if not stream.endswith(": copy"):
            yield stream
    if report.repaired_timestamps:
        yield f"{report.repaired_timestamps} timestamps were missing or not rising and have been repaired"
    if report.skipped_packets:
        yield f"{report.skipped_packets} damaged packets of the video were skipped"
    if report.damaged_subtitles:
        yield f"{report.damaged_subtitles} subtitles are not in UTF-8: read as Windows-1252, or left out"
    if report.whole_seconds is not None and report.whole_bytes is not None:
        cost = f"{seconds_text(report.whole_seconds)} and {bytes_text(report.whole_bytes)}"
        yield f"the whole ({report.whole_frames} frames) would take about {cost}"
