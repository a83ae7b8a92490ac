"""Pictures on a GPU: from a source that decodes there to an upscaler, and on to a sink that encodes there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from streams.frame import Frame, Plane, Surface

if TYPE_CHECKING:
    from vsr.backends.base import Planes
    from vsr.backends.surfaces import DevicePlane
    from vsr.upscaler import Upscaler

logger = logging.getLogger(__name__)


class SurfaceReader:
    """Reads pictures where they lie, if the upscaler can; that is settled with the first one, and said in the log.

    Args:
        upscaler: what they are for.
    """

    def __init__(self, upscaler: Upscaler) -> None:
        self._upscaler = upscaler
        self._reads: bool | None = None

    def pictures(self, frames: Sequence[Frame]) -> list[Planes]:
        """What to hand in for frames of one geometry: planes on the GPU where all lie there, else on the host."""
        surfaces = [frame.planes for frame in frames if isinstance(frame.planes, Surface)]
        if len(surfaces) == len(frames) and self._settled(surfaces[0]):
            try:
                return [self._exported(surface, bit_depth=frames[0].format.bit_depth) for surface in surfaces]
            except (RuntimeError, BufferError, TypeError, ValueError) as error:
                self._reads = False
                logger.warning("pictures are copied to the host: PyTorch cannot read them on the GPU (%s)", error)
        return [tuple(frame.planes) for frame in frames]

    def _exported(self, surface: Surface, *, bit_depth: int) -> Planes:
        from vsr.backends.surfaces import device_planes

        # They do what an array does as far as the kernels, which are told from arrays only there.
        return cast("Planes", device_planes(surface.export(), bit_depth=bit_depth))

    def _settled(self, surface: Surface) -> bool:
        if self._reads is None:
            reason = self._obstacle(surface.device)
            self._reads = reason is None
            if reason is None:
                logger.info("pictures stay on GPU %d from the decoder to the network", surface.device)
            else:
                logger.info("pictures are copied to the host: %s", reason)
        return self._reads

    def _obstacle(self, device: int) -> str | None:
        upscaler, place = self._upscaler, self._upscaler.choice.device
        if not place.startswith("cuda"):
            return f"the network runs on {place}"
        if upscaler.gpu is None:
            return "networks on RGB, several GPUs, and --reuse take them from there"
        if upscaler.gpu != device:
            return f"GPU {device} decodes and GPU {upscaler.gpu} computes"
        return None


def left(planes: Planes) -> LargerSurface | None:
    """The planes of a result as a surface, where they were left on a GPU."""
    if isinstance(planes[0], np.ndarray):
        return None
    return LargerSurface(cast("Sequence[DevicePlane]", planes))


class LargerSurface(Surface):
    """What an upscaler left on its GPU.

    Args:
        planes: Y, U and V.
    """

    def __init__(self, planes: Sequence[DevicePlane]) -> None:
        rows, columns = planes[0].shape
        super().__init__(width=columns, height=rows, device=planes[0].tensor.device.index or 0)
        self._there = planes

    def export(self) -> tuple[Any, Any]:
        """Capsules of a copy as encoders want it."""
        from vsr.backends.surfaces import packed

        return packed(self._there)

    def download(self) -> tuple[Plane, ...]:
        """Copied one by one."""
        return tuple(np.asarray(plane) for plane in self._there)
