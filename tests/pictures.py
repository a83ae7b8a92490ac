"""Pictures and small networks that the tests of pixels share."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from skimage import data

from vsr.colour import rgb_to_luma
from vsr.models import build_network
from vsr.models.base import Network

# The networks here are tiny: a second thread costs more than it brings.
torch.set_num_threads(1)

Luma = npt.NDArray[np.uint8]


@cache
def _photo() -> Luma:
    image = rgb_to_luma(data.astronaut())
    image.setflags(write=False)
    return image


def photo(rows: int = 60, columns: int = 76) -> Luma:
    """Luma of a real picture, with edges and flat parts; read-only, and its rows lie apart."""
    return _photo()[20 : 20 + rows, 180 : 180 + columns]


def noise(*shape: int, bit_depth: int = 8, seed: int = 0) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Every number there is at a bit depth, at random."""
    kind = np.uint8 if bit_depth == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 1 << bit_depth, shape).astype(kind)


def network(name: str, scale: int, *, seed: int = 0) -> Network:
    """A network with random weights, the same ones each time."""
    torch.manual_seed(seed)
    return build_network(name, scale=scale).folded().eval().requires_grad_(False)


def to_floats(luma: npt.NDArray[np.uint8]) -> torch.Tensor:
    """uint8 H×W to float 1×1×H×W in [0, 1]."""
    return torch.from_numpy(luma.astype(np.float32) / 255)[None, None]


def difference(a: npt.NDArray[np.integer], b: npt.NDArray[np.integer]) -> tuple[int, float]:
    """The largest difference of two pictures, and the share of samples that differ."""
    apart = np.abs(a.astype(np.int64) - b.astype(np.int64))
    return int(apart.max()), float((apart > 0).mean())
