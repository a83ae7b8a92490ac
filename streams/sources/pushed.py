"""A live source into which somebody else pushes its pictures, as JPEG: the camera of a browser."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import av
from av.video.reformatter import ColorRange

from streams.clock import Clock, MonotonicClock
from streams.errors import SourceError, SourceLostError
from streams.frame import Frame, Item
from streams.sources.anchor import LIVE_TIME_BASE, Anchor
from streams.sources.base import Source, SourceInfo
from streams.sources.formats import Planar, pixel_format, planes_of
from streams.sources.status import LiveStatus

log = logging.getLogger(__name__)

_CODEC = "mjpeg"
_HELD = 2
_MOST_BYTES = 16 << 20
_MOST_SIDE = 8192
_POLL_SECONDS = 0.1
"""How soon it is noticed that the first picture has not come; a picture and the end are noticed at once."""
_BEGINNING, _END = b"\xff\xd8", b"\xff\xd9"
_TAIL_BYTES = 32
"""Where the end may be: some senders fill up with zeros behind it."""


class _Pushed(NamedTuple):
    data: bytes
    arrived: float


class PushedSource(Source):
    """The pictures that are pushed, each at the time of its arrival.

    At most two wait to be decoded; where more come, the oldest is dropped. What is no picture, or too large a one, is
    passed over. Frames have the size and format of the picture that they were, which may change at any time.

    :meth:`push`, :meth:`finish` and :meth:`close` may be called from any thread, at any time, and never wait.

    Args:
        name: what messages call it.
        first_timeout_seconds: how long :attr:`info` waits for the first picture.
        clock: of arrivals.

    Raises:
        SourceError: a timeout that is none.
    """

    def __init__(
        self, *, name: str = "pushed pictures", first_timeout_seconds: float = 60.0, clock: Clock | None = None
    ) -> None:
        if not first_timeout_seconds > 0:
            raise SourceError(f"got first_timeout_seconds {first_timeout_seconds}, allowed is more than 0")
        self._name, self._timeout_seconds = name, first_timeout_seconds
        self._clock = clock or MonotonicClock()
        self._changed = threading.Condition()
        self._held: deque[_Pushed] = deque()
        self._finished = self._closed = False
        self._dropped = self._skipped = self._corrupt = 0
        self._decoder = _Decoder()
        self._anchor = Anchor()
        self._info: SourceInfo | None = None
        self._first: Frame | None = None

    @property
    def info(self) -> SourceInfo:  # type: ignore[override]  # nothing is known before the first picture
        """What the first picture says; waits for it. For the thread that iterates.

        Raises:
            SourceLostError: none came in time, or the end came before it.
        """
        if self._info is None:
            self._first = self._next(deadline=self._clock.now() + self._timeout_seconds)
            if self._first is None:
                raise SourceLostError(f"{self._name}: ended before the first picture")
            self._info = _info(self._first)
        return self._info

    @property
    def status(self) -> LiveStatus:
        """How it is doing now; from any thread."""
        return LiveStatus(
            connected=self._info is not None and not self.over, corrupt_frames=self._corrupt + self._skipped
        )

    @property
    def dropped(self) -> int:
        """Pictures that were dropped for newer ones; from any thread."""
        return self._dropped

    @property
    def skipped(self) -> int:
        """What was pushed and was no picture, or too large a one; from any thread."""
        return self._skipped

    @property
    def held(self) -> int:
        """Pictures that wait to be decoded; from any thread."""
        return len(self._held)

    @property
    def over(self) -> bool:
        """Whether nothing more is taken; from any thread."""
        return self._finished or self._closed

    def push(self, data: bytes) -> bool:
        """Take a picture, now; whether there is still a use for any."""
        arrived = self._clock.now()
        if not data.startswith(_BEGINNING) or len(data) > _MOST_BYTES:
            with self._changed:
                self._skip(f"{len(data)} bytes that are no JPEG of at most {_MOST_BYTES >> 20} MiB")
            return not self.over
        with self._changed:
            if self.over:
                return False
            if len(self._held) == _HELD:
                self._held.popleft()
                self._dropped += 1
            self._held.append(_Pushed(data, arrived))
            self._changed.notify_all()
            return True

    def finish(self) -> None:
        """Nothing more comes: the iteration ends after what is held."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def items(self) -> Iterator[Item]:
        """Frames as they are pushed, until the end.

        Raises:
            SourceLostError: as :attr:`info`.
        """
        try:
            # Whoever did not ask for it has to wait for it here.
            _ = self.info
        except SourceLostError:
            if self._closed:
                return
            raise
        frame, self._first = self._first, None
        while not self._closed and (frame := frame or self._next()) is not None:
            yield frame
            frame = None

    def close(self) -> None:
        """End a running iteration and let go of what is held."""
        with self._changed:
            self._closed = True
            self._held.clear()
            self._changed.notify_all()

    def _next(self, *, deadline: float | None = None) -> Frame | None:
        """The next picture; None if there is none any more."""
        while (pushed := self._take(deadline)) is not None:
            try:
                picture = self._decoder.decode(pushed.data)
            except SourceError as error:
                with self._changed:
                    self._skip(str(error))
                continue
            if not self._closed:
                return self._frame(picture, pushed)
        return None

    def _take(self, deadline: float | None) -> _Pushed | None:
        with self._changed:
            while not self._held and not self.over:
                self._changed.wait(_POLL_SECONDS if deadline is not None else None)
                if deadline is not None and not self._held and self._clock.now() > deadline:
                    raise SourceLostError(
                        f"{self._name}: no picture within {self._timeout_seconds:g} s; try to start it again"
                    )
            return self._held.popleft() if self._held and not self._closed else None

    def _frame(self, picture: av.VideoFrame, pushed: _Pushed) -> Frame:
        form = pixel_format(picture, _CODEC)
        pts, _ = self._anchor.place(None, arrived=pushed.arrived)
        # FFmpeg does not mind a picture that breaks off.
        corrupt = picture.is_corrupt or _END not in pushed.data[-_TAIL_BYTES:]
        self._corrupt += corrupt
        return Frame(
            planes=planes_of(picture, form),
            format=form,
            pts=pts,
            time_base=LIVE_TIME_BASE,
            corrupt=corrupt,
            arrived=pushed.arrived,
            owner=picture,
        )

    def _skip(self, reason: str) -> None:
        self._skipped += 1
        # A sender that is broken sends the like for hours: the 1st, 10th, 100th … is told.
        told = f"{self._skipped}".rstrip("0") == "1"
        log.log(
            logging.WARNING if told else logging.DEBUG, "%s: passed over %s (%d)", self._name, reason, self._skipped
        )


