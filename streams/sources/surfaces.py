"""Pictures that NVDEC has left on the GPU: which of them may stay there, and how they come to the host.

FFmpeg copies what NVDEC decodes into memory of its own, of which there is as much as is asked for: a picture that is
kept takes nothing from the decoder. The memory is of the device's primary context, which PyTorch uses as well.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt

from streams.errors import SourceError
from streams.frame import PixelFormat, Plane, Surface

_EXPORTED = frozenset({"nv12", "p010le", "p016le"})


def stored_format(picture: av.VideoFrame) -> str:
    """FFmpeg's name of what a picture holds, wherever it lies."""
    return str((picture.sw_format or picture.format).name)


def on_gpu(picture: av.VideoFrame) -> bool:
    """Whether a decoded picture lies on a GPU."""
    return picture.sw_format is not None


def obstacle(picture: av.VideoFrame) -> str | None:
    """Why a picture that lies on a GPU cannot be read there; None where it can."""
    if stored_format(picture) not in _EXPORTED:
        return f"{stored_format(picture)} cannot be read there"
    # PyAV exports a row or a column of chroma too few.
    return "odd sizes cannot be read there" if picture.width % 2 or picture.height % 2 else None


def on_host(picture: av.VideoFrame) -> av.VideoFrame:
    """A picture in the layout that it has, in the memory of the host.

    Raises:
        SourceError: it cannot be copied.
    """
    if not on_gpu(picture):
        return picture
    try:
        return picture.reformat(format=stored_format(picture))
    except (av.FFmpegError, ValueError) as error:
        raise SourceError(f"a picture cannot be copied from the GPU ({error}); try without --hwaccel") from error


class DecodedSurface(Surface):
    """What NVDEC made of a picture.

    Args:
        picture: with no :func:`obstacle`; kept as long as this is.
        form: what it holds.
    """

    def __init__(self, picture: av.VideoFrame, form: PixelFormat) -> None:
        device: int = picture.planes[0].__dlpack_device__()[1]
        super().__init__(width=picture.width, height=picture.height, device=device)
        self._picture, self._form = picture, form

    def export(self) -> tuple[Any, Any]:
        """Capsules of both planes."""
        luma, chroma = (plane.__dlpack__() for plane in self._picture.planes)
        return luma, chroma

    def download(self) -> tuple[Plane, ...]:
        """Copied, and U and V taken apart."""
        picture, form = on_host(self._picture), self._form
        luma, chroma = (_samples(plane, form) for plane in picture.planes)
        height, width = self.height, self.width
        parts = luma[:height, :width], chroma[: height // 2, :width:2], chroma[: height // 2, 1:width:2]
        shift = 0 if form.bit_depth == 8 else 16 - form.bit_depth
        return tuple(np.right_shift(part, shift) for part in parts)


def _samples(plane: Any, form: PixelFormat) -> npt.NDArray[Any]:
    samples: npt.NDArray[Any] = np.frombuffer(memoryview(plane), form.dtype)
    return samples.reshape(-1, plane.line_size // samples.itemsize)
