"""The bounded queue between two stages of the pipeline."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from streams.frame import Frame, Item
from streams.stats import Observer, Stopwatch

PACKET_LIMIT = 256
"""How many packets wait at one place: small beside one picture, and more than a well interleaved file ever needs."""

Overflow = Literal["wait", "drop_oldest"]
"""What becomes of an item for which there is no room: it waits, or the oldest of its kind is dropped and counted."""


class QueueClosed(Exception):  # noqa: N818 -- says that the other end has gone, which is no fault of this one
    """Nobody takes from this queue any more; whoever meets this has nothing left to do."""


class FrameQueue:
    """First in, first out, between one thread that puts and one that takes.

    Frames and packets are counted apart. With one common limit a burst of sound would keep pictures out; with a limit
    on frames alone a file whose sound lies in one piece would be read into memory as a whole.

    A source that cannot wait has ``overflow="drop_oldest"``: what comes out is then the newest there is. A mark of
    discontinuity on a dropped frame passes to the one behind it.

    Args:
        frames: how many frames fit, 1 or more.
        packets: how many packets fit beside them, 1 or more.
        overflow: what happens when there is no room.
        observer: told of each wait.
    """

    def __init__(
        self,
        *,
        frames: int,
        packets: int = PACKET_LIMIT,
        overflow: Overflow = "wait",
        observer: Observer | None = None,
    ) -> None:
        self._items: deque[Item] = deque()
        self._frame_limit, self._packet_limit = frames, packets
        self._drops = overflow == "drop_oldest"
        self._dropped_frames = self._dropped_packets = 0
        self._frames = self._packets = 0
        self._finished = False
        self._closed = False
        self._changed = threading.Condition()
        self._put_watch = Stopwatch("wait for room", observer)
        self._get_watch = Stopwatch("wait for work", observer)
        self._peak_frames = 0

    def put(self, item: Item) -> None:
        """Append, making room by waiting or dropping, as the queue was made.

        Raises:
            QueueClosed: the taker has gone, or the end was declared from elsewhere.
        """
        with self._changed:
            if not (self._closed or self._finished or self._fits(item)):
                item = self._drop_oldest(item) if self._drops else self._wait_for_room(item)
            if self._closed or self._finished:
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
        """Say that nothing more will be put; what is inside can still be taken. May be called from any thread."""
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
    def dropped_frames(self) -> int:
        """Frames that were dropped for newer ones."""
        return self._dropped_frames

    @property
    def dropped_packets(self) -> int:
        """Packets that were dropped for newer ones."""
        return self._dropped_packets

    @property
    def put_wait_seconds(self) -> float:
        """How long the putter waited for room, in all."""
        return self._put_watch.seconds

    @property
    def get_wait_seconds(self) -> float:
        """How long the taker waited for something to come, in all."""
        return self._get_watch.seconds

    def _wait_for_room(self, item: Item) -> Item:
        with self._put_watch:
            self._changed.wait_for(lambda: self._closed or self._finished or self._fits(item))
        return item

    def _drop_oldest(self, item: Item) -> Item:
        """Drop the oldest of the kind of ``item``; returns ``item``, marked if it now follows a gap in time."""
        kind = type(item)
        index = next(index for index, other in enumerate(self._items) if isinstance(other, kind))
        lost = self._items[index]
        del self._items[index]
        self._count(lost, -1)
        if not isinstance(lost, Frame):
            self._dropped_packets += 1
            return item
        self._dropped_frames += 1
        return self._mark_after(index, item) if lost.discontinuity else item

    def _mark_after(self, index: int, item: Item) -> Item:
        for place in range(index, len(self._items)):
            other = self._items[place]
            if isinstance(other, Frame):
                self._items[place] = replace(other, discontinuity=True)
                return item
        return replace(item, discontinuity=True) if isinstance(item, Frame) else item

    def _fits(self, item: Item) -> bool:
        if isinstance(item, Frame):
            return self._frames < self._frame_limit
        return self._packets < self._packet_limit

    def _count(self, item: Item, step: int) -> None:
        if isinstance(item, Frame):
            self._frames += step
        else:
            self._packets += step
