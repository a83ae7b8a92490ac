from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from pictures import network, photo, to_floats
from safetensors.torch import save_file
from torch.nn import functional

from vsr import Upscaler
from vsr.metrics import psnr
from vsr.models import build_network
from vsr.models.base import Network, parameter_count
from vsr.models.quantized import QuantConv2d, calibrate, quantize, quantized_layers, round_keeping_sums
from vsr.pairs import make_pair
from vsr.training.data import Patches
from vsr.training.loop import exported
from vsr.weights import load_into

NAMES = ["espcn", "ecbsr"]


def calibrated(name: str, scale: int = 2) -> Network:
    net = quantize(network(name, scale))
    calibrate(net, to_floats(photo()))
    return net


@pytest.mark.parametrize("name", NAMES)
def test_every_convolution_is_quantised_and_the_original_is_not(name: str) -> None:
    net = network(name, 2)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    quantised = quantize(net)
    convolutions = [layer for layer in quantised.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert convolutions == quantized_layers(quantised)
    assert quantized_layers(net) == []
    assert parameter_count(quantised) == parameter_count(net)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_weights_lie_on_a_grid_of_eight_bits(name: str) -> None:
    for layer in quantized_layers(calibrated(name).requires_grad_(False)):
        scales = layer.weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
        steps = layer.rounded_weight() / scales
        assert (steps - steps.round()).abs().max() < 1e-3
        assert steps.abs().max().item() == pytest.approx(127)
        assert ((layer.rounded_weight() - layer.weight).abs() <= scales / 2 * 1.001).all()


def test_calibration_takes_the_largest_of_what_a_layer_sees() -> None:
    net = calibrated("ecbsr")
    first, second = quantized_layers(net)[:2]
    assert first.input_scale.item() == pytest.approx(1 / 255)
    seen = functional.relu(first(to_floats(photo())))
    assert second.input_scale.item() == pytest.approx(torch.quantile(seen.flatten(), 0.9999).item() / 255, rel=1e-4)
    assert not any(layer.calibrating for layer in quantized_layers(net))


def test_activations_are_rounded_to_eight_bits() -> None:
    layer = quantized_layers(calibrated("ecbsr"))[1]
    step = layer.input_scale
    x = torch.full((1, layer.in_channels, 5, 5), 10.4) * step
    torch.testing.assert_close(layer(x), layer(torch.full_like(x, 10) * step))
    torch.testing.assert_close(layer(x * 1000), layer(torch.full_like(x, 255) * step))
    torch.testing.assert_close(layer(-x), layer(torch.zeros_like(x)))


def test_after_tanh_activations_have_a_sign() -> None:
    signs = [layer.signed for layer in quantized_layers(calibrated("espcn"))]
    assert signs == [False, True, True]
    layer = quantized_layers(calibrated("espcn"))[1]
    x = torch.full((1, layer.in_channels, 5, 5), -100.0) * layer.input_scale
    assert not torch.equal(layer(x), layer(torch.zeros_like(x)))


def test_luma_of_eight_bits_is_hit_exactly() -> None:
    every_number = torch.arange(256).float().view(1, 1, 16, 16) / 255
    layer = quantized_layers(quantize(network("ecbsr", 2)))[0]
    expected = functional.conv2d(every_number, layer.rounded_weight(), layer.bias, padding=1)
    torch.testing.assert_close(layer(every_number), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_pass_through_the_rounding(name: str) -> None:
    net = calibrated(name).requires_grad_(True)
    patches = Patches([make_pair(photo(64, 64)[..., None].repeat(3, axis=2), 2)], scale=2, patch=16)
    low, high = patches.sample(4, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        loss = functional.mse_loss(net(low), high)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in net.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    net = calibrated(name)
    assert net.folded() is net
    save_file(exported(net), tmp_path / "weights.safetensors")
    again = quantize(build_network(name, scale=2))
    load_into(again, tmp_path / "weights.safetensors")
    assert torch.equal(again(to_floats(photo())), net(to_floats(photo())))


def trained(name: str) -> Network:
    """A network that has learned for a moment, so that its layers have something to say."""
    torch.manual_seed(0)
    net = build_network(name, scale=2)
    patches = Patches([make_pair(photo(128, 128)[..., None].repeat(3, axis=2), 2)], scale=2, patch=16)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(60):
        low, high = patches.sample(8, generator)
        optimizer.zero_grad()
        functional.l1_loss(net(low), high).backward()
        optimizer.step()
    return net.folded().requires_grad_(False)


@pytest.mark.parametrize("name", NAMES)
def test_int8_is_close_to_fp32(name: str) -> None:
    net = trained(name)
    quantised = quantize(net)
    calibrate(quantised, to_floats(photo()))
    picture = photo(48, 64)
    exact = Upscaler(network=net, device="torch", precision="fp32").luma(picture)
    up = Upscaler(network=quantised, device="torch", precision="int8")
    assert up.choice.precision == "int8"
    assert 34 < psnr(up.luma(picture), exact) < math.inf


def test_a_plain_layer_is_taken_over_whole() -> None:
    conv = torch.nn.Conv2d(3, 4, 5, padding=2)
    layer = QuantConv2d.from_float(conv, signed=True, input_scale=0.5)
    step = conv.weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    assert ((layer.weight - conv.weight).abs() <= 1.001 * step).all()
    assert layer.padding == (2, 2)
    x = torch.randint(-128, 128, (1, 3, 9, 9)) * 0.5
    torch.testing.assert_close(layer(x), functional.conv2d(x, layer.rounded_weight(), conv.bias, padding=2))


def test_rounding_keeps_the_mean_of_a_filter() -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(8, 2, 5, 5, generator=generator)
    weight -= weight.mean(dim=(2, 3), keepdim=True)
    rounded = round_keeping_sums(weight)
    steps = rounded / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert rounded.sum(dim=(2, 3)).abs().max() < 1e-4
    one_by_one = torch.round(steps + (weight - rounded) / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127))
    assert one_by_one.sum(dim=(2, 3)).abs().max() >= 1
