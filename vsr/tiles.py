"""Pictures too large for the memory of a network, in tiles that leave no trace.

Every tile is run with a margin of the network's overlap, and only its inner part is kept. Where the overlap is the
whole receptive field no kept sample depends on anything outside the tile, so the seams are not hidden but absent. At
the border of the picture tiles end where it ends, and the network pads there as it does for a whole picture.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vsr.backends.base import LAYER_BYTES, Done, Job, Plane, Runner
from vsr.errors import DeviceError
from vsr.models.base import Network

log = logging.getLogger(__name__)

P = TypeVar("P")
R = TypeVar("R")

# The least that is kept of a tile, in samples.
_LEAST = 16
# What libraries say, beside errors of their own kind, when memory runs out.
_SAID = ("can't allocate memory", "bad_alloc", "ALLOC_FAILED", "out of memory")
_MEASURED_SIDE = 8


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis: samples ``start`` to ``stop`` are run, ``keep_start`` to ``keep_stop`` are kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    def kept(self, scale: int) -> slice:
        """Where the result belongs in the larger picture."""
        return slice(self.keep_start * scale, self.keep_stop * scale)

    def inner(self, scale: int) -> slice:
        """What is kept of the larger tile."""
        return slice((self.keep_start - self.start) * scale, (self.keep_stop - self.start) * scale)


def spans(length: int, side: int, margin: int) -> list[Span]:
    """Cut an axis into as few tiles as there can be, all of one length, so that one compiled shape serves all.

    Args:
        length: of the axis.
        side: of a tile at most, its margins included; more than twice the margin.
        margin: samples on each inner side that are not kept.
    """
    if length <= side:
        return [Span(0, length, 0, length)]
    inner = length - 2 * margin
    count = -(-inner // (side - 2 * margin))
    side = -(-inner // count) + 2 * margin
    result = []
    kept = 0
    while kept < length:
        start = max(0, min(kept - margin, length - side))
        stop = start + side
        keep_stop = length if stop == length else stop - margin
        result.append(Span(start, stop, kept, keep_stop))
        kept = keep_stop
    return result


@torch.no_grad()
def widest_layer(network: Network) -> int:
    """Floats per input sample that the largest input or output of a convolution holds; r² where there is none."""
    most = network.scale**2 * network.channels

    def measure(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal most
        most = max(most, *(tensor.numel() // _MEASURED_SIDE**2 for tensor in (*inputs, output)))

    hooks = [layer.register_forward_hook(measure) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    try:
        parameter = next(network.parameters(), torch.zeros(()))
        network(parameter.new_zeros(1, network.channels, _MEASURED_SIDE, _MEASURED_SIDE))
    finally:
        for hook in hooks:
            hook.remove()
    return most


def tile_side(network: Network, *, layer_bytes: int = LAYER_BYTES) -> int:
    """Largest side of a tile for which the widest layer of a network stays below so many bytes, in fp32."""
    return int((layer_bytes / (4 * widest_layer(network))) ** 0.5)


class Room:
    """How much is worked on at once; halved whenever the memory runs out, pictures of a batch first, then tiles.

    Args:
        margin: overlap of the network, in input samples.
        side: of a tile in input samples, margins included; never less than the margins and a little more.
    """

    def __init__(self, *, margin: int, side: int) -> None:
        self.margin = margin
        self.side = max(side, 2 * margin + _LEAST)
        self.batch: int | None = None

    def each(self, pictures: Sequence[P], work: Callable[[Sequence[P]], R], *, longest: int) -> list[R]:
        """Do ``work`` on all pictures, in as many parts as it takes; what failed for memory is done again in less.

        Args:
            pictures: of one shape.
            work: on some of them, in tiles of :attr:`side` at the time of the call.
            longest: side of the pictures, in input samples.

        Raises:
            DeviceError: the memory does not suffice for the smallest tile.
        """
        results: list[R] = []
        done = 0
        while done < len(pictures):
            part = pictures[done : done + (self.batch or len(pictures))]
            try:
                results.append(work(part))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(len(part), longest, error)
            else:
                done += len(part)
        return results

    def _halve(self, count: int, longest: int, error: BaseException) -> None:
        if count > 1:
            self.batch = count // 2
            log.warning("out of memory with %d pictures at once; going on with %d", count, self.batch)
            return
        side = min(self.side, longest) // 2
        if side < 2 * self.margin + _LEAST:
            raise DeviceError(
                f"the memory does not suffice even for tiles of {2 * side}; close other programs"
            ) from error
        log.warning("out of memory with tiles of %d; going on with %d", 2 * side, side)
        self.side = side


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is about memory, whoever raised it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(said in str(error) for said in _SAID)


def run_in_tiles(x: Tensor, program: Callable[[Tensor], Tensor], *, scale: int, room: Room) -> Tensor:
    """Run a network on floats N×C×H×W, of any size, to N×C×rH×rW.

    Args:
        x: on the device that ``program`` wants it on.
        program: enlarges by ``scale``.
        scale: of the network.
        room: which tiles.
    """
    count, channels, rows, columns = x.shape
    if rows <= room.side and columns <= room.side:
        return program(x)
    result = x.new_empty(count, channels, rows * scale, columns * scale)
    for down in spans(rows, room.side, room.margin):
        for across in spans(columns, room.side, room.margin):
            tile = program(x[..., down.start : down.stop, across.start : across.stop])
            result[..., down.kept(scale), across.kept(scale)] = tile[..., down.inner(scale), across.inner(scale)]
    return result


class TiledRunner:
    """A runner that hands planes larger than a tile to another one in pieces.

    Args:
        runner: does the work.
        scale: of its network.
        margin: overlap of its network, in input samples.
        side: of a tile in input samples, margins included.
        in_flight: tiles that are worked on at once.
    """

    def __init__(self, runner: Runner, *, scale: int, margin: int, side: int, in_flight: int) -> None:
        self.runner, self.scale = runner, scale
        self.room = Room(margin=margin, side=side)
        self.in_flight = in_flight

    def submit(self, planes: Sequence[Plane]) -> Job:
        """Planes within one tile go straight on; larger ones are finished when this returns."""
        jobs = self.room.each(planes, self._submit, longest=max(planes[0].shape))
        return jobs[0] if len(jobs) == 1 else Several(jobs)

    def _submit(self, planes: Sequence[Plane]) -> Job:
        rows, columns = planes[0].shape
        room, scale = self.room, self.scale
        if rows <= room.side and columns <= room.side:
            return self.runner.submit(planes)
        results: list[Plane] = []
        larger = rows * scale, columns * scale
        jobs: deque[tuple[Job, Span, Span]] = deque()
        for down in spans(rows, room.side, room.margin):
            for across in spans(columns, room.side, room.margin):
                pieces = [plane[down.start : down.stop, across.start : across.stop] for plane in planes]
                jobs.append((self.runner.submit(pieces), down, across))
                if len(jobs) >= self.in_flight:
                    self._place(results, *jobs.popleft(), larger=larger)
        while jobs:
            self._place(results, *jobs.popleft(), larger=larger)
        return Done(results)

    def _place(self, results: list[Plane], job: Job, down: Span, across: Span, *, larger: tuple[int, int]) -> None:
        pieces = job.result()
        if not results:
            results += [_empty_as(piece, larger) for piece in pieces]
        for result, piece in zip(results, pieces, strict=True):
            result[down.kept(self.scale), across.kept(self.scale)] = piece[
                down.inner(self.scale), across.inner(self.scale)
            ]


def _empty_as(piece: Plane, shape: tuple[int, int]) -> Plane:
    # What was left on a GPU is put together there.
    return np.empty(shape, piece.dtype) if isinstance(piece, np.ndarray) else piece.empty(shape)


@dataclass(frozen=True, slots=True)
class Several:
    """A job handed in as several, for want of memory."""

    jobs: list[Job]

    def result(self) -> list[Plane]:
        """The planes of all, in their order."""
        return [plane for job in self.jobs for plane in job.result()]
