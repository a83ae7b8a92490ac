"""An accelerator without hardware: streams that run side by side by a clock of their own, and a watch over races.

Work is really done, but only when its time has come: a copy that is read too early gives other numbers, as it would on
a device. Beside that, every access to a buffer is held against all earlier ones by *happens-before* (a vector clock for
each stream and for the host), which finds what is wrong in the order whatever the times were.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

HOST = "host"
FOREIGN = "foreign"
POISON = 0xA5

Clock = dict[str, int]


class RaceError(AssertionError):
    """Two accesses to one buffer, one of them a write, with nothing that puts one before the other."""


@dataclass
class FakeEvent:
    clock: Clock
    time: float


@dataclass
class FakeStream:
    name: str
    clock: Clock = field(default_factory=dict)
    time: float = 0.0
    busy: float = 0.0


@dataclass(frozen=True)
class Access:
    actor: str
    tick: int
    writes: bool
    what: str


def always(seconds: dict[str, float]) -> Callable[[str], float]:
    """Durations by the kind of work: ``up``, ``compute`` and ``down``."""
    return lambda name: seconds[name]


class FakeDevice:
    """Implements :class:`vsr.backends.scheduler.Device`.

    Args:
        duration: seconds of the next piece of work in a stream of that name.
        memory_limit: bytes of device memory there are.
    """

    def __init__(self, duration: Callable[[str], float] = lambda _: 1.0, *, memory_limit: int | None = None) -> None:
        self.device = torch.device("cpu")
        self.duration, self.memory_limit = duration, memory_limit
        self.now = 0.0
        self.host = FakeStream(HOST)
        self.streams: dict[str, FakeStream] = {}
        self.log: list[tuple[str, float, float]] = []
        self.allocated = 0
        self.captures = 0
        self.trimmed = 0
        self.refuse_capture = False
        self._accesses: defaultdict[int, list[Access]] = defaultdict(list)
        self._buffers: list[Tensor] = []
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    # What the schedule sees.

    def alone(self) -> AbstractContextManager[object]:
        return nullcontext()

    def stream(self, name: str) -> FakeStream:
        return self.streams.setdefault(name, FakeStream(name))

    def pinned(self, size: int) -> Tensor:
        return self._new(size)

    def memory(self, size: int) -> Tensor:
        self.allocated += size
        if self.memory_limit is not None and self.allocated > self.memory_limit:
            self.allocated -= size
            raise torch.OutOfMemoryError("fake: out of memory")
        return self._new(size)

    def copy(self, stream: FakeStream, target: Tensor, source: Tensor) -> None:
        self.launch(stream, lambda: _copy(target, source), reads=[source], writes=[target])

    def launch(
        self, stream: FakeStream, work: Callable[[], None], *, reads: Sequence[Tensor], writes: Sequence[Tensor]
    ) -> None:
        self._step(self.host)
        _join(stream.clock, self.host.clock)
        self._step(stream)
        for buffer in reads:
            self._access(stream, buffer, writes=False)
        for buffer in writes:
            self._access(stream, buffer, writes=True)
        start = max(self.now, stream.time)
        seconds = self.duration(stream.name)
        stream.time, stream.busy = start + seconds, stream.busy + seconds
        self.log.append((stream.name, start, stream.time))
        kept: list[Tensor] = []

        def begin() -> None:
            work()
            for buffer in writes:
                kept.append(buffer.clone())
                buffer.fill_(POISON)

        def end() -> None:
            for buffer, value in zip(writes, kept, strict=True):
                buffer.copy_(value)

        self._at(start, begin)
        self._at(stream.time, end)

    def record(self, stream: FakeStream) -> FakeEvent:
        return FakeEvent(dict(stream.clock), stream.time)

    def foreign(self) -> FakeEvent:
        return self.record(self.stream(FOREIGN))

    def wait(self, stream: FakeStream, event: FakeEvent) -> None:
        _join(stream.clock, event.clock)
        stream.time = max(stream.time, event.time)

    def synchronize(self, event: FakeEvent) -> None:
        _join(self.host.clock, event.clock)
        self.run_until(max(self.now, event.time))

    # What the runner asks beyond that.

    def capture(self, stream: FakeStream, work: Callable[[], None]) -> Callable[[], None]:
        if self.refuse_capture:
            raise RuntimeError("fake: operation not permitted when stream is capturing")
        self.captures += 1
        return work

    def settle(self) -> None:
        self.finish()

    def trim(self) -> None:
        self.trimmed += 1
        self.allocated = 0

    # What the tests see.

    def host_reads(self, buffer: Tensor) -> None:
        """Said by a test before it looks at a buffer."""
        self._step(self.host)
        self._access(self.host, buffer, writes=False)

    def host_writes(self, buffer: Tensor) -> None:
        """Said by a test before it fills a buffer."""
        self._step(self.host)
        self._access(self.host, buffer, writes=True)

    def host_works(self, seconds: float) -> None:
        """The host is busy with something else."""
        self.run_until(self.now + seconds)

    def run_until(self, time: float) -> None:
        while self._due and self._due[0][0] <= time:
            heapq.heappop(self._due)[2]()
        self.now = time

    def finish(self) -> float:
        """Let everything end; the time by then."""
        self.run_until(max([self.now, *(stream.time for stream in self.streams.values())]))
        return self.now

    # Inside.

    def _new(self, size: int) -> Tensor:
        buffer = torch.full((size,), POISON, dtype=torch.uint8)
        self._buffers.append(buffer)  # so that no address is given twice
        return buffer

    def _at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time, next(self._order), act))

    def _step(self, actor: FakeStream) -> None:
        actor.clock[actor.name] = actor.clock.get(actor.name, 0) + 1

    def _access(self, actor: FakeStream, buffer: Tensor, *, writes: bool) -> None:
        past = self._accesses[buffer.data_ptr()]
        what = f"{'write' if writes else 'read'} by {actor.name}"
        for other in past:
            if (writes or other.writes) and actor.clock.get(other.actor, 0) < other.tick:
                raise RaceError(f"{what} of a buffer that a {other.what} is not known to be over with")
        past.append(Access(actor.name, actor.clock[actor.name], writes, what))


def _copy(target: Tensor, source: Tensor) -> None:
    target.copy_(source)


def _join(clock: Clock, other: Clock) -> None:
    for name, tick in other.items():
        clock[name] = max(clock.get(name, 0), tick)
