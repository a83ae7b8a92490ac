"""An enhancer of several networks: the one in use changes between two batches, the others are made ready beside it."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.enhancer import Enhancer, Pending
from streams.frame import Frame, PixelFormat
from vsr.app.governor import Governor, Load, Move, Tuning

logger = logging.getLogger(__name__)

Build = Callable[[str], Enhancer]
"""Makes the enhancer of a network; its first frame of a size may take long."""

Geometry = tuple[int, int, PixelFormat]

_MOVES_KEPT = 50
_TIMES = 4
_TIMES_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the governor is told of the run around it.

    Attributes:
        input_fps: frames of the source per second, lately; 0 where that is not known.
        dropped: frames dropped so far.
    """

    input_fps: float
    dropped: int


@dataclass(frozen=True, slots=True)
class _Asked:
    name: str
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class _Made:
    asked: _Asked
    enhancer: Enhancer | None
    seconds: float


class GovernedEnhancer:
    """Gives each batch to the network that the governor can afford at that moment.

    All networks must make the same size of output. The cheapest is made ready before the constructor returns; the
    others follow on a thread of their own, from the bottom up, and none is used before it has enlarged a first frame.

    Args:
        names: of the networks, the best first.
        build: makes one of them.
        geometry: of the frames that will come first.
        tuning: of the governor.

    Attributes:
        watch: asked for how the run stands; set by whoever has the pipeline, before it runs.
    """

    def __init__(self, names: Sequence[str], build: Build, *, geometry: Geometry, tuning: Tuning | None = None) -> None:
        self.watch: Callable[[], Watch] = lambda: Watch(input_fps=0.0, dropped=0)
        self._geometry = geometry
        self._governor = Governor(names, start=names[-1], tuning=tuning)
        self._frames, self._busy_seconds, self._moved = 0, 0.0, 0
        self._moves: deque[Move] = deque(maxlen=_MOVES_KEPT)
        self._workshop = _Workshop(build)
        first = self._workshop.make(_Asked(names[-1], geometry))
        assert first.enhancer is not None
        self._enhancers: dict[str, Enhancer] = {names[-1]: first.enhancer}
        self._governor.measured(names[-1], first.seconds, now=monotonic())
        for name in reversed(names[:-1]):
            self._ask(name)

    @property
    def network(self) -> str:
        """Name of the one in use. From any thread."""
        return self._governor.current

    @property
    def moved(self) -> int:
        """How often the network was changed. From any thread."""
        return self._moved

    @property
    def moves(self) -> tuple[Move, ...]:
        """The last changes, the oldest first. From any thread."""
        return tuple(self._moves)

    def submit(self, frames: Sequence[Frame]) -> Pending:
        """Hand in frames of one geometry to the network of this moment."""
        for made in self._workshop.finished():
            self._take(made)
        if frames[0].geometry != self._geometry:
            self._change_geometry(frames[0].geometry)
        self._govern()
        started = perf_counter()
        pending = self._enhancers[self._governor.current].submit(frames)
        self._busy_seconds += perf_counter() - started
        return _Timed(self, pending)

    def reset(self) -> None:
        """Passed on to the network in use; another one starts afresh in any case."""
        self._enhancers[self._governor.current].reset()

    def close(self) -> None:
        """End the thread; what it is making is finished first."""
        self._workshop.close()

    def collect(self, pending: Pending) -> list[Frame]:
        """The result of a batch, its time noted."""
        started = perf_counter()
        frames = pending.result()
        self._busy_seconds += perf_counter() - started
        self._frames += len(frames)
        return frames

    def _govern(self) -> None:
        now, watch = monotonic(), self.watch()
        load = Load(
            now=now,
            interval_seconds=1 / watch.input_fps if watch.input_fps else 0.0,
            frames=self._frames,
            busy_seconds=self._busy_seconds,
            dropped=watch.dropped,
        )
        move = self._governor.decide(load)
        if move is not None:
            self._moved += 1
            self._moves.append(move)
            self._enhancers[move.after].reset()
            logger.info("network: %s instead of %s; %s", move.after, move.before, move.reason)
        wanted = self._governor.wants_measured(now=now)
        if wanted is not None:
            self._ask(wanted)

    def _ask(self, name: str) -> None:
        self._workshop.ask(name, self._geometry)

    def _take(self, made: _Made) -> None:
        name = made.asked.name
        if made.enhancer is None:
            self._governor.remove(name)
        else:
            self._enhancers[name] = made.enhancer
            self._governor.measured(name, made.seconds, now=monotonic())

    def _change_geometry(self, geometry: Geometry) -> None:
        """The network in use goes on, with a pause for its first frame; the others are made ready for the new size."""
        self._geometry = geometry
        self._governor.settle(now=monotonic())
        for name in reversed(self._governor.names):
            if name != self._governor.current:
                self._governor.not_ready(name)
                self._ask(name)


