"""The time that pacing, waiting and reconnecting go by."""

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
