"""ESPCN: the first network to work at low resolution and rearrange channels into pixels at the very end.

Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016 (arXiv:1609.05158).

=====  ==================  ==========  =================
layer  kernel              activation  output
=====  ==================  ==========  =================
1      5×5, 1 → 64         tanh        H × W × 64
2      3×3, 64 → 32        tanh        H × W × 32
3      3×3, 32 → r²        none        H × W × r²
4      sub-pixel shuffle   none        rH × rW × 1
=====  ==================  ==========  =================
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vsr.models.base import SubpixelNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class ESPCNConfig:
    """Shape of the network: the widths of its two hidden layers are the paper's."""

    scale: int = 2
    widths: tuple[int, int] = (64, 32)


class ESPCN(SubpixelNetwork):
    """The paper's network on luma, (5, 64), (3, 32), (3, r²)."""

    def __init__(self, config: ESPCNConfig | None = None) -> None:
        super().__init__()
        config = config or ESPCNConfig()
        first, second = config.widths
        self.scale = config.scale
        self.receptive_field = 2 + 1 + 1
        self.body = nn.Sequential(
            nn.Conv2d(1, first, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(second, config.scale**2, 3, padding=1),
        )

    def subpixels(self, x: Tensor) -> Tensor:
        """N×1×H×W in [0, 1] to N×r²×H×W."""
        channels: Tensor = self.body(x)
        return channels
