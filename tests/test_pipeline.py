"""The pipeline with stubs at both ends: nothing lost, nothing out of order, nothing left running."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction

import pytest
from stubs import (
    LONG_SECONDS,
    TIME_BASE,
    EndlessSource,
    StubEnhancer,
    StubPending,
    StubSink,
    StubSource,
    frame,
    names,
    packet,
    raise_at,
    wait_for,
)

from streams.errors import Cancelled, FrameError, SinkError, SourceError
from streams.frame import Frame, Item, Plane
from streams.pipeline import Pipeline
from streams.stats import LiveStats, Stats


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def once_written(sink: StubSink, act: Callable[[], None]) -> threading.Thread:
    """Do something from another thread as soon as there is something in the sink."""

    def work() -> None:
        wait_for(lambda: bool(sink.items))
        act()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


# ---------------------------------------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("batch_size", [1, 3, 4])
@pytest.mark.parametrize("in_flight", [1, 2, 5])
@pytest.mark.parametrize("queue_size", [1, 8])
def test_order_is_kept_and_nothing_lost(batch_size: int, in_flight: int, queue_size: int) -> None:
    items: list[Item] = [packet(0)]
    for pts in range(0, 60, 3):
        items += [frame(pts), *(packet(pts + k) for k in range(1, pts % 4))]
    sink, enhancer = StubSink(), StubEnhancer()
    pipeline = Pipeline(
        StubSource(items), enhancer, sink, batch_size=batch_size, in_flight=in_flight, queue_size=queue_size
    )

    report = pipeline.run()

    assert names(sink.items) == names(items)
    assert sink.calls == ["close"]
    assert sink.threads == {"streams-encode"}
    assert (report.frames_in, report.frames_out, report.packets) == (20, 20, len(items) - 20)
    assert enhancer.most_under_way <= in_flight


def test_pts_and_time_base_are_carried_as_they_came() -> None:
    odd = [-900, -1, 0, 1, 7, 7, 1001, 2**40]
    sink = StubSink()
    Pipeline(StubSource([frame(pts) for pts in odd]), StubEnhancer(), sink, batch_size=3).run()
    assert [(item.pts, item.time_base) for item in sink.items if isinstance(item, Frame)] == [
        (pts, TIME_BASE) for pts in odd
    ]


@pytest.mark.parametrize("items", [[], [packet(k) for k in range(1000)]], ids=["nothing", "packets alone"])
def test_an_input_without_frames_ends_well(items: list[Item]) -> None:
    sink = StubSink()
    report = Pipeline(StubSource(items), StubEnhancer(), sink).run()
    assert (report.frames_out, report.packets, report.fps) == (0, len(items), 0.0)
    assert report.decode.ms_per_frame == 0.0
    assert sink.calls == ["close"]


def test_a_frame_is_not_kept_waiting_for_the_next_one() -> None:
    """Work under way is asked for while the source is silent, else live video would lag by ``in_flight`` frames."""
    written = threading.Event()

    class Slow(StubSource):
        def items(self) -> Iterator[Item]:
            yield frame(0)
            assert written.wait(LONG_SECONDS), "the frame before was held back"
            yield frame(1)

    sink = StubSink(before_write=lambda item: written.set())
    Pipeline(Slow(()), StubEnhancer(), sink, in_flight=3).run()
    assert names(sink.items) == [0, 1]


def test_sound_without_pictures_does_not_pile_up_behind_an_open_batch() -> None:
    """An open batch is sent early when too many packets ride with it, so a film's sound is never all in memory."""
    seen: list[int] = []
    source = StubSource([frame(0), *(packet(k) for k in range(5000)), frame(1)])
    sink = StubSink(before_write=lambda item: seen.append(source.given))
    Pipeline(source, StubEnhancer(), sink, batch_size=4).run()
    assert seen[0] < 1000
    assert names(sink.items) == [0, *(f"p{k}" for k in range(5000)), 1]


# ------------------------------------------------------------------------------------------------------ bounded memory


