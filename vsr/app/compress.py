"""Pictures as a video brings them: a few frames of a slow pan, through H.264 and back."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from vsr.colour import rgb_to_ycbcr, ycbcr_to_rgb
from vsr.errors import ConfigError, PixelError
from vsr.resample import imresize
from vsr.training.degradation import Compressed

Picture = npt.NDArray[np.uint8]

FRAMES = 7
FASTEST = 2
"""Samples that the camera moves by from frame to frame, at most, in each direction."""

_LEAST_SIDE = 16
_RATE = Fraction(25)


def through_h264(picture: Picture, /, *, crf: int, luma: bool, rng: np.random.Generator) -> Compressed:
    """Encode a short pan over a picture and give its last frame back, one predicted from those before.

    The camera moves by whole samples, the same in each frame, so that the frame lies exactly on the picture's grid and
    its truth is a plain crop. ``libx264 -preset veryfast``, 4:2:0, BT.601, limited range.

    Args:
        picture: uint8 H×W×3 RGB.
        crf: 0 to 51.
        luma: give the decoded Y as it is, H×W, rather than RGB.
        rng: chooses the camera's way.

    Returns:
        The frame, uint8, h×w or h×w×3 with even sides, and where in the picture it begins.

    Raises:
        PixelError: another shape or type, or smaller than 28×28, which leaves a moving camera no room.
        ConfigError: this FFmpeg has no libx264, or it refuses.
    """
    room = _LEAST_SIDE + (FRAMES - 1) * FASTEST
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape[:2]) < room:
        raise PixelError(f"got {picture.shape} {picture.dtype}, a pan takes H×W×3 of uint8, at least {room}×{room}")
    ycbcr = rgb_to_ycbcr(picture)
    ways = [_way(length, rng) for length in picture.shape[:2]]
    frames = []
    for index in range(FRAMES):
        rows, columns = (slice(start + index * step, start + index * step + size) for start, step, size in ways)
        frames.append(_to_frame(ycbcr[rows, columns], index))
    try:
        last = _coded(frames, crf=crf)[-1]
    except (av.error.FFmpegError, ValueError) as error:
        raise ConfigError(f"cannot compress by libx264 at crf {crf}: {error}; try another crf") from error
    row, column = (start + (FRAMES - 1) * step for start, step, _ in ways)
    return Compressed(_plane(last, 0) if luma else _to_rgb(last), row, column)


def coded_luma(pictures: Sequence[Picture], *, crf: int) -> list[Picture]:
    """Luma of a moving picture after H.264 and back, compressed as :func:`through_h264` does.

    Args:
        pictures: uint8 H×W each, even sides, limited range; chroma is neutral.
        crf: 0 to 51.

    Returns:
        As many, uint8 H×W.
    """
    rows, columns = pictures[0].shape
    neutral = np.full((rows, columns, 2), 128, np.uint8)
    frames = [_to_frame(np.dstack([picture, neutral]), index) for index, picture in enumerate(pictures)]
    return [_plane(frame, 0) for frame in _coded(frames, crf=crf)]


def _way(length: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """Along one axis: where the camera begins, its step, and the even number of samples that it sees."""
    step = int(rng.integers(-FASTEST, FASTEST, endpoint=True))
    size = (length - (FRAMES - 1) * abs(step)) // 2 * 2
    return (0 if step >= 0 else (FRAMES - 1) * -step), step, size


def _to_frame(ycbcr: Picture, index: int) -> av.VideoFrame:
    rows, columns = ycbcr.shape[:2]
    frame = av.VideoFrame(columns, rows, "yuv420p")
    # Chroma is the mean of 2×2 and comes back centred: no siting is lost between the two.
    chroma = ycbcr[..., 1:].reshape(rows // 2, 2, columns // 2, 2, 2).mean(axis=(1, 3))
    planes = (ycbcr[..., 0], np.rint(chroma[..., 0]), np.rint(chroma[..., 1]))
    for plane, target in zip(planes, frame.planes, strict=True):
        lines = np.frombuffer(memoryview(target), np.uint8).reshape(plane.shape[0], -1)
        lines[:, : plane.shape[1]] = plane
    frame.pts, frame.time_base = index, 1 / _RATE
    return frame


def _coded(frames: list[av.VideoFrame], *, crf: int) -> list[av.VideoFrame]:
    """Frames after an encoder and a decoder, in the order of showing."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
    encoder.time_base, encoder.framerate = 1 / _RATE, _RATE
    encoder.color_range, encoder.colorspace = av.video.reformatter.ColorRange.MPEG, 6
    # One thread: the same bits on every machine. No second key frame: a pan is no change of scene.
    encoder.thread_count = 1
    encoder.options = {"preset": "veryfast", "crf": str(crf), "x264-params": "scenecut=0:log-level=error"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = [packet for frame in [*frames, None] for packet in encoder.encode(frame)]
    return [shown for packet in [*packets, None] for shown in decoder.decode(packet)]


def _plane(frame: av.VideoFrame, index: int) -> Picture:
    plane = frame.planes[index]
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return lines[:, : plane.width].copy()


def _to_rgb(frame: av.VideoFrame) -> Picture:
    chroma = (imresize(_plane(frame, index), scale=2) for index in (1, 2))
    return ycbcr_to_rgb(np.stack([_plane(frame, 0), *chroma], axis=-1))
