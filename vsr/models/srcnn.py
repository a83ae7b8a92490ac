"""SRCNN: the first convolutional network for super-resolution; it sharpens what bicubic interpolation has enlarged.

Dong et al., "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016 (arXiv:1501.00092).

=====  ======================  ==========  ================
layer  kernel                  activation  output
=====  ======================  ==========  ================
0      bicubic ×r, not learnt  none        rH × rW × 1
1      9×9, 1 → 64             ReLU        rH × rW × 64
2      1×1 or 5×5, 64 → 32     ReLU        rH × rW × 32
3      5×5, 32 → 1             none        rH × rW × 1
=====  ======================  ==========  ================

The sub-pixel variant does the same at low resolution, r² times cheaper, as Shi et al. (arXiv:1609.05158) compare it:

=====  ======================  ==========  ================
layer  kernel                  activation  output
=====  ======================  ==========  ================
1      9×9, 1 → 64             ReLU        H × W × 64
2      1×1, 64 → 32            ReLU        H × W × 32
3      5×5, 32 → r²            none        H × W × r²
4      sub-pixel shuffle       none        rH × rW × 1
=====  ======================  ==========  ================
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr.models.base import Network, SubpixelNetwork
from vsr.models.initial import hand_on
from vsr.models.interpolation import Interpolation


@dataclass(frozen=True, slots=True, kw_only=True)
class SRCNNConfig:
    """Shape of the network: ``middle`` is the side of the second kernel, 1 (9-1-5) or 5 (9-5-5) in the paper.

    More than one of ``channels`` is for weights from elsewhere; the sub-pixel variant has one.
    """

    scale: int = 3
    channels: int = 1
    widths: tuple[int, int] = (64, 32)
    middle: int = 1


class SRCNN(Network):
    """The paper's network on luma; the interpolation ahead of it is part of it."""

    def __init__(self, config: SRCNNConfig | None = None) -> None:
        super().__init__()
        config = config or SRCNNConfig()
        self.scale, self.channels = config.scale, config.channels
        self.enlarge = Interpolation(config.scale, kernel="bicubic")
        self.conv1, self.conv2, self.conv3 = _layers(config, outputs=config.channels)
        reach = 4 + config.middle // 2 + 2
        # The first of a place's r samples sees furthest back: to the cubic taps of the sample ``reach`` ahead of it.
        self.receptive_field = 1 - (1 - 2 * reach - config.scale) // (2 * config.scale)

    def forward(self, x: Tensor) -> Tensor:
        """N×channels×H×W in [0, 1] to N×channels×rH×rW."""
        enlarged = torch.cat([self.enlarge(plane) for plane in torch.split(x, 1, dim=1)], dim=1)
        features = functional.relu(self.conv1(enlarged))
        result: Tensor = self.conv3(functional.relu(self.conv2(features)))
        return result


class SubpixelSRCNN(SubpixelNetwork):
    """SRCNN at low resolution, with a sub-pixel shuffle at the end in place of the interpolation ahead."""

    def __init__(self, config: SRCNNConfig | None = None) -> None:
        super().__init__()
        config = config or SRCNNConfig()
        self.scale = config.scale
        self.conv1, self.conv2, self.conv3 = _layers(config, outputs=config.scale**2)
        self.receptive_field = 4 + config.middle // 2 + 2

    def subpixels(self, x: Tensor) -> Tensor:
        """N×1×H×W in [0, 1] to N×r²×H×W."""
        features = functional.relu(self.conv1(x))
        channels: Tensor = self.conv3(functional.relu(self.conv2(features)))
        return channels


def _layers(config: SRCNNConfig, *, outputs: int) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d]:
    """The three convolutions, such that the first unit of each hands luma on."""
    first, second = config.widths
    conv1 = nn.Conv2d(config.channels, first, 9, padding=4)
    conv2 = nn.Conv2d(first, second, config.middle, padding=config.middle // 2)
    conv3 = nn.Conv2d(second, outputs, 5, padding=2)
    hand_on(conv1, 1)
    hand_on(conv2, 1)
    conv3.weight.data.mul_(0.1)
    hand_on_to_all(conv3)
    return conv1, conv2, conv3


def hand_on_to_all(conv: nn.Conv2d) -> None:
    """Give every output the first input, beside what it makes of the others."""
    centre = conv.kernel_size[0] // 2
    conv.weight.data[:, 0] = 0
    conv.weight.data[:, 0, centre, centre] = 1
    if conv.bias is not None:
        conv.bias.data.zero_()
