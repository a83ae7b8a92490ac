"""Chains of small convolutions as one kernel a layer, written in Triton: nothing is passed over twice.

cuDNN convolves, and PyTorch adds the bias, bends, rescales and rounds in passes of their own, each of which moves the
whole layer through memory again. Here the first layer reads whole numbers, every layer adds its bias and bends before
it writes, and the last writes whole numbers where the shuffle puts them. Sums are kept in fp32, layers in fp16 or bf16.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, import-not-found, import-untyped"
# ruff: noqa: ANN001, ANN202, N803, PLR0917

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from vsr.backends.base import Numbers
from vsr.models.base import Network, SubpixelNetwork
from vsr.models.ecbsr import ECBSR
from vsr.models.espcn import ESPCN, WideESPCN

_BLOCK = 128
_LEAST = 16
_BENDS: dict[type[nn.Module], int] = {nn.ReLU: 1, nn.Tanh: 2}


@triton.jit
def _bent(x, BEND: tl.constexpr):
    if BEND == 1:
        # What is no number stays none, to be found at the end; a maximum would make zero of it.
        x = tl.where(x > 0.0, x, x * 0.0)
    if BEND == 2:
        x = 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)
    return x


@triton.jit
def _sample(source, at, inside, gain, offset, WIDE: tl.constexpr):
    """Whole numbers as the floats of a network; nothing beyond the border."""
    whole = tl.load(source + at, mask=inside, other=0).to(tl.int32)
    if WIDE:
        whole = whole & 0xFFFF
    return tl.where(inside, whole.to(tl.float32) * gain + offset, 0.0)


@triton.jit
def _first(
    source, weight, bias, result, rows, columns, gain, offset,
    SIDE: tl.constexpr, TAPS: tl.constexpr, OUT: tl.constexpr, BEND: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Whole numbers to a layer: all taps of a place are one row of a product."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    count = rows * columns
    # Within a plane 32 bits tell every place; planes lie further apart.
    plane = tl.program_id(1).to(tl.int64) * count
    source += plane
    result += plane * OUT
    across, down = place % columns, place // columns
    tap = tl.arange(0, TAPS)
    y = down[:, None] + tap[None, :] // SIDE - SIDE // 2
    x = across[:, None] + tap[None, :] % SIDE - SIDE // 2
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns) & (tap[None, :] < SIDE * SIDE)
    inside = inside & (place[:, None] < count)
    patch = _sample(source, y * columns + x, inside, gain, offset, WIDE).to(result.dtype.element_ty)
    channel = tl.arange(0, OUT)
    total = tl.dot(patch, tl.load(weight + tap[:, None] * OUT + channel[None, :]))
    total = _bent(total + tl.load(bias + channel)[None, :], BEND)
    where = place[:, None] * OUT + channel[None, :]
    tl.store(result + where, total.to(result.dtype.element_ty), mask=place[:, None] < count)


@triton.jit
def _sums(
    layer, weight, bias, place, rows, columns,
    SIDE: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A convolution at some places, in fp32: a product for each tap."""
    across, down = place % columns, place // columns
    channel, out = tl.arange(0, IN), tl.arange(0, OUT)
    total = tl.zeros((BLOCK, OUT), tl.float32) + tl.load(bias + out)[None, :]
    for tap in range(SIDE * SIDE):
        dy, dx = tap // SIDE - SIDE // 2, tap % SIDE - SIDE // 2
        inside = (down + dy >= 0) & (down + dy < rows) & (across + dx >= 0) & (across + dx < columns)
        inside = inside & (place < rows * columns)
        at = (place + dy * columns + dx)[:, None] * IN + channel[None, :]
        values = tl.load(layer + at, mask=inside[:, None], other=0.0)
        total = tl.dot(values, tl.load(weight + (tap * IN + channel[:, None]) * OUT + out[None, :]), total)
    return total


