"""Several live sources in one program: whose output is whose, who ends whom, and what is said of it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from live_checks import nothing_left
from rtsp_server import RtspServer
from stubs import StubEnhancer, StubPending, StubSink, wait_for

from streams.errors import SourceLostError
from streams.frame import Frame, Item, PixelFormat
from streams.sinks.base import SinkStatus
from streams.sources import PacedSource, Source, SyntheticSource, open_source
from vsr.app.bench_live import bench_streams
from vsr.app.cli import main
from vsr.app.console import Console
from vsr.app.live import LiveOptions, LiveReport, LiveSession
from vsr.app.live_ends import check_numbered, numbered
from vsr.app.live_networks import LiveNetworks
from vsr.app.live_several import Stream, line_of_stream, options_in_turns, run_all, shown
from vsr.app.prometheus import metrics_text
from vsr.app.turns import Turns
from vsr.errors import ConfigError

PATTERNS = ["synthetic:64x36?rate=50&live=1", "synthetic:48x36?rate=25&live=1"]
CHEAP = ["--model", "bicubic", "--threads", "1"]
OPTIONS = LiveOptions(model="bicubic", threads=1)


def live(*arguments: object) -> int:
    return main(["live", *PATTERNS, *CHEAP, *map(str, arguments)])


def count_frames(path: Path) -> tuple[int, int]:
    """How many, and how wide."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0)), container.streams.video[0].width


# ---------------------------------------------------------------------------------------------------------- the command


def test_each_is_recorded_and_told_of_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert live("-o", tmp_path / "{n}.mkv", "-o", "null:", "--duration", "1.3", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    statuses, ends, last = (
        [line for line in lines if line["event"] == "status"],
        {line["source"]: line for line in lines[:-1] if line["event"] == "end"},
        lines[-1],
    )
    assert {line["source"] for line in statuses} == ends.keys() == {1, 2}
    for number, width in ((1, 128), (2, 96)):
        end = ends[number]
        assert end["ended_by"] == "duration"
        assert count_frames(tmp_path / f"{number}.mkv") == (end["frames_out"], width)
        assert end["outputs"][0]["name"] == str(tmp_path / f"{number}.mkv")
    assert last["sources"] == {"1": 0, "2": 0}
    assert last["frames_out"] == sum(end["frames_out"] for end in ends.values()) > 0
    assert documented("With several sources") == last.keys() - {"event"}


def documented(heading: str) -> set[str]:
    page = (Path(__file__).parents[1] / "docs" / "live.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(\w+)`", page.split(heading, 1)[1].split("\n\n", 3)[2], re.MULTILINE))


def test_people_are_told_of_each_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert live("--duration", "0.5") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if not line.startswith(" ")] == [f"{n} {url}" for n, url in enumerate(PATTERNS, 1)]
    assert sum(" frames in " in line for line in said) == 2


def test_one_that_is_lost_ends_alone_and_ctrl_c_ends_the_others(tmp_path: Path) -> None:
    with RtspServer(width=64, height=48) as first, RtspServer(width=64, height=48) as second:
        target, urls = tmp_path / "{n}.mkv", [first.url, second.url]
        command = [sys.executable, "-m", "vsr", "live", *urls, "-o", str(target), *CHEAP, "--max-retries", "0"]
        with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            try:
                assert run.stdout is not None
                told = map(json.loads, run.stdout)
                next(line for line in told if line["source"] == 2 and line["frames_out"])
                first.stop()
                lost = next(line for line in told if line["event"] == "end")
                later = next(line for line in told)
                run.send_signal(signal.SIGINT)
                rest = list(told)
                assert run.stderr is not None
                said = run.stderr.read()
            finally:
                run.kill()
    assert (lost["source"], lost["exit_code"], lost["ended_by"]) == (1, 3, "error")
    assert (later["event"], later["source"]) == ("status", 2)
    assert [(line["event"], line.get("source")) for line in rest[-2:]] == [("end", 2), ("end", None)]
    assert rest[-2]["ended_by"] == "stopped"
    assert rest[-1]["sources"] == {"1": 3, "2": 130}
    # Being lost is worse than being stopped.
    assert run.returncode == rest[-1]["exit_code"] == 3
    assert f"vsr: error: 1 {first.url}"[:40] in said
    assert count_frames(tmp_path / "2.mkv")[0] == rest[-2]["frames_out"] > 0


