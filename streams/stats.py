"""How fast a pipeline goes, and which of its stages holds it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from time import perf_counter
from types import TracebackType
from typing import Any, Self


class Stopwatch:
    """Adds up the wall time spent inside its ``with`` blocks. Used by one thread; any thread may read ``seconds``."""

    __slots__ = ("_since", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> Self:
        self._since = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds += perf_counter() - self._since


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
        frames_out: written to the sink; equal to ``frames_in``.
        packets: of other streams, written.
        wall_seconds: from the start of the threads until the sink was closed.
        decode: time in the source's iterator.
        enhance: time in the enhancer's ``submit``, ``result`` and ``reset``.
        encode: time in the sink's ``write`` and ``close``.
        peak_input_fill: the most frames that ever waited for the enhancer.
        peak_output_fill: the most frames that ever waited for the sink.
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