@triton.jit
def _middle(
    layer, weight, bias, result, rows, columns,
    SIDE: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr, BEND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A layer to a layer."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    count = rows * columns
    plane = tl.program_id(1).to(tl.int64) * count
    layer += plane * IN
    result += plane * OUT
    total = _bent(_sums(layer, weight, bias, place, rows, columns, SIDE, IN, OUT, BLOCK), BEND)
    where = place[:, None] * OUT + tl.arange(0, OUT)[None, :]
    tl.store(result + where, total.to(result.dtype.element_ty), mask=place[:, None] < count)


@triton.jit
def _last(
    layer, weight, bias, source, result, finite, rows, columns, gain, offset, peak,
    SIDE: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr, SCALE: tl.constexpr, ADD: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A layer to whole numbers, each where it belongs in the larger plane."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    count = rows * columns
    plane = tl.program_id(1).to(tl.int64) * count
    layer += plane * IN
    source += plane
    result += plane * (SCALE * SCALE)
    total = _sums(layer, weight, bias, place, rows, columns, SIDE, IN, OUT, BLOCK)
    if ADD:
        total += _sample(source, place, place < count, gain, offset, WIDE)[:, None]
    channel = tl.arange(0, OUT)
    known = (place[:, None] < count) & (channel[None, :] < SCALE * SCALE)
    # Neither infinity nor what is no number is zero when it is taken from itself.
    broken = tl.sum(tl.sum(tl.where(known & ((total - total) != 0.0), 1, 0), axis=1), axis=0)
    tl.store(finite, tl.zeros((), tl.uint8), mask=broken > 0)
    value = (total - offset) / gain
    # To the nearest whole number, halves to the even one: that is what fp32 does where its steps are whole.
    value = (tl.minimum(tl.maximum(value, 0.0), peak) + 12582912.0) - 12582912.0
    across, above = place % columns, place // columns
    y = above[:, None] * SCALE + channel[None, :] // SCALE
    x = across[:, None] * SCALE + channel[None, :] % SCALE
    tl.store(result + y * (columns * SCALE) + x, value.to(tl.int32).to(result.dtype.element_ty), mask=known)


@dataclass(frozen=True, slots=True)
class _Layer:
    weight: Tensor
    bias: Tensor
    side: int
    inputs: int
    outputs: int
    bend: int


class Chain:
    """A network that :func:`chain_of` knows, on a device.

    Args:
        layers: in their order.
        scale: of the network.
        adds_input: the input is added to every sample of its place.
        kind: of the layers in memory.
    """

    def __init__(self, layers: list[_Layer], *, scale: int, adds_input: bool, kind: torch.dtype) -> None:
        self.layers, self.scale, self.adds_input, self.kind = layers, scale, adds_input, kind

    def __call__(self, source: Tensor, target: Tensor, finite: Tensor, *, shape: Any, numbers: Numbers) -> None:
        """Enqueue it.

        Args:
            source: whole numbers, uint8 or the bits of uint16 as int16, flat; planes × rows × columns.
            target: the same of the larger planes.
            finite: one byte; 0 afterwards where not all was finite, else 1.
            shape: of the source.
            numbers: what they mean.
        """
        finite.fill_(1)
        planes, rows, columns = shape
        count = planes * rows * columns
        grid = (triton.cdiv(rows * columns, _BLOCK), planes)
        wide = {"WIDE": numbers.bit_depth != 8, "BLOCK": _BLOCK}
        first, *middle, last = self.layers
        layer = torch.empty(count * first.outputs, dtype=self.kind, device=source.device)
        _first[grid](
            source, first.weight, first.bias, layer, rows, columns, numbers.gain, numbers.offset,
            SIDE=first.side, TAPS=first.inputs, OUT=first.outputs, BEND=first.bend, **wide,
        )  # fmt: skip
        for each in middle:
            larger = torch.empty(count * each.outputs, dtype=self.kind, device=source.device)
            _middle[grid](
                layer, each.weight, each.bias, larger, rows, columns,
                SIDE=each.side, IN=each.inputs, OUT=each.outputs, BEND=each.bend, BLOCK=_BLOCK,
            )  # fmt: skip
            layer = larger
        _last[grid](
            layer, last.weight, last.bias, source, target, finite, rows, columns,
            numbers.gain, numbers.offset, float(numbers.peak),
            SIDE=last.side, IN=last.inputs, OUT=last.outputs, SCALE=self.scale, ADD=self.adds_input, **wide,
        )  # fmt: skip


def chain_of(network: Network, kind: torch.dtype) -> Chain | None:
    """The chain that computes a network in 16 bits, or None where this knows none."""
    if type(network) not in (ESPCN, WideESPCN, ECBSR) or kind == torch.float32:
        return None
    assert isinstance(network, SubpixelNetwork)
    body = list(network.body)  # type: ignore[arg-type]
    if network.channels != 1 or not all(type(layer) in (nn.Conv2d, *_BENDS) for layer in body):
        return None
    pairs = pairwise([*body, None])
    found = [(layer, _BENDS.get(type(after), 0)) for layer, after in pairs if type(layer) is nn.Conv2d]
    if not all(_is_power(layer.out_channels) for layer, _ in found[:-1]):
        return None
    last = len(found) - 1
    layers = [_layer(conv, bend, kind, last=at == last) for at, (conv, bend) in enumerate(found)]
    return Chain(layers, scale=network.scale, adds_input=isinstance(network, ECBSR), kind=kind)


def _is_power(width: int) -> bool:
    return width >= _LEAST and width & (width - 1) == 0


@torch.no_grad()
def _layer(conv: nn.Conv2d, bend: int, kind: torch.dtype, *, last: bool) -> _Layer:
    """Weights as the kernels want them: taps × inputs × outputs, with zeros up to sizes that they can multiply."""
    side, outputs = conv.kernel_size[0], conv.out_channels
    weight = conv.weight.permute(2, 3, 1, 0).reshape(side * side * conv.in_channels, outputs)
    inputs = conv.in_channels
    if inputs == 1:
        inputs = max(_LEAST, triton.next_power_of_2(side * side))
        weight = nn.functional.pad(weight, (0, 0, 0, inputs - len(weight)))
    wider = max(_LEAST, triton.next_power_of_2(outputs)) if last else outputs
    assert conv.bias is not None
    weight, bias = (nn.functional.pad(each, (0, wider - outputs)) for each in (weight, conv.bias))
    return _Layer(weight.to(kind).contiguous(), bias.float().contiguous(), side, inputs, wider, bend)
