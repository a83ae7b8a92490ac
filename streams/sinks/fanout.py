"""One video into several sinks, which may come and go: the failure of one is not the end of the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import av

from streams.errors import SinkError, StreamError
from streams.frame import Item, Packet
from streams.redact import redact
from streams.sinks.base import Sink, SinkStatus

log = logging.getLogger(__name__)


class FanOut(Sink):
    """Writes every item into each of several sinks, in their order, on the caller's thread.

    A sink that raises is ended and left out from then on; the error is logged at once, and kept in :attr:`errors`.
    Only when none is left, it is raised. A wish to stop (:class:`streams.errors.Cancelled`) is always passed on. Sinks
    that wait for somebody belong behind a :class:`streams.sinks.DetachedSink` each, those that wait for a disk behind a
    :class:`streams.sinks.BufferedSink`.

    Sinks are added and removed from any thread, also while another one writes.

    Args:
        sinks: open; closed and aborted by this one.

    Raises:
        ValueError: there is none.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        if not sinks:
            raise ValueError("got no sink, needed is one at least")
        self._branches = tuple(_Branch(sink) for sink in sinks)
        self._errors: list[SinkError] = []
        self._over = False
        # Held for moments only, and never while a sink works: whoever writes must not wait for one that is closed.
        self._lock = threading.Lock()

    @property
    def errors(self) -> tuple[SinkError, ...]:
        """Of the sinks that have ended before the others, or could not be finished, in the order of their ends."""
        return tuple(self._errors)

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """All that were not removed, those that have ended too, in their order."""
        return tuple(branch.sink for branch in self._branches)

    def add(self, sink: Sink) -> None:
        """Write into this one as well, from the next item on. From any thread.

        Args:
            sink: open; from now on closed and aborted by this one.

        Raises:
            SinkError: all are closed already; the sink is left to the caller.
        """
        with self._lock:
            if self._over:
                raise SinkError("the run has ended; nothing can be added to it any more")
            self._branches = (*self._branches, _Branch(sink))

    def remove(self, sink: Sink) -> None:
        """Close this one, and forget it; the others go on. From any thread; returns when it is finished.

        A sink that was closed with all the others may be removed, too.

        Raises:
            SinkError: it could not be finished, or had ended by this error before.
            ValueError: it is not among :attr:`sinks`.
        """
        with self._lock:
            branch = next((branch for branch in self._branches if branch.sink is sink), None)
            if branch is None:
                raise ValueError("got a sink that was never added, or is removed already")
            self._branches = tuple(other for other in self._branches if other is not branch)
        branch.close()
        if branch.error is not None:
            raise branch.error

    def write(self, item: Item) -> None:
        """Write into every sink that still works.

        Raises:
            SinkError: the last of them failed, or all are closed.
            Cancelled: one of them passes on a wish to stop.
        """
        branches = self._branches
        if self._over or not any(branch.alive for branch in branches):
            raise SinkError("no output is left to write into")
        for branch in branches:
            error = branch.write(item if len(branches) == 1 else _own(item))
            if error is not None:
                self._note_end(error)

    def close(self) -> None:
        """Close every sink that still works, each whatever becomes of the others.

        Raises:
            SinkError: none of them could be finished; the first of their errors. The others are logged.
        """
        ending = self._end()
        for branch in ending:
            branch.close()
        errors = [branch.error for branch in ending if branch.error is not None]
        self._errors += [error for error in errors if isinstance(error, SinkError)]
        none_is_finished = bool(errors) and len(errors) == len(ending)
        for error in errors[1:] if none_is_finished else errors:
            log.error("an output could not be finished: %s", redact(error))
        if none_is_finished:
            raise errors[0]

    def abort(self) -> None:
        """Abort every sink that still works. Never raises."""
        for branch in self._end():
            branch.abort()

    def interrupt(self) -> None:
        """Interrupt every sink."""
        for branch in self._branches:
            branch.sink.interrupt()

    def status(self) -> tuple[SinkStatus, ...]:
        """Of all sinks that were not removed, those that have ended too, in their order."""
        return tuple(status for branch in self._branches for status in branch.status())

    def _end(self) -> list[_Branch]:
        """Take no more; those that still work."""
        with self._lock:
            self._over = True
            return [branch for branch in self._branches if branch.alive]

    def _note_end(self, error: SinkError) -> None:
        self._errors.append(error)
        left = sum(branch.alive for branch in self._branches)
        if not left:
            raise error
        log.error("an output has ended: %s; the run goes on with %d others", redact(error), left)


class _Branch:
    """One of the sinks: written, closed and aborted by one thread at a time, and ended once."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.alive = True
        self.error: StreamError | None = None
        self._lock = threading.Lock()

    def write(self, item: Item) -> SinkError | None:
        """Write, unless it has ended or is being ended; the error by which it ends now."""
        # Whoever else holds it ends this one, and may wait long for a disk.
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self.alive:
                self.sink.write(item)
        except SinkError as error:
            self._end_by(error)
            return error
        finally:
            self._lock.release()
        return None

    def close(self) -> None:
        """Close, unless it has ended; :attr:`error` says whether it could be finished."""
        with self._lock:
            if not self.alive:
                return
            try:
                self.sink.close()
            except StreamError as error:
                self._end_by(error)
            self.alive = False

    def abort(self) -> None:
        """Abort, unless it has ended."""
        with self._lock:
            if self.alive:
                self.alive = False
                self.sink.abort()

    def status(self) -> tuple[SinkStatus, ...]:
        """As the sink tells it; one that could not be finished has failed, whatever it says itself."""
        told, error = self.sink.status(), self.error
        if error is None:
            return told
        return tuple(replace(each, state="failed", error=each.error or redact(error)) for each in told)

    def _end_by(self, error: StreamError) -> None:
        self.error, self.alive = error, False
        self.sink.abort()


def _own(item: Item) -> Item:
    """A packet that the sink may change; frames nobody changes."""
    if not isinstance(item, Packet):
        return item
    packet: Any = item.payload
    copy: Any = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base, copy.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    copy.stream, copy.is_keyframe = packet.stream, packet.is_keyframe
    return Packet(stream=item.stream, payload=copy)
