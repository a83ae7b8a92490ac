"""Pictures in pairs, small and large: what networks learn from and are judged by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vsr.colour import rgb_to_luma
from vsr.errors import DataError
from vsr.resample import imresize

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def find_images(folder: Path) -> list[Path]:
    """Every picture below a folder, sorted by path; hidden files are none.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one that holds pictures ({', '.join(IMAGE_SUFFIXES)})")
    found = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise DataError(f"no picture below {folder}; looked for {', '.join(IMAGE_SUFFIXES)}")
    return found


def read_rgb(path: Path, *, upright: bool = False) -> npt.NDArray[np.uint8]:
    """A picture as uint8 H×W×3; gray of 16 bit is rounded to 8, transparency is left out.

    Args:
        path: of the picture.
        upright: turn it as its EXIF orientation says, as viewers do with the photos of phones. Test sets and training
            take the samples as they are stored.

    Raises:
        DataError: it cannot be read as a picture.
    """
    try:
        with Image.open(path) as image:
            if upright:
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I;16"):
                return _gray_of_16_bit(np.asarray(image))
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow raises all of these
        raise DataError(f"cannot read {path} as a picture: {error}") from error


def _gray_of_16_bit(image: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    # Pillow clips such pictures at 255, which leaves them white.
    gray = np.rint(image / 257).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def crop_to_multiple(image: npt.NDArray[np.uint8], scale: int) -> npt.NDArray[np.uint8]:
    """Cut rows and columns off the end so that both are multiples of ``scale`` (the papers' ``modcrop``)."""
    rows, columns = image.shape[:2]
    return image[: rows - rows % scale, : columns - columns % scale]


@dataclass(frozen=True, slots=True)
class Pair:
    """One picture twice: ``low`` uint8 H×W luma or H×W×3 RGB, and ``high``, r times as many rows and columns."""

    low: npt.NDArray[np.uint8]
    high: npt.NDArray[np.uint8]


def make_pair(rgb: npt.NDArray[np.uint8], scale: int, *, channels: int = 1) -> Pair:
    """Degrade as the papers do: antialiased bicubic in RGB, rounded to 8 bit.

    Args:
        rgb: uint8 H×W×3, cut to a multiple of the scale.
        scale: r.
        channels: 3 leaves both RGB, 1 takes the luma of both.
    """
    high = crop_to_multiple(rgb, scale)
    low = imresize(high, scale=1 / scale)
    return Pair(low, high) if channels == 3 else Pair(rgb_to_luma(low), rgb_to_luma(high))


def to_tensor(image: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 H×W or H×W×3 to float 1×C×H×W in [0, 1]."""
    planes = np.ascontiguousarray(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))
    return torch.from_numpy(planes).float().div(255)[None]


def to_image(tensor: Tensor) -> npt.NDArray[np.uint8]:
    """Float 1×C×H×W in [0, 1] to uint8 H×W or H×W×3, rounded and clamped."""
    numbers: npt.NDArray[np.uint8] = tensor[0].float().mul(255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return numbers[0] if len(numbers) == 1 else numbers.transpose(1, 2, 0)


def luma_of(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The luma of H×W×3 RGB; H×W is luma already."""
    return image if image.ndim == 2 else rgb_to_luma(image)
