"""PSNR, SSIM and GMSD as the papers compute them: on luma, 8 bit, with a border left out.

PSNR and SSIM punish texture that is plausible and not the true one. GMSD looks at gradients at half the resolution and
forgives more of it; :mod:`vsr.niqe` asks for no truth at all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from vsr.errors import PixelError

SSIM_WINDOW = 11
"""Rows and columns that SSIM needs at least."""

# What keeps flat parts from deciding, for gradients of numbers in 0..255 (the authors' choice).
_GMSD_STABILITY = 170.0


def psnr(image: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], *, border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 H×W images; ``inf`` when they are equal.

    Raises:
        PixelError: when shapes differ, the border leaves nothing, or it is not uint8.
    """
    image, truth = _inner(image, truth, border)
    error = float(np.mean((image.astype(np.float64) - truth) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255.0**2 / error))


def ssim(image: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], *, border: int = 0) -> float:
    """Structural similarity (Wang et al. 2004: 11×11 Gaussian, σ 1.5) of two uint8 H×W images, at most 1.

    Raises:
        PixelError: when shapes differ, fewer than 11 rows or columns are left, or it is not uint8.
    """
    image, truth = _inner(image, truth, border)
    if min(image.shape) < SSIM_WINDOW:
        least = f"{SSIM_WINDOW}×{SSIM_WINDOW}"
        raise PixelError(f"got {image.shape} after cutting a border of {border}, SSIM needs at least {least}")
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            image, truth, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def gmsd(image: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], *, border: int = 0) -> float:
    """Gradient magnitude similarity deviation (Xue et al. 2014) of two uint8 H×W images: 0 when equal, less is better.

    Raises:
        PixelError: when shapes differ, fewer than 6 rows or columns are left, or it is not uint8.
    """
    image, truth = _inner(image, truth, border)
    if min(image.shape) < 6:
        raise PixelError(f"got {image.shape} after cutting a border of {border}, GMSD needs at least 6×6")
    one, two = (_gradient(_halved(each)) for each in (image, truth))
    similarity = (2 * one * two + _GMSD_STABILITY) / (one**2 + two**2 + _GMSD_STABILITY)
    return float(similarity.std())


def _halved(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    rows, columns = (side // 2 for side in image.shape)
    blocks = image[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).astype(np.float64)
    return (blocks[:, 0, :, 0] + blocks[:, 0, :, 1] + blocks[:, 1, :, 0] + blocks[:, 1, :, 1]) / 4


def _gradient(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The magnitude by Prewitt's filters, without the outermost samples."""
    across = (image[:, 2:] - image[:, :-2]) / 3
    down = (image[2:] - image[:-2]) / 3
    across = across[:-2] + across[1:-1] + across[2:]
    down = down[:, :-2] + down[:, 1:-1] + down[:, 2:]
    return np.sqrt(across**2 + down**2)


def _inner(
    image: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], border: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    if image.shape != truth.shape or image.ndim != 2:
        raise PixelError(f"got {image.shape} and {truth.shape}, both images must be H×W of one shape")
    if image.dtype != np.uint8 or truth.dtype != np.uint8:
        raise PixelError(f"got {image.dtype} and {truth.dtype}, both images must be uint8")
    if border < 0:
        raise PixelError(f"got a border of {border}, it must be at least 0")
    if border:
        image, truth = image[border:-border, border:-border], truth[border:-border, border:-border]
    if image.size == 0:
        raise PixelError(f"a border of {border} leaves nothing of the image")
    return image, truth
