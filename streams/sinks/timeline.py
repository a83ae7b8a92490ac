"""The clock of one live output: it starts at zero and never goes back, whatever the source's does."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from streams.frame import Frame

# A clock that went back by less has stumbled; one that went back by more was set anew.
_STUMBLE_SECONDS = 1
_FINE_ENOUGH = 1000


def live_time_base(info_time_base: Fraction) -> Fraction:
    """The source's own tick if it is a millisecond or finer; otherwise 1/90000 s, which also later sources fit on."""
    return info_time_base if info_time_base <= Fraction(1, _FINE_ENOUGH) else Fraction(1, 90_000)


class Timeline:
    """Puts frames on a clock of ``time_base``: the first at zero, each later one as long after it as its pts says.

    A frame that does not come after the one before is put one tick behind it. Where the source's clock went back by
    more than a second, the rest is moved so that it goes on from there.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.time_base = time_base
        self._origin: Fraction | None = None
        self._last = -1
        self._step = 1

    @property
    def shift(self) -> Fraction:
        """What is added to the source's time, in seconds; 0 before the first frame."""
        return -(self._origin or Fraction(0))

    def place(self, frame: Frame) -> Frame:
        """``frame`` with its pts and duration in ticks of this clock."""
        if self._origin is None:
            self._origin = frame.seconds
        pts = self._ticks(frame.seconds - self._origin)
        if pts <= self._last:
            if (self._last - pts) * self.time_base > _STUMBLE_SECONDS:
                self._origin = frame.seconds - (self._last + self._step) * self.time_base
                pts = self._last + self._step
            else:
                pts = self._last + 1
        elif self._last >= 0:
            self._step = pts - self._last
        self._last = pts
        duration = self._ticks(frame.duration * frame.time_base)
        return replace(frame, pts=pts, time_base=self.time_base, duration=duration)

    def _ticks(self, seconds: Fraction) -> int:
        return round(seconds / self.time_base)
