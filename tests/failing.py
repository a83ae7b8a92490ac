"""Sinks that fail and hang when they are told to, and how to wait for what they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from streams.errors import SinkError
from streams.frame import Frame, Item
from streams.sinks import Sink, SinkStatus
from tests import written

LONG = 20.0
"""More than anything here takes, on any machine; who waits that long fails."""


class Stub(Sink):
    """Fails at the write of a given number, or with everything after it; waits at one until it is let go."""

    def __init__(self, *, fails_at: int | None = None, hangs_at: int | None = None, error: type = SinkError) -> None:
        self.items: list[Item] = []
        self.ends: list[str] = []
        self.hanging, self.let_go = threading.Event(), threading.Event()
        self.wakes = True
        self._fails_at, self._hangs_at, self._error = fails_at, hangs_at, error

    def write(self, item: Item) -> None:
        if len(self.items) == self._hangs_at:
            self.hanging.set()
            self.let_go.wait()
            raise SinkError("woken up")
        if len(self.items) == self._fails_at:
            raise self._error("no space left at rtsp://me:secret@host/")
        self.items.append(item)

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")

    def interrupt(self) -> None:
        if self.wakes:
            self.let_go.set()


class Broken(Stub):
    """Cannot be finished."""

    def close(self) -> None:
        super().close()
        raise SinkError("the end does not fit")

    def status(self) -> tuple[SinkStatus, ...]:
        return (SinkStatus(name="broken", state="closed", frames=len(self.items)),)


def frames(count: int) -> list[Frame]:
    return list(written.frames(count))


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)
