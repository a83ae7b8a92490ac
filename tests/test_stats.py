"""Rates and reports: plain arithmetic, and no division by nothing."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from streams import stats as module
from streams.stats import Report, StageReport, Stats, Stopwatch


def stage(busy_seconds: float) -> StageReport:
    return StageReport(busy_seconds=busy_seconds, starved_seconds=0.0, blocked_seconds=0.0, ms_per_frame=0.0)


def report(*, frames_out: int = 10, wall_seconds: float = 2.0) -> Report:
    return Report(
        frames_in=frames_out,
        frames_out=frames_out,
        packets=3,
        wall_seconds=wall_seconds,
        decode=stage(0.5),
        enhance=stage(1.75),
        encode=stage(1.25),
        peak_input_fill=8,
        peak_output_fill=1,
    )


def test_a_stopwatch_adds_up_its_blocks_even_when_one_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 1.5, 10.0, 12.0])
    monkeypatch.setattr(module, "perf_counter", lambda: next(times))
    watch = Stopwatch()
    with watch:
        pass
    assert watch.seconds == 0.5
    with pytest.raises(KeyError), watch:
        raise KeyError
    assert watch.seconds == 2.5


def test_a_report_names_its_slowest_stage_and_its_rate() -> None:
    assert report().fps == 5.0
    assert report().slowest_stage == "enhance"
    assert list(report().stages) == ["decode", "enhance", "encode"]


def test_nothing_in_no_time_is_no_division_by_zero() -> None:
    assert report(frames_out=0, wall_seconds=0.0).fps == 0.0
    empty = Stats(
        frames_in=0,
        frames_out=0,
        packets=0,
        elapsed_seconds=0.0,
        position=Fraction(0),
        input_fill=0,
        output_fill=0,
    )
    assert empty.fps == 0.0


def test_a_report_survives_json() -> None:
    back = json.loads(json.dumps(report().as_dict()))
    assert back["encode"]["busy_seconds"] == 1.25
    assert back["fps"] == 5.0
    assert back["slowest_stage"] == "enhance"
