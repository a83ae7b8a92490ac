"""The bounded queue between two stages of the pipeline."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from streams.frame import Frame, Item
from streams.stats import Stopwatch

PACKET_LIMIT = 256
"""How many packets wait at one place: small beside one picture, and more than a well interleaved file ever needs."""


class QueueClosed(Exception):  # noqa: N818 -- says that the other end has gone, which is no fault of this one
    """Nobody takes from this queue any more; whoever meets this has nothing left to do."""


class FrameQueue:
    """First in, first out, between one thread that puts and one that takes.

    Frames and packets are counted apart. With one common limit a burst of sound would keep pictures out; with a limit
    on frames alone a file whose sound lies in one piece would be read into memory as a whole.

    Args:
        frames: how many frames fit, 1 or more.
        packets: how many packets fit beside them, 1 or more.
    """

    def __init__(self, *, frames: int, packets: int = PACKET_LIMIT) -> None:
        self._items: deque[Item] = deque()
        self._frame_limit, self._packet_limit = frames, packets
        self._frames = self._packets = 0
        self._finished = False
        self._closed = False
        self._changed = threading.Condition()
        self._put_watch = Stopwatch()
        self._get_watch = Stopwatch()
        self._peak_frames = 0

    def put(self, item: Item) -> None:
        """Append, waiting for room.

        Raises:
            QueueClosed: the taker has gone.
        """
        with self._changed:
            if not (self._closed or self._fits(item)):
                with self._put_watch:
                    self._changed.wait_for(lambda: self._closed or self._fits(item))
            if self._closed:
                raise QueueClosed
            self._items.append(item)
            self._count(item, 1)
            self._peak_frames = max(self._peak_frames, self._frames)
            self._changed.notify_all()

    def get(self) -> Item | None:
        """Take the oldest item, waiting for one; None once the putter has finished and nothing is left.

        Raises:
            QueueClosed: the queue was closed from elsewhere.
        """
        with self._changed:
            if not (self._items or self._finished or self._closed):
                with self._get_watch:
                    self._changed.wait_for(lambda: self._items or self._finished or self._closed)
            if self._closed:
                raise QueueClosed
            if not self._items:
                return None
            item = self._items.popleft()
            self._count(item, -1)
            self._changed.notify_all()
            return item

    def __iter__(self) -> Iterator[Item]:
        while (item := self.get()) is not None:
            yield item

    def finish(self) -> None:
        """Say that nothing more will be put; what is inside can still be taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def close(self) -> None:
        """Drop what is inside and wake both ends with :class:`QueueClosed`. May be called twice, from any thread."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._frames = self._packets = 0
            self._changed.notify_all()

    @property
    def empty(self) -> bool:
        """Whether :meth:`get` would find nothing at this moment."""
        return not self._items

    @property
    def frames(self) -> int:
        """Frames inside at this moment."""
        return self._frames

    @property
    def peak_frames(self) -> int:
        """The most frames that were ever inside."""
        return self._peak_frames

    @property
    def put_wait_seconds(self) -> float:
        """How long the putter waited for room, in all."""
        return self._put_watch.seconds

    @property
    def get_wait_seconds(self) -> float:
        """How long the taker waited for something to come, in all."""
        return self._get_watch.seconds

    def _fits(self, item: Item) -> bool:
        if isinstance(item, Frame):
            return self._frames < self._frame_limit
        return self._packets < self._packet_limit

    def _count(self, item: Item, step: int) -> None:
        if isinstance(item, Frame):
            self._frames += step
        else:
            self._packets += step
