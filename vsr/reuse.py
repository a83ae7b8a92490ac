"""What of a picture is as it was keeps the output that it had: desks, lectures and screens cost next to nothing.

A picture is cut into the tiles of :mod:`vsr.tiles`. One whose samples, margins included, are those that its output was
made of is not run again; the others are, and are laid over a copy of the last output. Where most of a picture moves it
is run as a whole, which is cheaper than many tiles with their margins, and after a while of that it is not even
compared any more but for one picture now and then.

Reuse is exact where a tile's result is that of the whole picture, bit for bit. That is a property of whoever runs the
network, and is proved with a picture of noise before the first tile is used; where it fails only pictures that are
repeated as a whole are reused.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vsr.backends.base import Job, Numbers, Plane, Planes, Runner
from vsr.errors import ConfigError
from vsr.patches import Batch, Larger, Patched, Results, Tile, Work, joined
from vsr.tiles import spans

log = logging.getLogger(__name__)

# What is kept of a tile is at least so many times the margin.
_KEPT_MARGINS = 4
# Tiles, margins included, may add up to this share of a picture; more is dearer than the picture.
_MOST = 0.6
_LONGEST_REST = 8
# One row of so many is looked at before the tiles are.
_GLANCE = 16
# Pictures that wait for one another's results; a caller who never asks for them must not hold the memory of all.
_DEEPEST = 32
_THRESHOLD = re.compile(r"threshold=(\d{1,3})")


@dataclass(frozen=True, slots=True)
class Reuse:
    """What counts as unchanged.

    Attributes:
        threshold: by how much a sample may differ, in steps of 8 bit, from the one that the output was made of; 0 is
            exact, and anything else lossy.
    """

    threshold: int = 0

    @classmethod
    def parse(cls, text: str) -> Reuse | None:
        """``"exact"``, ``"auto"`` for the same, ``"threshold=N"`` with N from 1 to 255, or ``"off"``, which is None.

        Raises:
            ConfigError: anything else.
        """
        if text == "off":
            return None
        if text in ("exact", "auto"):
            return cls()
        match = _THRESHOLD.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= 255:
            raise ConfigError(f"got reuse {text!r}, allowed are auto, exact, off, and threshold=N with N from 1 to 255")
        return cls(int(match[1]))

    def steps(self, numbers: Numbers) -> int:
        """The threshold in the numbers of a plane."""
        return self.threshold << (numbers.bit_depth - 8)


@dataclass(slots=True)
class _Lane:
    """One sequence of planes: what the last output was made of, and that output."""

    seen: Plane | None = None
    made: Larger | None = None
    # Tiles that were made later than the rest, of samples that differed from what was seen by more than a threshold.
    windows: dict[Tile, Plane] | None = None

    def forget(self) -> None:
        self.seen = self.made = self.windows = None

    def window(self, tile: Tile) -> Plane:
        assert self.seen is not None
        own = None if self.windows is None else self.windows.get(tile)
        return tile.window(self.seen) if own is None else own


class ReusingRunner:
    """A runner that hands only what changed to another one.

    Planes that it returns are read-only: they may be given out more than once.

    Args:
        runner: does the work.
        numbers: of the planes.
        scale: of its network.
        margin: receptive field of its network, in input samples; None where tiles of it cannot be relied on, so that
            only planes that are repeated as a whole are reused.
        reuse: what counts as unchanged.
        kept: side of a tile without its margins, in samples: less follows changes more closely and pays more margins.
        lanes: sequences that take turns in what is handed in: 2 for U and V.
        together: run all tiles as one batch, in place of one by one on as many cores as there are.
        any_shape: tiles side by side are run as one, for a new shape costs the runner nothing.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        numbers: Numbers,
        scale: int,
        margin: int | None,
        reuse: Reuse,
        kept: int = 96,
        lanes: int = 1,
        together: bool = False,
        any_shape: bool = False,
    ) -> None:
        self.runner, self.numbers, self.scale = runner, numbers, scale
        self.margin, self.kept = margin, kept
        self.threshold, self.together, self.any_shape = reuse.steps(numbers), together, any_shape
        self._lanes = [_Lane() for _ in range(lanes)]
        self._shape: tuple[int, ...] = ()
        self._rows: list[list[Tile]] = []
        self._trusted: dict[tuple[int, ...], bool] = {}
        self._moving = self._resting = 0

    def submit(self, planes: Sequence[Plane]) -> Job:
        """Planes of one shape, as many as there are lanes or a multiple of it; copied before this returns."""
        if planes[0].shape != self._shape:
            self._cut(planes[0].shape)
        work = Work(whole=Batch(), together=Batch() if self.together else None)
        count = len(self._lanes)
        results: list[Larger] = []
        try:
            for first in range(0, len(planes), count):
                results += self._picture(planes[first : first + count], work)
            work.start(self.runner)
        except BaseException:
            # What has no result must not be what the next picture rests on.
            self.reset()
            raise
        return Results(results, failed=self.reset)

    def reset(self) -> None:
        """Forget all pictures."""
        for lane in self._lanes:
            lane.forget()
        self._moving = self._resting = 0

    def _cut(self, shape: tuple[int, ...]) -> None:
        self.reset()
        self._shape, self._rows = shape, []
        if self.margin is None or not self._trusted.get(shape, True):
            return
        side = max(self.kept, _KEPT_MARGINS * self.margin) + 2 * self.margin
        down, across = (spans(length, side, self.margin) for length in shape)
        rows = [[Tile(y, x) for x in across] for y in down]
        if rows[0][0].area <= _MOST * shape[0] * shape[1]:
            self._rows = rows

    def _picture(self, planes: Sequence[Plane], work: Work) -> list[Larger]:
        """One plane of each lane."""
        if self._resting:
            self._resting -= 1
            return [work.whole.add(plane) for plane in planes]
        planes = [plane.copy(order="C") for plane in planes]
        changed = self._changes(planes)
        if changed is None or (any(changed) and not self._trust()):
            return [self._whole(lane, plane, work) for lane, plane in zip(self._lanes, planes, strict=True)]
        parts = zip(self._lanes, planes, changed, strict=True)
        return [self._patched(lane, plane, tiles, work) for lane, plane, tiles in parts]

    def _changes(self, planes: Sequence[Plane]) -> list[list[Tile]] | None:
        """The tiles of each lane that changed; None where a picture is new or moves as a whole."""
        if any(lane.made is None for lane in self._lanes):
            return None
        changed = []
        for lane, plane in zip(self._lanes, planes, strict=True):
            tiles = self._changed(lane, plane)
            if tiles is None:
                self._moves()
                return None
            changed.append(tiles)
        self._moving = 0
        return changed

    def _changed(self, lane: _Lane, plane: Plane) -> list[Tile] | None:
        assert lane.seen is not None
        if lane.windows is None and np.array_equal(lane.seen, plane):
            return []
        if self._moves_at_a_glance(lane.seen, plane):
            return None
        changed: list[Tile] = []
        for row in self._rows:
            rows = slice(row[0].down.start, row[0].down.stop)
            if lane.windows is None and np.array_equal(lane.seen[rows], plane[rows]):
                continue
            changed += (tile for tile in row if self._differ(tile.window(plane), lane.window(tile)))
            if len(changed) > _MOST * len(row) * len(self._rows):
                return None
        area = sum(tile.area for tile in (joined(changed) if self.any_shape else changed))
        return changed if self._rows and area <= _MOST * plane.size else None

    def _moves_at_a_glance(self, seen: Plane, plane: Plane) -> bool:
        """Whether a few rows, cut to the width of a tile, nearly all changed: what moves is not worth a closer look."""
        columns = plane.shape[1] // self.kept * self.kept
        a, b = (each[_GLANCE // 2 :: _GLANCE, :columns] for each in (seen, plane))
        return bool(a.size) and bool(self._apart(a, b).reshape(len(a), -1, self.kept).any(axis=2).mean() > _MOST)

    def _differ(self, a: Plane, b: Plane) -> bool:
        return bool(self._apart(a, b).any())

    def _apart(self, a: Plane, b: Plane) -> npt.NDArray[np.bool_]:
        if not self.threshold:
            different: npt.NDArray[np.bool_] = a != b
            return different
        # Whole numbers without a sign do not go below nothing.
        return np.maximum(a, b) - np.minimum(a, b) > self.threshold

    def _moves(self) -> None:
        """Compare fewer and fewer pictures of those that come."""
        self._moving += 1
        self._resting = min(_LONGEST_REST, (1 << (self._moving - 1)) >> 1)

    def _whole(self, lane: _Lane, plane: Plane, work: Work) -> Larger:
        larger = work.whole.add(plane)
        lane.forget()
        if not self._resting:
            lane.seen, lane.made = plane, larger
        return larger

    def _patched(self, lane: _Lane, plane: Plane, tiles: list[Tile], work: Work) -> Larger:
        assert lane.made is not None
        if not tiles:
            return lane.made
        if lane.made.depth >= _DEEPEST:
            lane.made.result()
        run = joined(tiles) if self.any_shape else tiles
        pieces = [(tile, work.piece(tile.window(plane))) for tile in run]
        lane.made = Patched(lane.made, pieces, scale=self.scale)
        if self.threshold:
            # Compared with what each output was made of, not with the last picture, nothing drifts.
            lane.windows = (lane.windows or {}) | {tile: tile.window(plane).copy() for tile in tiles}
        else:
            lane.seen = plane
        return lane.made

    def _trust(self) -> bool:
        """Whether tiles are what the whole is; where they are not they are not used again for this shape."""
        if self._shape not in self._trusted:
            self._trusted[self._shape] = bool(self.threshold) or self._prove()
            if not self._trusted[self._shape]:
                log.info("tiles differ from the whole picture in the last bit here; only repeated pictures are reused")
                self._rows = []
        return self._trusted[self._shape]

    def _prove(self) -> bool:
        random = np.random.default_rng(0).integers(0, self.numbers.peak + 1, self._shape)
        noise: Plane = random.astype(np.uint8) if self.numbers.bit_depth == 8 else random.astype(np.uint16)
        # As many planes as usual, for each number of them may be a graph of its own.
        whole = self.runner.submit([noise] * len(self._lanes)).result()[0]
        tiles = list(itertools.chain(*self._rows))
        return all(np.array_equal(self._in_pieces(noise, run), whole) for run in self._runs(tiles))

    def _in_pieces(self, plane: Plane, tiles: list[Tile]) -> Plane:
        rows, columns = plane.shape
        made = np.zeros((rows * self.scale, columns * self.scale), plane.dtype)
        for tile in tiles:
            tile.lay(self.runner.submit([tile.window(plane)]).result()[0], made, scale=self.scale)
        return made

    def _runs(self, tiles: list[Tile]) -> list[list[Tile]]:
        """The shapes that there may be: each tile alone and, where they are joined, as many as can be."""
        return [tiles, joined(tiles)] if self.any_shape else [tiles]


@dataclass(frozen=True, slots=True)
class Repeated:
    """What a job makes of its last picture, once more for each time that it was handed in again."""

    job: Future[list[Planes]]
    count: int

    def result(self) -> list[Planes]:
        """Wait, and return the larger pictures, all of one memory."""
        return [self.job.result()[-1]] * self.count


class Repeats:
    """Pictures that come again as a whole, for paths on which nothing smaller can be relied on."""

    def __init__(self) -> None:
        self._key: object = None
        self._seen: Planes = ()
        self._job: Future[list[Planes]] | None = None

    def find(self, pictures: Sequence[Planes], *, key: object) -> Repeated | None:
        """What is made of the last picture, where all of ``pictures`` are that one.

        Args:
            pictures: any.
            key: what the result depends on beside the samples.
        """
        if self._job is None or key != self._key or not all(self._same(planes) for planes in pictures):
            return None
        if self._job.done() and self._job.exception() is not None:
            return None
        return Repeated(self._job, len(pictures))

    def keep(self, picture: Planes, job: Future[list[Planes]], *, key: object) -> None:
        """Remember a picture, and the job whose last one it is; what is made of it is never written to."""
        self._key, self._seen, self._job = key, tuple(plane.copy() for plane in picture), job

    def forget(self) -> None:
        """Free what is remembered."""
        self._key, self._seen, self._job = None, (), None

    def _same(self, planes: Planes) -> bool:
        return all(np.array_equal(a, b) for a, b in zip(planes, self._seen, strict=True))
