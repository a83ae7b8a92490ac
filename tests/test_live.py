"""Live runs as a whole: sizes that stay, recordings that play, figures for people and machines, and how they end."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Literal

import av
import numpy as np
import pytest
from live_checks import nothing_left
from rtsp_server import RtspServer
from stubs import StubEnhancer, StubPending, StubSink, wait_for

from streams.enhancer import Enhancer, Pending
from streams.errors import Cancelled, SinkError, SinkExistsError, SourceLostError
from streams.frame import Frame, Item, PixelFormat
from streams.sinks.base import Sink, SinkStatus
from streams.sources import Source, SyntheticSource, open_source
from streams.sources.base import SourceInfo
from vsr.app.bench_live import bench_live
from vsr.app.boxed import BoxedEnhancer, inner_size
from vsr.app.cli import main
from vsr.app.live import LiveOptions, LiveSession, LiveStatus
from vsr.app.live_ends import Feed, open_live_source, open_outputs
from vsr.app.live_line import line_of
from vsr.app.live_networks import LiveNetworks
from vsr.app.prometheus import metrics_text, serve_metrics
from vsr.app.soak import run_soak
from vsr.errors import ConfigError, UnknownModelError

CHEAP = LiveOptions(model="bicubic", threads=1)
PATTERN = "synthetic:64x36?rate=50&live=1"


def session(sink: Sink, *, options: LiveOptions = CHEAP, source: Source | None = None) -> LiveSession:
    return LiveSession(source or open_source(PATTERN), lambda feed: sink, options=options)


@contextmanager
def running(run: LiveSession) -> Iterator[None]:
    """The run on a thread, for as long as the block lasts."""
    thread = threading.Thread(target=run.run)
    thread.start()
    try:
        yield
    finally:
        run.stop()
        thread.join()


def frames_of(sink: StubSink) -> list[Frame]:
    return [item for item in sink.items if isinstance(item, Frame)]


def count_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


# ------------------------------------------------------------------------------------------------------- one size stays


def picture(width: int, height: int, *, form: PixelFormat | None = None, value: int = 200) -> Frame:
    form = form or PixelFormat()
    planes = [np.full(form.plane_shape(index, width, height), value, form.dtype) for index in range(form.plane_count)]
    return Frame(planes=tuple(planes), format=form, pts=0, time_base=Fraction(1, 50), arrived=monotonic())


def boxed(frame: Frame, *, size: tuple[int, int], first: tuple[int, int]) -> Frame:
    return BoxedEnhancer(StubEnhancer(), size=size, first=first).submit([frame]).result()[0]


@pytest.mark.parametrize(
    ("given", "size", "first", "inner"),
    [
        ((64, 36), (128, 72), (64, 36), (128, 72)),
        ((32, 18), (128, 72), (64, 36), (128, 72)),
        ((40, 30), (160, 90), (80, 45), (120, 90)),
        ((100, 20), (160, 90), (80, 45), (160, 32)),
        ((64, 36), (200, 72), (64, 36), (200, 72)),
        ((48, 36), (200, 72), (64, 36), (150, 72)),
        ((853, 480), (1920, 1080), (1280, 720), (1920, 1080)),
    ],
    ids=["first", "smaller", "narrower", "flatter", "stretched", "stretched and narrower", "rounded"],
)
def test_pictures_of_other_sizes_are_fitted_with_their_shape(
    given: tuple[int, int], size: tuple[int, int], first: tuple[int, int], inner: tuple[int, int]
) -> None:
    assert inner_size(given, size=size, first=first) == inner


@pytest.mark.parametrize("subsampling", ["gray", "420", "422", "444"])
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("width", [40, 44])
def test_beside_a_fitted_picture_it_is_black(subsampling: str, bit_depth: int, width: int) -> None:
    form = PixelFormat(subsampling=subsampling, bit_depth=bit_depth)
    out = boxed(picture(width, 30, form=form), size=(160, 90), first=(80, 45))
    assert (out.width, out.height) == (160, 90)
    inner = inner_size((width, 30), size=(160, 90), first=(80, 45))[0]
    luma = out.planes[0]
    bar = (160 - inner) // 4 * 2
    assert (luma[:, :bar] == 16 << (bit_depth - 8)).all()
    assert (luma[:, bar : bar + inner] == 200).all()
    assert (luma[:, bar + inner :] == 16 << (bit_depth - 8)).all()
    for plane in out.planes[1:]:
        assert plane[0, 0] == plane[-1, -1] == 128 << (bit_depth - 8)
        assert plane[plane.shape[0] // 2, plane.shape[1] // 2] == 200


def test_the_matrix_is_stated_as_players_guess_it() -> None:
    assert boxed(picture(64, 36), size=(64, 36), first=(64, 36)).format.matrix == 6
    assert boxed(picture(1280, 720), size=(1280, 720), first=(1280, 720)).format.matrix == 1


class Changing(Source):
    """Pictures whose size changes in the middle."""

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        self.info = SourceInfo(
            width=sizes[0][0], height=sizes[0][1], format=PixelFormat(), time_base=Fraction(1, 50), live=True
        )
        self._sizes = sizes
        self.go_on = threading.Semaphore(1)

    def items(self) -> Iterator[Item]:
        for pts, size in enumerate(self._sizes):
            assert self.go_on.acquire(timeout=20)
            yield replace(picture(*size), pts=pts)

    def close(self) -> None:
        pass


def test_the_output_keeps_its_size_when_the_source_changes() -> None:
    source = Changing([(64, 36)] * 3 + [(32, 32)] * 3 + [(128, 72)] * 3)
    sink = StubSink(before_write=lambda item: source.go_on.release())
    report = session(sink, source=source).run()
    assert report.run.frames_out == 9
    assert {frame.geometry for frame in frames_of(sink)} == {frames_of(sink)[0].geometry}
    assert (frames_of(sink)[0].width, frames_of(sink)[0].height) == report.status.output_size == (128, 72)
    assert report.ended_by == "source"


# ----------------------------------------------------------------------------------------------------------- a live run


def test_a_run_ends_after_its_duration_and_every_frame_is_accounted_for() -> None:
    sink, seen = StubSink(), []
    report = session(sink).run(duration_seconds=0.6, on_status=seen.append, every_seconds=0.1)
    assert report.ended_by == "duration"
    assert sink.calls == ["close"]
    assert report.run.frames_in == report.run.frames_out + sum(report.run.dropped.values())
    assert report.run.latency.frames == report.run.frames_out > 0
    assert len(seen) >= 2
    assert [status.stats.frames_in for status in seen] == sorted(status.stats.frames_in for status in seen)
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["network"] == "bicubic"
    assert plain["output_size"] == [128, 72]
    assert set(plain["dropped"]) == {"decode", "enhance", "encode"}


@pytest.mark.parametrize("how", ["event", "method", "at the window"])
def test_a_run_that_is_stopped_is_finished_well(how: str) -> None:
    stop, sink, quits = threading.Event(), StubSink(), []

    def open_sink(feed: Feed) -> Sink:
        quits.append(feed.on_quit)
        return sink

    run = LiveSession(open_source(PATTERN), open_sink, options=CHEAP)
    ways = {"event": stop.set, "method": run.stop, "at the window": quits[0]}
    timer = threading.Timer(0.2, ways[how])
    timer.start()
    report = run.run(stop=stop)
    timer.join()
    assert report.ended_by == "stopped"
    assert sink.calls == ["close"]


def test_whoever_watches_may_end_the_run_by_an_error() -> None:
    def fall(status: LiveStatus) -> None:
        raise BrokenPipeError("nobody reads this any more")

    sink = StubSink()
    with pytest.raises(BrokenPipeError):
        session(sink).run(on_status=fall, every_seconds=0.1)
    assert sink.calls == ["close"]


def test_with_auto_quality_it_moves_to_the_network_and_no_frame_is_of_another_size() -> None:
    sink = StubSink()
    run = session(sink, options=LiveOptions(model="ecbsr", quality="auto", threads=1))
    assert run.status().network == "bicubic"
    limit = threading.Timer(10, run.stop)
    limit.start()
    report = run.run(on_status=lambda status: run.stop() if status.moves else None, every_seconds=0.1)
    limit.cancel()
    assert {frame.geometry for frame in frames_of(sink)} == {frames_of(sink)[0].geometry}
    # On a machine that others keep busy the network may not fit; then nothing must have moved.
    if report.status.moves:
        assert report.moves[0].before == "bicubic"
        assert report.moves[0].after == "ecbsr"
    assert "vsr-workshop" not in {thread.name for thread in threading.enumerate()}


def test_an_unknown_network_is_told_before_anything_is_opened() -> None:
    opened = []
    with open_source(PATTERN) as source, pytest.raises(UnknownModelError):
        LiveSession(source, lambda feed: opened.append(feed) or StubSink(), options=LiveOptions(model="nonesuch"))
    assert opened == []


class Slow(StubEnhancer):
    """A network that takes so long to be made ready that somebody changes his mind."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def submit(self, frames: Sequence[Frame]) -> StubPending:
        self._meanwhile()
        return super().submit(frames)