@pytest.mark.parametrize(("queue_size", "batch_size", "in_flight"), [(1, 1, 1), (3, 2, 2), (8, 4, 1)])
def test_a_slow_sink_holds_the_source_back(queue_size: int, batch_size: int, in_flight: int) -> None:
    ahead: list[int] = []
    source = StubSource([frame(pts) for pts in range(120)])

    def wait_until_nothing_moves(item: Item) -> None:
        assert isinstance(item, Frame)
        if item.pts == 0:
            wait_for(lambda: source.given > 2 * queue_size)
        given = -1
        while given != source.given:
            given = source.given
            time.sleep(0.002)
        ahead.append(source.given - item.pts)

    sink = StubSink(before_write=wait_until_nothing_moves)
    report = Pipeline(
        source, StubEnhancer(), sink, batch_size=batch_size, queue_size=queue_size, in_flight=in_flight
    ).run()
    assert max(ahead) <= 2 * queue_size + (in_flight + 1) * batch_size + 2
    assert 1 <= report.peak_input_fill <= queue_size
    assert 1 <= report.peak_output_fill <= queue_size
    assert report.slowest_stage == "encode"
    assert report.decode.blocked_seconds > 0


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("count", [0, 1, 13, 30])
def test_frames_before_a_source_error_are_written_first(count: int, batch_size: int) -> None:
    error = SourceError("the file is cut short")
    sink = StubSink()
    source = StubSource([frame(pts) for pts in range(count)], error=error)
    with pytest.raises(SourceError) as caught:
        Pipeline(source, StubEnhancer(), sink, batch_size=batch_size).run()
    assert caught.value is error
    assert error.__notes__[0].startswith(f"raised in the decode stage, with {count} frames read")
    assert names(sink.items) == list(range(count))
    assert sink.calls == ["abort"]


