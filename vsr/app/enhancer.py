"""Where pixels meet video: an :class:`~vsr.upscaler.Upscaler` as the enhancer of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streams.frame import Frame, PixelFormat, Plane
from vsr.app.fit import fit_planes
from vsr.app.stated import stated
from vsr.app.surfaces import SurfaceReader, left
from vsr.layout import Layout

if TYPE_CHECKING:
    from vsr.backends.base import Planes
    from vsr.upscaler import PlanesJob, Upscaler


def layout_of(form: PixelFormat) -> Layout:
    """The part of a pixel format that resizing needs; primaries and transfer are not its affair."""
    return Layout(
        subsampling=form.subsampling,
        bit_depth=form.bit_depth,
        full_range=form.range == "full",
        chroma_location=form.chroma_location,
        matrix=form.matrix,
    )


class UpscalerEnhancer:
    """Makes frames larger; their time, marks and format stay.

    Args:
        upscaler: used by nobody else meanwhile.
        size: (width, height) of the output, at most what the network makes; None leaves that as it is.
        leave: leave 4:2:0 pictures on the GPU of the upscaler, for a sink that takes them there.

    Raises:
        ConfigError: the upscaler cannot do that.
    """

    def __init__(self, upscaler: Upscaler, *, size: tuple[int, int] | None = None, leave: bool = False) -> None:
        self._upscaler, self._reader = upscaler, SurfaceReader(upscaler)
        self._size = size
        if leave:
            upscaler.leave_on_gpu()

    def submit(self, frames: Sequence[Frame]) -> PendingFrames:
        """Hand in frames of one geometry; their planes are copied before this returns, or, on a GPU, kept till the end.

        Raises:
            PixelError: planes that the upscaler does not take.
        """
        layout = layout_of(stated(frames[0].format, lines=frames[0].height))
        job = self._upscaler.submit(self._reader.pictures(frames), layout=layout)
        return PendingFrames(tuple(frames), job, layout, self._size)

    def reset(self) -> None:
        """Forget earlier frames, of which an upscaler that reuses results remembers the last."""
        self._upscaler.reset()


@dataclass(frozen=True, slots=True)
class PendingFrames:
    """Frames on their way."""

    frames: tuple[Frame, ...]
    job: PlanesJob
    layout: Layout
    size: tuple[int, int] | None

    def result(self) -> list[Frame]:
        """Wait, and return the larger frames in the order of the smaller ones."""
        pairs = zip(self.frames, self.job.result(), strict=True)
        return [replace(frame, planes=self._fitted(planes), owner=None) for frame, planes in pairs]

    def _fitted(self, planes: Planes) -> Sequence[Plane]:
        rows, columns = planes[0].shape
        width, height = self.size or (columns, rows)
        there = left(planes)
        if there is not None and (rows, columns) == (height, width):
            return there
        host = planes if there is None else tuple(there)
        return fit_planes(host, layout=self.layout, width=width, height=height)
