"""How long frames take and how many come: measured for as long as a run lasts, in memory that does not grow.

Latencies fall into buckets of a fixed logarithmic scale, so a quantile is known to within a bucket, 4.4 per cent, and
is never told smaller than it was. What happened lately is held in slices of time that are used in turn.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

WINDOW_SECONDS = 5.0
"""What "lately" means."""

_SLICES = 10
_SHORTEST_SECONDS = 1e-4
_BUCKETS_PER_DOUBLING = 16
_DOUBLINGS = 24
_BUCKETS = _BUCKETS_PER_DOUBLING * _DOUBLINGS + 1

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What was measured of how long frames took, in seconds; all 0 where there were none.

    Attributes:
        frames: how many were measured.
        p50, p95, p99: so many per cent of them took at most this, to within 4.4 per cent.
        longest: the longest of them, exactly.
    """

    frames: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    longest: float = 0.0


class Histogram:
    """Counts of durations from 0.1 ms to half an hour; shorter and longer ones count as those. Used by one thread."""

    __slots__ = ("_counts", "_longest", "_total")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self._total = 0
        self._longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[_bucket(seconds)] += 1
        self._total += 1
        self._longest = max(self._longest, seconds)

    def merge(self, other: Histogram) -> None:
        """Count all that the other one has counted."""
        for index, count in enumerate(other._counts):
            if count:
                self._counts[index] += count
        self._total += other._total
        self._longest = max(self._longest, other._longest)

    def quantile(self, part: float) -> float:
        """The duration in seconds that ``part`` (0 to 1) of all did not exceed; 0 where there are none."""
        wanted = max(1, math.ceil(part * self._total))
        for index, count in enumerate(self._counts):
            wanted -= count
            if wanted <= 0:
                return min(self._longest, _SHORTEST_SECONDS * 2 ** (index / _BUCKETS_PER_DOUBLING))
        return self._longest

    def summary(self) -> Latency:
        """The usual quantiles."""
        return Latency(
            frames=self._total,
            p50=self.quantile(0.50),
            p95=self.quantile(0.95),
            p99=self.quantile(0.99),
            longest=self._longest,
        )


def _bucket(seconds: float) -> int:
    """The first bucket whose upper end is not below ``seconds``."""
    if seconds <= _SHORTEST_SECONDS:
        return 0
    return min(_BUCKETS - 1, math.ceil(math.log2(seconds / _SHORTEST_SECONDS) * _BUCKETS_PER_DOUBLING))


class LatencyMeter:
    """Latencies of the whole run and of its last seconds. One thread adds, any thread reads.

    Args:
        window_seconds: what the last seconds are.
        clock: gives seconds that never go back.
    """

    def __init__(self, *, window_seconds: float = WINDOW_SECONDS, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._slice_seconds = window_seconds / _SLICES
        self._all = Histogram()
        self._slices: list[tuple[int, Histogram]] = [(-1, Histogram())] * _SLICES
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """Count a frame that took so long."""
        number = int(self._clock() / self._slice_seconds)
        with self._lock:
            if self._slices[number % _SLICES][0] != number:
                self._slices[number % _SLICES] = (number, Histogram())
            self._slices[number % _SLICES][1].add(seconds)
            self._all.add(seconds)

    def recent(self) -> Latency:
        """Of the last seconds."""
        oldest = int(self._clock() / self._slice_seconds) - _SLICES + 1
        merged = Histogram()
        with self._lock:
            for number, histogram in self._slices:
                if number >= oldest:
                    merged.merge(histogram)
        return merged.summary()

    def total(self) -> Latency:
        """Of the whole run."""
        with self._lock:
            return self._all.summary()


class RateMeter:
    """Events a second, lately. One thread counts, any thread reads.

    Args:
        window_seconds: what lately is.
        clock: gives seconds that never go back.
    """

    def __init__(self, *, window_seconds: float = WINDOW_SECONDS, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._slice_seconds = window_seconds / _SLICES
        self._slices = [(-1, 0)] * _SLICES
        self._began: float | None = None

    def count(self) -> None:
        """One event, now."""
        now = self._clock()
        if self._began is None:
            # The first only starts the clock: n events span n - 1 intervals.
            self._began = now
            return
        number = int(now / self._slice_seconds)
        before, events = self._slices[number % _SLICES]
        self._slices[number % _SLICES] = (number, events + 1 if before == number else 1)

    def per_second(self) -> float:
        """Over the window, or since the first event where that is shorter; 0 before the second event."""
        if self._began is None:
            return 0.0
        now = self._clock()
        oldest = int(now / self._slice_seconds) - _SLICES + 1
        events = sum(count for number, count in list(self._slices) if number >= oldest)
        span = now - max(self._began, oldest * self._slice_seconds)
        return events / span if span > 0 else 0.0
