"""How fast a pipeline goes, and which of its stages holds it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeAlias

from streams.latency import Latency

Observer: TypeAlias = Callable[[str, float, float], None]
"""Is told of each piece of work when it ends, on the thread that did it: its name, and when by ``perf_counter``."""


class Stopwatch:
    """Adds up the wall time spent inside its ``with`` blocks. Used by one thread; any thread may read ``seconds``.

    Args:
        name: of the work, for the observer.
        observer: told of each block.
    """

    __slots__ = ("_name", "_observer", "_since", "seconds")

    def __init__(self, name: str = "", observer: Observer | None = None) -> None:
        self.seconds = 0.0
        self._since = 0.0
        self._name, self._observer = name, observer

    def __enter__(self) -> Self:
        self._since = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now = perf_counter()
        self.seconds += now - self._since
        if self._observer is not None:
            self._observer(self._name, self._since, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Where a running pipeline stands, given to ``on_frame`` after each frame that was written.

    Attributes:
        frames_in: read from the source so far.
        frames_out: written to the sink so far.
        packets: of other streams, written so far.
        elapsed_seconds: since the run began.
        position: time of the frame just written, in seconds of the video, exactly.
        input_fill: frames that wait for the enhancer.
        output_fill: frames that wait for the sink.
    """

    frames_in: int
    frames_out: int
    packets: int
    elapsed_seconds: float
    position: Fraction
    input_fill: int
    output_fill: int

    @property
    def fps(self) -> float:
        """Frames written per second since the run began."""
        return _rate(self.frames_out, self.elapsed_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStats:
    """Where a run stands that nobody knows the end of; what it tells of lately is of the last five seconds.

    Attributes:
        frames_in: read from the source so far.
        frames_out: written to the sink so far.
        packets: of other streams, written so far.
        elapsed_seconds: since the run began.
        input_fps: frames read per second, lately.
        output_fps: frames written per second, lately.
        latency: from a frame's arrival until it was written, lately; of sources that tell when a frame arrived.
        total_latency: the same since the run began.
        dropped: frames dropped for newer ones, by the stage that was too slow for them; at ``"decode"`` those that
            came before the run began, or when it was to end.
        dropped_packets: packets of other streams dropped for newer ones.
        reconnects: how often the source was lost and found again.
        stalls: how often the source fell silent.
        connected: whether the source has something to read from at this moment.
    """

    frames_in: int
    frames_out: int
    packets: int
    elapsed_seconds: float
    input_fps: float
    output_fps: float
    latency: Latency
    total_latency: Latency
    dropped: Mapping[str, int]
    dropped_packets: int
    reconnects: int = 0
    stalls: int = 0
    connected: bool = True

    @property
    def dropped_frames(self) -> int:
        """Frames dropped at all places."""
        return sum(self.dropped.values())

    def as_dict(self) -> dict[str, Any]:
        """Everything above as plain numbers, ready for JSON."""
        return asdict(self) | {"dropped_frames": self.dropped_frames}


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """What one stage did with its time.

    Attributes:
        busy_seconds: spent working, waiting on queues not included.
        starved_seconds: spent waiting for the stage before.
        blocked_seconds: spent waiting for the stage behind to make room.
        ms_per_frame: ``busy_seconds`` in milliseconds over the frames of the run.
    """

    busy_seconds: float
    starved_seconds: float
    blocked_seconds: float
    ms_per_frame: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a finished run did.

    Attributes:
        frames_in: read from the source.
        frames_out: written to the sink; equal to ``frames_in`` where none were dropped.
        packets: of other streams, written.
        wall_seconds: from the start of the threads until the sink was closed.
        decode: time in the source's iterator.
        enhance: time in the enhancer's ``submit``, ``result`` and ``reset``.
        encode: time in the sink's ``write`` and ``close``.
        peak_input_fill: the most frames that ever waited for the enhancer.
        peak_output_fill: the most frames that ever waited for the sink.
        dropped: frames dropped for newer ones, by the stage that was too slow for them.
        dropped_packets: packets dropped for newer ones.
        latency: from a frame's arrival until it was written; of sources that tell when a frame arrived.
    """

    frames_in: int
    frames_out: int
    packets: int
    wall_seconds: float
    decode: StageReport
    enhance: StageReport
    encode: StageReport
    peak_input_fill: int
    peak_output_fill: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    dropped_packets: int = 0
    latency: Latency = field(default_factory=Latency)

    @property
    def fps(self) -> float:
        """Frames written per second of wall time; 0 where nothing was written."""
        return _rate(self.frames_out, self.wall_seconds)

    @property
    def stages(self) -> Mapping[str, StageReport]:
        """The three stages by name, in the order in which a frame meets them."""
        return {"decode": self.decode, "enhance": self.enhance, "encode": self.encode}

    @property
    def slowest_stage(self) -> str:
        """Name of the stage that was busy longest: the only one worth making faster."""
        stages = self.stages
        return max(stages, key=lambda name: stages[name].busy_seconds)

    def as_dict(self) -> dict[str, Any]:
        """Everything above as plain numbers and strings, ready for JSON."""
        return asdict(self) | {"fps": self.fps, "slowest_stage": self.slowest_stage}


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
