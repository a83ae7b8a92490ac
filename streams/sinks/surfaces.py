"""Encoding pictures where they lie: NVENC takes them from the memory of its GPU."""

from __future__ import annotations

import logging
from typing import Any

import av
from av.video.frame import CudaContext

from streams.frame import Frame, PixelFormat, Surface
from streams.sinks.encoders import Encoder, EncoderOptions
from streams.sinks.pictures import PictureMaker

log = logging.getLogger(__name__)

_LAYOUTS = {("420", 8): "nv12", ("420", 10): "p010le"}


def surface_layout(
    encoder: Encoder, form: PixelFormat, *, width: int, height: int, options: EncoderOptions
) -> str | None:
    """FFmpeg's name of what an encoder may take from the GPU of ``options``; None, with the reason in the log."""
    if options.gpu is None:
        return None
    layout = _LAYOUTS.get((form.subsampling, form.bit_depth))
    if not encoder.library.endswith("_nvenc"):
        reason = f"{encoder.name} encodes on the processor"
    elif layout is None or width % 2 or height % 2:
        reason = f"{encoder.name} takes {form.name} at {width}×{height} from there"
    elif options.pix_fmt not in (None, layout):
        reason = f"--pix-fmt {options.pix_fmt} is made there"
    else:
        return layout
    log.info("larger pictures are copied to the host: %s", reason)
    return None


class SurfaceMaker(PictureMaker):
    """Hands on pictures that lie on a GPU as they lie there, and makes others as ever.

    Args:
        form: of the frames.
        width: of the frames.
        height: of the frames.
        pix_fmt: ``"nv12"`` or ``"p010le"``.
        gpu: index of the GPU that encodes.
    """

    def __init__(self, form: PixelFormat, *, width: int, height: int, pix_fmt: str, gpu: int) -> None:
        super().__init__(form, width=width, height=height, pix_fmt=pix_fmt)
        self._gpu: int | None = gpu
        # The context that PyTorch uses: an address means nothing in another one.
        self._there = CudaContext(device_id=gpu, primary_ctx=True)

    def make(self, frame: Frame) -> Any:
        """A new ``av.VideoFrame``, on the GPU if the planes are."""
        planes = frame.planes
        if not isinstance(planes, Surface) or planes.device != self._gpu:
            return super().make(frame)
        try:
            exported = planes.export()
        except (MemoryError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            log.warning("larger pictures are copied to the host from here on: no room beside them there (%s)", reason)
            self._gpu = None
            return super().make(frame)
        picture = av.VideoFrame.from_dlpack(exported, format=self._pix_fmt, cuda_context=self._there)
        luma, chroma = picture.planes
        # NVENC is told one address, and looks for chroma right behind luma.
        if chroma.buffer_ptr != luma.buffer_ptr + luma.line_size * picture.height:
            return super().make(frame)
        return self._stated(picture, frame)
