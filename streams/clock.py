"""The clock on the wall, and one for tests that passes as it is told."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What pacing, waiting and reconnecting read the time from."""

    def now(self) -> float:
        """Seconds since some moment; never runs backwards."""
        ...

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Let that time pass, or less once ``stop`` is set; returns whether it is."""
        ...


class MonotonicClock:
    """The real one: :func:`time.monotonic`, in whose seconds :attr:`streams.frame.Frame.arrived` is."""

    def now(self) -> float:
        """Seconds of :func:`time.monotonic`."""
        return time.monotonic()

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Sleep until the time is over or ``stop`` is set; returns whether it is."""
        return stop.wait(seconds) if seconds > 0 else stop.is_set()


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
