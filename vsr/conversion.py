"""Planes of Y, U and V as the R, G and B of a network, and back: on the device where the network runs.

Everything is linear and nothing is clipped on the way in, so that numbers beyond black and white, which video has, come
out again. Chroma is brought to the places of luma and back by cubic convolution, each sample from where its siting says
that it lies; on the way down the kernel is stretched against aliasing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vsr.backends.base import Numbers, Plane
from vsr.errors import PixelError
from vsr.layout import UNSPECIFIED, Layout
from vsr.resample import taps

# Weights of R and B in luma, by the code points of ITU-T H.273.
_BT709, _FCC, _BT601, _SMPTE240M, _BT2020 = (
    (0.2126, 0.0722),
    (0.30, 0.11),
    (0.299, 0.114),
    (0.212, 0.087),
    (0.2627, 0.0593),
)
_WEIGHTS: Mapping[int, tuple[float, float]] = MappingProxyType(
    {1: _BT709, 4: _FCC, 5: _BT601, 6: _BT601, 7: _SMPTE240M, 9: _BT2020}
)
# Samples to each side that the stretched kernel, moved by half a sample, asks for at most; and a line to read it off.
_REACH, _LINE = 5, 32
_ALLOWED = "1 (BT.709), 4 (FCC), 5 and 6 (BT.601), 7 (SMPTE 240M) and 9 (BT.2020)"


@dataclass(frozen=True, slots=True)
class Conversion:
    """Between planes of one layout and RGB in [0, 1], not linearised.

    Raises:
        PixelError: the layout's matrix is not stated, or is none that luma and colour differences are made with.
    """

    layout: Layout
    device: torch.device

    def __post_init__(self) -> None:
        luma_weights(self.layout)

    def to_rgb(self, pictures: Sequence[tuple[Plane, ...]]) -> Tensor:
        """Planes of pictures of one shape H×W to float32 N×3×H×W; nothing is clipped."""
        y_gain, c_gain, black, zero = _steps(self.layout)
        y = (self._upload([planes[0] for planes in pictures]) - black) / y_gain
        if self.layout.subsampling == "gray":
            return y[:, None].repeat(1, 3, 1, 1)
        stacked = self._upload([plane for planes in pictures for plane in planes[1:]])
        chroma = self._chroma_up(stacked.view(len(pictures), 2, *stacked.shape[1:]), y.shape)
        cb, cr = ((chroma - zero) / c_gain).unbind(dim=1)
        red, blue = luma_weights(self.layout)
        r = y + 2 * (1 - red) * cr
        b = y + 2 * (1 - blue) * cb
        return torch.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], dim=1)

    def to_planes(self, rgb: Tensor) -> list[tuple[Plane, ...]]:
        """Float32 N×3×H×W to planes, rounded, and clipped to the numbers that there are."""
        y_gain, c_gain, black, zero = _steps(self.layout)
        red, blue = luma_weights(self.layout)
        r, g, b = rgb.unbind(dim=1)
        y = red * r + (1 - red - blue) * g + blue * b
        planes = [self._download(y * y_gain + black)]
        if self.layout.subsampling != "gray":
            chroma = torch.stack([(b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))], dim=1)
            chroma = self._chroma_down(chroma) * c_gain + zero
            planes += [self._download(colour) for colour in chroma.unbind(dim=1)]
        return list(zip(*planes, strict=True))

    def _upload(self, planes: Sequence[Plane]) -> Tensor:
        return torch.from_numpy(np.stack(planes)).to(self.device).float()

    def _download(self, values: Tensor) -> list[Plane]:
        numbers = self.layout.numbers
        # torch.uint16 knows few operations; int32 carries the numbers to NumPy.
        kind = torch.uint8 if numbers.bit_depth == 8 else torch.int32
        whole = values.round().clamp_(0, numbers.peak).to(kind).cpu().numpy()
        return list(whole.astype(numbers.dtype, copy=False))

    def _chroma_up(self, chroma: Tensor, shape: torch.Size) -> Tensor:
        for axis, (factor, offset) in enumerate(self.layout.chroma_sites, start=2):
            if factor == 2:
                chroma = _doubled(chroma, axis, shape[axis - 1], 0.25 - offset / 2)
        return chroma

    def _chroma_down(self, chroma: Tensor) -> Tensor:
        shape = self.layout.chroma_shape(*chroma.shape[2:])
        for axis, (factor, offset) in enumerate(self.layout.chroma_sites, start=2):
            if factor == 2:
                chroma = _halved(chroma, axis, shape[axis - 2], offset - 0.5)
        return chroma


def luma_weights(layout: Layout) -> tuple[float, float]:
    """How much R and B count in luma.

    Raises:
        PixelError: the matrix is not stated, or is none that luma and colour differences are made with.
    """
    if layout.subsampling == "gray":
        return _BT601
    if layout.matrix == UNSPECIFIED:
        raise PixelError(f"got a layout without a matrix, which a network on RGB needs: give one of {_ALLOWED}")
    if layout.matrix not in _WEIGHTS:
        raise PixelError(
            f"got matrix {layout.matrix}, a network on RGB takes {_ALLOWED}; networks on luma take any, such as ecbsr"
        )
    return _WEIGHTS[layout.matrix]


def _steps(layout: Layout) -> tuple[float, float, float, float]:
    """Steps from black to white, steps between the ends of chroma, and the numbers of black and of no colour."""
    peak, unit = Numbers(bit_depth=layout.bit_depth).peak, 1 << (layout.bit_depth - 8)
    if layout.full_range:
        return peak, peak, 0, 128 * unit
    return 219 * unit, 224 * unit, 16 * unit, 128 * unit


def _doubled(x: Tensor, axis: int, length: int, shift: float) -> Tensor:
    """The first ``length`` of twice as many samples along an axis of N×C×H×W, by cubic convolution."""
    padded = _padded(x, axis)
    phases = [_weighted([padded], axis, x.shape[axis], _line(2.0, shift, phase)) for phase in (0, 1)]
    return torch.stack(phases, dim=axis + 1).flatten(axis, axis + 1).narrow(axis, 0, length)


def _halved(x: Tensor, axis: int, length: int, shift: float) -> Tensor:
    """``length`` samples, two apart, along an axis of N×C×H×W, by cubic convolution stretched to twice its width."""
    # Apart, even and odd samples lie side by side in memory, which is several times as fast as a step of two.
    padded = _padded(x, axis)
    parts = [(padded[:, :, at::2] if axis == 2 else padded[..., at::2]).contiguous() for at in (0, 1)]
    return _weighted(parts, axis, length, _line(0.5, shift, 0))


def _weighted(parts: list[Tensor], axis: int, length: int, line: dict[int, float]) -> Tensor:
    """Weighted sums of samples that are dealt out to ``parts`` in turn, by the place of the first."""
    pieces = [parts[at % len(parts)].narrow(axis, at // len(parts), length) for at in line]
    weights = list(line.values())
    total = pieces[0] * weights[0]
    for piece, weight in zip(pieces[1:], weights[1:], strict=True):
        total.add_(piece, alpha=weight)
    return total


def _padded(x: Tensor, axis: int) -> Tensor:
    margins = [_REACH, _REACH + 1]
    return functional.pad(x, [0, 0, *margins] if axis == 2 else [*margins, 0, 0], mode="replicate")


@cache
def _line(ratio: float, shift: float, phase: int) -> dict[int, float]:
    """The weights that make every sample of a phase, by their place in what :func:`_padded` returns."""
    # Far from the border they are the same for all samples: those of the middle of a line long enough.
    places, weights = taps(_LINE, round(_LINE * ratio), ratio=ratio, shift=shift)
    row = round(_LINE // 2 * ratio) + phase
    line = zip(places[row] - _LINE // 2 + _REACH, weights[row], strict=True)
    return {int(place): float(weight) for place, weight in line if weight}
