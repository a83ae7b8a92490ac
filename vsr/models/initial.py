"""Where deep networks start: as plain interpolation, with everything that is to be learnt still silent.

A network that begins by handing its input on learns the difference from the first step; small random weights spend
thousands of steps on finding the picture. The architecture stays that of the paper.
"""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def hand_on(conv: nn.Conv2d, channels: int, *, spread: int = 1) -> None:
    """Make a convolution hand its first ``channels`` inputs on as its first outputs, and nothing else into those.

    Args:
        conv: its other outputs keep their weights, and do not see what is handed on any less.
        channels: how many.
        spread: outputs that each input is handed on to, one after the other: r² ahead of a shuffle repeats samples.
    """
    rows, columns = conv.kernel_size
    conv.weight[: channels * spread] = 0
    for output in range(channels * spread):
        conv.weight[output, output // spread, rows // 2, columns // 2] = 1
    if conv.bias is not None:
        conv.bias[: channels * spread] = 0


@torch.no_grad()
def smooth(conv: nn.Conv2d, channels: int, *, width: int) -> None:
    """Make a convolution hand its first inputs on, each averaged over ``width`` samples, and nothing else into those.

    Behind repeated samples that is linear interpolation.

    Args:
        conv: of odd sides, at least ``width`` + 1 where that is even.
        channels: how many; its other outputs keep their weights.
        width: 1 only hands on.
    """
    side = conv.kernel_size[0]
    distance = (torch.arange(side) - side // 2).abs()
    # Half of a sample at each end where the width is even, so that the picture does not move.
    line = (width / 2 + 0.5 - distance).clamp(0, 1)
    line /= line.sum()
    conv.weight[:channels] = 0
    for channel in range(channels):
        conv.weight[channel, channel] = line[:, None] * line
    if conv.bias is not None:
        conv.bias[:channels] = 0