@pytest.mark.parametrize(
    ("second", "more", "code", "words"),
    [
        ("nothing.mp4", ["--realtime"], 3, "nothing.mp4"),
        ("rtsp://me:secret@127.0.0.1:9/x", [], 3, "rtsp://***@127.0.0.1:9/x"),
        (PATTERNS[1], ["-o", "{folder}/there-{{n}}.mkv"], 4, "there-2.mkv"),
        (PATTERNS[1], ["--model", "nonesuch"], 5, "nonesuch"),
        (PATTERNS[1], ["-o", "window"], 2, "with 2 sources"),
        (PATTERNS[1], ["-o", "hls:www"], 2, "{n}"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    second: str, more: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there-2.mkv").touch()
    more = [word.format(folder=tmp_path) if "folder" in word else word for word in more]
    assert main(["live", PATTERNS[0], second, "-o", str(tmp_path / "{n}.mkv"), *CHEAP, *more]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "secret" not in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there-2.mkv"]


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["a.mkv"], "would all write there"),
        (["udp://me:secret@host:1"], r"got -o udp://\*\*\*@host:1 with 2"),
        (["window"], "one thread"),
        (["window:{n}"], "one thread"),
        (["preview:8000"], "the page shows one"),
        (["a-{n}.mkv", "hls:b-{n}", "a-{n}.mkv"], "twice"),
        (["{n}1.mkv", "1{n}.mkv"], "twice"),
        (["in-{n}.mkv"], "in-2.mkv, which is the input"),
        ([""], "empty -o"),
    ],
)
def test_outputs_that_are_in_each_others_way_are_refused(targets: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "in-2.mkv").touch()
    there = [target.replace("in-", f"{tmp_path}/in-") for target in targets]
    with pytest.raises(ConfigError, match=words) as raised:
        check_numbered(there, sources=[str(tmp_path / "in-2.mkv"), PATTERNS[0]])
    assert "secret" not in str(raised.value)


def test_outputs_that_are_not_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    targets = ["cam-{n}.mkv", "hls:www/{n}", "rtsp://server/large-{n}", "udp://host:900{n}", "null:"]
    check_numbered(targets, sources=PATTERNS)
    assert numbered(targets, 2)[:4] == ["cam-2.mkv", "hls:www/2", "rtsp://server/large-2", "udp://host:9002"]


# ------------------------------------------------------------------------------------------------- who ends whom


class Lost(Source):
    """A camera that is given up after some pictures."""

    def __init__(self, frames: int = 3) -> None:
        self._pattern = PacedSource(SyntheticSource(width=64, height=36, frames=frames, rate=50))
        self.info = replace(self._pattern.info, live=True)
        self.closed = threading.Event()

    def items(self) -> Iterator[Item]:
        yield from self._pattern.items()
        raise SourceLostError("rtsp://camera is given up")

    def close(self) -> None:
        self.closed.set()


def stream(number: int, source: Source, sink: StubSink) -> Stream:
    return Stream(number, f"source {number}", source, LiveSession(source, lambda feed: sink, options=OPTIONS))


def test_a_source_that_is_given_up_is_let_go_and_the_others_go_on() -> None:
    lost, sinks, ends = Lost(), [StubSink(), StubSink()], []
    streams = [stream(1, lost, sinks[0]), stream(2, open_source(PATTERNS[0]), sinks[1])]

    def end(ended: Stream) -> None:
        ends.append((ended.number, len(sinks[1].items)))
        if ended.number == 1:
            assert lost.closed.is_set()
            assert streams[1].outcome is None
            assert line_of_stream(ended) == "1 source 1 | given up: rtsp://camera is given up"
            wait_for(lambda: len(sinks[1].items) > ends[0][1] + 5)
            streams[1].session.stop()

    run_all(streams, on_end=end)
    assert [number for number, _ in ends] == [1, 2]
    assert isinstance(streams[0].outcome, SourceLostError)
    assert isinstance(streams[1].outcome, LiveReport)
    assert [sink.calls for sink in sinks] == [["abort"], ["close"]]
    assert line_of_stream(streams[1]) == f"2 source 2 | ended, {len(sinks[1].items)} frames"


@pytest.mark.parametrize("where", ["on_end", "on_status"])
def test_whoever_watches_may_end_them_all_by_an_error(where: str) -> None:
    def fall(_: object) -> None:
        raise BrokenPipeError("nobody reads this any more")

    sinks = [StubSink(), StubSink()]
    short = open_source("synthetic:64x36?rate=50&frames=5", realtime=True)
    streams = [stream(1, short, sinks[0]), stream(2, open_source(PATTERNS[0]), sinks[1])]
    callbacks: dict[str, Callable[..., None]] = {where: fall}
    with pytest.raises(BrokenPipeError):
        run_all(streams, every_seconds=0.3, **callbacks)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vsr-stream")]
    assert [sink.calls for sink in sinks] == [["close"], ["close"]]


class Alone(StubEnhancer):
    """Finds out when another one is at work."""

    busy = threading.Lock()

    def submit(self, frames: Sequence[Frame]) -> StubPending:
        assert self.busy.acquire(blocking=False), "two at work at a time"
        return super().submit(frames)

    def collect(self, frames: list[Frame]) -> list[Frame]:
        self.busy.release()
        return super().collect(frames)


def test_their_networks_take_turns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(LiveNetworks, "_build", lambda self, name: Alone())
    with nothing_left():
        assert main(["live", *PATTERNS, *PATTERNS, "--duration", "0.6", "--json"]) == 0
    ends = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert ends[-1]["sources"] == {str(number): 0 for number in range(1, 5)}
    assert all(end["frames_out"] > 2 for end in ends)


# ----------------------------------------------------------------------------------------------------------- to be read


@pytest.fixture
def run() -> Iterator[Stream]:
    source = SyntheticSource(width=64, height=36, frames=3, rate=Fraction(25))
    made = stream(1, source, StubSink())
    with made.session:
        yield made


def test_a_line_is_short(run: Stream) -> None:
    run.name = "rtsp://***@camera-in-the-garden.example.org/stream"
    line = line_of_stream(run)
    assert line.startswith("1 rtsp://***@camera-in-the-garden… | 0.0 in, 0.0 out | ")
    assert line.endswith("| 0 dropped | bicubic")
    assert len(line) < 100


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_each_has_a_line(run: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((60, 24)))
    run.name = "a camera with a name that is long"
    with shown(Console()) as on_status:
        on_status([run, run])
        on_status([run, run])
    lines = [line.split("\x1b")[0].rstrip() for line in re.split("[\r\n]", terminal.getvalue())]
    assert lines.count(line_of_stream(run)[:59].rstrip()) >= 2
    assert max(map(len, lines)) < 60


def test_prometheus_tells_them_apart(run: Stream) -> None:
    output = SinkStatus(name="b.mkv", state="running", frames=2, dropped=7)
    text = metrics_text([run.status, replace(run.status, outputs=(output,))])
    assert 'vsr_frames_read_total{source="1"} 0\nvsr_frames_read_total{source="2"} 0\n' in text
    assert 'vsr_latency_seconds{source="2",quantile="0.95"} 0' in text
    assert 'vsr_output_frames_dropped_total{source="2",output="b.mkv"} 7' in text
    assert text.count("# TYPE vsr_frames_read_total") == 1


@pytest.mark.parametrize(("height", "latency"), [(539, False), (540, True)])
def test_frames_too_small_to_share_are_not_split(height: int, latency: bool) -> None:
    source = SyntheticSource(width=64, height=height, frames=1)
    assert options_in_turns(OPTIONS, Turns(2, cores=2), source) == replace(OPTIONS, latency=latency)


def test_one_core_for_a_picture_means_one_picture_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.backends.native.usable_cores", lambda: 4)
    options = LiveOptions(model="bicubic", latency=False)
    networks = LiveNetworks(options, scale=2, geometry=(64, 36, PixelFormat(subsampling="gray")), size=(128, 72))
    networks.make()
    assert networks.in_flight == 1, "the next would only become older"


def test_a_precision_is_not_asked_of_what_stands_in() -> None:
    options = LiveOptions(model="ecbsr", precision="int8")
    networks = LiveNetworks(options, scale=2, geometry=(64, 36, PixelFormat(subsampling="gray")), size=(128, 72))
    assert networks.baseline() is not None, "bicubic has no int8"


def test_the_benchmark_runs_them_in_turns_and_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.app.bench_live._WAY_ROUNDS", 1)
    figures = bench_streams(streams=2, size=(64, 36), model="bicubic", scale=2, seconds=0.5)
    for way in ("in_turns", "one_at_a_time", "side_by_side"):
        streams = figures[way]["streams"]
        assert len(streams) == 2
        assert figures[way]["output_fps"] == sum(stream["output_fps"] for stream in streams) > 0
        assert figures[way]["processor_ms"] > 0
        assert figures[way]["worst_p95_ms"] == max(stream["p95_ms"] for stream in streams)
        for stream in streams:
            assert 0 < stream["p50_ms"] <= stream["p95_ms"]
            assert stream["frames_in"] == stream["frames_out"] + sum(stream["dropped"].values())
    for way in ("one_at_a_time", "side_by_side"):
        assert figures["ratios"][way]["output_fps"] == figures["in_turns"]["output_fps"] / figures[way]["output_fps"]