class _Decoder:
    """Makes pictures of JPEGs; for one thread."""

    def __init__(self) -> None:
        self._planar = Planar()
        self._context = self._fresh()

    def decode(self, data: bytes) -> av.VideoFrame:
        """The picture, in a planar layout.

        Raises:
            SourceError: it is none, or has too many pixels.
        """
        try:
            pictures: list[av.VideoFrame] = self._context.decode(av.Packet(data))
        except (av.FFmpegError, ValueError) as error:
            self._context = self._fresh()
            raise SourceError(f"a picture of {len(data)} bytes that cannot be decoded") from error
        if len(pictures) != 1:
            self._context = self._fresh()
            raise SourceError(f"a JPEG that holds {len(pictures)} pictures, expected is 1")
        picture = pictures[0]
        if max(picture.width, picture.height) > _MOST_SIDE:
            raise SourceError(f"a picture of {picture.width}×{picture.height}, allowed are sides up to {_MOST_SIDE}")
        # So JFIF has it; for gray pictures FFmpeg does not say it.
        picture.color_range = ColorRange.JPEG
        return self._planar.to_planar(picture)

    @staticmethod
    def _fresh() -> Any:
        context: Any = av.CodecContext.create(_CODEC, "r")
        # A picture in, a picture out: with more threads the first ones would be kept back.
        context.thread_count = 1
        # Checked before memory is taken for it: a header can promise anything.
        context.options = {"max_pixels": str(_MOST_SIDE * _MOST_SIDE)}
        return context


def _info(first: Frame) -> SourceInfo:
    return SourceInfo(
        width=first.width, height=first.height, format=first.format, time_base=LIVE_TIME_BASE, live=True, codec=_CODEC
    )
