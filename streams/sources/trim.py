"""The part of an input that was asked for, and its clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
from av.stream import Disposition

from streams.errors import SourceError
from streams.sources.base import SourceInfo


@dataclass(slots=True, kw_only=True)
class Part:
    """From ``start`` on for ``length`` seconds, and at most ``max_frames`` pictures.

    Times of the input count from its first picture, ``origin``. Where a start is given, all streams move by the time
    of the first picture kept (``shift``), each by whole ticks of its own. ``rate``, pictures per second, says when a
    number of pictures will be over, where it is known.
    """

    start: Fraction = Fraction(0)
    length: Fraction | None = None
    max_frames: int | None = None
    origin: Fraction = Fraction(0)
    shift: Fraction = Fraction(0)
    rate: Fraction | None = None
    frames: int = 0
    reached: Fraction | None = None
    last: Fraction | None = None

    @classmethod
    def from_seconds(cls, start_seconds: float, duration_seconds: float | None, max_frames: int | None) -> Part:
        """Raises SourceError for values out of range."""
        if not 0 <= start_seconds < float("inf"):
            raise SourceError(f"got a start of {start_seconds} s, allowed is 0 or more")
        if duration_seconds is not None and not 0 < duration_seconds < float("inf"):
            raise SourceError(f"got a duration of {duration_seconds} s, allowed is more than 0")
        if max_frames is not None and max_frames < 1:
            raise SourceError(f"got {max_frames} frames at most, allowed is 1 or more")
        length = None if duration_seconds is None else _exact(duration_seconds)
        return cls(start=_exact(start_seconds), length=length, max_frames=max_frames)

    @property
    def begin(self) -> Fraction:
        """Seconds on the clock of the input."""
        return self.origin + self.start

    @property
    def end(self) -> Fraction | None:
        """Seconds on the clock of the input; None: its end."""
        ends = [self.last] if self.last is not None else []
        if self.length is not None:
            ends.append(self.begin + self.length)
        return min(ends, default=None)

    @property
    def expected_end(self) -> Fraction | None:
        """Like ``end``, but where only a number of pictures is given, when they will be over at the usual rate."""
        if self.max_frames is None or self.last is not None or not self.rate:
            return self.end
        first = self.shift if self.start else self.origin
        expected = (first if self.reached is None else self.reached) + (self.max_frames - self.frames) / self.rate
        return expected if self.end is None else min(expected, self.end)

    def ends_before(self, seconds: Fraction) -> bool:
        """Whether a picture at this time comes after the part."""
        full = self.max_frames is not None and self.frames >= self.max_frames
        return full or (self.end is not None and seconds >= self.end)

    def count(self, end_seconds: Fraction) -> None:
        """Note that a picture, shown until ``end_seconds``, was given out."""
        self.frames += 1
        self.reached = end_seconds
        if self.max_frames is not None and self.frames >= self.max_frames:
            self.last = end_seconds

    def move(self, packet: av.Packet[Any]) -> bool:
        """Put a packet of another stream on the clock of the part; False if it lies outside (no cover picture does)."""
        if packet.stream.disposition & Disposition.attached_pic:
            packet.pts = packet.dts = 0
            return True
        base = packet.time_base
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is not None:
            seconds, end = ticks * base, self.expected_end
            if (self.start and seconds < self.shift) or (end is not None and seconds >= end):
                return False
        if shift := round(self.shift / base):
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        return True

    def adapt(self, info: SourceInfo) -> SourceInfo:
        """What is known of the input, as it holds for the part."""
        duration, frames = info.duration_seconds, info.frames
        if self.start or self.length is not None:
            rest = [] if duration is None else [max(0.0, duration - float(self.start))]
            duration = min([*rest, *([] if self.length is None else [float(self.length)])], default=None)
            frames = round(duration * info.rate) if duration is not None and info.rate else None
        if self.max_frames is not None:
            frames = min(self.max_frames, frames) if frames is not None else self.max_frames
        return replace(info, duration_seconds=duration, frames=frames, chapters=self._chapters(info))

    def _chapters(self, info: SourceInfo) -> tuple[Any, ...]:
        end = self.end
        if self.max_frames is not None and info.rate:
            limit = self.begin + self.max_frames / info.rate
            end = limit if end is None else min(end, limit)
        if not self.start and end is None:
            return info.chapters
        return _trimmed(info.chapters, self.begin if self.start else Fraction(0), end)


def _exact(seconds: float) -> Fraction:
    return Fraction(seconds).limit_denominator(1_000_000)


def _trimmed(chapters: Iterable[Any], start: Fraction, end: Fraction | None) -> tuple[Any, ...]:
    """The chapters that reach into [start, end), moved to a clock that is 0 at ``start``."""
    kept = []
    for chapter in chapters:
        base = chapter["time_base"] or Fraction(1, 1000)
        first, last = (chapter[side] - round(start / base) for side in ("start", "end"))
        if end is not None:
            last = min(last, round((end - start) / base))
        if last > max(first, 0):
            kept.append({**chapter, "start": max(first, 0), "end": last})
    return tuple(kept)
