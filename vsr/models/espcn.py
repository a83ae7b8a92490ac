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

The wide variant, which many repositories train under the same name, spends sixty times as much:

=====  ==================  ==========  =================
layer  kernel              activation  output
=====  ==================  ==========  =================
1      5×5, 1 → 512        ReLU        H × W × 512
2      3×3, 512 → 256      ReLU        H × W × 256
3      3×3, 256 → 64       ReLU        H × W × 64
4      3×3, 64 → r²        none        H × W × r²
5      sub-pixel shuffle   none        rH × rW × 1
=====  ==================  ==========  =================
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from vsr.models.base import SubpixelNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class ESPCNConfig:
    """Shape of the network: the widths of its two hidden layers are the paper's.

    More than one of ``channels`` is for weights from elsewhere.
    """

    scale: int = 2
    channels: int = 1
    widths: tuple[int, int] = (64, 32)


class ESPCN(SubpixelNetwork):
    """The paper's network on luma, (5, 64), (3, 32), (3, r²)."""

    def __init__(self, config: ESPCNConfig | None = None) -> None:
        super().__init__()
        config = config or ESPCNConfig()
        first, second = config.widths
        self.scale, self.channels = config.scale, config.channels
        self.receptive_field = 2 + 1 + 1
        self.body = nn.Sequential(
            nn.Conv2d(config.channels, first, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(second, config.channels * config.scale**2, 3, padding=1),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as nearest-neighbour upsampling plus a little, with hidden units that already bend.

        Natural patches vary so little that small random weights leave every tanh in its straight part: training then
        stays for tens of thousands of steps where the best *linear* filter is. First-layer filters without a mean and
        of a norm that drives tanh into its curve do away with that, and the first unit of each layer hands luma on.
        """
        first, second, last = (self.body[index] for index in (0, 2, 4))
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d) and isinstance(last, nn.Conv2d)
        distance = torch.arange(5.0) - 2
        window = torch.exp(-(distance[:, None] ** 2 + distance**2) / 2.9)
        with torch.no_grad():
            filters = torch.randn_like(first.weight) * window
            filters -= filters.mean(dim=(2, 3), keepdim=True)
            first.weight.copy_(3 * filters / filters.norm(dim=(2, 3), keepdim=True))
            nn.init.orthogonal_(second.weight)
            last.weight.mul_(0.1)
            for conv in (first, second):
                assert conv.bias is not None
                conv.bias.zero_()
                conv.weight[0] = 0
                centre = conv.kernel_size[0] // 2
                conv.weight[0, 0, centre, centre] = 1
            assert first.bias is not None and last.bias is not None
            first.bias[0] = -0.5  # luma, centred on zero, where tanh is straight
            last.bias.fill_(0.5)
            last.weight[:, 0, 1, 1] += 1.15  # makes up for what two tanh take off

    def subpixels(self, x: Tensor) -> Tensor:
        """N×channels×H×W in [0, 1] to N×(channels·r²)×H×W."""
        channels: Tensor = self.body(x)
        return channels


class WideESPCN(SubpixelNetwork):
    """The wide variant on luma, (5, 512), (3, 256), (3, 64), (3, r²), orthogonal weights to start from."""

    def __init__(self, *, scale: int = 2, widths: tuple[int, ...] = (512, 256, 64)) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((1, *widths, scale**2)):
            side = 3 if layers else 5
            conv = nn.Conv2d(inputs, outputs, side, padding=side // 2)
            nn.init.orthogonal_(conv.weight, nn.init.calculate_gain("relu") if outputs != scale**2 else 1.0)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
            layers += [conv, nn.ReLU()]
        self.body = nn.Sequential(*layers[:-1])
        self.receptive_field = len(widths) + 2

    def subpixels(self, x: Tensor) -> Tensor:
        """N×1×H×W in [0, 1] to N×r²×H×W."""
        channels: Tensor = self.body(x)
        return channels
