"""A Chrome trace of work on a GPU, and what it says: how much was computed, copied, and both at once."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch.profiler import ProfilerActivity, profile

from vsr.app.cuda_bench import Bench

Interval: TypeAlias = tuple[float, float]

_LONGEST = 12


def traced(bench: Bench, work: Callable[[], object]) -> dict[str, Any]:
    """Run ``work`` under the profiler; the trace goes to ``trace.json.gz`` in the folder of the benchmark.

    Returns:
        Milliseconds of kernels and of copies, what share of the copies lay beside kernels, how much of the time the
        device computed, and the kernels that took the longest.
    """
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        work()
        bench.accelerator.settle()
    bench.out.mkdir(parents=True, exist_ok=True)
    path = bench.out / "trace.json.gz"
    profiler.export_chrome_trace(str(path))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    return {"trace": path.name} | read_events(events)


def read_events(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What the events of a Chrome trace say, in milliseconds; times in them are microseconds."""
    kernels: list[Interval] = []
    copies: list[Interval] = []
    longest: Counter[str] = Counter()
    for event in events:
        if event.get("ph") != "X" or event.get("cat") not in ("kernel", "gpu_memcpy"):
            continue
        interval = (event["ts"] / 1000, (event["ts"] + event["dur"]) / 1000)
        if event["cat"] == "gpu_memcpy":
            copies.append(interval)
        else:
            kernels.append(interval)
            longest[event["name"][:80]] += event["dur"] / 1000
    kernels, copies = union(kernels), union(copies)
    everything = union([*kernels, *copies])
    span = everything[-1][1] - everything[0][0] if everything else 0.0
    hidden = length(kernels) + length(copies) - length(everything)
    return {
        "span_ms": span,
        "kernels_ms": length(kernels),
        "copies_ms": length(copies),
        "copies_hidden": hidden / length(copies) if copies else 0.0,
        "computing": length(kernels) / span if span else 0.0,
        "longest_kernels_ms": {name: round(took, 3) for name, took in longest.most_common(_LONGEST)},
    }


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same stretch of time in intervals that do not touch, in order."""
    result: list[Interval] = []
    for start, stop in sorted(intervals):
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(stop, result[-1][1])
        else:
            result.append((start, stop))
    return result


def length(intervals: Iterable[Interval]) -> float:
    """How long intervals are that do not touch."""
    return sum(stop - start for start, stop in intervals)
