"""SRResNet: sixteen residual blocks at low resolution, sub-pixel stages at the end; the generator of SRGAN.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017
(arXiv:1609.04802). n is 64 and there are 16 blocks in the paper; k9n64s1 there is 9×9, 64 here.

==============  ===============================================  ==========  ==================
part            kernel                                           activation  output
==============  ===============================================  ==========  ==================
head            9×9, 3 → n                                       PReLU       H × W × n
block (×16)     3×3, n → n, batch norm                           PReLU       H × W × n
..               3×3, n → n, batch norm; plus the block's input   none        H × W × n
tail            3×3, n → n, batch norm; plus the head's output   none        H × W × n
stage           3×3, n → 4n, sub-pixel shuffle ×2                PReLU       2H × 2W × n
stage (for ×4)  3×3, n → 4n, sub-pixel shuffle ×2                PReLU       4H × 4W × n
last            9×9, n → 3                                       none        rH × rW × 3
==============  ===============================================  ==========  ==================

On luma alone (``channels`` 1) it has one channel in and out, for the real-time path.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vsr.models.base import Network
from vsr.models.initial import hand_on, smooth


@dataclass(frozen=True, slots=True, kw_only=True)
class SRResNetConfig:
    """Shape of the network; the defaults are the paper's. ``batch_norm`` False builds the folded form."""

    scale: int = 4
    channels: int = 3
    blocks: int = 16
    width: int = 64
    batch_norm: bool = True


class SRResNet(Network):
    """The paper's network on RGB or, with one channel, on luma. ×2 has one sub-pixel stage, ×4 two."""

    def __init__(self, config: SRResNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SRResNetConfig()
        self.scale, self.channels = config.scale, config.channels
        width, norm = config.width, config.batch_norm
        self.head = nn.Sequential(nn.Conv2d(config.channels, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(width, batch_norm=norm) for _ in range(config.blocks)))
        self.tail = _conv(width, batch_norm=norm)
        stages = {2: 1, 4: 2}[config.scale]
        self.stages = nn.Sequential(*(SubpixelStage(width) for _ in range(stages)))
        self.last = nn.Conv2d(width, config.channels, 9, padding=4)
        # 9×9 at the end reaches two places, whether ahead of one stage or two; each stage's 3×3 makes that three.
        self.receptive_field = 4 + 2 * config.blocks + 1 + 3
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as linear interpolation: blocks are silent, and the first channels hand the picture on."""
        channels = self.channels
        head, tail = self.head[0], self.tail[0]
        assert isinstance(head, nn.Conv2d)
        assert isinstance(tail, nn.Conv2d)
        hand_on(head, channels)
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            _silence(block.second)
        _silence(self.tail)
        for stage in self.stages:
            assert isinstance(stage, SubpixelStage)
            hand_on(stage.conv, channels, spread=4)
        smooth(self.last, channels, width=self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """N×channels×H×W in [0, 1] to N×channels×rH×rW."""
        features = self.head(x)
        result: Tensor = self.last(self.stages(features + self.tail(self.blocks(features))))
        return result

    def folded(self) -> SRResNet:
        """The same function with every batch norm folded into the convolution ahead of it; itself without any."""
        if not self.config.batch_norm:
            return self
        plain = SRResNet(replace(self.config, batch_norm=False))
        state = {name: value for name, value in self.state_dict().items() if name in plain.state_dict()}
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Sequential) and len(layer) == 2 and isinstance(layer[1], nn.BatchNorm2d):
                assert isinstance(layer[0], nn.Conv2d)
                state[f"{name}.0.weight"], state[f"{name}.0.bias"] = _fold(layer[0], layer[1])
        plain.load_state_dict(state)
        return plain.train(self.training).to(next(self.parameters()).device)


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, width: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.first = _conv(width, batch_norm=batch_norm)
        self.activation = nn.PReLU()
        self.second = _conv(width, batch_norm=batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        """N×width×H×W to the same."""
        result: Tensor = x + self.second(self.activation(self.first(x)))
        return result


class SubpixelStage(nn.Module):
    """Twice as many rows and columns, as many channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4 * width, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """N×width×H×W to N×width×2H×2W."""
        result: Tensor = self.activation(self.shuffle(self.conv(x)))
        return result


def _conv(width: int, *, batch_norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(width, width, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(width)) if batch_norm else nn.Sequential(conv)


@torch.no_grad()
def _silence(layers: nn.Sequential) -> None:
    """Make a residual branch begin at nothing."""
    last = layers[-1]
    assert isinstance(last, nn.Conv2d | nn.BatchNorm2d)
    last.weight.zero_()
    if last.bias is not None:
        last.bias.zero_()


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does what the two do, with the statistics that the norm has gathered."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    assert conv.bias is not None
    gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return conv.weight * gain[:, None, None, None], (conv.bias - norm.running_mean) * gain + norm.bias
