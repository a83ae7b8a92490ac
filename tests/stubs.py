"""Sources, enhancers and sinks without video, for tests of what lies between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np

from streams.frame import Frame, Item, Packet, PixelFormat
from streams.sinks.base import Sink
from streams.sources.base import Source, SourceInfo

GRAY = PixelFormat(subsampling="gray")
TIME_BASE = Fraction(1, 25)
LONG_SECONDS = 20.0


def frame(pts: int, *, width: int = 4, discontinuity: bool = False) -> Frame:
    plane = np.zeros((2, width), np.uint8)
    return Frame(planes=(plane,), format=GRAY, pts=pts, time_base=TIME_BASE, discontinuity=discontinuity)


def packet(number: int) -> Packet:
    return Packet(stream=1, payload=number)


def names(items: Sequence[Item]) -> list[int | str]:
    """Frames as their pts, packets as ``p`` and their number."""
    return [item.pts if isinstance(item, Frame) else f"p{item.payload}" for item in items]


class StubSource(Source):
    def __init__(self, items: Sequence[Item], *, error: Exception | None = None) -> None:
        self.info = SourceInfo(width=4, height=2, format=GRAY, time_base=TIME_BASE)
        self.given = 0
        self.ended_by: str | None = None
        self._items = items
        self._error = error

    def items(self) -> Iterator[Item]:
        try:
            for item in self._items:
                self.given += 1
                yield item
            if self._error is not None:
                raise self._error
        finally:
            self.ended_by = threading.current_thread().name

    def close(self) -> None:
        raise AssertionError("the source belongs to the caller")


class EndlessSource(StubSource):
    """A source that never ends by itself."""

    def __init__(self) -> None:
        super().__init__(())

    def items(self) -> Iterator[Item]:
        for pts in range(10**9):
            self.given += 1
            yield frame(pts)


class StubEnhancer:
    """Gives back what it got, and remembers how it came; ``alter`` may change the frames of an answer."""

    def __init__(self, alter: Callable[[list[Frame]], list[Frame]] = lambda frames: frames) -> None:
        self.batches: list[list[Frame]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.resets_after: list[int] = []
        self._alter = alter

    def submit(self, frames: Sequence[Frame]) -> StubPending:
        self.batches.append(list(frames))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        return StubPending(self, list(frames))

    def collect(self, frames: list[Frame]) -> list[Frame]:
        self.under_way -= 1
        return self._alter(frames)

    def reset(self) -> None:
        assert self.under_way == 0
        self.resets_after.append(sum(map(len, self.batches)))


class StubPending:
    def __init__(self, enhancer: StubEnhancer, frames: list[Frame]) -> None:
        self._enhancer = enhancer
        self._frames = frames

    def result(self) -> list[Frame]:
        return self._enhancer.collect(self._frames)


class StubSink(Sink):
    def __init__(self, *, before_write: Callable[[Item], None] = lambda item: None) -> None:
        self.items: list[Item] = []
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self._before_write = before_write

    def write(self, item: Item) -> None:
        self._before_write(item)
        self.items.append(item)
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        self._end("close")

    def abort(self) -> None:
        self._end("abort")

    def _end(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)


def raise_at(pts: int, error: Exception) -> Callable[[Item], None]:
    def check(item: Item) -> None:
        if isinstance(item, Frame) and item.pts == pts:
            raise error

    return check


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "this should have happened long ago"
        time.sleep(0.001)
