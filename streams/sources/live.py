"""Sources that never end: whatever happens to the connection, pictures go on as soon as there are any."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import get_args

import av

from streams.clock import Clock, MonotonicClock
from streams.errors import AccessDeniedError, SourceError, SourceLostError, SourceNotFoundError
from streams.frame import ChromaLocation, Frame, Item, Packet
from streams.sources.anchor import LIVE_TIME_BASE, Anchor
from streams.sources.backoff import Backoff
from streams.sources.base import Source, SourceInfo
from streams.sources.connection import Arrival, Connection, Heard, Open, Traits
from streams.sources.filters import Deinterlace, Deinterlacer
from streams.sources.formats import Planar, pixel_format, planes_of
from streams.sources.sound import Hearing
from streams.sources.status import LiveStatus, Patience

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
"""How soon a stall is noticed; a picture, an error and :meth:`LiveSource.close` are noticed at once."""
_OPEN_GRACE_SECONDS = 1.0
"""How much longer than its own timeout FFmpeg may take to open: it does not bound the look-up of names."""
_FIRST_PICTURE_SECONDS = 30.0
"""How long data may come without a first picture: cameras send a key frame every ten seconds at the latest."""
_PATIENCE_SECONDS = 1.0
"""How long closing waits for a read under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    pts: int
    duration: int
    corrupt: bool
    discontinuity: bool
    arrived: float


