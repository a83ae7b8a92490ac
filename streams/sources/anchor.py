"""Times of live pictures: the stream's own rhythm, held to the wall clock."""

from __future__ import annotations

from fractions import Fraction

LIVE_TIME_BASE = Fraction(1, 90_000)
"""Seconds per tick of every live source: fine enough for any camera, and what MPEG-TS and RTP count in."""


class Anchor:
    """Places pictures on one clock that is 0 at the first and only rises, however often the stream's clock is set anew.

    A stream's times say how far apart its pictures are, better than their arrival does. Where they begin says nothing:
    it changes with every connection. So the first picture of a connection is placed where it arrived, and the others
    by the stream's distances, until those disagree with the wall clock by more than ``limit_seconds``.
    A picture that is too late by then, or whose time jumps, is placed where it arrived. Pictures that are too early
    (a server sends the last seconds at once, or its clock runs fast) follow at half their distance until they are not.
    """

    def __init__(self, *, limit_seconds: float = 2.0) -> None:
        self._limit = limit_seconds
        self._begun: float | None = None
        self._offset: float | None = None
        self._seconds = self._now = self._at = 0.0
        self._pts = -1

    def restart(self) -> None:
        """The next picture belongs to a new connection: its time has nothing to do with those before."""
        self._offset = None

    def place(self, seconds: float | None, *, arrived: float) -> tuple[int, bool]:
        """The pts of the next picture, in ticks of ``LIVE_TIME_BASE``, and whether its time jumped.

        Args:
            seconds: on the stream's clock; None where it has none (yet).
            arrived: on the wall clock.
        """
        if self._begun is None:
            self._begun = arrived
        now = arrived - self._begun
        elapsed = now - self._now
        jumped = False
        if seconds is None:
            at = now
        elif self._offset is None:
            at = self._arrival(now, elapsed)
        else:
            step = seconds - self._seconds
            at = seconds + self._offset
            jumped = not -self._limit <= step <= elapsed + self._limit or now - at > self._limit
            if jumped:
                at = self._arrival(now, elapsed)
            elif at - now > self._limit:
                at -= max(step, 0.0) / 2
        if seconds is not None:
            self._seconds, self._offset = seconds, at - seconds
        self._now, self._at = now, max(at, self._at)
        self._pts = max(round(self._at / LIVE_TIME_BASE), self._pts + 1)
        return self._pts, jumped

    def due_seconds(self) -> float:
        """When the picture placed last is to be shown, on the wall clock."""
        return (self._begun or 0.0) + self._at

    def _arrival(self, now: float, elapsed: float) -> float:
        # Where the pictures before were ahead of their time it is later, so that no two are pressed together.
        return now if self._pts < 0 else max(now, self._at + elapsed)
