"""RRDBNet: residual-in-residual dense blocks, without batch norm; the generator of ESRGAN.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV 2018 Workshops
(arXiv:1809.00219). There are 23 blocks, n is 64 and g is 32 in the paper's code.

===========  ====================================================  ==========  ==================
part         kernel                                                activation  output
===========  ====================================================  ==========  ==================
first        3×3, 3 → n                                            none        H × W × n
dense (×3)   3×3, n + k·g → g for k = 0…3, each sees all before    LeakyReLU   H × W × g
..            3×3, n + 4g → n; times 0.2, plus the block's input    none        H × W × n
block (×23)  three dense blocks; times 0.2, plus the input         none        H × W × n
body         3×3, n → n; plus the output of ``first``              none        H × W × n
up1          nearest ×2, then 3×3, n → n                           LeakyReLU   2H × 2W × n
up2 (×4)     nearest ×2, then 3×3, n → n                           LeakyReLU   4H × 4W × n
hr           3×3, n → n                                            LeakyReLU   rH × rW × n
last         3×3, n → 3                                            none        rH × rW × 3
===========  ====================================================  ==========  ==================

LeakyReLU is of slope 0.2 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr.models.base import Network
from vsr.models.initial import hand_on, smooth

_SLOPE = 0.2
_RESIDUAL = 0.2
# What lies further away than this moves no sample by a step of eight bits (tests/test_models.py measures it).
_FELT = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RRDBConfig:
    """Shape of the network; the defaults are the paper's. ``growth`` is what each dense layer adds."""

    scale: int = 4
    blocks: int = 23
    width: int = 64
    growth: int = 32


class RRDBNet(Network):
    """The paper's network on RGB; ×2 leaves the second upsampling out."""

    def __init__(self, config: RRDBConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RRDBConfig()
        self.scale, self.channels = config.scale, 3
        width = config.width
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(width, config.growth) for _ in range(config.blocks)))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up2 = nn.Conv2d(width, width, 3, padding=1) if config.scale == 4 else None
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)
        self.receptive_field = 15 * config.blocks + 4
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as linear interpolation: the blocks are silent, and the first channels hand the picture on."""
        hand_on(self.conv_first, 3)
        for parameter in self.conv_body.parameters():
            nn.init.zeros_(parameter)
        hand_on(self.conv_hr, 3)
        for conv in self._upsampling():
            smooth(conv, 3, width=2)
        smooth(self.conv_last, 3, width=1)

    def _upsampling(self) -> list[nn.Conv2d]:
        return [self.conv_up1] if self.conv_up2 is None else [self.conv_up1, self.conv_up2]

    @property
    def overlap(self) -> int:
        """The paper's network can see 349 samples far and does not look: a tenth of that leaves no seam."""
        return min(self.receptive_field, _FELT)

    def forward(self, x: Tensor) -> Tensor:
        """N×3×H×W in [0, 1] to N×3×rH×rW."""
        features = self.conv_first(x)
        features = features + self.conv_body(self.body(features))
        for conv in self._upsampling():
            features = functional.leaky_relu(conv(functional.interpolate(features, scale_factor=2.0)), _SLOPE)
        result: Tensor = self.conv_last(functional.leaky_relu(self.conv_hr(features), _SLOPE))
        return result


class RRDB(nn.Module):
    """Three dense blocks in a row."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(width, growth)
        self.rdb2 = DenseBlock(width, growth)
        self.rdb3 = DenseBlock(width, growth)

    def forward(self, x: Tensor) -> Tensor:
        """N×width×H×W to the same."""
        result: Tensor = x + _RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))
        return result


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the input and all that those before it made."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(width + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(width + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(width + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(width + 4 * growth, width, 3, padding=1)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            _quiet(conv)

    def forward(self, x: Tensor) -> Tensor:
        """N×width×H×W to the same."""
        seen = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat([seen, functional.leaky_relu(conv(seen), _SLOPE)], dim=1)
        result: Tensor = x + _RESIDUAL * self.conv5(seen)
        return result


def _quiet(conv: nn.Conv2d) -> None:
    """A tenth of He's initialisation, as the paper's appendix has it."""
    nn.init.kaiming_normal_(conv.weight, a=_SLOPE)
    conv.weight.data.mul_(0.1)
    assert conv.bias is not None
    conv.bias.data.zero_()
