"""Pictures and small networks that the tests of pixels share."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from skimage import data
from torch import nn

from vsr.colour import rgb_to_luma
from vsr.models import build_network
from vsr.models.base import Network

# The networks of RGB are built small: the contract that is tested does not depend on their size.
SMALL = {
    **{name: {"blocks": 1, "width": 8} for name in ("srresnet", "srresnet-y", "srgan")},
    **{name: {"blocks": 1, "width": 8, "growth": 4} for name in ("rrdb", "esrgan")},
}

# The networks here are tiny: a second thread costs more than it brings.
torch.set_num_threads(1)

Luma = npt.NDArray[np.uint8]
N = TypeVar("N", bound=nn.Module)


@cache
def _photos() -> tuple[Luma, Luma]:
    colour = data.astronaut()
    luma = rgb_to_luma(colour)
    for image in (colour, luma):
        image.setflags(write=False)
    return colour, luma


def photo(rows: int = 60, columns: int = 76) -> Luma:
    """Luma of a real picture, with edges and flat parts; read-only, and its rows lie apart."""
    return _photos()[1][20 : 20 + rows, 180 : 180 + columns]


def colour_photo(rows: int = 60, columns: int = 76) -> npt.NDArray[np.uint8]:
    """The same place in RGB, H×W×3."""
    return _photos()[0][20 : 20 + rows, 180 : 180 + columns]


def noise(*shape: int, bit_depth: int = 8, seed: int = 0) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Every number there is at a bit depth, at random."""
    kind = np.uint8 if bit_depth == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 1 << bit_depth, shape).astype(kind)


def network(name: str, scale: int, *, seed: int = 0) -> Network:
    """A folded network with random weights, the same ones each time; deep ones are small and nothing in them silent."""
    torch.manual_seed(seed)
    net = build_network(name, scale=scale, options=SMALL.get(name)).folded().eval().requires_grad_(False)
    return loud(net) if name in SMALL else net


@torch.no_grad()
def loud(net: N, *, amount: float = 0.03) -> N:
    """Add noise to all weights: deep networks begin with their blocks silent, and what is silent cannot be tested."""
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=amount)
    return net


def to_floats(luma: npt.NDArray[np.uint8]) -> torch.Tensor:
    """uint8 H×W to float 1×1×H×W in [0, 1]."""
    return torch.from_numpy(luma.astype(np.float32) / 255)[None, None]


def difference(a: npt.NDArray[np.integer], b: npt.NDArray[np.integer]) -> tuple[int, float]:
    """The largest difference of two pictures, and the share of samples that differ."""
    apart = np.abs(a.astype(np.int64) - b.astype(np.int64))
    return int(apart.max()), float((apart > 0).mean())
