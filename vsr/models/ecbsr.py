"""ECBSR: a plain chain of small 3×3 convolutions, trained as something richer.

Zhang, Zeng and Zhang, "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices", ACM
Multimedia 2021. In training every 3×3 convolution is a sum of branches (plain 3×3; 1×1 then 3×3; 1×1 then Sobel across,
Sobel down and Laplacian), all linear, so their sum is one 3×3 kernel: the branches steer the optimisation and cost
nothing afterwards.

Where this differs from the paper, and why:

* The branches are folded into one kernel *before* it is applied, in training too: a step costs what a plain 3×3 costs.
  The inner 1×1 convolutions have no bias, which makes the folding exact at the borders.
* ReLU in place of PReLU: CPU runtimes fuse it into the convolution, PReLU is a pass over memory of its own.
* The identity that is added to every channel before the shuffle stays a float in the int8 form, so that luma passes
  with all its bits and only what the network adds to it is coarse.

==========  ===============  ==========  ============
layer       kernel           activation  output
==========  ===============  ==========  ============
1           3×3, 1 → c       ReLU        H × W × c
2 … m+1     3×3, c → c       ReLU        H × W × c
m+2         3×3, c → r²      none        H × W × r²
            + input              none        H × W × r²
            sub-pixel shuffle    none        rH × rW × 1
==========  ===============  ==========  ============
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr.models.base import SubpixelNetwork

_SOBEL = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
_LAPLACIAN = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, slots=True, kw_only=True)
class ECBSRConfig:
    """Shape of the network; the defaults were chosen by measured time on a CPU (docs/performance.md).

    ``trainable_branches`` False builds the folded form.
    """

    scale: int = 2
    layers: int = 4
    width: int = 16
    trainable_branches: bool = True


class EdgeConv(nn.Module):
    """A 3×3 convolution whose kernel is a sum of branches; ``kernel()`` is the sum."""

    edges: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.plain = nn.Conv2d(inputs, outputs, 3, padding=1)
        wide = max(2 * outputs, 16)
        self.squeeze = nn.Parameter(torch.empty(wide, inputs))
        self.expand = nn.Parameter(torch.empty(outputs, wide, 3, 3))
        nn.init.kaiming_uniform_(self.squeeze, a=5**0.5)
        nn.init.kaiming_uniform_(self.expand, a=5**0.5)
        self.register_buffer("edges", torch.stack([_SOBEL, _SOBEL.T, _LAPLACIAN]), persistent=False)
        self.mixes = nn.Parameter(torch.empty(3, outputs, inputs))
        nn.init.kaiming_uniform_(self.mixes, a=5**0.5)
        self.gains = nn.Parameter(1e-3 * torch.randn(3, outputs))

    def kernel(self) -> Tensor:
        """The one kernel that all branches amount to, outputs×inputs×3×3."""
        sequential = torch.einsum("owij,wc->ocij", self.expand, self.squeeze)
        edges = torch.einsum("bo,boc,bij->ocij", self.gains, self.mixes, self.edges)
        return self.plain.weight + sequential + edges

    def forward(self, x: Tensor) -> Tensor:
        """Apply the folded kernel: N×inputs×H×W to N×outputs×H×W."""
        return functional.conv2d(x, self.kernel(), self.plain.bias, padding=1)

    def folded(self) -> nn.Conv2d:
        """The same convolution as a plain one."""
        outputs, inputs = self.plain.weight.shape[:2]
        conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        assert conv.bias is not None
        assert self.plain.bias is not None
        with torch.no_grad():
            conv.weight.copy_(self.kernel())
            conv.bias.copy_(self.plain.bias)
        return conv


class ECBSR(SubpixelNetwork):
    """The network on luma, in its training form or, folded, as plain convolutions."""

    def __init__(self, config: ECBSRConfig | None = None) -> None:
        super().__init__()
        self.config = config or ECBSRConfig()
        widths = [1] + [self.config.width] * (self.config.layers + 1) + [self.config.scale**2]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            branched = self.config.trainable_branches
            layers += [EdgeConv(inputs, outputs) if branched else nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        self.scale = self.config.scale
        self.receptive_field = self.config.layers + 2
        self.body = nn.Sequential(*layers[:-1])

    def subpixels(self, x: Tensor) -> Tensor:
        """N×1×H×W in [0, 1] to N×r²×H×W."""
        detail: Tensor = self.body(x)
        return detail + x

    def folded(self) -> ECBSR:
        """The same function made of plain 3×3 convolutions only; itself where it is that already."""
        if not self.config.trainable_branches:
            return self
        plain = ECBSR(replace(self.config, trainable_branches=False))
        for index, layer in enumerate(self.body):
            if isinstance(layer, EdgeConv):
                plain.body[index] = layer.folded()
        return plain
