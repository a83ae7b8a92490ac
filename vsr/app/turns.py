"""Several streams on one machine: frames take turns at the processor's cores, and whoever waited longest is next.

Frames that are computed side by side all come late; one after the other the first comes in its own time, and none later
than before. That holds where each can make use of all cores. Small ones cannot, and as many are let in at once as there
are cores for. Nobody overtakes: a stream with more frames than the others gets no larger share, and a large frame that
waits for many cores gets them as soon as those before it are done, however many small ones come.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from streams.enhancer import Enhancer, Pending
from streams.frame import Frame

_WINDOW_SECONDS = 2.0
# Of a frame, for each core that is kept for it. With fewer to a core a frame costs more, and is little sooner done.
_ROWS_A_CORE = 270


class Turns:
    """The cores of a machine, given to those who asked first.

    Args:
        streams: how many take turns.
        cores: that there are; with one, frames are worked on one at a time.
    """

    def __init__(self, streams: int = 1, *, cores: int = 1) -> None:
        self.cores = cores
        self._streams, self._free = streams, cores
        self._lock = threading.Lock()
        self._waiting: deque[_Place] = deque()
        self._done: deque[_Turn] = deque()

    def cores_for(self, rows: int) -> int:
        """How many a frame of so many rows makes use of."""
        return max(1, min(self.cores, rows // _ROWS_A_CORE))

    @contextmanager
    def turn(self, stream: int = 0, *, rows: int | None = None) -> Iterator[None]:
        """Wait for one's turn; it ends with the block.

        Args:
            stream: whose it is.
            rows: of the frame; None for one that makes use of all cores.
        """
        cores = self.cores if rows is None else self.cores_for(rows)
        self._take(_Place(cores, threading.Event()))
        began = monotonic()
        try:
            yield
        finally:
            self._give_back(_Turn(stream, cores, began, monotonic()))

    def share_left(self, stream: int) -> float:
        """Of the time lately, how much the others left a stream the cores for a frame: its fair share at least."""
        since = monotonic() - _WINDOW_SECONDS
        with self._lock:
            done = [turn for turn in self._done if turn.end > since]
        others = sum(turn.cores * (turn.end - max(turn.begin, since)) for turn in done if turn.stream != stream)
        wanted = next((turn.cores for turn in reversed(done) if turn.stream == stream), self.cores)
        left = max(self.cores / self._streams, self.cores - others / _WINDOW_SECONDS)
        return min(1.0, left / wanted)

    def _take(self, place: _Place) -> None:
        try:
            with self._lock:
                self._waiting.append(place)
                self._let_in()
            place.let_in.wait()
        except BaseException:
            # Interrupted: a place that is kept by nobody would hold up everybody behind it.
            with self._lock:
                if place.let_in.is_set():
                    self._free += place.cores
                else:
                    self._waiting.remove(place)
                self._let_in()
            raise

    def _give_back(self, turn: _Turn) -> None:
        with self._lock:
            self._free += turn.cores
            self._let_in()
            self._done.append(turn)
            while self._done[0].end < turn.end - _WINDOW_SECONDS:
                self._done.popleft()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0].cores <= self._free:
            place = self._waiting.popleft()
            self._free -= place.cores
            place.let_in.set()


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """In the queue of those who wait."""

    cores: int
    let_in: threading.Event


@dataclass(frozen=True, slots=True)
class _Turn:
    """One that is over."""

    stream: int
    cores: int
    begin: float
    end: float


class TakingTurns:
    """An enhancer that works only when it is its turn.

    Args:
        enhancer: the one that works.
        turns: shared with those of the other streams.
        stream: which of them it is.
    """

    def __init__(self, enhancer: Enhancer, turns: Turns, *, stream: int = 0) -> None:
        self._enhancer, self._turns, self._stream = enhancer, turns, stream

    def submit(self, frames: Sequence[Frame]) -> Pending:
        """Nothing yet: the turn comes when the result is asked for."""
        return _Waiting(self, tuple(frames))

    def reset(self) -> None:
        """As the one that works."""
        self._enhancer.reset()

    def work(self, frames: Sequence[Frame]) -> list[Frame]:
        """Wait for the turn, and work."""
        with self._turns.turn(self._stream, rows=sum(frame.height for frame in frames)):
            return self._enhancer.submit(frames).result()


@dataclass(frozen=True, slots=True)
class _Waiting:
    enhancer: TakingTurns
    frames: tuple[Frame, ...]

    def result(self) -> list[Frame]:
        return self.enhancer.work(self.frames)
