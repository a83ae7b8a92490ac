"""Pictures of how a training run is doing: low resolution, bicubic, the network, the truth, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from vsr.models.base import Network
from vsr.models.interpolation import Interpolation
from vsr.pairs import Pair, to_image, to_tensor

SIDE = 192


@torch.no_grad()
def sample_grid(network: Network, pairs: Sequence[Pair], *, device: torch.device) -> Image.Image:
    """A row for each pair: nearest | bicubic | network | truth, the most detailed crop of each, gray for luma."""
    return Image.fromarray(np.concatenate([_row(network, pair, device) for pair in pairs]))


def _row(network: Network, pair: Pair, device: torch.device) -> npt.NDArray[np.uint8]:
    scale = network.scale
    side = min(SIDE // scale, *pair.low.shape[:2])
    low = _detailed(pair.low, side)
    x = to_tensor(pair.low[low]).to(device)
    truth = pair.high[tuple(slice(part.start * scale, part.stop * scale) for part in low)]
    made = [*(_interpolated(x, scale, kernel) for kernel in ("nearest", "bicubic")), to_image(network(x))]
    row = np.concatenate([*made, truth], axis=1)
    return np.pad(row, ((0, SIDE - row.shape[0]), (0, 4 * SIDE - row.shape[1]), (0, 0))[: row.ndim])


def _interpolated(x: Tensor, scale: int, kernel: str) -> npt.NDArray[np.uint8]:
    """Every channel by itself."""
    return to_image(Interpolation(scale, kernel=kernel).to(x.device)(x.transpose(0, 1)).transpose(0, 1))


def _detailed(image: npt.NDArray[np.uint8], side: int) -> tuple[slice, slice]:
    """Where the crop with the largest variance lies, on a coarse grid."""
    places = [
        (slice(y, y + side), slice(x, x + side))
        for y in range(0, image.shape[0] - side + 1, max(1, side // 2))
        for x in range(0, image.shape[1] - side + 1, max(1, side // 2))
    ]
    return max(places, key=lambda place: float(image[place].var()))
