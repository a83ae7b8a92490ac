"""Networks that were trained on other numbers than this package's: what converts between the two is part of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vsr.models.base import Network

# JPEG's luma and chroma, full range: Y, Cb - 0.5 and Cr - 0.5 of R, G and B in [0, 1].
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
_CHROMA_ZERO = (0.0, 0.5, 0.5)

# Mean and deviation of R, G and B over ImageNet, which networks with a pre-trained beginning are fed by.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a network: ``before`` maps [0, 1] of this package to them, ``after`` its output back."""

    said: str
    before: Callable[[Tensor], Tensor]
    after: Callable[[Tensor], Tensor]


class Adapted(Network):
    """A network between conversions; what it is made of (int8, sub-pixel shuffles) is nobody else's concern."""

    def __init__(self, core: Network, numbers: Numbers) -> None:
        super().__init__()
        self.core, self.numbers = core, numbers
        self.scale, self.channels, self.receptive_field = core.scale, core.channels, core.receptive_field

    @property
    def overlap(self) -> int:
        """That of the network inside."""
        return self.core.overlap

    def forward(self, x: Tensor) -> Tensor:
        """N×channels×H×W in [0, 1] to N×channels×rH×rW."""
        return self.numbers.after(self.core(self.numbers.before(x)))


def _same(x: Tensor) -> Tensor:
    return x


def _row(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def _mixed(x: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    weight = torch.tensor(matrix, dtype=x.dtype, device=x.device)
    return torch.nn.functional.conv2d(x, weight[:, :, None, None])


def _to_ycbcr(x: Tensor) -> Tensor:
    return _mixed(x, _TO_YCBCR) + _row(_CHROMA_ZERO, x)


def _to_rgb(x: Tensor) -> Tensor:
    return _mixed(x - _row(_CHROMA_ZERO, x), _TO_RGB)


def _to_full(y: Tensor) -> Tensor:
    return (y * 255 - 16) / 219


def _to_limited(y: Tensor) -> Tensor:
    return (y * 219 + 16) / 255


def _normalised(x: Tensor) -> Tensor:
    return (x - _row(_MEAN, x)) / _row(_DEVIATION, x)


def _from_tanh(x: Tensor) -> Tensor:
    return (torch.tanh(x) + 1) / 2


SAME = Numbers("", _same, _same)
YCBCR = Numbers("full-range YCbCr", _to_ycbcr, _to_rgb)
FULL_LUMA = Numbers("full-range luma", _to_full, _to_limited)
TANH = Numbers("RGB with tanh behind the last layer", _same, _from_tanh)
IMAGENET = Numbers("RGB normalised as ImageNet, with tanh behind the last layer", _normalised, _from_tanh)
