"""When a frame is shown, where the input says so badly or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(slots=True, kw_only=True)
class Timestamps:
    """Gives every frame of one stream a pts that is the stream's own wherever that can be.

    Usually it is simply the frame's. Where pts are missing the decoding time serves (frames leave a decoder in order of
    display), or the end of the frame before. AVI stores no pts and what is derived for it may go back and forth;
    so, as FFmpeg's own tools do, whichever of pts and dts has run backwards less often is believed.

    Attributes:
        time_base: of the stream, seconds per tick.
        frame_seconds: nominal time between pictures, used only where frames have no duration and no pts.
        repaired: how many frames were given a pts other than their own.
    """

    time_base: Fraction
    frame_seconds: Fraction | None = None
    repaired: int = 0
    _faulty_pts: int = 0
    _faulty_dts: int = 0
    _last_pts: int | None = None
    _last_dts: int | None = None
    _previous: int | None = None
    _previous_duration: int = 0

    def assign(self, pts: int | None, dts: int | None, duration: int) -> int:
        """The pts of the next frame, in ticks; strictly greater than the one before."""
        guess = self._guess(pts, dts)
        result = self._follow() if guess is None else guess
        if self._previous is not None and result <= self._previous:
            result = self._previous + 1
        self.repaired += result != pts
        self._previous, self._previous_duration = result, duration
        return result

    def _guess(self, pts: int | None, dts: int | None) -> int | None:
        if dts is not None:
            self._faulty_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        trust_pts = pts is not None and (dts is None or self._faulty_pts <= self._faulty_dts)
        return pts if trust_pts else dts

    def _follow(self) -> int:
        if self._previous is None:
            return 0
        step = self._previous_duration
        if step <= 0 and self.frame_seconds:
            step = round(self.frame_seconds / self.time_base)
        return self._previous + max(1, step)
