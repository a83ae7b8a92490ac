"""A sink that throws everything away and counts it, to measure what comes before it."""

from __future__ import annotations

from streams.errors import SinkError
from streams.frame import Frame, Item
from streams.sinks.base import Sink


class NullSink(Sink):
    """Counts ``frames`` and ``packets``."""

    def __init__(self) -> None:
        self.frames = 0
        self.packets = 0
        self.closed = False

    def write(self, item: Item) -> None:
        """Count it.

        Raises:
            SinkError: after the end.
        """
        if self.closed:
            raise SinkError("the sink is closed: write before close() or abort()")
        if isinstance(item, Frame):
            self.frames += 1
        else:
            self.packets += 1

    def close(self) -> None:
        """Count no more."""
        self.closed = True

    def abort(self) -> None:
        """Count no more."""
        self.closed = True
