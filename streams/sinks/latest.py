"""The newest frame, for whoever wants to look: a preview, a picture on demand."""

from __future__ import annotations

import threading
from typing import NamedTuple

from streams.errors import SinkError
from streams.frame import Frame, Item
from streams.sinks.base import Sink


class Numbered(NamedTuple):
    """A frame and its number: 1 for the first that was written."""

    number: int
    frame: Frame


class LatestFrame(Sink):
    """Holds the newest frame for any number of readers, of whom none holds up the writer or another.

    The frame is kept and not copied: its planes are read, never written into.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._latest: Numbered | None = None
        self._closed = False

    def write(self, item: Item) -> None:
        """Make a frame the newest; packets are passed over.

        Raises:
            SinkError: after the end.
        """
        if not isinstance(item, Frame):
            return
        with self._changed:
            if self._closed:
                raise SinkError("the sink is closed: write before close() or abort()")
            self._latest = Numbered(self._latest.number + 1 if self._latest else 1, item)
            self._changed.notify_all()

    @property
    def latest(self) -> Numbered | None:
        """The newest frame, also after the end; None before the first."""
        return self._latest

    @property
    def closed(self) -> bool:
        """Whether no frame comes any more."""
        return self._closed

    def wait(self, *, after: int = 0, timeout_seconds: float | None = None) -> Numbered | None:
        """The newest frame as soon as its number is above ``after``; None when the time or the video is over.

        A reader that passes the number it saw last gets every frame, as far as it is fast enough, and none twice.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_after(after), timeout_seconds)
            return self._latest if self._is_after(after) else None

    def close(self) -> None:
        """Wake all readers; the last frame stays."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """As :meth:`close`."""
        self.close()

    def _is_after(self, number: int) -> bool:
        return self._latest is not None and self._latest.number > number
