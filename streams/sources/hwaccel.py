"""Decoding on a GPU, and what to do where there is none.

Pictures stay on the GPU, in memory of its primary context; :mod:`streams.sources.surfaces` says what becomes of them.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, TypeAlias, get_args

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer

from streams.cuda import share_primary_context
from streams.errors import SourceError

log = logging.getLogger(__name__)

HardwareDecoding: TypeAlias = Literal["none", "auto", "cuda"]
"""``"cuda"`` warns where software has to do; ``"auto"`` does not."""

_KIND = "cuda"
_REFUSALS = (av.FFmpegError, OSError, ValueError, RuntimeError)


def check(asked: str) -> HardwareDecoding:
    """The word, if it is one.

    Raises:
        SourceError: it is none.
    """
    for allowed in get_args(HardwareDecoding):
        if asked == allowed:
            return allowed  # type: ignore[no-any-return]
    raise SourceError(f"got hwaccel {asked!r}, allowed are {', '.join(get_args(HardwareDecoding))}")


def loudness(asked: HardwareDecoding) -> int:
    """The level of the log on which it is said that software has to do."""
    return logging.WARNING if asked == "cuda" else logging.INFO


def decodes(context: Any) -> bool:
    """Whether a decoder works on the GPU.

    Known with its first picture: of a codec that a GPU knows there are kinds (10 bits, 4:2:2) that it does not, and
    FFmpeg goes on in software by itself.
    """
    return bool(context.is_hwaccel and context.pix_fmt == _KIND)


def open_with(asked: HardwareDecoding, url: str, *, gpu: int = 0, **options: Any) -> InputContainer:
    """Open an input for reading with the decoder that was asked for, or in software, with the reason in the log.

    Args:
        asked: where to decode.
        url: of the input.
        gpu: index of the GPU that decodes.
        options: of ``av.open``.

    Raises:
        av.FFmpegError, OSError, ValueError: it cannot be opened at all.
    """
    if asked == "none":
        return _open(url, **options)
    level = loudness(asked)
    try:
        container = _open_on_gpu(url, gpu, **options)
    except _REFUSALS as error:
        # Even where a fallback is allowed FFmpeg refuses without the driver; and it may be the input, as will be seen.
        container = _open(url, **options)
        log.log(level, "no decoding on a GPU (%s); decoding in software", _words(error))
        return container
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    if any(stream.codec_context.is_hwaccel for stream in streams):
        log.info("decoding on the GPU")
    else:
        log.log(level, "no decoding on a GPU (it does not know the codec); decoding in software")
    return container


def _open_on_gpu(url: str, gpu: int, **options: Any) -> InputContainer:
    if _KIND not in hwdevices_available():
        raise RuntimeError("this FFmpeg is built without CUDA")
    share_primary_context(gpu)
    place: Any = {"device": str(gpu), "allow_software_fallback": True}
    try:
        # What is owned by the hardware is in the primary context, unless PyAV is told otherwise.
        return _open(url, hwaccel=HWAccel(_KIND, is_hw_owned=True, **place), **options)
    except _REFUSALS as error:
        container = _open(url, hwaccel=HWAccel(_KIND, **place), **options)
        log.info("pictures are copied to the host: FFmpeg is not let into the context of the GPU (%s)", _words(error))
        return container


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def _open(url: str, **options: Any) -> InputContainer:
    container: InputContainer = av.open(url, "r", **options)
    return container
