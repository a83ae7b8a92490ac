"""Times of live pictures: the stream's own rhythm, held to the wall clock."""

from __future__ import annotations

from fractions import Fraction

LIVE_TIME_BASE = Fraction(1, 90_000)
"""Seconds per tick of every live source: fine enough for any camera, and what MPEG-TS and RTP count in."""

_ASTRAY_SECONDS = 3.0
"""After a jump pictures and sound disagree until both have jumped; what disagrees for longer has another clock."""
_OVERLAP_SECONDS = 0.05
_UNSTEADY_SECONDS = 0.1
"""By so much a clock may step back without having been set anew: some stamp pictures in the order of their coding."""


class Anchor:
    """Places pictures on one clock that is 0 at the first and only rises, however often the stream's clock is set anew.

    A stream's times say how far apart its pictures are, better than their arrival does. Where they begin says nothing:
    it changes with every connection. So the first picture of a connection is placed where it arrived, and the others
    by the stream's distances, until those disagree with the wall clock by more than ``limit_seconds``.
    A picture that is too late by then, or whose time jumps, is placed where it arrived. Pictures that are too early
    (a server sends the last seconds at once, or its clock runs fast) follow at half their distance until they are not.

    Attributes:
        limit_seconds: see above.
    """

    def __init__(self, *, limit_seconds: float = 2.0) -> None:
        self.limit_seconds = limit_seconds
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
            jumped = not -_UNSTEADY_SECONDS <= step <= elapsed + self.limit_seconds or now - at > self.limit_seconds
            if jumped:
                at = self._arrival(now, elapsed)
            elif at - now > self.limit_seconds:
                at -= max(step, 0.0) / 2
        if seconds is not None:
            self._seconds, self._offset = seconds, at - seconds
        self._now, self._at = now, max(at, self._at)
        self._pts = max(round(self._at / LIVE_TIME_BASE), self._pts + 1)
        return self._pts, jumped

    @property
    def offset_seconds(self) -> float | None:
        """From the stream's clock to this one, as for the picture placed last; None while that is not known."""
        return self._offset

    @property
    def latest_seconds(self) -> float:
        """When the picture placed last is shown."""
        return self._at

    def elapsed_seconds(self, arrived: float) -> float:
        """A time of the wall clock, on this one."""
        return arrived - (arrived if self._begun is None else self._begun)

    def due_seconds(self) -> float:
        """When the picture placed last is to be shown, on the wall clock."""
        return (self._begun or 0.0) + self._at

    def _arrival(self, now: float, elapsed: float) -> float:
        # Where the pictures before were ahead of their time it is later, so that no two are pressed together.
        return now if self._pts < 0 else max(now, self._at + elapsed)


class SoundAnchor:
    """Places the sound beside the pictures of a stream: what moves the pictures moves the sound.

    Sound of before the first picture has no place, nor has what lies more than a moment inside the sound before it. A
    gap stays a gap. Where sound and pictures disagree by more than the limit of the pictures, because the clock was set
    anew and only one of the two has come to that yet, the sound has no place; if that lasts, its clock is another one,
    and it is placed beside the pictures that it comes with until the next connection.

    Args:
        pictures: their clock.
    """

    def __init__(self, pictures: Anchor) -> None:
        self._pictures = pictures
        self._end = 0.0
        self._pts = -1
        self.restart()

    def restart(self) -> None:
        """What follows belongs to a new connection."""
        self._own: float | None = None
        self._since: float | None = None

    @property
    def astray(self) -> bool:
        """Whether the sound has a clock of its own."""
        return self._own is not None

    def place(self, seconds: float | None, *, length_seconds: float, arrived: float) -> int | None:
        """The pts of the next packet in ticks of ``LIVE_TIME_BASE``, rising; None if it has no place.

        Args:
            seconds: on the stream's clock; None where it has none.
            length_seconds: of the sound in it, 0 if not known.
            arrived: on the wall clock.
        """
        offset = self._pictures.offset_seconds if self._own is None else self._own
        if seconds is None or offset is None:
            return None
        at, now = seconds + offset, self._pictures.elapsed_seconds(arrived)
        if not self._agrees(at, now):
            self._stray(seconds, now)
            return None
        self._since = None
        pts = round(at / LIVE_TIME_BASE)
        if pts < 0 or at < self._end - _OVERLAP_SECONDS:
            return None
        self._end = at + length_seconds
        self._pts = max(pts, self._pts + 1)
        return self._pts

    def _agrees(self, at: float, now: float) -> bool:
        latest, limit = self._pictures.latest_seconds, self._pictures.limit_seconds
        return latest - limit <= at <= max(latest, now) + limit

    def _stray(self, seconds: float, now: float) -> None:
        if self._since is None:
            self._since = now
        elif now - self._since > _ASTRAY_SECONDS:
            # What comes between two pictures belongs there, however late both are on a busy machine.
            self._own, self._since = self._pictures.latest_seconds - seconds, None
