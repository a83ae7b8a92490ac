"""A clock that passes as it is told."""

from __future__ import annotations

import threading


class FakeClock:
    """Stands still until somebody waits; every wait takes exactly as long as asked, and no real time.

    Attributes:
        waits: how long each wait so far was, in seconds.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.waits: list[float] = []
        self._seconds = seconds

    def now(self) -> float:
        """Seconds since 0."""
        return self._seconds

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Move the time on, unless ``stop`` is set; returns whether it is."""
        if not stop.is_set() and seconds > 0:
            self.waits.append(seconds)
            self.advance(seconds)
        return stop.is_set()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds
