"""Quantiles and rates by a clock that the test moves: right to within a bucket, and forgotten after the window."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from streams.latency import Histogram, Latency, LatencyMeter, RateMeter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("part", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_quantiles_are_never_too_small_and_hardly_too_large(part: float) -> None:
    seconds = np.random.default_rng(1).lognormal(-3, 1, 5000)
    histogram = Histogram()
    for each in seconds:
        histogram.add(float(each))
    true = float(np.quantile(seconds, part, method="inverted_cdf"))
    assert true <= histogram.quantile(part) <= true * 1.0444


def test_a_quantile_between_two_durations_is_the_longer_one() -> None:
    histogram = Histogram()
    for milliseconds in range(1, 11):
        histogram.add(milliseconds / 1000)
    assert histogram.quantile(0.95) == 0.010


def test_the_shortest_and_the_longest_have_a_place() -> None:
    histogram = Histogram()
    for seconds in (0.0, -0.001, 1e-9, 1e9):
        histogram.add(seconds)
    assert histogram.quantile(0.5) == 1e-4
    assert histogram.summary().longest == 1e9
    assert histogram.quantile(1.0) >= 1000


def test_equal_durations_have_one_value() -> None:
    histogram = Histogram()
    for _ in range(10):
        histogram.add(0.0331)
    assert histogram.summary() == Latency(frames=10, p50=0.0331, p95=0.0331, p99=0.0331, longest=0.0331)


def test_nothing_measured_is_nothing() -> None:
    assert Histogram().summary() == Latency() == LatencyMeter().recent()


def test_what_was_long_ago_is_not_recent_and_still_in_the_total() -> None:
    clock = Clock()
    meter = LatencyMeter(window_seconds=5, clock=clock)
    meter.add(1.0)
    clock.now += 4
    meter.add(0.01)
    assert meter.recent().frames == 2
    clock.now += 2
    assert meter.recent() == Latency(frames=1, p50=0.01, p95=0.01, p99=0.01, longest=0.01)
    clock.now += 100
    assert meter.recent() == Latency()
    assert (meter.total().frames, meter.total().longest) == (2, 1.0)


def test_a_long_run_takes_no_more_memory_than_a_short_one() -> None:
    clock = Clock()
    meter = LatencyMeter(clock=clock)

    def size() -> int:
        return sum(sys.getsizeof(h._counts) for _, h in meter._slices) + len(meter._slices)

    before = size()
    for index in range(20_000):
        clock.now += 0.03
        meter.add(index * 1e-3)
    assert size() == before
    assert meter.recent().frames == pytest.approx(5 / 0.03, rel=0.12)


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()


@pytest.mark.parametrize("fps", [1, 24, 29.97, 1000])
def test_a_steady_rate_is_told(fps: float, clock: Clock) -> None:
    meter = RateMeter(clock=clock)
    for _ in range(int(fps * 20)):
        meter.count()
        clock.now += 1 / fps
    assert meter.per_second() == pytest.approx(fps, rel=0.25 if fps == 1 else 0.02)


def test_the_first_second_is_not_told_too_slow(clock: Clock) -> None:
    meter = RateMeter(clock=clock)
    assert meter.per_second() == 0
    for _ in range(11):
        meter.count()
        clock.now += 0.1
    assert meter.per_second() == pytest.approx(10, rel=0.1)


def test_silence_brings_the_rate_down_to_nothing(clock: Clock) -> None:
    meter = RateMeter(window_seconds=5, clock=clock)
    for _ in range(300):
        meter.count()
        clock.now += 0.04
    clock.now += 2.5
    assert 5 < meter.per_second() < 20
    clock.now += 5
    assert meter.per_second() == 0
