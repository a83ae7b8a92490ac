"""One picture in RGB, out of a picture file or a video."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, VideoReformatter

from streams.errors import SourceError, SourceNotFoundError
from streams.frame import UNSPECIFIED, Frame
from streams.sinks.pictures import PictureMaker
from streams.sources import open_source
from vsr.app.inputs import parse_seconds
from vsr.errors import ConfigError
from vsr.pairs import IMAGE_SUFFIXES, read_rgb

_HD_ROWS = 720
# What swscale calls the matrices of H.273; BT.601 under two numbers, BT.2020 likewise.
_SWS_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


def read_still(path: Path, *, frame: str | None = None) -> npt.NDArray[np.uint8]:
    """A picture, or one frame of a video, as uint8 H×W×3; what was taken with the camera turned is turned back.

    Args:
        path: of either.
        frame: of a video: ``"12"`` is the thirteenth, ``"0:05"`` or ``"2.5"`` the one that is shown at that time; None
            is the first.

    Raises:
        SourceError: it is not there, cannot be read, or ends before that frame.
        DataError: it is named like a picture and cannot be read as one.
        ConfigError: ``frame`` is neither a number nor a time, or is asked of a picture.
    """
    if not path.is_file():
        raise SourceNotFoundError(f"there is no file {path}; check the path")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        if frame is not None:
            raise ConfigError(f"got --frame {frame} for {path.name}, which is one picture; leave it out")
        return read_rgb(path, upright=True)
    return to_rgb(_frame_of(path, frame))


def _frame_of(path: Path, wanted: str | None) -> Frame:
    place: dict[str, Any] = {"max_frames": 1}
    number = 0
    if wanted is not None and re.fullmatch(r"\d+", wanted.strip()):
        number = int(wanted)
        place = {"max_frames": number + 1}
    elif wanted is not None:
        place["start_seconds"] = parse_seconds(wanted)
    count = 0
    with open_source(path, rotate=True, **place) as source:
        for count, found in enumerate(source, start=1):
            if count == number + 1:
                return found
    raise SourceError(f"{path}: has {count} frames, the last is --frame {count - 1}; got {number}")


def to_rgb(frame: Frame) -> npt.NDArray[np.uint8]:
    """The picture of a frame as uint8 H×W×3, by the matrix that it states or that players assume."""
    form = frame.format
    maker = PictureMaker(form, width=frame.width, height=frame.height, pix_fmt=form.name)
    assumed = 5 if frame.height < _HD_ROWS else 1
    matrix = _SWS_MATRICES.get(assumed if form.matrix == UNSPECIFIED else form.matrix, assumed)
    picture = VideoReformatter().reformat(
        maker.make(frame),
        format="rgb24",
        src_colorspace=matrix,
        src_color_range=ColorRange.JPEG if form.range == "full" else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation="BICUBIC",
        threads=1,
    )
    return np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
