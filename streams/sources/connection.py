"""One connection to a live input, on a thread of its own.

A read from a network or a camera can neither be interrupted from outside nor always be resumed after a timeout. So it
is never waited for: a thread opens the session, reads and decodes it, and closes it; whoever wants the pictures waits
for the thread as long as he likes, and may leave it behind. Sessions bound their own reads, so that a thread left
behind ends soon.
"""

from __future__ import annotations

import enum
import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeAlias

import av

from streams.clock import Clock
from streams.errors import SourceError
from streams.sources.base import StreamInfo
from streams.sources.sound import SoundPacket

log = logging.getLogger(__name__)

_ROOM = 2
"""Pictures that may wait for the taker: one in his hand, one ready."""
_SOUND_ROOM = 256
"""Packets of sound that may wait with them: seconds of it, and small beside one picture."""


class Sign(enum.Enum):
    """What a session has to say when it has no picture."""

    ALIVE = enum.auto()
    """Data came, and no picture of it yet."""
    QUIET = enum.auto()
    """Nothing came for a while; the session can go on waiting."""
    OVER = enum.auto()
    """The input has an end, and this is it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a session knows about its input.

    Attributes:
        codec: FFmpeg's name.
        rate: nominal pictures per second, or None.
        sample_aspect_ratio: width to height of one sample.
        trusted_times: the times of the pictures are the stream's; else they are when a picture arrived.
        paced: data comes in lumps, and pictures are to be given out at their own pace.
        lull_seconds: for how long nothing may come by right.
        duration_seconds: where the input is no live one but has an end; else None.
        sound: the stream of its sound; None where it has none.
    """

    codec: str
    rate: Fraction | None = None
    sample_aspect_ratio: Fraction = Fraction(1)
    trusted_times: bool = True
    paced: bool = False
    lull_seconds: float = 0.0
    duration_seconds: float | None = None
    sound: StreamInfo | None = None


Event: TypeAlias = "av.VideoFrame | SoundPacket | Sign"


class Session(Protocol):
    """An open input. Made, read and closed by one thread; every call returns within bounded time."""

    traits: Traits

    def events(self) -> Iterator[Event]:
        """Pictures and sound as they come; raises :class:`SourceError`, without a password, when the input is lost."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """A picture, and when it was there on the clock."""

    picture: av.VideoFrame
    seconds: float


@dataclass(frozen=True, slots=True)
class Heard:
    """Sound, and when it was there on the clock."""

    sound: SoundPacket
    seconds: float


Open: TypeAlias = Callable[[], Session]


class Connection:
    """Opens a session at once, and hands out its pictures, and the sound between them, in order.

    Attributes:
        traits: of the session once it is open, None before.

    Args:
        open_session: called on the connection's thread.
        clock: of the arrivals.
    """

    def __init__(self, open_session: Open, *, clock: Clock) -> None:
        self.traits: Traits | None = None
        self._open_session, self._clock = open_session, clock
        self._changed = threading.Condition()
        self._arrivals: deque[Arrival | Heard] = deque()
        self._over = self._left = False
        self._error: BaseException | None = None
        self._heard = clock.now()
        # A daemon: the program may end while a look-up of a name, which nothing bounds, is under way.
        self._thread = threading.Thread(target=self._run, name="streams-live", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether the input came to an end of its own, and all that came was taken."""
        with self._changed:
            return self._over and not self._arrivals

    def quiet_seconds(self) -> float:
        """For how long nothing but sound has come (or, before the session is open, how long it has been opening)."""
        return self._clock.now() - self._heard

    def take(self, timeout_seconds: float) -> Arrival | Heard | None:
        """What came next; None if nothing came in that time, or nothing will: see ``over``.

        Raises:
            SourceError: the input was lost, after all from before was taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._arrivals or self._over or self._error or self._left, timeout_seconds)
            if self._left:
                return None
            if self._arrivals:
                arrival = self._arrivals.popleft()
                self._changed.notify_all()
                return arrival
            if self._error is None:
                return None
            error, self._error, self._left = self._error, None, True
            try:
                raise error
            finally:
                del error  # else the error, its traceback and this frame keep each other, and pictures, in memory

    def close(self, *, patience_seconds: float = 0.0) -> None:
        """Take nothing more; from any thread, any number of times. Waits that long for the thread to end."""
        with self._changed:
            self._left = True
            self._arrivals.clear()
            self._changed.notify_all()
        if patience_seconds and threading.current_thread() is not self._thread:
            self._thread.join(patience_seconds)

    def _run(self) -> None:
        try:
            with closing(self._open_session()) as session:
                self.traits = session.traits
                self._heard = self._clock.now()
                self._read(session)
        except SourceError as error:
            self._end(error)
        except Exception as error:
            log.debug("a live input failed in an unforeseen way", exc_info=True)
            self._end(error)

    def _read(self, session: Session) -> None:
        with closing(session.events()) as events:  # type: ignore[type-var]  # generators, all of them
            for event in events:
                if self._left:
                    return
                if event is Sign.OVER:
                    self._end(None)
                    return
                if isinstance(event, SoundPacket):
                    # A camera whose pictures stand still is lost, however long its sound goes on.
                    self._give(Heard(event, self._clock.now()))
                    continue
                if not isinstance(event, Sign):
                    self._give(Arrival(event, self._clock.now()))
                if event is not Sign.QUIET:
                    self._heard = self._clock.now()

    def _give(self, arrival: Arrival | Heard) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._left or self._fits(arrival))
            if not self._left:
                self._arrivals.append(arrival)
                self._changed.notify_all()

    def _fits(self, arrival: Arrival | Heard) -> bool:
        if isinstance(arrival, Heard):
            return len(self._arrivals) < _SOUND_ROOM
        return sum(isinstance(waiting, Arrival) for waiting in self._arrivals) < _ROOM

    def _end(self, error: BaseException | None) -> None:
        for each in (error, error.__cause__) if error is not None else ():
            # Else the pictures that its frames name stay in memory until somebody looks for cycles.
            traceback.clear_frames(each.__traceback__ if each is not None else None)
        with self._changed:
            self._error, self._over = error, error is None
            self._changed.notify_all()