@pytest.mark.parametrize("place", [0, 13, 29])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_enhancer_error_ends_the_run_after_the_frames_before_it(place: int, batch_size: int) -> None:
    error = MemoryError("no room for the picture")

    def fail(frames: list[Frame]) -> list[Frame]:
        if any(f.pts == place for f in frames):
            raise error
        return frames

    sink = StubSink()
    with pytest.raises(MemoryError) as caught:
        Pipeline(StubSource([frame(pts) for pts in range(30)]), StubEnhancer(fail), sink, batch_size=batch_size).run()
    assert caught.value is error
    assert "enhance stage" in error.__notes__[0]
    assert any(entry.name == "fail" for entry in caught.traceback)
    assert names(sink.items) == list(range(place // batch_size * batch_size))
    assert sink.calls == ["abort"]


@pytest.mark.parametrize("place", [0, 13, 29])
def test_a_sink_error_ends_the_run_with_full_queues(place: int) -> None:
    error = SinkError("the disk is full")
    sink = StubSink(before_write=raise_at(place, error))
    source = StubSource([frame(pts) for pts in range(30)])
    with pytest.raises(SinkError) as caught:
        Pipeline(source, StubEnhancer(), sink, queue_size=1).run()
    assert caught.value is error
    assert "encode stage" in error.__notes__[0]
    assert names(sink.items) == list(range(place))
    assert sink.calls == ["abort"]


def test_a_run_that_failed_keeps_no_frames() -> None:
    planes: list[weakref.ref[Plane]] = []

    def fail(frames: list[Frame]) -> list[Frame]:
        planes.append(weakref.ref(frames[0].planes[0]))
        raise MemoryError

    gc.disable()
    try:
        with suppress(MemoryError):
            Pipeline(StubSource([frame(0)]), StubEnhancer(fail), StubSink()).run()
        assert planes[0]() is None
    finally:
        gc.enable()


def test_the_source_is_left_by_the_thread_that_read_it() -> None:
    class Keeping(StubSource):
        def items(self) -> Iterator[Item]:
            self.kept = super().items()
            return self.kept

    source = Keeping([frame(pts) for pts in range(30)])
    with pytest.raises(SinkError):
        Pipeline(source, StubEnhancer(), StubSink(before_write=raise_at(0, SinkError("disk full"))), queue_size=1).run()
    assert source.ended_by == "streams-decode"


def test_an_endless_source_ends_with_a_dead_sink() -> None:
    sink = StubSink(before_write=raise_at(5, SinkError("the encoder has died")))
    with pytest.raises(SinkError):
        Pipeline(EndlessSource(), StubEnhancer(), sink).run()


def test_an_error_in_close_is_an_error_of_the_run() -> None:
    class Unfinished(StubSink):
        def close(self) -> None:
            super().close()
            raise SinkError("no room for the index")

    sink = Unfinished()
    with pytest.raises(SinkError, match="no room for the index"):
        Pipeline(StubSource([frame(0)]), StubEnhancer(), sink).run()
    assert sink.calls == ["close", "abort"]


def test_the_first_error_wins_and_the_second_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Worse(StubSink):
        def abort(self) -> None:
            raise RuntimeError("and the partial file is lost")

    with caplog.at_level(logging.WARNING), pytest.raises(SinkError, match="disk is full"):
        Pipeline(
            StubSource([frame(0)]), StubEnhancer(), Worse(before_write=raise_at(0, SinkError("the disk is full")))
        ).run()
    assert "the partial file is lost" in caplog.text


def test_an_enhancer_that_loses_a_frame_ends_the_run() -> None:
    sink = StubSink()
    source = StubSource([frame(pts) for pts in range(3)])
    with pytest.raises(FrameError, match="took 2 frames and returned 1"):
        Pipeline(source, StubEnhancer(lambda frames: frames[:1]), sink, batch_size=2).run()
    assert sink.items == []
    assert sink.calls == ["abort"]


# -------------------------------------------------------------------------------------------------------- cancellation


def test_stop_from_another_thread() -> None:
    source, sink = EndlessSource(), StubSink()
    pipeline = Pipeline(source, StubEnhancer(), sink)

    def stop_soon() -> None:
        wait_for(lambda: len(sink.items) >= 10)
        pipeline.stop()

    stopper = threading.Thread(target=stop_soon)
    stopper.start()
    with pytest.raises(Cancelled):
        pipeline.run()
    stopper.join()
    assert names(sink.items) == list(range(len(sink.items)))
    assert sink.calls == ["abort"]


def test_stop_while_every_stage_waits() -> None:
    """The source is silent and both queues are empty: nobody would look at a flag by himself."""
    aborted = threading.Event()

    class Silent(StubSource):
        def items(self) -> Iterator[Item]:
            yield frame(0)
            assert aborted.wait(LONG_SECONDS), "the sink was not aborted while the source kept silent"

    class Watched(StubSink):
        def abort(self) -> None:
            super().abort()
            aborted.set()

    sink = Watched()
    pipeline = Pipeline(Silent(()), StubEnhancer(), sink)
    stopper = once_written(sink, pipeline.stop)
    with pytest.raises(Cancelled):
        pipeline.run()
    stopper.join()
    assert names(sink.items) == [0]


@pytest.mark.parametrize("count", [1, 7, 20])
def test_stop_from_on_frame_writes_not_one_frame_more(count: int) -> None:
    def look(stats: Stats) -> None:
        if stats.frames_out == count:
            pipeline.stop()

    sink = StubSink()
    pipeline = Pipeline(StubSource([frame(pts) for pts in range(20)]), StubEnhancer(), sink, on_frame=look)
    with pytest.raises(Cancelled, match=f"after {count} frames"):
        pipeline.run()
    assert names(sink.items) == list(range(count))
    assert sink.calls == ["abort"]


def test_stop_before_run_and_stop_after_it() -> None:
    sink = StubSink()
    pipeline = Pipeline(EndlessSource(), StubEnhancer(), sink)
    pipeline.stop()
    with pytest.raises(Cancelled):
        pipeline.run()
    assert sink.calls == ["abort"]

    finished = Pipeline(StubSource([frame(0)]), StubEnhancer(), StubSink())
    assert finished.run().frames_out == 1
    finished.stop()


@pytest.mark.parametrize("handler", ["stop", "raise"])
def test_a_signal_ends_the_run(handler: str) -> None:
    sink = StubSink()
    pipeline = Pipeline(
        EndlessSource(),
        StubEnhancer(),
        sink,
        on_frame=lambda stats: signal.raise_signal(signal.SIGINT) if stats.frames_out == 5 else None,
    )
    by_stop = handler == "stop"
    previous = signal.signal(
        signal.SIGINT, (lambda number, where: pipeline.stop()) if by_stop else signal.default_int_handler
    )
    try:
        with pytest.raises(Cancelled if by_stop else KeyboardInterrupt):
            pipeline.run()
    finally:
        signal.signal(signal.SIGINT, previous)
    assert sink.calls == ["abort"]


# ------------------------------------------------------------------------------------------------------------ on_frame


def test_on_frame_sees_each_frame_once_and_in_order() -> None:
    seen: list[Stats] = []
    items = [frame(0), packet(0), frame(10), frame(35)]
    Pipeline(StubSource(items), StubEnhancer(), StubSink(), on_frame=seen.append).run()
    assert [stats.frames_out for stats in seen] == [1, 2, 3]
    assert [stats.position for stats in seen] == [0, Fraction(2, 5), Fraction(7, 5)]
    assert [stats.packets for stats in seen] == [0, 1, 1]
    assert all(stats.frames_in >= stats.frames_out and stats.fps > 0 for stats in seen)


def test_an_error_of_on_frame_is_the_error_of_the_run() -> None:
    def look(stats: Stats) -> None:
        if stats.frames_out == 3:
            raise ZeroDivisionError("in the progress bar")

    sink = StubSink()
    with pytest.raises(ZeroDivisionError, match="in the progress bar"):
        Pipeline(EndlessSource(), StubEnhancer(), sink, on_frame=look).run()
    assert names(sink.items) == [0, 1, 2]
    assert sink.calls == ["abort"]


# --------------------------------------------------------------------------------------------- sources that cannot wait


def arriving(pts: int, *, width: int = 4) -> Frame:
    return replace(frame(pts, width=width), arrived=time.monotonic())


class Camera(StubSource):
    """Gives a frame whenever it is asked, and ends when it is told to."""

    def __init__(self, *, frames: int = 10**9, pause_seconds: float = 0.0) -> None:
        super().__init__(())
        self.told = threading.Event()
        self._frames, self._pause_seconds = frames, pause_seconds

    def items(self) -> Iterator[Item]:
        for pts in range(self._frames):
            if self.told.wait(self._pause_seconds):
                return
            self.given += 1
            yield arriving(pts)

    def close(self) -> None:
        self.told.set()


def test_a_source_is_never_held_back_and_every_frame_is_accounted_for() -> None:
    source = Camera(frames=500)
    sink = StubSink(before_write=lambda item: time.sleep(0.002))
    report = Pipeline(source, StubEnhancer(), sink, queue_size=1, in_flight=1, overflow="drop_oldest").run()
    assert source.given == report.frames_in == 500
    assert report.frames_out == len(sink.items) < 500
    assert report.frames_out + sum(report.dropped.values()) == 500
    assert report.decode.blocked_seconds == 0
    pts = [item.pts for item in sink.items if isinstance(item, Frame)]
    assert pts == sorted(pts)
    assert pts[-1] == 499


def test_latency_stays_bounded_however_slow_the_network_is() -> None:
    """The frame that is taken is the newest: none grows old behind others, at four times what can be done."""

    def slowly(frames: list[Frame]) -> list[Frame]:
        time.sleep(0.02)
        return frames

    sink = StubSink()
    pipeline = Pipeline(
        Camera(frames=150, pause_seconds=0.005),
        StubEnhancer(slowly),
        sink,
        queue_size=1,
        in_flight=1,
        overflow="drop_oldest",
    )
    report = pipeline.run()
    assert report.dropped["enhance"] > 50
    assert report.latency.frames == report.frames_out == len(sink.items)
    # With a queue that grows the last frames would be half a second old and more.
    assert report.latency.p50 < 0.3
    assert pipeline.live_stats().total_latency == report.latency


def test_the_frame_handed_in_after_a_wait_is_the_newest() -> None:
    one_is_handed_in, one_waits, result_is_awaited, newer_waits = (threading.Event() for _ in range(4))

    class Stepping(Camera):
        def items(self) -> Iterator[Item]:
            yield arriving(0)
            assert one_is_handed_in.wait(LONG_SECONDS)
            yield arriving(1)
            one_waits.set()
            assert result_is_awaited.wait(LONG_SECONDS)
            yield arriving(2)
            newer_waits.set()

    class Busy(StubEnhancer):
        def submit(self, frames: Sequence[Frame]) -> StubPending:
            one_is_handed_in.set()
            assert one_waits.wait(LONG_SECONDS)
            return super().submit(frames)

        def collect(self, frames: list[Frame]) -> list[Frame]:
            result_is_awaited.set()
            assert newer_waits.wait(LONG_SECONDS)
            return super().collect(frames)

    enhancer = Busy()
    Pipeline(Stepping(), enhancer, StubSink(), queue_size=1, in_flight=1, overflow="drop_oldest").run()
    assert [names(batch) for batch in enhancer.batches] == [[0], [2]]


def test_what_came_before_the_run_began_is_not_shown() -> None:
    """While a network is made ready, the first pictures of a camera grow old."""
    old = [arriving(0), arriving(1)]

    class Waiting(Camera):
        def items(self) -> Iterator[Item]:
            yield from old
            yield arriving(2)

    sink = StubSink()
    report = Pipeline(Waiting(), StubEnhancer(), sink, overflow="drop_oldest").run()
    assert names(sink.items) == [2]
    assert report.dropped == {"decode": 2, "enhance": 0, "encode": 0}


def test_finish_ends_well_and_publishes() -> None:
    source, sink = Camera(), StubSink()
    pipeline = Pipeline(
        source,
        StubEnhancer(),
        sink,
        overflow="drop_oldest",
        on_frame=lambda stats: pipeline.finish() if stats.frames_out == 5 else None,
    )
    report = pipeline.run()
    assert sink.calls == ["close"]
    assert report.frames_out == len(sink.items) >= 5


def test_finish_while_the_source_is_silent() -> None:
    class Silent(Camera):
        def items(self) -> Iterator[Item]:
            yield arriving(0)
            assert self.told.wait(LONG_SECONDS)

    sink = StubSink()
    pipeline = Pipeline(Silent(), StubEnhancer(), sink, overflow="drop_oldest")
    stopper = once_written(sink, pipeline.finish)
    assert pipeline.run().frames_out == 1
    stopper.join()
    assert (names(sink.items), sink.calls) == ([0], ["close"])


def test_a_frame_that_comes_while_the_end_is_declared_costs_none_of_those_before_it() -> None:
    class Late(Camera):
        def items(self) -> Iterator[Item]:
            yield arriving(0)
            assert self.told.wait(LONG_SECONDS)
            yield arriving(1)

    def outlast_the_source(frames: list[Frame]) -> list[Frame]:
        pipeline.finish()
        for thread in threading.enumerate():
            if thread.name == "streams-decode":
                thread.join(LONG_SECONDS)
        return frames

    sink = StubSink()
    pipeline = Pipeline(Late(), StubEnhancer(outlast_the_source), sink, overflow="drop_oldest")
    report = pipeline.run()
    assert (names(sink.items), sink.calls) == ([0], ["close"])
    assert (report.frames_in, report.dropped["decode"]) == (2, 1)


def test_finish_of_a_run_that_waits_writes_what_was_read() -> None:
    sink = StubSink()
    pipeline = Pipeline(
        EndlessSource(),
        StubEnhancer(),
        sink,
        on_frame=lambda stats: pipeline.finish() if stats.frames_out == 5 else None,
    )
    report = pipeline.run()
    assert names(sink.items) == list(range(report.frames_out))
    assert sink.calls == ["close"]


def test_a_silent_source_is_told_to_let_go_when_the_run_is_stopped() -> None:
    class Silent(Camera):
        def items(self) -> Iterator[Item]:
            assert self.told.wait(LONG_SECONDS)
            yield from ()

    pipeline = Pipeline(Silent(), StubEnhancer(), StubSink(), overflow="drop_oldest")
    stopper = threading.Timer(0.05, pipeline.stop)
    stopper.start()
    with pytest.raises(Cancelled):
        pipeline.run()
    stopper.join()


def test_a_change_of_size_in_the_middle_reaches_the_sink_as_it_is() -> None:
    items = [frame(pts, width=4 if pts < 3 else 8) for pts in range(6)]
    sink, enhancer = StubSink(), StubEnhancer()
    Pipeline(StubSource(items), enhancer, sink, batch_size=4, queue_size=8, overflow="drop_oldest").run()
    assert [item.width for item in sink.items if isinstance(item, Frame)] == [4, 4, 4, 8, 8, 8]
    assert all(len({each.geometry for each in batch}) == 1 for batch in enhancer.batches)


def test_live_stats_can_be_read_from_elsewhere_all_along() -> None:
    source = Camera(pause_seconds=0.001)
    pipeline = Pipeline(source, StubEnhancer(), StubSink(), queue_size=1, overflow="drop_oldest")
    assert pipeline.live_stats().elapsed_seconds == 0
    seen: list[LiveStats] = []

    def look() -> None:
        wait_for(lambda: pipeline.live_stats().frames_out > 50)
        seen.append(pipeline.live_stats())
        pipeline.finish()

    looker = threading.Thread(target=look)
    looker.start()
    report = pipeline.run()
    looker.join()
    assert 0 < seen[0].frames_out <= report.frames_out
    assert seen[0].input_fps > 0 < seen[0].output_fps
    assert 0 < seen[0].latency.p50 <= seen[0].latency.p99 <= seen[0].latency.longest
    assert (seen[0].connected, seen[0].reconnects) == (True, 0)


# ------------------------------------------------------------------------------------------------------------- the API


@pytest.mark.parametrize("name", ["batch_size", "queue_size", "in_flight"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"got {name} 0, allowed is 1 or more"):
        Pipeline(StubSource([]), StubEnhancer(), StubSink(), **{name: 0})


def test_a_pipeline_runs_once() -> None:
    pipeline = Pipeline(StubSource([frame(0)]), StubEnhancer(), StubSink())
    pipeline.run()
    with pytest.raises(RuntimeError, match="make a new one"):
        pipeline.run()
