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

from streams.enhancer import Enhancer, Pending
from streams.frame import Frame


class Turns:
    """A lock that goes to the one who asked first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn; it ends with the block."""
        self._take()
        try:
            yield
        finally:
            self._pass_on()

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


class TakingTurns:
    """An enhancer that works only when it is its turn.

    Args:
        enhancer: the one that works.
        turns: shared with those of the other streams.
    """

    def __init__(self, enhancer: Enhancer, turns: Turns) -> None:
        self._enhancer, self._turns = enhancer, turns

    def submit(self, frames: Sequence[Frame]) -> Pending:
        """Nothing yet: the turn comes when the result is asked for."""
        return _Waiting(self, tuple(frames))

    def reset(self) -> None:
        """As the one that works."""
        self._enhancer.reset()

    def work(self, frames: Sequence[Frame]) -> list[Frame]:
        """Wait for the turn, and work."""
        with self._turns.turn():
            return self._enhancer.submit(frames).result()


@dataclass(frozen=True, slots=True)
class _Waiting:
    enhancer: TakingTurns
    frames: tuple[Frame, ...]

    def result(self) -> list[Frame]:
        return self.enhancer.work(self.frames)