def test_what_is_wrong_with_an_output_is_told_before_a_network_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(LiveNetworks, "_build", lambda self, name: built.append(name))

    def refuse(feed: Feed) -> Sink:
        raise SinkExistsError("that is there already")

    with open_source(PATTERN) as source, pytest.raises(SinkExistsError):
        LiveSession(source, refuse, options=CHEAP)
    assert built == []


@pytest.mark.parametrize("quality", ["fixed", "auto"])
def test_a_wish_to_stop_is_heeded_while_the_networks_are_made_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quality: Literal["fixed", "auto"]
) -> None:
    stop, target = threading.Event(), tmp_path / "out.mp4"
    monkeypatch.setattr(LiveNetworks, "_build", lambda self, name: Slow(stop.set))
    options = LiveOptions(model="ecbsr", quality=quality)
    with nothing_left(), open_source(PATTERN) as source, pytest.raises(Cancelled):
        LiveSession(source, lambda feed: open_outputs(feed, targets=[str(target)]), options=options, stop=stop)
    assert list(tmp_path.iterdir()) == []


class Silent(Source):
    """A camera that sends nothing."""

    def __init__(self) -> None:
        self.info = replace(SyntheticSource(width=64, height=36).info, live=True)
        self._closed = threading.Event()

    def items(self) -> Iterator[Item]:
        assert self._closed.wait(20)
        yield from ()

    def close(self) -> None:
        self._closed.set()