@dataclass(frozen=True, slots=True)
class _Timed:
    owner: GovernedEnhancer
    pending: Pending

    def result(self) -> list[Frame]:
        return self.owner.collect(self.pending)


class _Workshop:
    """Makes networks ready and measures them, one after the other, on a thread of its own.

    Of what was asked for a network the newest counts: a source may change its size faster than networks are measured.
    """

    def __init__(self, build: Build) -> None:
        self._build = build
        self._built: dict[str, Enhancer] = {}
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._newest: dict[str, _Asked] = {}
        self._finished: queue.SimpleQueue[_Made] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self, name: str, geometry: Geometry) -> None:
        """Have a network made and measured; nobody else may use it until it is finished."""
        asked = self._newest[name] = _Asked(name, geometry)
        self._asked.put(asked)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="vsr-workshop", daemon=True)
            self._thread.start()

    def finished(self) -> list[_Made]:
        """What has become ready since the last call, and is not in the workshop once more."""
        made = []
        while not self._finished.empty():
            made.append(self._finished.get())
        return [each for each in made if self._is_newest(each.asked)]

    def make(self, asked: _Asked) -> _Made:
        """Build a network, unless it is, and measure it.

        Returns:
            The shortest time for a frame among a few: others work beside it, and only lengthen it.
        """
        if asked.name not in self._built:
            self._built[asked.name] = self._build(asked.name)
        enhancer = self._built[asked.name]
        enhancer.submit([blank(asked.geometry)]).result()
        times: list[float] = []
        while len(times) < _TIMES and sum(times) < _TIMES_SECONDS:
            # Else a network that computes only what has changed would be measured as one that has nothing to do.
            enhancer.reset()
            started = perf_counter()
            enhancer.submit([blank(asked.geometry)]).result()
            times.append(perf_counter() - started)
        return _Made(asked, enhancer, min(times))

    def close(self) -> None:
        self._closing.set()
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None and not self._closing.is_set():
            if not self._is_newest(asked):
                continue
            try:
                made = self.make(asked)
            except Exception as error:
                # Whatever is wrong with one network, the run has others, and must not end for it.
                logger.warning("%s cannot be used: %s", asked.name, error)
                made = _Made(asked, None, 0.0)
            logger.debug("%s takes %.1f ms a frame", asked.name, made.seconds * 1000)
            self._finished.put(made)

    def _is_newest(self, asked: _Asked) -> bool:
        return asked is self._newest[asked.name]


def blank(geometry: Geometry) -> Frame:
    """A frame of nothing, to make a network ready for a size with."""
    width, height, form = geometry
    shapes = [form.plane_shape(index, width, height) for index in range(form.plane_count)]
    planes: list[npt.NDArray[Any]] = [np.zeros(shape, form.dtype) for shape in shapes]
    return Frame(planes=tuple(planes), format=form, pts=0, time_base=Fraction(1))
