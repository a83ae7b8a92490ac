"""RGB and the luma that networks are trained on and judged by.

Published figures are PSNR on the Y of ITU-R BT.601 in limited range, rounded to 8 bit: MATLAB's ``rgb2ycbcr``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Rows of the BT.601 matrix for R, G and B in 0..255, limited range out (MATLAB's rgb2ycbcr).
_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255.0
_FROM_YCBCR = np.linalg.inv(_TO_YCBCR)
_OFFSET = np.array([16.0, 128.0, 128.0])


def rgb_to_ycbcr(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8 H×W×3 RGB to uint8 H×W×3 Y (16..235), Cb, Cr (16..240) of BT.601."""
    return _round(rgb @ _TO_YCBCR.T + _OFFSET)


def rgb_to_luma(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8 H×W×3 RGB to uint8 H×W luma, 16..235."""
    return _round(rgb @ _TO_YCBCR[0] + 16.0)


def ycbcr_to_rgb(ycbcr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The inverse of :func:`rgb_to_ycbcr`, rounded and clipped."""
    return _round((ycbcr - _OFFSET) @ _FROM_YCBCR.T)


def _round(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def rgb_to_ycbcr16(rgb: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint16], ...]:
    """uint8 H×W×3 RGB to three uint16 planes: BT.601 limited range at 16 bit, fine enough to come back unchanged."""
    values = (rgb @ _TO_YCBCR.T + _OFFSET) * 256.0
    return tuple(np.floor(values[..., channel] + 0.5).astype(np.uint16) for channel in range(3))


def ycbcr16_to_rgb(planes: tuple[npt.NDArray[np.uint8] | npt.NDArray[np.uint16], ...]) -> npt.NDArray[np.uint8]:
    """The inverse of :func:`rgb_to_ycbcr16`, rounded and clipped to uint8 H×W×3."""
    ycbcr = np.stack(planes, axis=-1, dtype=np.float64) / 256.0
    return _round((ycbcr - _OFFSET) @ _FROM_YCBCR.T)
