"""Larger planes that are put together: whole results, and earlier ones with some tiles that are new.

Nothing here waits before it is asked: a plane on its way may rest on another one that is on its way itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from vsr.backends.base import Job, Plane, Runner
from vsr.tiles import Span


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture that is run by itself, and the less of it that is kept."""

    down: Span
    across: Span

    def window(self, plane: Plane) -> Plane:
        """What the result of this tile depends on."""
        return plane[self.down.start : self.down.stop, self.across.start : self.across.stop]

    @property
    def area(self) -> int:
        """Samples that are run."""
        return (self.down.stop - self.down.start) * (self.across.stop - self.across.start)

    def beside(self, other: Tile) -> bool:
        """Whether this tile goes on where another one of the same row ends."""
        return self.down == other.down and self.across.keep_start == other.across.keep_stop

    def joined(self, last: Tile) -> Tile:
        """One tile from this one to another of the same row."""
        first, stop, keep_stop = self.across, last.across.stop, last.across.keep_stop
        return Tile(self.down, Span(first.start, stop, first.keep_start, keep_stop))

    def lay(self, result: Plane, on: Plane, *, scale: int) -> None:
        """Copy what is kept of a result to its place in a larger plane."""
        on[self.down.kept(scale), self.across.kept(scale)] = result[self.down.inner(scale), self.across.inner(scale)]


def joined(tiles: list[Tile]) -> list[Tile]:
    """Those side by side as one, of tiles in reading order."""
    result: list[Tile] = []
    for tile in tiles:
        if result and tile.beside(result[-1]):
            result[-1] = result[-1].joined(tile)
        else:
            result.append(tile)
    return result


class Larger(Protocol):
    """A larger plane on its way."""

    @property
    def depth(self) -> int:
        """How many results have to come first."""
        ...

    def result(self) -> Plane:
        """Wait; read-only, for it may be given out again."""
        ...


class Batch:
    """Planes of one shape that are run together."""

    def __init__(self) -> None:
        self.planes: list[Plane] = []
        self.job: Job | None = None

    def add(self, plane: Plane) -> Whole:
        """Take one in; its result can be asked for once the batch was started."""
        self.planes.append(plane)
        return Whole(self, len(self.planes) - 1)

    def start(self, runner: Runner) -> None:
        """Hand in what there is."""
        if self.planes:
            self.job = runner.submit(self.planes)
            self.planes = []


class Whole:
    """A result as it came."""

    depth = 0

    def __init__(self, batch: Batch, index: int) -> None:
        self._batch, self._index = batch, index

    def result(self) -> Plane:
        """Wait; read-only."""
        assert self._batch.job is not None
        plane = self._batch.job.result()[self._index]
        plane.setflags(write=False)
        return plane


class Patched:
    """An earlier result with some tiles that are new."""

    def __init__(self, before: Larger, tiles: list[tuple[Tile, Whole]], *, scale: int) -> None:
        self._before: Larger | None = before
        self._tiles, self._scale = tiles, scale
        self._plane: Plane | None = None

    @property
    def depth(self) -> int:
        """How many results have to come first."""
        return 0 if self._before is None else self._before.depth + 1

    def result(self) -> Plane:
        """Wait, also for what is earlier; read-only."""
        if self._plane is None:
            assert self._before is not None
            plane = self._before.result().copy()
            for tile, piece in self._tiles:
                tile.lay(piece.result(), plane, scale=self._scale)
            plane.setflags(write=False)
            # What is earlier must not be held for as long as this is.
            self._plane, self._before, self._tiles = plane, None, []
        return self._plane


@dataclass(frozen=True, slots=True)
class Work:
    """What one call has to run."""

    whole: Batch
    together: Batch | None
    # One by one, each is a request of its own, and all cores share them.
    single: list[Batch] = field(default_factory=list)

    def piece(self, plane: Plane) -> Whole:
        """Take in a tile."""
        if self.together is not None:
            return self.together.add(plane)
        self.single.append(Batch())
        return self.single[-1].add(plane)

    def start(self, runner: Runner) -> None:
        """Hand in everything."""
        for batch in (self.whole, *self.single, *([] if self.together is None else [self.together])):
            batch.start(runner)


@dataclass(frozen=True, slots=True)
class Results:
    """The planes of one call.

    Attributes:
        planes: in their order.
        failed: called where one of them has no result, so that nobody rests on it.
    """

    planes: list[Larger]
    failed: Callable[[], None]

    def result(self) -> list[Plane]:
        """Wait for all; read-only."""
        try:
            return [plane.result() for plane in self.planes]
        except BaseException:
            self.failed()
            raise
