"""A source given out at its own pace, as if it were live: files for a preview, patterns for a measurement."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from streams.clock import Clock, MonotonicClock
from streams.frame import Frame, Item
from streams.sources.base import Source

_LATEST_SECONDS = 1.0
"""How late a picture may be before the pace begins anew: after a pause nobody wants the missed time run through."""
_EARLIEST_SECONDS = 60.0
"""How early a picture may be: the clock of what was recorded in pieces jumps by hours, which nobody waits for."""


class PacedSource(Source):
    """Gives every frame of another source out when it is due; from then on it is a live one, which cannot wait.

    :meth:`close` may be called from any thread, also while another iterates.

    Args:
        source: open, and not iterated before; closed with this one.
        clock: what the pace is kept by.
        reopen: opens the source again at its end, so that it goes round for ever. Times go on rising, the first frame
            of a round is marked ``discontinuity``, and the other streams are left out.
        audio: whether sound is given out too.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Clock | None = None,
        reopen: Callable[[], Source] | None = None,
        audio: bool = True,
    ) -> None:
        self._source, self._clock, self._reopen = source, clock or MonotonicClock(), reopen
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running = False
        self._begun: float | None = None
        self._mute = frozenset(stream.index for stream in source.info.streams if stream.kind == "audio" and not audio)
        others = tuple(stream for stream in source.info.streams if stream.index not in self._mute)
        info = replace(source.info, live=True, streams=others)
        self.info = replace(info, frames=None, duration_seconds=None, streams=()) if reopen else info

    def items(self) -> Iterator[Item]:
        """Frames when they are due, and packets with the frames around them."""
        with self._lock:
            if self._running or self._stop.is_set():
                return
            self._running = True
        try:
            yield from self._paced(self._rounds() if self._reopen else self._source.items())
        finally:
            self._stop.set()
            self._source.close()

    def close(self) -> None:
        """End a running iteration at its next frame, and close the source; from any thread."""
        self._stop.set()
        with self._lock:
            # Who iterates a source is the one who may close it: a file must not vanish from under its decoder.
            if not self._running:
                self._source.close()

    def _paced(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Frame):
                if self._wait_for(item):
                    return
                yield replace(item, arrived=self._clock.now())
            elif item.stream not in self._mute and not self._stop.is_set():
                yield item

    def _wait_for(self, frame: Frame) -> bool:
        """Whether it was stopped before the frame was due."""
        seconds, now = float(frame.seconds), self._clock.now()
        early = 0.0 if self._begun is None else self._begun + seconds - now
        if self._begun is None or not -_LATEST_SECONDS <= early <= _EARLIEST_SECONDS:
            self._begun = now - seconds
        return self._clock.wait(self._begun + seconds - now, self._stop)

    def _rounds(self) -> Iterator[Frame]:
        assert self._reopen is not None
        shift = end = 0
        while True:
            first: int | None = None
            for frame in self._source:
                first = frame.pts if first is None else first
                pts = frame.pts - first + shift
                step = frame.duration or max(1, pts - end) if frame.pts > first else frame.duration or 1
                end = pts + step
                yield replace(frame, pts=pts, discontinuity=frame.discontinuity or (shift > 0 and frame.pts == first))
            if first is None or self._stop.is_set():
                return
            shift = end
            self._source.close()
            self._source = self._reopen()
