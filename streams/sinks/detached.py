"""A sink on a thread of its own, for outputs that may be slow, stuck or gone: whoever writes into it never waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

from streams.errors import SinkError, SinkExistsError, SinkRefusedError, StreamError, UnsupportedStreamError
from streams.frame import Frame, Item
from streams.queues import FrameQueue, QueueClosed
from streams.redact import redact
from streams.sinks.base import Sink, SinkState, SinkStatus
from streams.sources.backoff import Backoff

log = logging.getLogger(__name__)

QUEUE_SIZE: Final = 8

# A connection that held so long was a good one: the next loss is a new one.
_STABLE_SECONDS = 10.0
_MOST_STUCK = 3
_LEAVE_SECONDS = 2.0


class _SinkFaultError(SinkError):
    """A fault of the sink's own, which no other attempt will mend."""


# Another try would end the same way.
_FINAL = (SinkRefusedError, SinkExistsError, UnsupportedStreamError, _SinkFaultError)


class DetachedSink(Sink):
    """Writes into a sink that is opened, and after an error opened again, on another thread.

    Between the two lies a queue that drops the oldest frame when it is full, and counts it. A write that does not come
    back is first interrupted, and if that does not help its thread is left behind and another one takes over.

    Nothing in here is ever waited for by :meth:`write`; :meth:`close` waits up to ``close_seconds``, and then breaks
    off.

    Args:
        factory: opens the sink; called on the other thread.
        name: for messages, without a password.
        queue_size: frames that wait at most, 1 or more.
        stall_seconds: how long one write may take.
        max_retries: how many attempts in a row may fail before it is given up; None for no limit, 0 for none.
        backoff: the waits between attempts.
        close_seconds: see above.
    """

    def __init__(
        self,
        factory: Callable[[], Sink],
        *,
        name: str,
        queue_size: int = QUEUE_SIZE,
        stall_seconds: float = 60.0,
        max_retries: int | None = None,
        backoff: Backoff | None = None,
        close_seconds: float = 5.0,
    ) -> None:
        self._factory = factory
        self._name = redact(name)
        self._stall_seconds, self._close_seconds = stall_seconds, close_seconds
        self._max_retries = max_retries
        self._backoff = backoff or Backoff()
        self._queue = FrameQueue(frames=queue_size, overflow="drop_oldest")
        self.over = threading.Event()
        self._state: SinkState = "connecting"
        self._error: StreamError | None = None
        self._words: str | None = None
        self._frames = self._lost = self._connections = self._failures = 0
        self._connection: Sink | None = None
        self._since = 0.0
        self._closed = False
        self._stuck: list[_Worker] = []
        self._start_worker()

    def write(self, item: Item) -> None:
        """Hand over a frame or packet, without waiting.

        Raises:
            SinkError: it was given up, or closed.
        """
        if self._closed:
            raise SinkError(f"{self._name} is closed; nothing can be written any more")
        self._raise_if_given_up()
        self._queue.put(item)
        self._look_after_worker()

    def close(self) -> None:
        """Write what waits in the queue, then close the sink, all within ``close_seconds``.

        Raises:
            SinkError: it was given up, or nothing at all could be written.
        """
        if self._closed:
            return
        self._closed = True
        self._queue.finish()
        if self._state != "waiting" and not self._worker.finished.wait(self._close_seconds):
            log.warning("%s does not come to its end and is broken off", self._name)
        self._leave()
        self._raise_if_given_up()
        if not self._frames and self._words is not None:
            raise SinkError(f"nothing could be written to {self._name}: {self._words}")

    def abort(self) -> None:
        """Break off. Never raises."""
        self._closed = True
        self._leave()

    def interrupt(self) -> None:
        """Break off the write that is going on; the frames after it are for a new connection."""
        self._worker.interrupt()

    def status(self) -> tuple[SinkStatus, ...]:
        """One entry."""
        status = SinkStatus(
            name=self._name,
            state="closed" if self._closed and self._error is None else self._state,
            frames=self._frames,
            dropped=self._queue.dropped_frames + self._lost,
            reconnects=max(0, self._connections - 1),
            error=self._words,
        )
        return (status,)

    def _raise_if_given_up(self) -> None:
        if self._error is not None:
            raise type(self._error)(str(self._error)) from self._error

    def _start_worker(self) -> None:
        self._worker = worker = _Worker(self, self._factory, self._queue)
        threading.Thread(target=worker.run, name=f"sink {self._name}", daemon=True).start()

    def _look_after_worker(self) -> None:
        stuck_seconds = self._worker.busy_seconds
        if stuck_seconds > 2 * self._stall_seconds:
            self._replace_worker()
        elif stuck_seconds > self._stall_seconds and not self._worker.interrupted:
            log.warning("%s took nothing for %.1f s and is interrupted", self._name, stuck_seconds)
            self._worker.interrupt()

    def _replace_worker(self) -> None:
        self._stuck = [worker for worker in self._stuck if not worker.finished.is_set()]
        self._stuck.append(self._worker)
        if len(self._stuck) >= _MOST_STUCK:
            self.give_up(SinkError(f"{self._name} has not come back from a write {_MOST_STUCK} times"))
            return
        log.error("%s does not come back from a write: its thread is left behind, another one connects", self._name)
        self._lost += 1
        self._state, self._words = "connecting", "it did not come back from a write"
        self._start_worker()

    def _leave(self) -> None:
        self.over.set()
        self._lost += self._queue.frames
        self._queue.close()
        self._worker.interrupt()
        if not self._worker.finished.wait(_LEAVE_SECONDS):
            log.warning("%s does not come back from a write: its thread is left behind", self._name)

    # What follows is for the worker, on its thread.

    def is_current(self, worker: _Worker) -> bool:
        """Whether that worker was not replaced."""
        return worker is self._worker

    def written(self, sink: Sink) -> None:
        """One more frame is written into ``sink``."""
        self._frames += 1
        if sink is not self._connection:
            self._connection = sink
            self._connections += 1
            self._since = monotonic()
            self._state, self._words = "running", None
            log.info("%s is connected", self._name)

    def lost(self) -> None:
        """A frame was taken and not written."""
        self._lost += 1

    def wait_after(self, error: StreamError) -> bool:
        """Note a failure and wait until it is time for the next attempt; False if there shall be none."""
        if self._state == "running" and monotonic() - self._since >= _STABLE_SECONDS:
            self._failures = 0
            self._backoff.reset()
        self._failures += 1
        self._words = redact(error)
        hopeless = isinstance(error, _FINAL) or not isinstance(error, SinkError)
        if hopeless or (self._max_retries is not None and self._failures > self._max_retries):
            self.give_up(error)
            return False
        if self._closed:
            return False
        self._state = "waiting"
        seconds = self._backoff.next_seconds()
        log.warning("%s; the next attempt is in %.1f s", self._words, seconds)
        return not self.over.wait(seconds)

    def give_up(self, error: StreamError) -> None:
        """Try no more: from now on :meth:`write` raises ``error``."""
        self._words = redact(error)
        self._state, self._error = "failed", error
        log.error("%s is given up: %s", self._name, self._words)


