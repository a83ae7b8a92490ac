"""Where the newest pair of frames stands, for all who look."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace

import anyio

from streams.frame import Frame
from streams.latency import RateMeter
from vsr.app.page.darkroom import Darkroom, Pair, Shot
from vsr.app.page.stills import Still

__all__ = ["Pair", "Shot", "Stage", "Viewer"]

log = logging.getLogger(__name__)

# Two clocks are never quite the same.
_KEEPS_UP = 0.85


class Stage:
    """Holds the newest pair for any number of viewers, of whom none holds up the publisher or another.

    All viewers see the same instants: when every picture that was asked for of one is made, the newest is the next.
    Where there is more to make than time for it, all see fewer, and each the same number.

    Args:
        baseline: as :class:`vsr.app.page.darkroom.Darkroom` takes it.
    """

    def __init__(self, baseline: Callable[[Frame], Frame] | None = None) -> None:
        self._darkroom = Darkroom(baseline, on_idle=self._turn)
        self._changed = threading.Condition()
        self._newest: Pair | None = None
        self._current: Pair | None = None
        self._came, self._turned = RateMeter(), RateMeter()
        self._numbered = self._touched = 0
        self._viewers: set[Viewer] = set()
        self._closed = False
        self._problem = ""

    @property
    def newest(self) -> Pair | None:
        """The pair that stands there; None before the first and after :meth:`clear`."""
        return self._newest

    @property
    def current(self) -> Pair | None:
        """The pair that viewers see now; the newest, or one that pictures are still made of."""
        return self._current

    @property
    def viewers(self) -> int:
        """How many look."""
        return len(self._viewers)

    @property
    def limited_fps(self) -> float | None:
        """How many instants a second are seen, where those that come are too many to make pictures of; else None."""
        came, turned = self._came.per_second(), self._turned.per_second()
        return round(turned, 1) if self._viewers and turned < _KEEPS_UP * came else None

    @property
    def touched(self) -> int:
        """How often :meth:`touch` and :meth:`clear` were called."""
        return self._touched

    @property
    def closed(self) -> bool:
        """Whether nothing comes any more."""
        return self._closed

    @property
    def compares(self) -> bool:
        """Whether there are pictures of before."""
        return self._darkroom.compares

    def publish(self, pair: Pair) -> Pair:
        """Make a pair the newest and return it with its number. From any thread; never waits for a viewer."""
        with self._changed:
            self._numbered += 1
            self._newest = numbered = replace(pair, number=self._numbered)
            self._came.count()
            self._changed.notify_all()
        self._turn()
        return numbered

    def clear(self) -> None:
        """Nothing stands there any more. Numbers go on rising."""
        with self._changed:
            self._newest = self._current = None
            self._touched += 1
            self._wake()
        self._darkroom.forget()

    def touch(self) -> None:
        """Wake the viewers, because the state that goes with the pictures has changed. From any thread."""
        with self._changed:
            self._touched += 1
            self._wake()

    def close(self) -> None:
        """Send all viewers home."""
        with self._changed:
            self._closed = True
            self._newest = self._current = None
            self._wake()
        self._darkroom.close()

    def wait(self, *, after: int = 0, timeout_seconds: float | None = None) -> Pair | None:
        """The newest pair as soon as its number is above ``after``; None when the time is over, or all.

        For threads; coroutines use :meth:`viewer`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_after(after), timeout_seconds)
            return self._newest if self._is_after(after) else None

    def picture(self, pair: Pair, shot: Shot) -> Future[Still]:
        """A picture of a pair, as :meth:`vsr.app.page.darkroom.Darkroom.develop` makes it; for threads."""
        return self._darkroom.develop(pair, shot)

    async def develop(self, pair: Pair, shot: Shot) -> Still | None:
        """As :meth:`picture`, for coroutines; None where it cannot be made, which the log says once."""
        try:
            # Shielded: a viewer who leaves must not take the picture away from the others who wait for it.
            return await asyncio.shield(asyncio.wrap_future(self.picture(pair, shot)))
        except Exception as error:
            problem = f"{shot.kind}: {error}"
            log.log(logging.DEBUG if problem == self._problem else logging.WARNING, "no picture of %s", problem)
            self._problem = problem
            return None

    @contextlib.contextmanager
    def viewer(self) -> Iterator[Viewer]:
        """One who looks, for as long as the block lasts. In a coroutine."""
        viewer = Viewer()
        with self._changed:
            self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            with self._changed:
                self._viewers.discard(viewer)
                last = not self._viewers
            if last:
                self._darkroom.forget()

    def _is_after(self, number: int) -> bool:
        return self._newest is not None and self._newest.number > number

    def _turn(self) -> None:
        """Let viewers see the newest, if the pictures of the one before are made."""
        with self._changed:
            if self._darkroom.idle and self._newest is not self._current:
                self._current = self._newest
                self._turned.count()
                self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        for viewer in self._viewers:
            viewer.wake()


class Viewer:
    """Somebody on an event loop who wants to know when there is something new. Made on that loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """End the next or the present :meth:`news`. From any thread; waits for nothing."""
        # A loop that was closed has nobody left to wake.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)

    async def news(self, *, timeout_seconds: float | None = None) -> bool:
        """Wait until something has changed since the last call; False when the time was over before."""
        with anyio.move_on_after(timeout_seconds):
            await self._news.wait()
        came = self._news.is_set()
        self._news.clear()
        return came
