"""A sink on a thread of its own, for outputs that wait for a disk: a hiccup loses nothing, and nobody waits for it."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from math import ceil
from time import monotonic
from typing import Final

from streams.errors import SinkError, StreamError
from streams.frame import Frame, Item, PixelFormat
from streams.queues import FrameQueue, QueueClosed
from streams.redact import redact
from streams.sinks.base import Sink, SinkStatus
from streams.sources.base import SourceInfo

log = logging.getLogger(__name__)

_HICCUP_SECONDS = 2
_MOST_BYTES: Final = 256 << 20
_LEAST_FRAMES = 2
# For sources that do not tell their rate, and for those that tell nonsense.
_USUAL_RATE, _HIGHEST_RATE = 30, 120
_POLL_SECONDS = 0.1
# Longer than a full disk queue or one that spins up takes, and short enough to be told of while it lasts.
_NOTICED_SECONDS = 3.0


class BufferedSink(Sink):
    """Writes into an open sink on another thread, behind a queue that drops the oldest frame when it is full.

    What is dropped is counted; an error ends it for good, and is raised by the next call. :meth:`close` and
    :meth:`abort` write what waits in the queue, however long that takes, as long as the sink gets on with it.

    Args:
        sink: open; from now on it is this one's alone, and used by the other thread only.
        name: for messages and the status, without a password.
        queue_size: frames that wait at most, 1 or more; see :func:`room_for_hiccups`.
        patience_seconds: how long one call of the sink may take at the end before its thread is left behind.
    """

    def __init__(self, sink: Sink, *, name: str, queue_size: int, patience_seconds: float = 20.0) -> None:
        self._sink = sink
        self._name = redact(name)
        self._patience_seconds = patience_seconds
        self._queue = FrameQueue(frames=queue_size, overflow="drop_oldest")
        self._finished = threading.Event()
        self._closed = self._aborted = False
        self._error: StreamError | None = None
        self._frames = self._lost = 0
        self._busy_since: float | None = None
        self._noticed = False
        threading.Thread(target=self._work, name=f"sink {self._name}", daemon=True).start()

    def write(self, item: Item) -> None:
        """Hand over a frame or packet, without waiting.

        Raises:
            SinkError: the sink has failed, or is closed.
        """
        if self._closed:
            raise SinkError(f"{self._name} is closed; nothing can be written any more")
        self._raise_if_failed()
        try:
            self._queue.put(item)
        except QueueClosed:
            self._raise_if_failed()
        self._notice_hang()

    def close(self) -> None:
        """Write what waits in the queue, then close the sink.

        Raises:
            SinkError: the sink failed, or did not come back for ``patience_seconds``.
        """
        if self._closed:
            return
        self._end()
        self._raise_if_failed()

    def abort(self) -> None:
        """Write what waits in the queue, then abort the sink. Never raises."""
        if self._closed:
            return
        self._aborted = True
        if self._error is None:
            self._end()
        # Else its own thread is at it already, and the other outputs are not to wait for that.
        self._closed = True

    def interrupt(self) -> None:
        """Interrupt the sink."""
        self._sink.interrupt()

    def status(self) -> tuple[SinkStatus, ...]:
        """One entry, under the same name for the whole run."""
        hangs = self._hangs_seconds
        words = f"took nothing for {hangs:.0f} s" if hangs > _NOTICED_SECONDS else None
        status = SinkStatus(
            name=self._name,
            state="closed" if self._finished.is_set() else "running",
            frames=self._frames,
            dropped=self._queue.dropped_frames + self._lost,
            error=words,
        )
        return (status if self._error is None else replace(status, state="failed", error=redact(self._error)),)

    @property
    def _hangs_seconds(self) -> float:
        """For how long the sink has been inside one call; 0 while it waits for frames."""
        since = self._busy_since
        return 0.0 if since is None else monotonic() - since

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            raise type(self._error)(str(self._error)) from self._error

    def _notice_hang(self) -> None:
        hangs = self._hangs_seconds > _NOTICED_SECONDS
        if hangs and not self._noticed:
            log.warning("%s takes nothing any more; its oldest frames are dropped when its queue is full", self._name)
        elif self._noticed and not hangs:
            log.warning("%s goes on; %d frames were dropped", self._name, self._queue.dropped_frames)
        self._noticed = hangs

    def _end(self) -> None:
        self._closed = True
        self._queue.finish()
        while not self._finished.wait(_POLL_SECONDS):
            if self._hangs_seconds > self._patience_seconds:
                words = f"{self._name} did not come back for {self._patience_seconds:g} s and is left behind unfinished"
                self._fail(SinkError(f"{words}; look after its disk"))
                self._let_go()
                return

    def _let_go(self) -> None:
        self._lost += self._queue.frames
        self._queue.close()

    def _fail(self, error: StreamError) -> None:
        if self._error is None:
            self._error = error

    # What follows is for the thread that writes.

    def _work(self) -> None:
        try:
            self._write_all()
        except QueueClosed:
            self._abort()
        except StreamError as error:
            self._fail(error)
            self._abort()
        except Exception as error:
            log.exception("the sink failed")
            self._fail(SinkError(f"{self._name} failed: {error!r}"))
            self._abort()
        finally:
            self._let_go()
            self._busy_since = None
            self._finished.set()

    def _write_all(self) -> None:
        for item in self._queue:
            self._write(item)
        if self._aborted:
            self._abort()
            return
        self._busy_since = monotonic()
        self._sink.close()

    def _abort(self) -> None:
        self._let_go()
        # On a disk that hangs this takes as long as anything else.
        self._busy_since = monotonic()
        self._sink.abort()

    def _write(self, item: Item) -> None:
        self._busy_since = monotonic()
        try:
            self._sink.write(item)
        except Exception:
            self._lost += isinstance(item, Frame)
            raise
        finally:
            self._busy_since = None
        self._frames += isinstance(item, Frame)


def room_for_hiccups(*, info: SourceInfo, width: int, height: int, format: PixelFormat) -> int:  # noqa: A002
    """How many frames of that size are two seconds of that source, as far as they fit into 256 MiB; at least 2."""
    rate = min(info.rate or _USUAL_RATE, _HIGHEST_RATE)
    shapes = [format.plane_shape(plane, width, height) for plane in range(format.plane_count)]
    size = sum(rows * columns for rows, columns in shapes) * format.dtype().itemsize
    return max(_LEAST_FRAMES, min(ceil(_HICCUP_SECONDS * rate), _MOST_BYTES // size))
