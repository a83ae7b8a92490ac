"""Luma networks in 8-bit integers: the arithmetic that two CPU cores have the most of.

Weights are symmetric int8 with a scale per output channel, activations unsigned (after ReLU) or signed (after tanh)
8 bit with one scale per layer. Rounding is simulated by fake quantisation in floats, so that the network can be trained
with it in the loop (gradients pass straight through), evaluated by torch anywhere, and turned into real integer
arithmetic by a runtime that knows the pattern. See Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", CVPR 2018.

The input needs no scale of its own: limited-range 8-bit luma over 255 is already a grid of 256 steps, which
quantisation hits exactly (full range and more bits are rounded to it before the first convolution). The output of the
last convolution stays a float, and so does whatever a network adds to it: ECBSR's identity keeps every bit.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr.models.base import Network


class QuantConv2d(nn.Conv2d):
    """A convolution whose input and weights are rounded to 8 bit.

    Attributes:
        input_scale: size of one step of the input.
        signed: the input is in -128..127 steps, else in 0..255.
        calibrating: while set, nothing of the input is rounded, and (nearly) the largest value seen sets the scale.
    """

    input_scale: Tensor
    signed: bool
    calibrating: bool

    @classmethod
    def from_float(cls, conv: nn.Conv2d, *, signed: bool, input_scale: float) -> QuantConv2d:
        """Take over a plain convolution (any kernel, stride 1, no groups)."""
        kernel = (conv.kernel_size[0], conv.kernel_size[1])
        new = cls(conv.in_channels, conv.out_channels, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        new.load_state_dict(conv.state_dict(), strict=False)
        new.weight.data.copy_(round_keeping_sums(conv.weight.detach()))
        new.signed = signed
        new.calibrating = False
        new.register_buffer("input_scale", torch.tensor(input_scale))
        return new

    def forward(self, x: Tensor) -> Tensor:
        """N×inputs×H×W floats to N×outputs×H×W floats."""
        if self.calibrating:
            # The most extreme activations are rare: clipping the last of ten thousand costs less than a coarser step.
            peak = torch.quantile(x.detach().abs().flatten()[:: max(1, x.numel() // 1_000_000)], 0.9999)
            self.input_scale.copy_(torch.maximum(self.input_scale, peak / (127 if self.signed else 255)))
        else:
            low, high = (-128, 127) if self.signed else (0, 255)
            zero = torch.zeros((), dtype=torch.int32, device=x.device)
            x = torch.fake_quantize_per_tensor_affine(x, self.input_scale, zero, low, high)
        return functional.conv2d(x, self.rounded_weight(), self.bias, padding=self.padding)

    def rounded_weight(self) -> Tensor:
        """The weights on their 8-bit grid, one scale per output channel."""
        scales = (self.weight.detach().abs().amax(dim=(1, 2, 3)) / 127).clamp(min=1e-8)
        zeros = torch.zeros(self.out_channels, dtype=torch.int32, device=scales.device)
        return torch.fake_quantize_per_channel_affine(self.weight, scales, zeros, 0, -127, 127)


def round_keeping_sums(weight: Tensor) -> Tensor:
    """Round a kernel outputs×inputs×H×W to its 8-bit grid so that the sum of each H×W slice is rounded, too.

    Rounded one by one, the taps of a filter without a mean get one, and flat light, which is most of a picture, leaks
    into what should see only detail. Of the taps, those nearest to the next step up are rounded up until the sum fits.
    """
    scales = (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127).clamp(min=1e-8)
    steps = (weight / scales).flatten(2)
    low = steps.floor()
    missing = (steps.sum(dim=2) - low.sum(dim=2)).round()
    rank = (steps - low).argsort(dim=2, descending=True).argsort(dim=2)
    rounded = (low + (rank < missing.unsqueeze(2))).clamp(-127, 127)
    return rounded.view_as(weight) * scales


def quantize(network: Network) -> Network:
    """A folded copy of a network, its convolutions in 8 bit; their scales still have to be calibrated or loaded."""
    result = copy.deepcopy(network.folded())
    signed, scale = False, 1 / 255
    for name, layer in list(result.named_modules()):
        if isinstance(layer, nn.Conv2d):
            parent, _, child = name.rpartition(".")
            new = QuantConv2d.from_float(layer, signed=signed, input_scale=scale)
            setattr(result.get_submodule(parent), child, new)
            scale = 1e-8  # of every layer but the first: to be calibrated
        elif isinstance(layer, nn.Tanh):
            signed = True
    return result


def quantized_layers(network: nn.Module) -> list[QuantConv2d]:
    """The 8-bit convolutions of a network, in their order."""
    return [layer for layer in network.modules() if isinstance(layer, QuantConv2d)]


@torch.no_grad()
def calibrate(network: Network, pictures: Tensor) -> None:
    """Set the scale of every layer but the first from what it sees of ``pictures``, N×1×H×W in [0, 1]."""
    layers = quantized_layers(network)[1:]
    for layer in layers:
        layer.calibrating = True
    network(pictures)
    for layer in layers:
        layer.calibrating = False
