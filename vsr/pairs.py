"""Pictures as pairs of luma, small and large: what networks learn from and are judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vsr.colour import rgb_to_luma
from vsr.errors import DataError
from vsr.resample import imresize

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def find_images(folder: Path) -> list[Path]:
    """Every picture below a folder, sorted by path.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one that holds pictures ({', '.join(IMAGE_SUFFIXES)})")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise DataError(f"no picture below {folder}; looked for {', '.join(IMAGE_SUFFIXES)}")
    return found


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """A picture as uint8 H×W×3.

    Raises:
        DataError: it cannot be read as a picture.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise DataError(f"cannot read {path} as a picture: {error}") from error


def crop_to_multiple(image: npt.NDArray[np.uint8], scale: int) -> npt.NDArray[np.uint8]:
    """Cut rows and columns off the end so that both are multiples of ``scale`` (the papers' ``modcrop``)."""
    rows, columns = image.shape[:2]
    return image[: rows - rows % scale, : columns - columns % scale]


@dataclass(frozen=True, slots=True)
class Pair:
    """Luma of one picture: ``low`` uint8 H×W and ``high`` uint8 rH×rW."""

    low: npt.NDArray[np.uint8]
    high: npt.NDArray[np.uint8]


def make_pair(rgb: npt.NDArray[np.uint8], scale: int) -> Pair:
    """Degrade as the papers do: antialiased bicubic in RGB, rounded to 8 bit, then luma of both."""
    high = crop_to_multiple(rgb, scale)
    return Pair(rgb_to_luma(imresize(high, scale=1 / scale)), rgb_to_luma(high))


def load_pairs(paths: Sequence[Path], scale: int) -> Iterator[Pair]:
    """Read and degrade pictures one by one; those smaller than 16 low-resolution samples are passed over."""
    for path in paths:
        rgb = read_rgb(path)
        if min(rgb.shape[:2]) >= 16 * scale:
            yield make_pair(rgb, scale)
