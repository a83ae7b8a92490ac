"""What every network promises: the contract between an architecture and whoever runs or trains it.

``forward`` takes floats N×channels×H×W in [0, 1] and returns N×channels×rH×rW, not clamped; it pads by itself, so that
any H and W from 1 upwards work. Luma networks (``channels`` 1) expect the Y of limited range as stored, 16..235 over
255: the range that the papers train and test on. Networks of three channels expect R, G and B over the whole of [0, 1],
not linearised. Other numbers are mapped there by :class:`vsr.Upscaler`.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

# Side of the picture that multiplications are counted on: small, and a multiple of nothing odd.
_COUNTED_SIDE = 8


class Network(nn.Module):
    """A network that makes pictures ``scale`` times larger.

    Attributes:
        scale: output rows per input row.
        channels: 1 for luma, 3 for RGB.
        receptive_field: input samples that an output sample depends on, to each side; a tile that is this much larger
            on each side than what is kept of its result changes no sample.
    """

    scale: int
    channels: int = 1
    receptive_field: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """N×channels×H×W in [0, 1] to N×channels×rH×rW."""

    @property
    def overlap(self) -> int:
        """Input samples that a tile is larger by on each side; less than the receptive field where its rim is idle."""
        return self.receptive_field

    def folded(self) -> Network:
        """The same function with everything that only training needs folded away; itself where there is nothing."""
        return self


class SubpixelNetwork(Network):
    """A network whose last step is the sub-pixel shuffle of ESPCN: r² channels become the r×r samples of one place.

    Whoever runs it may round to whole numbers between the two, and shuffle a quarter of the bytes.
    """

    @abstractmethod
    def subpixels(self, x: Tensor) -> Tensor:
        """N×1×H×W in [0, 1] to N×r²×H×W, channel r·i + j holding the sample at row i, column j of each place."""

    def forward(self, x: Tensor) -> Tensor:
        """N×1×H×W in [0, 1] to N×1×rH×rW."""
        return torch.nn.functional.pixel_shuffle(self.subpixels(x), self.scale)


@torch.no_grad()
def macs_per_input_sample(network: Network) -> int:
    """Multiplications of all trained convolutions per place of the input, those behind an upsampling r² times."""
    counted = 0

    def count(layer: nn.Module, _: object, result: Tensor) -> None:
        nonlocal counted
        weight = layer.weight
        assert isinstance(weight, Tensor)
        counted += weight[0].numel() * result[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    try:
        parameter = next(network.parameters(), torch.zeros(()))
        network(parameter.new_zeros(1, network.channels, _COUNTED_SIDE, _COUNTED_SIDE))
    finally:
        for hook in hooks:
            hook.remove()
    return counted // _COUNTED_SIDE**2


def parameter_count(network: nn.Module) -> int:
    """Trained numbers, biases included."""
    return sum(parameter.numel() for parameter in network.parameters())
