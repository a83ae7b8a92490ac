"""Moves frames from a source through an enhancer to a sink, on three threads.

::

    source ─▶ decode thread ─▶ FrameQueue ─▶ enhance thread ─▶ FrameQueue ─▶ encode thread ─▶ sink

How a run ends is decided by two rules. The end of the input and an error travel downstream, behind the frames that came
before them, so that those are still written. A queue that is closed travels upstream: whoever puts into it meets
``QueueClosed`` and leaves. No stage knows another, and none waits for one that has left.

A source that cannot wait is run with ``overflow="drop_oldest"``: then no stage holds the one before it back, the oldest
frames that wait are dropped and counted, and the latency stays bounded whatever comes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, perf_counter

from streams.batches import BatchRunner
from streams.enhancer import Enhancer
from streams.errors import Cancelled
from streams.frame import Frame, Item
from streams.latency import LatencyMeter, RateMeter
from streams.queues import FrameQueue, Overflow, QueueClosed
from streams.sinks.base import Sink
from streams.sources.base import Source
from streams.stats import LiveStats, Observer, Report, StageReport, Stats, Stopwatch

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
"""How soon a waiting :meth:`Pipeline.run` notices :meth:`Pipeline.stop`; the end of the work it notices at once."""


class Pipeline:
    """One run of a source through an enhancer into a sink.

    The caller opens the source and sink and leaves their ``with`` blocks afterwards; the pipeline reads the one to its
    end and calls ``close`` or ``abort`` of the other, always on the encode thread. At any moment at most
    ``2 × queue_size + (in_flight + 1) × batch_size + 2`` frames lie between the two.

    A stage that never returns cannot be ended from Python: sources and sinks bound their own waiting. Until they do,
    ``run`` waits with them; the threads are daemons, so a second Ctrl-C still leaves the program.

    Args:
        source: open, and not iterated before.
        enhancer: called by one thread only.
        sink: open.
        batch_size: frames handed to the enhancer at once. A batch waits until it is full: 1 for a live source.
        queue_size: frames that wait between two stages.
        in_flight: batches that the enhancer may work on while the oldest is not yet asked for.
        overflow: whether frames wait for a stage that is slower than the source, or the oldest are dropped. In the
            second case the source's ``close`` is called, from another thread, when the run is asked to end.
        on_frame: called by the encode thread after each frame written; what it raises ends the run.
        observer: told of every piece of work and of every wait, on the thread that did it.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self,
        source: Source,
        enhancer: Enhancer,
        sink: Sink,
        *,
        batch_size: int = 1,
        queue_size: int = 8,
        in_flight: int = 2,
        overflow: Overflow = "wait",
        on_frame: Callable[[Stats], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("queue_size", queue_size), ("in_flight", in_flight)):
            if value < 1:
                raise ValueError(f"got {name} {value}, allowed is 1 or more")
        self._source = source
        self._sink = sink
        self._on_frame = on_frame
        self._drops = overflow == "drop_oldest"
        self._inbox = FrameQueue(frames=queue_size, overflow=overflow, observer=observer)
        self._outbox = FrameQueue(frames=queue_size, overflow=overflow, observer=observer)
        self._batches = BatchRunner(
            enhancer, self._outbox.put, batch_size=batch_size, in_flight=in_flight, observer=observer
        )
        self._decode_watch = Stopwatch("decode", observer)
        self._encode_watch = Stopwatch("encode", observer)
        self._frames_in = self._frames_out = self._packets = self._unwanted = 0
        self._input_rate, self._output_rate = RateMeter(), RateMeter()
        self._latency = LatencyMeter()
        self._started = self._started_monotonic = 0.0
        self._begun = self._stopping = self._finishing = self._released = self._published = False
        self._error: BaseException | None = None
        self._error_lock = threading.Lock()

    def run(self) -> Report:
        """Work until the source ends and the sink is closed. Runs once.

        Raises:
            Cancelled: :meth:`stop` was called before the sink was closed; the sink was aborted.
            BaseException: the first error of any stage, as it was raised, with a note that names the stage. Frames
                that came before it were written (unless the sink itself failed), and the sink was aborted.
        """
        if self._begun:
            raise RuntimeError("this pipeline has run already; make a new one for each run")
        self._begun = True
        self._started, self._started_monotonic = perf_counter(), monotonic()
        self._work()
        wall_seconds = perf_counter() - self._started
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error  # else this frame, the error and its traceback keep each other, and the frames, in memory
        if not self._published:
            raise Cancelled(f"stopped after {self._frames_out} frames, as asked; what was written is playable")
        return self._report(wall_seconds)

    def stop(self) -> None:
        """Ask the run to end: frames under way are dropped, those written stay.

        Safe from any thread, from ``on_frame`` and from a signal handler. Once the sink is being closed it is too late,
        and the run succeeds.
        """
        # A flag and nothing else: a lock taken here could be held by the very code that a signal has interrupted.
        self._stopping = True

    def finish(self) -> None:
        """Ask the run to end well: nothing more is read, what is under way is written, and the sink is closed.

        The end of a live run, whose source has none. Safe wherever :meth:`stop` is.
        """
        self._finishing = True

    def live_stats(self) -> LiveStats:
        """Where the run stands. Safe from any thread, during the run and after it."""
        status = getattr(self._source, "status", None)
        return LiveStats(
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            packets=self._packets,
            elapsed_seconds=perf_counter() - self._started if self._begun else 0.0,
            input_fps=self._input_rate.per_second(),
            output_fps=self._output_rate.per_second(),
            latency=self._latency.recent(),
            total_latency=self._latency.total(),
            dropped=self._dropped(),
            dropped_packets=self._inbox.dropped_packets + self._outbox.dropped_packets,
            reconnects=getattr(status, "reconnects", 0),
            stalls=getattr(status, "stalls", 0),
            connected=getattr(status, "connected", True),
        )

    @property
    def input_fps(self) -> float:
        """Frames read per second, lately. From any thread."""
        return self._input_rate.per_second()

    @property
    def dropped_frames(self) -> int:
        """Frames dropped for newer ones so far. From any thread."""
        return sum(self._dropped().values())

    def _dropped(self) -> dict[str, int]:
        return {
            "decode": self._unwanted,
            "enhance": self._inbox.dropped_frames,
            "encode": self._outbox.dropped_frames,
        }

    def _work(self) -> None:
        # From the sink backwards: should a thread fail to start, those that run can still abort the sink.
        workers = [_Worker("encode", self._encode), _Worker("enhance", self._enhance), _Worker("decode", self._decode)]
        try:
            for worker in workers:
                worker.start()
            self._wait_for(workers)
        except BaseException:
            self.stop()
            self._wait_for(workers)
            raise

    def _wait_for(self, workers: Sequence[_Worker]) -> None:
        for worker in workers:
            while not worker.wait(_POLL_SECONDS):
                if self._stopping:
                    self._inbox.close()
                    self._outbox.close()
                elif self._finishing:
                    # From here, and not by the decode thread alone: that one may be waiting for a source gone silent.
                    self._inbox.finish()
                if self._stopping or self._finishing:
                    self._let_go_of_source()

    def _let_go_of_source(self) -> None:
        # A file never waits for long, and must not be closed while it is read; a live source has to bear it.
        if self._drops and not self._released:
            self._released = True
            self._source.close()

    def _decode(self) -> None:
        with self._stage("decode", downstream=self._inbox):
            items = self._source.items()
            try:
                while not self._finishing and (item := self._read(items)) is not None:
                    if self._is_stale(item):
                        self._unwanted += 1
                        continue
                    if not self._hand_on(item):
                        return
                    self._leave_if_stopping()
            finally:
                # On this thread, and now: a generator left half-way would be ended by whichever thread drops it last.
                close = getattr(items, "close", None)
                if close is not None:
                    close()

    def _hand_on(self, item: Item) -> bool:
        """Whether there is a use for more."""
        try:
            self._inbox.put(item)
        except QueueClosed:
            if self._stopping or not self._finishing:
                raise
            # It came while the end was declared: closing the queue would throw away what still waits in it.
            self._unwanted += isinstance(item, Frame)
            return False
        return True

    def _read(self, items: Iterator[Item]) -> Item | None:
        with self._decode_watch:
            item = next(items, None)
        if isinstance(item, Frame):
            self._frames_in += 1
            self._input_rate.count()
        return item

    def _is_stale(self, item: Item) -> bool:
        """Whether a live frame has waited since before the run began, while the network was made ready for instance."""
        if not self._drops or not isinstance(item, Frame) or item.arrived is None:
            return False
        return item.arrived < self._started_monotonic

    def _enhance(self) -> None:
        with self._stage("enhance", upstream=self._inbox, downstream=self._outbox):
            while True:
                # With nothing to hand in, what is under way is asked for instead: a slow source costs no latency. And
                # where frames are dropped, the next is taken only when it can be handed in: it is then the newest.
                busy = self._drops and self._batches.full
                if (busy or self._inbox.empty) and self._batches.deliver():
                    continue
                item = self._inbox.get()
                if item is None:
                    break
                self._batches.feed(item)
                self._leave_if_stopping()
            self._batches.finish()

    def _encode(self) -> None:
        with self._stage("encode", upstream=self._outbox):
            for item in self._outbox:
                self._write(item)
                self._leave_if_stopping()
            if self._error is None:
                with self._encode_watch:
                    self._sink.close()
                self._published = True
        if not self._published:
            with self._stage("abort"):
                self._sink.abort()

    def _write(self, item: Item) -> None:
        with self._encode_watch:
            self._sink.write(item)
        if not isinstance(item, Frame):
            self._packets += 1
            return
        self._measure(item)
        if self._on_frame is not None:
            self._on_frame(self._stats(item))

    def _measure(self, frame: Frame) -> None:
        self._frames_out += 1
        self._output_rate.count()
        if frame.arrived is not None:
            self._latency.add(monotonic() - frame.arrived)

    @contextmanager
    def _stage(
        self, name: str, *, upstream: FrameQueue | None = None, downstream: FrameQueue | None = None
    ) -> Iterator[None]:
        """Turn whatever ends a stage into what its neighbours understand."""
        try:
            yield
        except QueueClosed:
            if downstream is not None:
                downstream.close()
        except BaseException as error:
            self._record(name, error)
        finally:
            if upstream is not None:
                upstream.close()
            if downstream is not None:
                # Only after the error is recorded: the encode thread publishes what ends without one.
                downstream.finish()

    def _record(self, stage: str, error: BaseException) -> None:
        error.add_note(
            f"raised in the {stage} stage, with {self._frames_in} frames read and {self._frames_out} written"
        )
        with self._error_lock:
            first = self._error is None
            if first:
                self._error = error
        if not first:
            logger.warning("the %s stage failed as well: %s", stage, error)

    def _leave_if_stopping(self) -> None:
        if self._stopping:
            raise QueueClosed

    def _stats(self, frame: Frame) -> Stats:
        return Stats(
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            packets=self._packets,
            elapsed_seconds=perf_counter() - self._started,
            position=frame.seconds,
            input_fill=self._inbox.frames,
            output_fill=self._outbox.frames,
        )

    def _report(self, wall_seconds: float) -> Report:
        def stage(busy: float, *, starved: float = 0.0, blocked: float = 0.0) -> StageReport:
            per_frame = 1000 * busy / self._frames_out if self._frames_out else 0.0
            return StageReport(
                busy_seconds=busy, starved_seconds=starved, blocked_seconds=blocked, ms_per_frame=per_frame
            )

        inbox, outbox = self._inbox, self._outbox
        return Report(
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            packets=self._packets,
            wall_seconds=wall_seconds,
            decode=stage(self._decode_watch.seconds, blocked=inbox.put_wait_seconds),
            enhance=stage(self._batches.watch.seconds, starved=inbox.get_wait_seconds, blocked=outbox.put_wait_seconds),
            encode=stage(self._encode_watch.seconds, starved=outbox.get_wait_seconds),
            peak_input_fill=inbox.peak_frames,
            peak_output_fill=outbox.peak_frames,
            dropped=self._dropped(),
            dropped_packets=inbox.dropped_packets + outbox.dropped_packets,
            latency=self._latency.total(),
        )


class _Worker(threading.Thread):
    """A thread whose end can be awaited in spite of signals.

    In Python 3.11 and 3.12 a ``join`` that Ctrl-C interrupts takes a thread that still runs for one that has ended.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        super().__init__(target=work, name=f"streams-{name}", daemon=True)
        self._work_ended = threading.Event()

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._work_ended.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Whether the thread ended within that time, or never began."""
        if self not in threading.enumerate():
            return True
        if not self._work_ended.wait(timeout_seconds):
            return False
        self.join()
        return True
