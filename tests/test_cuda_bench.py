"""The benchmark of a GPU, on a machine that has none: it runs, and says what it could not do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vsr.app import bench_cuda
from vsr.app.cuda_bench import Bench
from vsr.app.cuda_trace import length, read_events, union

NAMES = [name for name, *_ in bench_cuda.SECTIONS]


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_every_section_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_cuda.main(["--rehearse", "--only", name, "--out", str(tmp_path / "out")]) == 0
    *found, done = lines_of(capsys)
    assert {line["section"] for line in found} == {name}
    assert not any("error" in line for line in found)
    if name != "out of memory":
        assert not any("skipped" in line for line in found)
        assert len(found) >= 2
    assert done["section"] == "done"
    assert done["failed"] == []


def test_what_is_told_of_overflow(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bench_cuda.main(["--rehearse", "--only", "overflow", "--out", str(tmp_path)])
    found = lines_of(capsys)[0]
    assert found["frames"] == found["right"] == 12
    assert found["warnings"] == ["torch.float16 overflowed on cpu; going on in fp32"]


def test_without_a_gpu_every_section_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_cuda.main([]) == 0
    found = lines_of(capsys)
    skipped = [line["section"] for line in found if line.get("skipped") == "no CUDA device here"]
    assert skipped == [name for name in NAMES if name != "machine"]


def test_no_time_is_a_reason_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_cuda.main(["--rehearse", "--seconds", "0", "--only", "copies"]) == 0
    assert lines_of(capsys)[0] == {"section": "copies", "skipped": "no time is left"}


def test_a_section_that_fails_is_told_and_the_others_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(bench: Bench) -> Any:
        yield {"before": 1}
        raise RuntimeError("boom")

    monkeypatch.setattr(bench_cuda, "SECTIONS", (("broken", broken, 1.0), *bench_cuda.SECTIONS[2:3]))
    assert bench_cuda.main(["--rehearse"]) == 1
    found = lines_of(capsys)
    assert found[:2] == [{"section": "broken", "before": 1}, {"section": "broken", "error": "RuntimeError: boom"}]
    assert found[-1]["failed"] == ["broken"]
    assert "up_gbs" in found[3]


def test_what_a_trace_says() -> None:
    events = [
        {"ph": "X", "cat": "kernel", "name": "conv", "ts": 0, "dur": 4000},
        {"ph": "X", "cat": "kernel", "name": "round", "ts": 4000, "dur": 2000},
        {"ph": "X", "cat": "gpu_memcpy", "name": "up", "ts": 3000, "dur": 2000},
        {"ph": "X", "cat": "gpu_memcpy", "name": "down", "ts": 7000, "dur": 2000},
        {"ph": "X", "cat": "cpu_op", "name": "aten::conv2d", "ts": 0, "dur": 99_000},
        {"ph": "i", "cat": "kernel", "name": "mark", "ts": 0},
    ]
    found = read_events(events)
    assert found["span_ms"] == 9.0
    assert found["kernels_ms"] == 6.0
    assert found["copies_ms"] == 4.0
    assert found["copies_hidden"] == 0.5
    assert found["computing"] == pytest.approx(6 / 9)
    assert found["longest_kernels_ms"] == {"conv": 4.0, "round": 2.0}
    assert read_events([])["copies_hidden"] == 0.0


def test_intervals() -> None:
    assert union([(3, 4), (0, 1), (1, 2), (1.5, 1.7)]) == [(0, 2), (3, 4)]
    assert length(union([(0, 5), (2, 3)])) == 5