class _Worker:
    """One thread's turn at writing; a worker that was replaced says nothing more to its owner."""

    def __init__(self, owner: DetachedSink, factory: Callable[[], Sink], queue: FrameQueue) -> None:
        self.finished = threading.Event()
        self.interrupted = False
        self._owner, self._factory, self._queue = owner, factory, queue
        self._sink: Sink | None = None
        self._busy_since: float | None = None

    @property
    def busy_seconds(self) -> float:
        """For how long it has been inside one call of the sink; 0 while it waits for frames."""
        since = self._busy_since
        return 0.0 if since is None else monotonic() - since

    def interrupt(self) -> None:
        """Break off what the sink is doing. Never raises."""
        self.interrupted = True
        sink = self._sink
        if sink is not None:
            sink.interrupt()

    def run(self) -> None:
        """Open, write, and open again, until there is nothing more to write or no sense in it."""
        try:
            while not self._owner.over.is_set() and self._serve():
                pass
        finally:
            self.finished.set()

    def _serve(self) -> bool:
        """One connection; whether another shall follow."""
        error = self._write_all()
        sink, self._sink = self._sink, None
        if sink is not None:
            with self._timed():
                sink.abort()
        if error is None or not self._is_current() or self._owner.over.is_set():
            return False
        return self._owner.wait_after(error)

    def _write_all(self) -> StreamError | None:
        """Write until the queue ends; what ended it before."""
        try:
            with self._timed():
                sink = self._sink = self._factory()
            for item in self._queue:
                self._write(sink, item)
                if not self._is_current():
                    return None
            with self._timed():
                sink.close()
        except QueueClosed:
            return None
        except StreamError as error:
            return error
        except Exception as error:
            log.exception("the sink failed")
            return _SinkFaultError(f"the sink failed: {error!r}")
        return None

    def _write(self, sink: Sink, item: Item) -> None:
        try:
            with self._timed():
                sink.write(item)
        except Exception:
            # One that was replaced left a frame behind that is counted already.
            if isinstance(item, Frame) and self._is_current():
                self._owner.lost()
            raise
        if isinstance(item, Frame) and self._is_current():
            self._owner.written(sink)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        self.interrupted = False
        self._busy_since = monotonic()
        try:
            yield
        finally:
            self._busy_since = None

    def _is_current(self) -> bool:
        return self._owner.is_current(self)
