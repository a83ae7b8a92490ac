"""Interpolation without weights to train: nearest, bilinear and bicubic, as one convolution and a shuffle.

Upsampling by a whole number r places only r different phases between the input samples, so r² fixed kernels and a
sub-pixel shuffle do it exactly, in whatever runs convolutions. The same module moves chroma to where video has it:
``shift`` says how far the chroma samples lie from the centre of the luma that they belong to.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vsr.models.base import SubpixelNetwork
from vsr.resample import KERNELS, Floats


class Interpolation(SubpixelNetwork):
    """Upsampling by a whole number with a fixed kernel, the edge sample repeated beyond the border.

    Args:
        scale: output rows per input row.
        kernel: a name of :data:`vsr.resample.KERNELS`.
        shift: (down, across): where output sample 0 lies, in input samples, beyond where centred grids put it.

    Attributes:
        down, across: the kernel along each axis, scale×taps: the weights of the samples around the one that a phase
            belongs to.
    """

    weight: Tensor
    down: Floats
    across: Floats

    def __init__(self, scale: int, *, kernel: str = "bicubic", shift: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.scale = scale
        rows = [_phases(scale, kernel, amount) for amount in shift]
        self.receptive_field = max((row.shape[1] - 1) // 2 for row in rows)
        self.down, self.across = (_widen(row, self.receptive_field) for row in rows)
        weight = np.einsum("ai,bj->abij", self.down, self.across)
        weight = weight.reshape(scale**2, 1, *weight.shape[2:])
        self.register_buffer("weight", torch.from_numpy(weight).float(), persistent=False)

    def subpixels(self, x: Tensor) -> Tensor:
        """N×1×H×W in any range to N×r²×H×W in the same range, plus what the kernel overshoots."""
        margin = self.receptive_field
        padded = functional.pad(x, (margin,) * 4, mode="replicate") if margin else x
        return functional.conv2d(padded, self.weight)


def _phases(scale: int, kernel: str, shift: float) -> Floats:
    """The kernel at each of the ``scale`` phases: rows of weights around the sample that the phase belongs to."""
    function, support = KERNELS[kernel]
    where = (np.arange(scale) + 0.5) / scale - 0.5 + shift
    reach = int(np.ceil(support + np.abs(where).max()))
    weights = function(where[:, None] - np.arange(-reach, reach + 1))
    weights /= weights.sum(axis=1, keepdims=True)
    while weights.shape[1] > 1 and not weights[:, [0, -1]].any():
        weights = weights[:, 1:-1]
    return weights


def _widen(weights: Floats, reach: int) -> Floats:
    return np.pad(weights, ((0, 0), (reach - weights.shape[1] // 2,) * 2))
