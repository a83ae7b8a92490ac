"""Several live sources on one machine: a run for each, in a thread of its own; the networks take turns.

A source that is given up, and one whose last output fails, ends alone. A wish to stop is for all.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

from streams.redact import redact
from streams.sources import Source
from vsr.app.console import Console, message_of, write_line
from vsr.app.exit_codes import ExitCode
from vsr.app.interrupts import stop_on_signals
from vsr.app.live import LiveOptions, LiveReport, LiveSession, LiveStatus
from vsr.app.live_ends import check_numbered, numbered, open_live_source, open_outputs
from vsr.app.live_line import LINES_EVERY_SECONDS, end_of, short_line_of, summary_of_live
from vsr.app.prometheus import serve_metrics
from vsr.app.turns import TakingTurns, Turns
from vsr.backends.base import usable_cores

Outcome = LiveReport | Exception

# What matters more comes first: of several codes the program leaves with the one that is named first here.
_GRAVEST = (ExitCode.FAILURE, ExitCode.MODEL, ExitCode.OUTPUT, ExitCode.INPUT, ExitCode.USAGE, ExitCode.INTERRUPTED)
_NAME_LENGTH = 32


class Stream:
    """One of the sources with its run.

    Args:
        number: 1 for the first.
        url: of the source; its password is hidden.
        source: open; closed at the end of the run.
        session: not yet run.

    Attributes:
        outcome: what the run did, or what ended it; None as long as it lasts.
    """

    def __init__(self, number: int, url: str, source: Source, session: LiveSession) -> None:
        self.number, self.name = number, redact(url)
        self.session = session
        self.outcome: Outcome | None = None
        self._source = source

    @property
    def label(self) -> str:
        """Number and name, short enough for a line."""
        name = self.name if len(self.name) <= _NAME_LENGTH else f"{self.name[: _NAME_LENGTH - 1]}…"
        return f"{self.number} {name}"

    @property
    def status(self) -> LiveStatus:
        """How the run stands, or stood at its end."""
        return self.outcome.status if isinstance(self.outcome, LiveReport) else self.session.status()

    def run(self, duration_seconds: float | None) -> LiveReport:
        """Work until the end. The source is let go then: the others may go on for days."""
        try:
            return self.session.run(duration_seconds=duration_seconds)
        finally:
            self._source.close()


def run_several(
    console: Console,
    urls: Sequence[str],
    *,
    options: LiveOptions,
    read: dict[str, Any],
    written: dict[str, Any],
    duration_seconds: float | None,
    metrics_port: int | None,
) -> ExitCode:
    """``vsr live`` with two sources or more. Nothing is written before all of them and all outputs are open.

    Args:
        console: told of everything.
        urls: of the sources.
        options: what is computed of each.
        read: as :func:`vsr.app.live_ends.open_live_source` takes it.
        written: as :func:`vsr.app.live_ends.open_outputs` takes it, with ``{n}`` in the targets.
        duration_seconds: after which to end; None for never.
        metrics_port: for Prometheus; None for no such thing.

    Returns:
        The gravest of the codes of all runs.

    Raises:
        ConfigError: the outputs are not told apart.
        streams.errors.StreamError: a source or an output cannot be opened.
        vsr.errors.VsrError: a size, network, device or precision that does not exist here.
    """
    check_numbered(sources=urls, **written)
    with ExitStack() as stack:
        sources = [stack.enter_context(open_live_source(url, **read)) for url in urls]
        stop = stack.enter_context(stop_on_signals())
        turns = Turns(len(urls), cores=min(options.threads or usable_cores(), usable_cores()))
        streams = []
        for number, (url, source) in enumerate(zip(urls, sources, strict=True), start=1):
            session = _session(number, source, turns, options=options, written=written, stop=stop)
            streams.append(Stream(number, url, source, stack.enter_context(session)))
        if metrics_port is not None:
            statuses = lambda: [stream.status for stream in streams]  # noqa: E731
            write_line(f"vsr: figures at {stack.enter_context(serve_metrics(statuses, port=metrics_port))}")
        codes: dict[int, ExitCode] = {}
        with shown(console) as on_status:
            run_all(
                streams,
                duration_seconds=duration_seconds,
                on_end=partial(_tell_end, console, codes),
                on_status=on_status,
            )
        return _conclude(console, streams, codes)


def run_all(
    streams: Sequence[Stream],
    *,
    duration_seconds: float | None = None,
    on_end: Callable[[Stream], None] = lambda stream: None,
    on_status: Callable[[Sequence[Stream]], None] = lambda streams: None,
    every_seconds: float = 1.0,
) -> None:
    """Run all at once, and return when the last has ended.

    Both callbacks are called on the caller's thread; what they raise ends all runs.

    Args:
        streams: not yet run.
        duration_seconds: after which each ends.
        on_end: called with each that has ended, at once.
        on_status: called with all of them every so often.
        every_seconds: how often.
    """
    with ThreadPoolExecutor(len(streams), thread_name_prefix="vsr-stream") as pool:
        running = {pool.submit(stream.run, duration_seconds): stream for stream in streams}
        due = monotonic() + every_seconds
        try:
            while running:
                done, _ = wait(running, timeout=max(0.0, due - monotonic()), return_when=FIRST_COMPLETED)
                for future in done:
                    stream = running.pop(future)
                    stream.outcome = _outcome(future)
                    on_end(stream)
                if monotonic() >= due:
                    due += every_seconds
                    on_status(streams)
        finally:
            for stream in streams:
                stream.session.stop()


def options_in_turns(options: LiveOptions, turns: Turns, source: Source) -> LiveOptions:
    """The same for a source whose frames take turns: one that has a single core to itself is not split."""
    return replace(options, latency=turns.cores_for(source.info.height) > 1)


def _outcome(future: Future[LiveReport]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error


def _session(
    number: int,
    source: Source,
    turns: Turns,
    *,
    options: LiveOptions,
    written: dict[str, Any],
    stop: threading.Event,
) -> LiveSession:
    targets = numbered(written["targets"], number)
    return LiveSession(
        source,
        lambda feed: open_outputs(feed, **{**written, "targets": targets}),
        options=options_in_turns(options, turns, source),
        wrap=lambda enhancer: TakingTurns(enhancer, turns, stream=number),
        stop=stop,
        share=partial(turns.share_left, number),
    )


# ------------------------------------------------------------------------------------------------------ what is told


@contextmanager
def shown(console: Console) -> Iterator[Callable[[Sequence[Stream]], None]]:
    """What to give to ``on_status``, for as long as the block lasts."""
    if console.as_json:
        yield partial(_give_status, console)
    elif console.quiet:
        yield lambda streams: None
    elif sys.stderr.isatty():
        with ExitStack() as stack:
            yield _Bars(stack)
    else:
        yield _Lines()


def _give_status(console: Console, streams: Sequence[Stream]) -> None:
    for stream in streams:
        if stream.outcome is None:
            console.give({"event": "status", "source": stream.number, **stream.status.as_dict()})


def line_of_stream(stream: Stream) -> str:
    """One line for people."""
    words = short_line_of(stream.status)
    if isinstance(stream.outcome, Exception):
        words = f"given up: {message_of(stream.outcome)}"
    elif stream.outcome is not None:
        words = f"ended, {stream.status.stats.frames_out} frames"
    return f"{stream.label} | {words}"


class _Bars:
    """A line for each on a terminal, refreshed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._bars: list[Any] = []

    def __call__(self, streams: Sequence[Stream]) -> None:
        from tqdm import tqdm

        columns = shutil.get_terminal_size().columns - 1
        for stream in streams[len(self._bars) :]:
            bar = tqdm(
                bar_format="{desc}", file=sys.stderr, leave=False, dynamic_ncols=True, position=stream.number - 1
            )
            self._bars.append(self._stack.enter_context(bar))
        for bar, stream in zip(self._bars, streams, strict=True):
            # A line that wraps could not be refreshed.
            bar.set_description_str(line_of_stream(stream)[:columns])


