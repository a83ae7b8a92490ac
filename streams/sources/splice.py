"""Joined recordings: where the times of an input begin anew, they go on after what came before."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import av

Coded: TypeAlias = "av.Packet[Any]"

_STEP_BACK_SECONDS = Fraction(1, 10)
"""Decoding times do not run backwards; a smaller step is merely inexact. FFmpeg's tools draw the line here too."""
_STEP_BACK_PTS_SECONDS = 10
"""The same where a packet has a display time only, which goes back and forth by right."""
_PATIENCE_PACKETS = 250
"""How many packets to wait for the video to begin anew after another stream did: muxers interleave closer."""


@dataclass(slots=True)
class _Track:
    part: int = 0
    last: Fraction | None = None
    decoding: bool = False
    step: Fraction = Fraction(0)


class Splicer:
    """Puts the packets of all streams on one clock that the video never turns back.

    A video packet whose decoding time lies before that of the packet before it begins a new part. The part is moved
    to where the video so far ends, and every other stream moves with it once its own packets belong to the part.

    Attributes:
        joints: when each further part begins, in seconds of the clock; whoever has dealt with one takes it out.
    """

    def __init__(self, video_index: int) -> None:
        self.joints: deque[Fraction] = deque()
        self._video = video_index
        self._offsets = [Fraction(0)]
        self._tracks: defaultdict[int, _Track] = defaultdict(_Track)
        self._now: Fraction | None = None
        self._shown_until: Fraction | None = None
        self._held: list[Coded] = []
        self._waited = 0

    @property
    def parts(self) -> int:
        """How many parts there were so far; 1 unless recordings were joined."""
        return len(self._offsets)

    def place(self, packet: Coded) -> list[Coded]:
        """Take the next packet of the input; returns those whose place is known, moved, in order."""
        self._waited += bool(self._held)
        if packet.stream_index == self._video:
            before = self._take_held() if self._place_video(packet) else []
            return [*before, packet]
        if self._held and self._waited > _PATIENCE_PACKETS:
            return [*self.flush(), *self.place(packet)]
        if any(packet.stream_index == held.stream_index for held in self._held) or self._is_early(packet):
            self._held.append(packet)
            return []
        self._place_other(packet)
        return [packet]

    def flush(self) -> list[Coded]:
        """What waited in vain for the video to begin anew, where it is."""
        return self._take_held()

    def _take_held(self) -> list[Coded]:
        held, self._held, self._waited = self._held, [], 0
        for packet in held:
            self._place_other(packet)
        return held

    def _place_video(self, packet: Coded) -> bool:
        """Move a packet of the video; True if it begins a new part."""
        seconds = _seconds(packet)
        if seconds is None:
            return False
        track = self._tracks[self._video]
        joined = _steps_back(packet, track)
        if joined:
            self._join(packet, seconds, track)
        elif track.last is not None and seconds > track.last and track.decoding:
            track.step = seconds - track.last
        track.last, track.decoding = seconds, packet.dts is not None
        _move(packet, self._offsets[-1])
        self._now = seconds + self._offsets[-1]
        if packet.pts is not None:
            duration = packet.duration * packet.time_base if packet.duration else track.step
            self._shown_until = max(packet.pts * packet.time_base + duration, self._shown_until or Fraction(0))
        return joined

    def _join(self, packet: Coded, seconds: Fraction, track: _Track) -> None:
        assert track.last is not None
        offset = track.last + track.step + self._offsets[-1] - seconds
        shown = seconds if packet.pts is None else packet.pts * packet.time_base
        if self._shown_until is not None:
            # Of two encoders the later may delay its pictures less: they must not overlap those before either.
            offset = max(offset, self._shown_until - shown)
        self._offsets.append(offset)
        self.joints.append(shown + offset)

    def _is_early(self, packet: Coded) -> bool:
        """Whether a packet of another stream begins a part that the video has not reached."""
        track = self._tracks[packet.stream_index]
        return track.part == len(self._offsets) - 1 and _steps_back(packet, track)

    def _place_other(self, packet: Coded) -> None:
        seconds = _seconds(packet)
        if seconds is None:
            return
        track = self._tracks[packet.stream_index]
        if track.part < len(self._offsets) - 1:
            # Sparse streams may not step back where a part begins; what lies nearest to the video is right.
            now = self._now or Fraction(0)
            parts = range(track.part + _steps_back(packet, track), len(self._offsets))
            track.part = min(parts, key=lambda part: abs(seconds + self._offsets[part] - now))
        track.last, track.decoding = seconds, packet.dts is not None
        _move(packet, self._offsets[track.part])


def _seconds(packet: Coded) -> Fraction | None:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return None if ticks is None else ticks * packet.time_base


def _steps_back(packet: Coded, track: _Track) -> bool:
    seconds = _seconds(packet)
    if seconds is None or track.last is None:
        return False
    decoding = packet.dts is not None and track.decoding
    return track.last - seconds > (_STEP_BACK_SECONDS if decoding else _STEP_BACK_PTS_SECONDS)


def _move(packet: Coded, offset: Fraction) -> None:
    ticks = round(offset / packet.time_base)
    if ticks:
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks
