"""Several streams on one machine: each frame has all of the processor to itself, and the streams take turns.

Frames that are computed side by side all come late; one after the other the first comes in its own time, and none later
than before. Whoever waited longest is next, so a stream with more frames than the others gets no larger share.
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


class Turns:
    """A lock that goes to the one who asked first.

    Args:
        streams: how many take turns.
    """

    def __init__(self, streams: int = 1) -> None:
        self._streams = streams
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False
        self._done: deque[_Turn] = deque()

    @contextmanager
    def turn(self, stream: int = 0) -> Iterator[None]:
        """Wait for one's turn; it ends with the block."""
        self._take()
        began = monotonic()
        try:
            yield
        finally:
            self._note(_Turn(stream, began, monotonic()))
            self._pass_on()

    def share_left(self, stream: int) -> float:
        """What the others leave to a stream of the time, lately: at least its fair share, at most 1."""
        since = monotonic() - _WINDOW_SECONDS
        with self._lock:
            others = sum(
                turn.end - max(turn.begin, since) for turn in self._done if turn.stream != stream and turn.end > since
            )
        return max(1 / self._streams, 1 - others / _WINDOW_SECONDS)

    def _note(self, turn: _Turn) -> None:
        with self._lock:
            self._done.append(turn)
            while self._done[0].end < turn.end - _WINDOW_SECONDS:
                self._done.popleft()

    def _take(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def _pass_on(self) -> None:
        with self._lock:
            if self._waiting:
                # It stays taken: nobody who comes now may push in.
                self._waiting.popleft().set()
            else:
                self._taken = False


@dataclass(frozen=True, slots=True)
class _Turn:
    stream: int
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
        with self._turns.turn(self._stream):
            return self._enhancer.submit(frames).result()


@dataclass(frozen=True, slots=True)
class _Waiting:
    enhancer: TakingTurns
    frames: tuple[Frame, ...]

    def result(self) -> list[Frame]:
        return self.enhancer.work(self.frames)
