"""How a live run is told of while it lasts: a line that is refreshed on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from streams.sinks.base import SinkStatus
from vsr.app.console import Console, message_of, write_line
from vsr.app.exit_codes import ExitCode, exit_code_of
from vsr.app.live import LiveReport, LiveStatus

LINES_EVERY_SECONDS = 5.0


def line_of(status: LiveStatus) -> str:
    """One line for people."""
    stats = status.stats
    size = f"{status.output_size[0]}x{status.output_size[1]}"
    parts = [
        f"{stats.input_fps:.1f} fps in, {stats.output_fps:.1f} out",
        f"latency {stats.latency.p50 * 1000:.0f} ms, p95 {stats.latency.p95 * 1000:.0f} ms",
        f"{status.dropped_frames} dropped",
        f"{stats.reconnects} reconnects" if stats.connected else "source lost, trying again",
        f"{status.network} to {size}",
    ]
    return " | ".join([*parts, *_troubles(status.outputs)])


def short_line_of(status: LiveStatus) -> str:
    """The same where there are several: what does not change is left out."""
    stats = status.stats
    parts = [
        f"{stats.input_fps:.1f} in, {stats.output_fps:.1f} out",
        f"{stats.latency.p50 * 1000:.0f} ms, p95 {stats.latency.p95 * 1000:.0f}",
        f"{status.dropped_frames} dropped",
        *([] if stats.connected else ["source lost"]),
        status.network,
    ]
    return " | ".join([*parts, *_troubles(status.outputs)])


def _troubles(outputs: Sequence[SinkStatus]) -> list[str]:
    parts = []
    lost = sum(output.dropped for output in outputs)
    if lost:
        parts.append(f"frames lost by outputs: {lost}")
    for words, state in (("not connected", "waiting"), ("failed", "failed")):
        names = [output.name for output in outputs if output.state == state]
        if names:
            parts.append(f"{words}: {', '.join(names)}")
    return parts


@contextmanager
def shown(console: Console) -> Iterator[Callable[[LiveStatus], None]]:
    """What to give to ``on_status``, for as long as the block lasts."""
    if console.as_json:
        yield lambda status: console.give({"event": "status", **status.as_dict()})
    elif console.quiet:
        yield lambda status: None
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(bar_format="{desc}", file=sys.stderr, leave=False, dynamic_ncols=True) as bar:
            # A line that wraps could not be refreshed.
            yield lambda status: bar.set_description_str(line_of(status)[: shutil.get_terminal_size().columns - 1])
    else:
        yield _Lines()


class _Lines:
    def __init__(self) -> None:
        self._told = monotonic()

    def __call__(self, status: LiveStatus) -> None:
        if monotonic() - self._told >= LINES_EVERY_SECONDS:
            self._told = monotonic()
            write_line(line_of(status))


def end_of(status: LiveStatus, outcome: LiveReport | Exception) -> tuple[ExitCode, dict[str, Any]]:
    """The exit code of a run that is over, and what its last line of JSON says besides.

    Args:
        status: how it stands now.
        outcome: what it did, or what ended it.
    """
    if isinstance(outcome, Exception):
        return exit_code_of(outcome), {**status.as_dict(), "ended_by": "error", "error": message_of(outcome)}
    code = ExitCode.INTERRUPTED if outcome.ended_by == "stopped" else ExitCode.OK
    return ExitCode.OUTPUT if outcome.failed_outputs else code, outcome.as_dict()


def summary_of_live(status: LiveStatus) -> str:
    """What to say at the end, however it came."""
    stats, latency = status.stats, status.stats.total_latency
    width, height = status.output_size
    seconds = stats.elapsed_seconds
    lines = [
        f"{stats.frames_out} frames in {seconds:.1f} s ({stats.frames_out / max(seconds, 1e-3):.1f} fps) to "
        f"{width}x{height}, {stats.dropped_frames} dropped, {stats.reconnects} reconnects",
        f"latency p50 {latency.p50 * 1000:.0f} ms, p95 {latency.p95 * 1000:.0f} ms, p99 {latency.p99 * 1000:.0f} ms",
    ]
    lines += [f"{output.name}: {_fate(output)}" for output in status.outputs]
    if status.moves:
        lines.append(f"network: {status.network} at the end, after {status.moves} changes")
    return "\n".join(lines)


def _fate(output: SinkStatus) -> str:
    words = f"{output.frames} frames, {output.dropped} lost, {output.reconnects} reconnects"
    return f"{words}; {output.error}" if output.error else words