def test_a_wish_to_stop_before_the_first_frame_is_no_failed_recording(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    run = LiveSession(Silent(), lambda feed: open_outputs(feed, targets=[str(target)]), options=CHEAP)
    timer = threading.Timer(0.2, run.stop)
    timer.start()
    with pytest.raises(Cancelled, match="before the first frame"):
        run.run()
    timer.join()
    assert list(tmp_path.iterdir()) == []


def test_a_session_that_is_never_run_leaves_nothing() -> None:
    sink = StubSink()
    with session(sink) as run:
        pass
    run.close()
    assert sink.calls == ["abort"]
    with session(StubSink(), options=LiveOptions(model="ecbsr", quality="auto", threads=1)):
        assert "vsr-workshop" in {thread.name for thread in threading.enumerate()}
    assert "vsr-workshop" not in {thread.name for thread in threading.enumerate()}


def test_outputs_come_and_go_while_the_run_goes_on(tmp_path: Path) -> None:
    first, second = StubSink(), StubSink()
    with session(first) as run, running(run):
        wait_for(lambda: len(first.items) > 2)
        assert run.add_output(lambda feed: second) is second
        wait_for(lambda: len(second.items) > 2)
        run.remove_output(second)
        assert second.calls == ["close"]
        seen = len(first.items)
        wait_for(lambda: len(first.items) > seen + 2)
    assert first.calls == ["close"]
    assert len(second.items) < len(first.items)
    late = StubSink()
    with pytest.raises(SinkError, match="has ended"):
        run.add_output(lambda feed: late)
    assert late.calls == ["abort"]


def test_who_wraps_the_enhancer_sees_every_frame() -> None:
    sink, seen = StubSink(), []

    class Watching:
        def __init__(self, inner: Enhancer) -> None:
            self.inner = inner

        def submit(self, frames: Sequence[Frame]) -> Pending:
            seen.extend(frame.pts for frame in frames)
            return self.inner.submit(frames)

        def reset(self) -> None:
            self.inner.reset()

    source = open_source("synthetic:64x36?rate=50&frames=9", realtime=True)
    LiveSession(source, lambda feed: sink, options=CHEAP, wrap=Watching).run()
    # What a busy machine is too slow to write is dropped, and was seen before.
    written = [frame.pts for frame in frames_of(sink)]
    assert written
    assert written == [pts for pts in seen if pts in written]


def test_the_baseline_is_bicubic_in_the_same_box() -> None:
    options = LiveOptions(model="ecbsr", to="160x90", threads=1)
    with open_source("synthetic:80x60?rate=50&live=1") as source:
        run = LiveSession(source, lambda feed: StubSink(), options=options)
        baseline = run.baseline()
        assert run.baseline() is baseline
        out = baseline.submit([picture(80, 60), picture(80, 60)]).result()[1]
        narrow = baseline.submit([picture(40, 60)]).result()[0]
        run.close()
    assert (out.width, out.height) == (narrow.width, narrow.height) == (run.feed.width, run.feed.height) == (160, 90)
    assert (out.planes[0] == 200).all()
    assert (narrow.planes[0][:, 0] == 16).all()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_that_is_lost_and_comes_back_with_another_size(tmp_path: Path, transport: str) -> None:
    target = tmp_path / "out.mkv"
    with RtspServer(width=64, height=48) as server:

        def act(status: LiveStatus) -> None:
            stats = status.stats
            if stats.reconnects == 0 and stats.frames_out >= 5 and server.size == (64, 48):
                server.stop()
                server.size = (128, 96)
                server.start()
            elif stats.reconnects and stats.connected:
                after.append(stats.frames_out)
                if after[-1] >= after[0] + 5:
                    run.stop()

        after: list[int] = []
        with open_live_source(server.url, transport=transport) as source:
            run = LiveSession(source, lambda feed: open_outputs(feed, targets=[str(target)]), options=CHEAP)
            limit = threading.Timer(60, run.stop)
            limit.start()
            report = run.run(on_status=act, every_seconds=0.1)
            limit.cancel()
    assert report.status.stats.reconnects >= 1
    assert count_frames(target) == report.run.frames_out >= 10
    with av.open(str(target)) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {(128, 96)}


def test_a_camera_that_does_not_come_back_ends_the_run_and_leaves_a_recording(tmp_path: Path) -> None:
    with RtspServer(width=64, height=48) as server, open_live_source(server.url, max_retries=0) as source:
        sink = StubSink()
        run = session(sink, source=source)
        with pytest.raises(SourceLostError):
            run.run(on_status=lambda status: server.stop() if status.stats.frames_out else None, every_seconds=0.2)
    assert sink.calls == ["abort"]
    assert run.status().stats.connected is False


def test_nothing_grows_while_the_source_comes_and_goes() -> None:
    result = run_soak(frames=250, per_connection=40, fps=400, model="bicubic", quality="fixed")
    assert result["grew"] == []
    assert result["reconnects"] >= 5
    assert result["packets"] > 200
    assert result["frames_in"] == result["frames_out"] + sum(result["dropped"].values())


def test_the_benchmark_overloads_the_network_and_counts_it() -> None:
    figures = bench_live(size=(64, 36), model="bicubic", scale=2, seconds=0.7)
    steady, overload = figures["steady"], figures["overload"]
    assert 0 < steady["p50_ms"] <= steady["p95_ms"] <= steady["p99_ms"] <= steady["longest_ms"]
    assert overload["source_fps"] >= 2.9 * overload["source_fps"] / overload["times_too_many"]
    for run in (steady, overload):
        assert run["frames_in"] == run["frames_out"] + sum(run["dropped"].values())


# -------------------------------------------------------------------------------------------------------------- outputs


@pytest.fixture
def feed() -> Feed:
    info = SyntheticSource(width=64, height=36).info
    return Feed(
        info=replace(info, live=True),
        width=128,
        height=72,
        format=PixelFormat(matrix=6),
        sample_aspect_ratio=Fraction(1),
        on_quit=lambda: None,
    )


def test_several_outputs_are_written_at_once(tmp_path: Path, feed: Feed) -> None:
    paths = [tmp_path / "a.mkv", tmp_path / "b.mp4"]
    run = LiveSession(
        open_source("synthetic:64x36?rate=25&frames=10", realtime=True),
        lambda feed: open_outputs(feed, targets=[*map(str, paths), "null:"]),
        options=CHEAP,
    )
    report = run.run()
    assert report.ended_by == "source"
    assert [count_frames(path) for path in paths] == [report.run.frames_out] * 2
    assert [output.frames for output in report.status.outputs] == [report.run.frames_out] * 2


def test_if_one_output_cannot_be_opened_the_others_are_left_as_they_were(tmp_path: Path, feed: Feed) -> None:
    (tmp_path / "there.mkv").touch()
    with pytest.raises(SinkExistsError):
        open_outputs(feed, targets=[str(tmp_path / "new.mkv"), str(tmp_path / "there.mkv")])
    assert [path.name for path in tmp_path.iterdir()] == ["there.mkv"]


def test_a_folder_is_no_output(tmp_path: Path, feed: Feed) -> None:
    with pytest.raises(SinkError, match="is a folder"):
        open_outputs(feed, targets=[str(tmp_path)])


# ----------------------------------------------------------------------------------------------------------- to be read


@pytest.fixture
def status() -> LiveStatus:
    source = SyntheticSource(width=64, height=36, frames=3)
    return replace(
        session(StubSink(), source=source).run().status,
        outputs=(SinkStatus(name='rtsp://host/"x"\\y', state="waiting", frames=2, dropped=7),),
    )


def test_the_line_says_what_matters(status: LiveStatus) -> None:
    line = line_of(status)
    for words in ("fps in", "latency", " dropped", "0 reconnects", "bicubic to 128x72", "frames lost by outputs: 7"):
        assert words in line
    assert "not connected: rtsp://host" in line
    failed = replace(status, outputs=(SinkStatus(name="b.mkv", state="failed", frames=2, error="full"),))
    assert line_of(failed).endswith("| failed: b.mkv")
    lost = replace(status, stats=replace(status.stats, connected=False))
    assert "source lost, trying again" in line_of(lost)


def test_figures_for_prometheus_are_served_to_this_machine_alone(status: LiveStatus) -> None:
    with serve_metrics(lambda: status, port=0) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=10) as answer:
            text = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address.removesuffix("metrics"), timeout=10)
        taken = int(address.split(":")[2].split("/")[0])
        with pytest.raises(ConfigError, match="--metrics-port"), serve_metrics(lambda: status, port=taken):
            pass
    assert text == metrics_text(status)
    assert 'vsr_output_frames_dropped_total{output="rtsp://host/\\"x\\"\\\\y"} 7' in text
    assert 'vsr_network_in_use{network="bicubic"} 1' in text
    assert text.count("# TYPE") == len({line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")})


# ---------------------------------------------------------------------------------------------------------- the command


def test_json_is_an_object_a_second_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["live", PATTERN, "--model", "bicubic", "--threads", "1", "--duration", "1.4", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert [line["event"] for line in lines] == ["status"] * (len(lines) - 1) + ["end"]
    assert len(lines) >= 2
    assert lines[-1]["ended_by"] == "duration"
    assert lines[-1]["frames_out"] >= lines[0]["frames_out"]


def test_a_file_at_its_own_pace_is_recorded_to_its_end(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.mkv"
    code = main(["live", str(clip), "-o", str(target), "--realtime", "--model", "bicubic", "--threads", "1"])
    said = capsys.readouterr().out
    assert code == 0
    assert f"{count_frames(target)} frames in" in said
    assert "latency p50" in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{clip}"], 2, "give --realtime"),
        ([PATTERN, "--transport", "udp"], 2, "rtsp:// alone"),
        ([PATTERN, "--max-retries", "1"], 2, "not lost and found again"),
        ([PATTERN, "--duration", "0"], 2, "more than 0"),
        ([PATTERN, "--scale", "7"], 2, "scale 7"),
        (["nothing.mp4", "--realtime"], 3, "nothing.mp4"),
        (["rtsp://127.0.0.1:9/x", "--max-retries", "0"], 3, "127.0.0.1"),
        ([PATTERN, "--model", "nonesuch"], 5, "nonesuch"),
        ([PATTERN, "--model", "bicubic", "-o", "{clip}"], 4, "exists"),
        ([PATTERN, "--model", "bicubic", "-o", "gopher://x/y"], 4, "gopher"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: list[str], code: int, words: str, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["live", *(argument.format(clip=clip) for argument in arguments)]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""


def test_an_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["live", "nothing.mp4", "--realtime", "--json"]) == 3
    last = json.loads(capsys.readouterr().out)
    assert (last["event"], last["exit_code"]) == ("error", 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "terminal closed"])
def test_a_signal_finishes_the_recording(tmp_path: Path, number: signal.Signals) -> None:
    target = tmp_path / "out.mkv"
    command = [sys.executable, "-m", "vsr", "live", PATTERN, "-o", str(target), "--model", "bicubic", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert isinstance(program.stdout, io.TextIOBase)
            assert json.loads(program.stdout.readline())["event"] == "status"
            program.send_signal(number)
            out, err = program.communicate()
        finally:
            # Where it hangs, the limit that every test has ends this one, and this the program.
            program.kill()
    last = json.loads(out.splitlines()[-1])
    assert program.returncode == 130
    assert (last["event"], last["ended_by"]) == ("end", "stopped")
    assert count_frames(target) == last["frames_out"] > 0
    assert "finishing" in err
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_cameras_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
