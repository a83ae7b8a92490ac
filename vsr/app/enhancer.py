"""Where pixels meet video: an :class:`~vsr.upscaler.Upscaler` as the enhancer of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streams.frame import Frame, PixelFormat
from vsr.app.fit import fit_planes
from vsr.app.stated import stated
from vsr.app.surfaces import SurfaceReader
from vsr.layout import Layout

if TYPE_CHECKING:
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
    """

    def __init__(self, upscaler: Upscaler, *, size: tuple[int, int] | None = None) -> None:
        self._upscaler, self._reader = upscaler, SurfaceReader(upscaler)
        self._size = size

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
        pictures = self.job.result()
        if self.size is not None:
            width, height = self.size
            pictures = [fit_planes(planes, layout=self.layout, width=width, height=height) for planes in pictures]
        pairs = zip(self.frames, pictures, strict=True)
        return [replace(frame, planes=planes, owner=None) for frame, planes in pairs]
