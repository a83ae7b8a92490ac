"""One video into several sinks: the failure of one is not the end of the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import av

from streams.errors import SinkError, StreamError
from streams.frame import Item, Packet
from streams.redact import redact
from streams.sinks.base import Sink, SinkStatus

log = logging.getLogger(__name__)


class FanOut(Sink):
    """Writes every item into each of several sinks, in their order, on the caller's thread.

    A sink that raises is ended and left out from then on; the error is logged at once. Only when none is left, it is
    raised. A wish to stop (:class:`streams.errors.Cancelled`) is always passed on. Sinks that wait for somebody belong
    behind a :class:`streams.sinks.DetachedSink` each.

    Args:
        sinks: open, one at least; closed and aborted by this one.

    Raises:
        ValueError: there is none.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        if not sinks:
            raise ValueError("got no sink, needed is one at least")
        self._sinks = tuple(sinks)
        self._alive = list(sinks)
        self._errors: list[SinkError] = []

    @property
    def errors(self) -> tuple[SinkError, ...]:
        """Of the sinks that have ended before the others, in the order of their ends."""
        return tuple(self._errors)

    def write(self, item: Item) -> None:
        """Write into every sink that still works.

        Raises:
            SinkError: the last of them failed, or all are closed.
            Cancelled: one of them passes on a wish to stop.
        """
        if not self._alive:
            raise SinkError("no output is left to write into")
        for sink in tuple(self._alive):
            try:
                sink.write(item if len(self._sinks) == 1 else _own(item))
            except SinkError as error:
                self._end(sink, error)
                if not self._alive:
                    raise

    def close(self) -> None:
        """Close every sink that still works, each whatever becomes of the others.

        Raises:
            SinkError: the first error of these; all are logged.
        """
        sinks, self._alive = self._alive, []
        errors = [error for sink in sinks if (error := _close(sink)) is not None]
        self._errors += [error for error in errors if isinstance(error, SinkError)]
        for error in errors:
            log.error("an output could not be finished: %s", redact(error))
        if errors:
            raise errors[0]

    def abort(self) -> None:
        """Abort every sink that still works. Never raises."""
        sinks, self._alive = self._alive, []
        for sink in sinks:
            sink.abort()

    def interrupt(self) -> None:
        """Interrupt every sink."""
        for sink in self._sinks:
            sink.interrupt()

    def status(self) -> tuple[SinkStatus, ...]:
        """Of all sinks, those that have ended too, in their order."""
        return tuple(status for sink in self._sinks for status in sink.status())

    def _end(self, sink: Sink, error: SinkError) -> None:
        self._alive.remove(sink)
        self._errors.append(error)
        others = f"; the run goes on with {len(self._alive)} others" if self._alive else ""
        log.error("an output has ended: %s%s", redact(error), others)
        sink.abort()


def _close(sink: Sink) -> StreamError | None:
    try:
        sink.close()
    except StreamError as error:
        sink.abort()
        return error
    return None


def _own(item: Item) -> Item:
    """A packet that the sink may change; frames nobody changes."""
    if not isinstance(item, Packet):
        return item
    packet: Any = item.payload
    copy: Any = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base, copy.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    copy.stream, copy.is_keyframe = packet.stream, packet.is_keyframe
    return Packet(stream=item.stream, payload=copy)