class LiveSource(Source):
    """The pictures and the sound of an input that never ends and cannot wait.

    A lost connection is made again, soon at first and then at growing intervals; the first picture afterwards is
    marked ``discontinuity``. Frames have the size and format that the stream has at that moment, not that of ``info``.
    Their pts only rise, are 0 at the first picture, and keep to the wall clock within two seconds. An access that is
    refused ends the iteration at once, with the error.

    The sound is what the input has when it is opened: packets of one stream of ``info``, on the clock of the pictures,
    moved with them. It is never waited for. Sound that is other than that after a connection was lost is left out.

    :meth:`close` may be called from any thread, also while another iterates: the iteration then ends within a second.

    Args:
        open_session: makes one connection.
        name: what messages call the input; without a password.
        patience: how long to wait for what.
        deinterlace: as in :class:`streams.sources.FileSource`.
        chroma_location: where the chroma samples lie, if it is known better than the codec's convention.
        audio: whether to give out the sound, if there is any.
        backoff: the intervals.
        clock: of arrivals and intervals.

    Raises:
        AccessDeniedError: a name, a password or a right is missing.
        SourceNotFoundError: the server or the system is there, and not the stream.
        SourceLostError: it cannot be reached now; with ``patience.wait``, only after all retries.
        SourceError: no video comes from it.
    """

    def __init__(
        self,
        open_session: Open,
        *,
        name: str,
        patience: Patience | None = None,
        deinterlace: Deinterlace = "auto",
        chroma_location: ChromaLocation | None = None,
        audio: bool = True,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
    ) -> None:
        if deinterlace not in get_args(Deinterlace):
            raise SourceError(f"got deinterlace {deinterlace!r}, allowed are {', '.join(get_args(Deinterlace))}")
        self._open_session, self._name, self._patience = open_session, name, patience or Patience()
        self._chroma_location = chroma_location
        self._backoff, self._clock = backoff or Backoff(), clock or MonotonicClock()
        self._deinterlace: Deinterlace = deinterlace
        self._deinterlacer: Deinterlacer[_Note] = Deinterlacer(deinterlace)
        self._planar, self._anchor = Planar(), Anchor()
        self._hearing = Hearing(self._anchor, name=name, wanted=audio)
        self._anew = False
        self._stop = threading.Event()
        self._status = LiveStatus()
        self._connection: Connection | None = None
        self._waiting: Arrival | None = None
        self._traits = Traits(codec="unknown")
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def status(self) -> LiveStatus:
        """How it is doing now; from any thread."""
        return self._status

    def items(self) -> Iterator[Item]:
        """Frames and packets of the sound as they come, until :meth:`close`.

        Raises:
            AccessDeniedError: the source came back and refuses us.
            SourceLostError: it did not come back within ``max_retries``.
        """
        try:
            while not self._stop.is_set() and self._connection is not None:
                try:
                    yield from self._received(self._connection)
                    break
                except SourceError as error:
                    if not self.info.live:
                        raise
                    # The frames of its traceback name pictures.
                    self._reconnect(error.with_traceback(None))
        finally:
            self._hang_up()

    def close(self) -> None:
        """End a running iteration and free what is held; from any thread, any number of times."""
        self._stop.set()
        connection = self._connection
        if connection is not None:
            connection.close(patience_seconds=_PATIENCE_SECONDS)

    def _begin(self) -> None:
        try:
            first = self._connect()
        except (SourceLostError, SourceNotFoundError) as error:
            if not self._patience.wait:
                raise
            first = self._retry(error)
        if first is None:
            raise SourceLostError(f"{self._name}: closed before its first picture")
        picture, traits = self._planar.to_planar(first.picture), self._traits
        if traits.duration_seconds is not None:
            self._anchor.limit_seconds = math.inf
        self._waiting = first
        self.info = SourceInfo(
            width=picture.width,
            height=picture.height,
            format=pixel_format(picture, traits.codec, self._chroma_location),
            time_base=LIVE_TIME_BASE,
            rate=traits.rate,
            live=traits.duration_seconds is None,
            duration_seconds=traits.duration_seconds,
            sample_aspect_ratio=traits.sample_aspect_ratio,
            codec=traits.codec,
            streams=self._hearing.streams,
        )

    def _connect(self) -> Arrival | None:
        """A new connection up to its first picture; None if that was stopped."""
        self._hang_up()
        connection = self._connection = Connection(self._open_session, clock=self._clock)
        first = self._first(connection)
        if first is None:
            if connection.over:
                raise SourceLostError(f"{self._name}: ended before its first picture")
            return None
        assert connection.traits is not None
        self._traits = connection.traits
        self._anchor.restart()
        self._hearing.connected(self._traits.sound)
        self._backoff.reset()
        self._status = replace(self._status, connected=True)
        return first

    def _retry(self, error: SourceError) -> Arrival | None:
        """The first picture of a new connection; None if that was stopped. Raises the error where there is no hope."""
        tries, limit = 0, self._patience.max_retries
        while True:
            self._note_loss(error)
            if isinstance(error, AccessDeniedError):
                raise error
            if limit is not None and tries >= limit:
                raise SourceLostError(f"{error}; gave up after {tries} tries") from error
            if self._clock.wait(self._backoff.next_seconds(), self._stop):
                return None
            tries += 1
            try:
                return self._connect()
            except SourceError as again:
                error = again

    def _first(self, connection: Connection) -> Arrival | None:
        """The first picture; None if there is none. What is heard before it is left out."""
        begun = self._clock.now()
        while isinstance(arrival := self._next(connection, since=begun), Heard):
            pass
        return arrival

    def _next(self, connection: Connection, *, since: float) -> Arrival | Heard | None:
        """What came next; None if nothing will. ``since``: for when the wait for a picture has lasted too long."""
        while not self._stop.is_set() and not connection.over:
            arrival = connection.take(_POLL_SECONDS)
            if isinstance(arrival, Arrival):
                return arrival
            # Sound alone proves nothing: the pictures may have come to a standstill.
            self._check(connection, since=since)
            if arrival is not None:
                return arrival
        return None

    def _check(self, connection: Connection, *, since: float) -> None:
        quiet, patience, traits = connection.quiet_seconds(), self._patience, connection.traits
        if traits is None:
            if quiet > patience.open_timeout_seconds + _OPEN_GRACE_SECONDS:
                raise SourceLostError(f"{self._name}: no answer within {patience.open_timeout_seconds:g} s")
            return
        limit = max(patience.stall_timeout_seconds, traits.lull_seconds)
        if quiet > limit:
            self._status = replace(self._status, stalls=self._status.stalls + 1)
            raise SourceLostError(f"{self._name}: nothing came for {limit:g} s")
        if not self._status.connected:
            limit = max(_FIRST_PICTURE_SECONDS, limit)
        if self._clock.now() - since > limit:
            self._status = replace(self._status, stalls=self._status.stalls + 1)
            raise SourceLostError(f"{self._name}: sends data, and no picture within {limit:g} s")

    def _received(self, connection: Connection) -> Iterator[Frame | Packet]:
        waits_since = self._clock.now()
        while not self._stop.is_set():
            arrival = self._waiting or self._next(connection, since=waits_since)
            self._waiting = None
            if arrival is None:
                break
            if isinstance(arrival, Heard):
                packet = self._hearing.place(arrival.sound, arrived=arrival.seconds)
                if packet is not None:
                    yield packet
                continue
            note = self._note(arrival.picture, arrival.seconds)
            for picture, its in self._deinterlacer.push(self._planar.to_planar(arrival.picture), note):
                yield self._frame(picture, its)
            # Not before: whoever takes the pictures may take his time.
            waits_since = self._clock.now()
        if not self._stop.is_set():
            for picture, its in self._deinterlacer.flush():
                yield self._frame(picture, its)

    def _note(self, picture: av.VideoFrame, arrived: float) -> _Note:
        """The time of a picture, waited for where the input comes in lumps."""
        traits = self._traits
        tick = picture.time_base or Fraction(0)
        known = picture.pts is not None and tick and traits.trusted_times
        seconds = float((picture.pts or 0) * tick) if known else None
        pts, jumped = self._anchor.place(seconds, arrived=arrived)
        if jumped:
            level = logging.DEBUG if self._status.jumps else logging.WARNING
            log.log(level, "%s: its clock was set anew; the pictures go on when they arrive", self._name)
        if traits.paced:
            self._clock.wait(self._anchor.due_seconds() - self._clock.now(), self._stop)
            arrived = self._clock.now()
        if jumped or picture.is_corrupt:
            status = self._status
            self._status = replace(
                status, jumps=status.jumps + jumped, corrupt_frames=status.corrupt_frames + picture.is_corrupt
            )
        discontinuity, self._anew = jumped or self._anew, False
        return _Note(
            pts=pts,
            duration=round((picture.duration or 0) * tick / LIVE_TIME_BASE),
            corrupt=picture.is_corrupt,
            discontinuity=discontinuity,
            arrived=arrived,
        )

    def _frame(self, picture: av.VideoFrame, note: _Note) -> Frame:
        form = pixel_format(picture, self._traits.codec, self._chroma_location)
        return Frame(
            planes=planes_of(picture, form),
            format=form,
            pts=note.pts,
            time_base=LIVE_TIME_BASE,
            duration=note.duration,
            corrupt=note.corrupt,
            discontinuity=note.discontinuity,
            arrived=note.arrived,
            owner=picture,
        )

    def _reconnect(self, error: SourceError) -> None:
        lost = self._clock.now()
        self._waiting = self._retry(error)
        if self._waiting is None:
            return
        # Its pictures from before the loss, if it holds one, would come too late.
        self._deinterlacer = Deinterlacer(self._deinterlace)
        self._anew = True
        self._status = replace(self._status, reconnects=self._status.reconnects + 1)
        log.info("%s: back after %.1f s", self._name, self._clock.now() - lost)

    def _note_loss(self, error: SourceError) -> None:
        # A source that stays away says the same for hours.
        known = str(error) == self._status.last_error and not self._status.connected
        log.log(logging.DEBUG if known else logging.WARNING, "%s; trying again", error)
        self._status = replace(self._status, connected=False, last_error=str(error))

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        self._status = replace(self._status, connected=False)
        if connection is not None:
            connection.close(patience_seconds=_PATIENCE_SECONDS)
