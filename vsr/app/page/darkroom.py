"""Where frames become JPEGs: on threads of their own, only when somebody asks, and once for all who ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from streams.frame import Frame
from vsr.app.page.stills import WHOLE, Look, Loupe, Span, Still, StillMaker, loupe_box, shown_size

Kind = Literal["after", "before", "loupe_after", "loupe_before"]

_THREADS = 2
# The one that all see, and one for who is late.
_PAIRS_KEPT = 2
# As many as viewers that are let in can look at; but one of them may ask for another view again and again.
_STILLS_KEPT = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One instant: the frame as it came and as the network made it.

    Attributes:
        number: given by the stage when it is published; rises for ever.
        small: as it came.
        large: as the outputs get it.
        network: that made it.
        arrived: when the source had it, in seconds of :func:`time.monotonic`.
        look: how a player shows ``large``.
    """

    small: Frame
    large: Frame
    network: str
    arrived: float
    look: Look = field(default_factory=Look)
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A picture that a viewer wants of a pair.

    Attributes:
        kind: what the network made (``after``) or plain interpolation (``before``), whole or a part.
        width: the most columns of a whole picture.
        span: which of its columns, as shares of its width.
        loupe: which part; for those alone.
    """

    kind: Kind
    width: int = 0
    span: Span = WHOLE
    loupe: Loupe | None = None


class Darkroom:
    """Develops shots of pairs.

    Args:
        baseline: makes the plain interpolation of a small frame, of the size of the large one; may be called from
            several threads. None: there are no pictures of before.
        on_idle: called whenever all that was asked for is made, on a thread of its own.
    """

    def __init__(
        self, baseline: Callable[[Frame], Frame] | None = None, *, on_idle: Callable[[], None] = lambda: None
    ) -> None:
        self._baseline, self._on_idle = baseline, on_idle
        self._under_way = 0
        self._lock = threading.Lock()
        self._plates: OrderedDict[int, _Plate] = OrderedDict()
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="vsr-stills")
        self._closed = False

    @property
    def compares(self) -> bool:
        """Whether there are pictures of before."""
        return self._baseline is not None

    @property
    def idle(self) -> bool:
        """Whether all that was asked for is made."""
        return not self._under_way

    def develop(self, pair: Pair, shot: Shot) -> Future[Still]:
        """The picture, soon; whoever asks for the same one gets the same. From any thread; cancelled after the end."""
        key = _key(pair, shot)
        with self._lock:
            plate = self._plates.setdefault(pair.number, _Plate(pair, self._baseline))
            self._plates.move_to_end(pair.number)
            if len(self._plates) > _PAIRS_KEPT:
                self._plates.popitem(last=False)
            future = plate.stills.get(key)
            if future is None:
                future = plate.stills[key] = self._begin(plate, shot)
                if len(plate.stills) > _STILLS_KEPT:
                    plate.stills.popitem(last=False)
            return future

    def forget(self) -> None:
        """Let go of all pictures; those that are being made still come."""
        with self._lock:
            self._plates.clear()

    def close(self) -> None:
        """End the threads; what they have not begun is cancelled."""
        with self._lock:
            self._closed = True
            self._plates.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, plate: _Plate, shot: Shot) -> Future[Still]:
        if not self._closed:
            self._under_way += 1
            return self._pool.submit(self._work, plate, shot)
        future: Future[Still] = Future()
        future.cancel()
        return future

    def _work(self, plate: _Plate, shot: Shot) -> Still:
        try:
            return self._make(plate, shot)
        finally:
            with self._lock:
                self._under_way -= 1
                idle = self.idle
            if idle:
                self._on_idle()

    def _make(self, plate: _Plate, shot: Shot) -> Still:
        maker = getattr(self._local, "maker", None)
        if maker is None:
            maker = self._local.maker = StillMaker()
        frame = plate.pair.large if shot.kind.endswith("after") else plate.before()
        look = plate.pair.look
        if shot.loupe is None:
            return maker.whole(frame, look, width=shot.width, span=shot.span)
        return maker.crop(frame, look, loupe_box(frame, look, shot.loupe))


class _Plate:
    """A pair, and what was made of it so far."""

    def __init__(self, pair: Pair, baseline: Callable[[Frame], Frame] | None) -> None:
        self.pair = pair
        self.stills: OrderedDict[Any, Future[Still]] = OrderedDict()
        self._baseline = baseline
        self._lock = threading.Lock()
        self._before: Frame | None = None

    def before(self) -> Frame:
        """The plain interpolation, made by the first who asks; the others wait for it."""
        with self._lock:
            if self._before is None:
                if self._baseline is None:
                    raise LookupError("there is nothing to compare with here")
                self._before = self._baseline(self.pair.small)
            return self._before


def _key(pair: Pair, shot: Shot) -> Any:
    """What shots that give the same picture have in common."""
    if shot.loupe is None:
        return shot.kind, shown_size(pair.large, pair.look, width=shot.width), shot.span
    return shot.kind, loupe_box(pair.large, pair.look, shot.loupe)