class _Lines:
    """A line for each now and then."""

    def __init__(self) -> None:
        self._told = monotonic()

    def __call__(self, streams: Sequence[Stream]) -> None:
        if monotonic() - self._told >= LINES_EVERY_SECONDS:
            self._told = monotonic()
            for stream in streams:
                if stream.outcome is None:
                    write_line(line_of_stream(stream))


def _tell_end(console: Console, codes: dict[int, ExitCode], stream: Stream) -> None:
    """At once, while the others go on."""
    assert stream.outcome is not None
    if isinstance(stream.outcome, Exception):
        console.fail(stream.outcome, about=stream.label)
    code, end = end_of(stream.status, stream.outcome)
    codes[stream.number] = code
    console.give({"event": "end", "source": stream.number, "exit_code": int(code), **end})


def _conclude(console: Console, streams: Sequence[Stream], codes: dict[int, ExitCode]) -> ExitCode:
    for stream in streams:
        lines = [f"{stream.number} {stream.name}", *summary_of_live(stream.status).splitlines()]
        if isinstance(stream.outcome, Exception):
            lines.append(f"given up: {message_of(stream.outcome)}")
        console.say("\n  ".join(lines))
    code = next((code for code in _GRAVEST if code in codes.values()), ExitCode.OK)
    statuses = [stream.status for stream in streams]
    console.give(
        {
            "event": "end",
            "exit_code": int(code),
            "sources": {str(number): int(each) for number, each in sorted(codes.items())},
            "frames_in": sum(status.stats.frames_in for status in statuses),
            "frames_out": sum(status.stats.frames_out for status in statuses),
            "dropped_frames": sum(status.dropped_frames for status in statuses),
        }
    )
    return code
