"""Pictures too large for the memory of a network, in tiles that leave no trace.

Every tile is run with a margin of the network's receptive field, and only its inner part is kept: no kept sample
depends on anything outside the tile, so the seams are not hidden but absent. At the border of the picture tiles end
where it ends, and the network pads there as it does for a whole picture.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vsr.backends.base import Done, Job, Plane, Runner
from vsr.errors import DeviceError

log = logging.getLogger(__name__)

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis: samples ``start`` to ``stop`` are run, ``keep_start`` to ``keep_stop`` are kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def spans(length: int, side: int, margin: int) -> list[Span]:
    """Cut an axis into tiles of one length, so that one compiled shape serves all.

    Args:
        length: of the axis.
        side: of a tile, its margins included; more than twice the margin.
        margin: samples on each inner side that are not kept.
    """
    if length <= side:
        return [Span(0, length, 0, length)]
    result = []
    kept = 0
    while kept < length:
        start = max(0, min(kept - margin, length - side))
        stop = start + side
        keep_stop = length if stop == length else stop - margin
        result.append(Span(start, stop, kept, keep_stop))
        kept = keep_stop
    return result


class TiledRunner:
    """A runner that hands planes larger than a tile to another one in pieces.

    Args:
        runner: does the work.
        scale: of its network.
        margin: receptive field of its network, in input samples.
        side: of a tile in input samples, margins included.
        in_flight: tiles that are worked on at once.
    """

    def __init__(self, runner: Runner, *, scale: int, margin: int, side: int, in_flight: int) -> None:
        self.runner, self.scale, self.margin = runner, scale, margin
        self.side = max(side, 2 * margin + 16)
        self.in_flight = in_flight

    def submit(self, planes: Sequence[Plane]) -> Job:
        """Planes within one tile go straight on; larger ones are finished when this returns."""
        while True:
            try:
                return self._submit(planes)
            except OUT_OF_MEMORY as error:
                self.side = self._smaller(planes[0].shape, error)

    def _smaller(self, shape: tuple[int, ...], error: BaseException) -> int:
        """Half of what was just too large; not a frame is lost for it."""
        side = min(self.side, max(shape)) // 2
        if side < 2 * self.margin + 16:
            raise DeviceError(
                f"the memory does not suffice even for tiles of {2 * side}; close other programs"
            ) from error
        log.warning("out of memory with tiles of %d; going on with %d", 2 * side, side)
        return side

    def _submit(self, planes: Sequence[Plane]) -> Job:
        rows, columns = planes[0].shape
        if rows <= self.side and columns <= self.side:
            return self.runner.submit(planes)
        scale = self.scale
        results = [np.empty((rows * scale, columns * scale), plane.dtype) for plane in planes]
        jobs: deque[tuple[Job, Span, Span]] = deque()
        for down in spans(rows, self.side, self.margin):
            for across in spans(columns, self.side, self.margin):
                pieces = [plane[down.start : down.stop, across.start : across.stop] for plane in planes]
                jobs.append((self.runner.submit(pieces), down, across))
                if len(jobs) >= self.in_flight:
                    self._place(results, *jobs.popleft())
        while jobs:
            self._place(results, *jobs.popleft())
        return Done(results)

    def _place(self, results: list[Plane], job: Job, down: Span, across: Span) -> None:
        target = tuple(slice(s.keep_start * self.scale, s.keep_stop * self.scale) for s in (down, across))
        inner = tuple(
            slice((s.keep_start - s.start) * self.scale, (s.keep_stop - s.start) * self.scale) for s in (down, across)
        )
        for result, piece in zip(results, job.result(), strict=True):
            result[target] = piece[inner]
