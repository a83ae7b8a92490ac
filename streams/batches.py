"""Between single frames and an enhancer that takes batches and answers later: in order, with the packets between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streams.enhancer import Enhancer, Pending
from streams.errors import FrameError
from streams.frame import Frame, Item
from streams.queues import PACKET_LIMIT
from streams.stats import Observer, Stopwatch


@dataclass(frozen=True, slots=True)
class _Flight:
    """A batch under way, with the packets that lie between its frames and behind them."""

    pending: Pending
    items: list[Item]


class BatchRunner:
    """Feeds items to an enhancer and emits the enhanced ones in the order in which they were fed. Used by one thread.

    A batch holds consecutive frames of one geometry and ends at ``batch_size``, at another geometry, before a frame
    marked ``discontinuity`` (the enhancer is then reset) and at the end. Packets ride behind the frame they followed:
    never overtaken by it and never ahead of it. Those that ride are counted, and everything is sent on its way when
    they become too many, so that a long stretch of sound without a picture costs no memory.

    Args:
        enhancer: whoever makes the frames larger.
        emit: takes each enhanced frame and each packet; may wait, and may raise to end the run.
        batch_size: frames handed in at once, 1 or more.
        in_flight: batches handed in and not yet asked for, 1 or more.
        packet_limit: packets that may ride at one time.
        observer: told of each call of the enhancer.
    """

    def __init__(
        self,
        enhancer: Enhancer,
        emit: Callable[[Item], None],
        *,
        batch_size: int,
        in_flight: int,
        packet_limit: int = PACKET_LIMIT,
        observer: Observer | None = None,
    ) -> None:
        self.watch = Stopwatch("enhance", observer)
        self._enhancer = enhancer
        self._emit = emit
        self._batch_size = batch_size
        self._in_flight = in_flight
        self._packet_limit = packet_limit
        self._frames: list[Frame] = []
        self._items: list[Item] = []
        self._flights: deque[_Flight] = deque()
        self._riding = 0

    def feed(self, item: Item) -> None:
        """Take the next item of the source.

        Raises:
            FrameError: the enhancer returned other frames than it was given.
        """
        if not isinstance(item, Frame):
            self._ride(item)
            return
        if self._frames and item.geometry != self._frames[0].geometry:
            self._submit()
        if item.discontinuity:
            self.finish()
            with self.watch:
                self._enhancer.reset()
        self._frames.append(item)
        self._items.append(item)
        if len(self._frames) == self._batch_size:
            self._submit()

    def deliver(self) -> bool:
        """Emit the oldest batch under way, waiting for its result; False when none is under way."""
        if not self._flights:
            return False
        flight = self._flights.popleft()
        with self.watch:
            results = flight.pending.result()
        given = [item for item in flight.items if isinstance(item, Frame)]
        _check(given, results)
        enhanced = iter(results)
        for item in flight.items:
            if isinstance(item, Frame):
                self._emit(next(enhanced))
            else:
                self._riding -= 1
                self._emit(item)
        return True

    @property
    def full(self) -> bool:
        """Whether the next batch would have to wait for the oldest under way."""
        return len(self._flights) >= self._in_flight

    def finish(self) -> None:
        """Hand in the batch that is still open, and emit everything."""
        self._submit()
        while self.deliver():
            pass

    def _ride(self, packet: Item) -> None:
        if not self._frames and not self._flights:
            self._emit(packet)
            return
        carrier = self._items if self._frames else self._flights[-1].items
        carrier.append(packet)
        self._riding += 1
        if self._riding >= self._packet_limit:
            self.finish()

    def _submit(self) -> None:
        if not self._frames:
            return
        while self.full:
            self.deliver()
        with self.watch:
            pending = self._enhancer.submit(self._frames)
        self._flights.append(_Flight(pending, self._items))
        self._frames, self._items = [], []


def _check(given: Sequence[Frame], results: Sequence[Frame]) -> None:
    """A frame lost or shown at another time is never passed over in silence."""
    if len(results) != len(given):
        raise FrameError(f"the enhancer took {len(given)} frames and returned {len(results)}; it must return each one")
    for before, after in zip(given, results, strict=True):
        if (after.pts, after.time_base) != (before.pts, before.time_base):
            raise FrameError(
                f"the enhancer took the frame at pts {before.pts} × {before.time_base} s and returned it at "
                f"{after.pts} × {after.time_base} s; it must carry the time over unchanged, in the same order"
            )
