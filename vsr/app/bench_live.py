"""``vsr bench --live``: how old a frame is when it leaves.

Of one stream at the source's pace, and when three times too many come; of several, in turns and without.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from fractions import Fraction
from statistics import median
from time import process_time
from typing import Any

from streams.frame import Item
from streams.latency import Latency
from streams.sinks import NullSink
from streams.sources import PacedSource, Source, SyntheticSource
from vsr.app.doctor import examine
from vsr.app.live import LiveOptions, LiveReport, LiveSession, LiveStatus
from vsr.app.live_ends import open_live_source
from vsr.app.live_several import Stream, options_in_turns, run_all
from vsr.app.turns import TakingTurns, Turns
from vsr.backends.base import usable_cores
from vsr.errors import ConfigError

log = logging.getLogger(__name__)

_RATE = 30
_OVERLOAD = 3
_ROUND = 16
_TICKS_PER_SECOND = 90_000
_WAY_ROUNDS = 5
_COMPARED = ("output_fps", "processor_ms", "p95_ms", "worst_p95_ms")


def bench_live(
    *, size: tuple[int, int], model: str, scale: int, seconds: float, source: str | None = None
) -> dict[str, Any]:
    """Latency from a frame's arrival until it was written, to a sink that keeps nothing.

    Args:
        size: (width, height) of a pattern at 30 pictures a second.
        model: the network.
        scale: 2, 3 or 4.
        seconds: how long each of the two runs lasts.
        source: an address to read from in place of the pattern, in the first run.

    Returns:
        Plain values: the machine, and of both runs rates, drops, and latency in milliseconds. The second run is fed at
        three times the rate that the first one's network could do; ``growth`` is its latency in the last seconds over
        that in its first half.
    """
    options = LiveOptions(model=model, scale=scale)
    with open_live_source(source) if source else _paced(size, Fraction(_RATE)) as steady:
        size = steady.info.width, steady.info.height
        first, _ = _run(steady, options, seconds)
    possible = 1000 / max(stage.ms_per_frame for stage in (first.run.enhance, first.run.encode))
    log.info("the network could do %.0f frames a second", possible)
    rate = Fraction(max(_RATE, round(_OVERLOAD * possible)))
    with _paced(size, rate) as flood:
        second, middle = _run(flood, options, seconds)
    late = second.status.stats.latency
    facts = examine()
    return {
        "job": f"{source or 'pattern'} {size[0]}x{size[1]} x{scale} by {model} to nothing, {seconds:g} s each",
        "machine": {key: facts[key] for key in ("cpu", "cuda", "packages")},
        "steady": _figures(first),
        "overload": {
            **_figures(second),
            "source_fps": float(rate),
            "times_too_many": float(rate) / possible,
            "growth": late.p50 / middle.p50 if middle.p50 else 0.0,
        },
    }


def bench_streams(
    *, streams: int, size: tuple[int, int], model: str, scale: int, seconds: float, source: str | None = None
) -> dict[str, Any]:
    """The same for several streams at once, each with a network of its own.

    All begin at the same moment, so that their frames meet: no arrangement of cameras is harder.

    Args:
        streams: how many, 1 or more.
        size: (width, height) of each, at 30 pictures a second.
        model: the network.
        scale: 2, 3 or 4.
        seconds: how long each way is measured in all.
        source: None; a stream can be read from an address once only.

    Returns:
        Plain values: the machine; for each way the medians of a few rounds, in which the ways alternate: all streams'
        frames per second together, processor milliseconds a frame, latency of the median stream and of the one that
        fares worst; of the last round each stream's rates, drops, and latency in milliseconds, where ``network_ms`` is
        with the wait for its turn. ``in_turns`` is how ``vsr live`` works, ``one_at_a_time`` how it would be if also
        small frames had all cores to themselves, ``side_by_side`` if every network worked whenever it had a frame.
        ``ratios`` are of ``in_turns`` to the others, the medians over the rounds.

    Raises:
        ConfigError: there is a ``source``.
    """
    if source is not None:
        raise ConfigError("got --streams with --source, allowed is one of the two; leave one out")
    options = LiveOptions(model=model, scale=scale)
    ways = {"in_turns": usable_cores(), "one_at_a_time": 1, "side_by_side": None}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(_WAY_ROUNDS):
        for name, cores in ways.items():
            turns = None if cores is None else Turns(streams, cores=cores)
            runs[name].append(_run_streams(streams, size, options, seconds / _WAY_ROUNDS, turns=turns))
    facts = examine()
    return {
        "job": f"{streams} patterns {size[0]}x{size[1]} x{scale} by {model} to nothing, {seconds:g} s each",
        "machine": {key: facts[key] for key in ("cpu", "cuda", "packages")},
        **{name: rounds[-1] | _medians(rounds) for name, rounds in runs.items()},
        "ratios": {
            name: _medians([_ratios(own, other) for own, other in zip(runs["in_turns"], runs[name], strict=True)])
            for name in ("one_at_a_time", "side_by_side")
        },
    }


def _medians(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {name: median(each[name] for each in rounds) for name in _COMPARED}


def _ratios(own: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    return {name: own[name] / other[name] if other[name] else 0.0 for name in _COMPARED}


class _Rounds(Source):
    """A few pictures of a pattern over and over, at any rate: making them anew would cost more than the network."""

    def __init__(self, size: tuple[int, int], rate: Fraction) -> None:
        pattern = SyntheticSource(width=size[0], height=size[1], frames=_ROUND, rate=_RATE)
        base = Fraction(1, _TICKS_PER_SECOND)
        self.info = replace(pattern.info, rate=rate, time_base=base, frames=None, duration_seconds=None)
        self._frames = [replace(frame, time_base=base) for frame in pattern]
        self._interval = _TICKS_PER_SECOND / rate

    def items(self) -> Iterator[Item]:
        for number, frame in enumerate(itertools.cycle(self._frames)):
            yield replace(frame, pts=round(number * self._interval))

    def close(self) -> None:
        """Nothing is held."""


def _paced(size: tuple[int, int], rate: Fraction) -> Source:
    return PacedSource(_Rounds(size, rate))


def _run(source: Source, options: LiveOptions, seconds: float) -> tuple[LiveReport, Latency]:
    """A run, and its latency in the middle of it."""
    middle: list[Latency] = []

    def look(status: LiveStatus) -> None:
        if not middle and status.stats.elapsed_seconds >= seconds / 2:
            middle.append(status.stats.total_latency)

    session = LiveSession(source, lambda feed: NullSink(), options=options)
    report = session.run(duration_seconds=seconds, on_status=look, every_seconds=0.5)
    return report, middle[0] if middle else Latency()


def _run_streams(
    count: int, size: tuple[int, int], options: LiveOptions, seconds: float, *, turns: Turns | None
) -> dict[str, Any]:
    streams = []
    with ExitStack() as stack:
        for number in range(1, count + 1):
            source = stack.enter_context(_paced(size, Fraction(_RATE)))
            chosen = options
            if turns is not None and turns.cores > 1:
                # Turns for a single core stand here for one frame at a time, which all cores share.
                chosen = options_in_turns(options, turns, source)
            session = LiveSession(
                source,
                lambda feed: NullSink(),
                options=chosen,
                wrap=None if turns is None else lambda enhancer: TakingTurns(enhancer, turns),
            )
            streams.append(Stream(number, f"pattern {number}", source, stack.enter_context(session)))
        begun = process_time()
        run_all(streams, duration_seconds=seconds)
        processor_seconds = process_time() - begun
    figures = [_figures(_report_of(stream)) for stream in streams]
    late = sorted(each["p95_ms"] for each in figures)
    return {
        "output_fps": sum(each["output_fps"] for each in figures),
        "processor_ms": 1000 * processor_seconds / max(1, sum(each["frames_out"] for each in figures)),
        "p95_ms": median(late),
        "worst_p95_ms": late[-1],
        "streams": figures,
    }


def _report_of(stream: Stream) -> LiveReport:
    if isinstance(stream.outcome, LiveReport):
        return stream.outcome
    raise stream.outcome or AssertionError("it has not ended")


def _figures(report: LiveReport) -> dict[str, Any]:
    run, status = report.run, report.status
    milliseconds = {f"{name}_ms": 1000 * value for name, value in asdict(run.latency).items() if name != "frames"}
    return {
        "input_fps": run.frames_in / run.wall_seconds,
        "output_fps": run.fps,
        **milliseconds,
        "frames_in": run.frames_in,
        "frames_out": run.frames_out,
        "dropped": dict(run.dropped),
        "reconnects": status.stats.reconnects,
        "network_ms": run.enhance.ms_per_frame,
    }
