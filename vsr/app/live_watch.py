"""What the governor of a live run is told: how many frames come, and how many this machine was too slow for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vsr.app.governed import Watch

if TYPE_CHECKING:
    from streams.pipeline import Pipeline
    from streams.sinks.base import SinkStatus

# It shows the newest picture and passes over what a slow screen has no time for: no network would change that.
_WINDOW = "window"


class RunWatch:
    """Call it for how a run stands. For one thread at a time.

    Args:
        pipeline: counts what comes and what is dropped in it.
        outputs: how each output stands.
        share: of the machine's time that this run may take, above 0 up to 1; a frame has that much less of it.
    """

    def __init__(
        self, pipeline: Pipeline, outputs: Callable[[], Sequence[SinkStatus]], *, share: Callable[[], float]
    ) -> None:
        self._pipeline, self._share = pipeline, share
        self._drops = OutputDrops(outputs)

    def __call__(self) -> Watch:
        """How it stands now."""
        return Watch(
            input_fps=self._pipeline.input_fps / self._share(),
            dropped=self._pipeline.dropped_frames + self._drops.count(),
        )


class OutputDrops:
    """Counts frames that outputs dropped while they ran: their encoders came too late.

    What an output loses while it is not connected, or while its disk hangs, says nothing of the machine.

    Args:
        outputs: how each output stands; they may come and go.
    """

    def __init__(self, outputs: Callable[[], Sequence[SinkStatus]]) -> None:
        self._outputs = outputs
        self._before: Counter[str] = Counter()
        self._total = 0

    def count(self) -> int:
        """Those until now; it only grows."""
        dropped: Counter[str] = Counter()
        for output in self._outputs():
            if output.state == "running" and output.error is None and output.name != _WINDOW:
                dropped[output.name] += output.dropped
        # One that begins to run now lost what it lost before, for another reason.
        self._total += sum(
            max(0, count - self._before[name]) for name, count in dropped.items() if name in self._before
        )
        self._before = dropped
        return self._total
