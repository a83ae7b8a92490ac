"""Every network keeps the contract of ``Network``; and each is the one that its paper describes."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from pictures import SMALL, loud, network, photo, to_floats
from torch import Tensor, nn
from torch.nn import functional

from vsr.errors import UnknownModelError
from vsr.models import MODELS, build_network, model_spec
from vsr.models.base import Network, macs_per_input_sample, parameter_count
from vsr.models.ecbsr import ECBSR, ECBSRConfig, EdgeConv
from vsr.models.interpolation import Interpolation
from vsr.models.srcnn import SRCNN, SRCNNConfig
from vsr.resample import resize_axis, taps

ALL = [(name, scale) for name, spec in MODELS.items() for scale in spec.scales]
RGB = {"srresnet", "srgan", "rrdb", "esrgan"}


@pytest.mark.parametrize(("name", "scale"), ALL)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 1), (5, 8)])
def test_takes_any_size(name: str, scale: int, size: tuple[int, int]) -> None:
    net = network(name, scale)
    channels = 3 if name in RGB else 1
    assert (net.scale, net.channels) == (scale, channels)
    assert net(torch.rand(2, channels, *size)).shape == (2, channels, size[0] * scale, size[1] * scale)


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_a_batch_is_its_pictures(name: str, scale: int) -> None:
    net = network(name, scale)
    x = torch.rand(3, net.channels, 9, 11)
    torch.testing.assert_close(net(x), torch.cat([net(part) for part in x.split(1)]), atol=5e-6, rtol=5e-6)


def reach(net: Network, *, side: int) -> tuple[int, int, int, int]:
    """How far the samples made of the middle one depend on the input: up, down, left, right; from the gradient."""
    x = torch.rand(1, net.channels, side, side, dtype=torch.float64, requires_grad=True)
    middle = side // 2
    block = slice(middle * net.scale, (middle + 1) * net.scale)
    net.double()(x)[..., block, block].pow(2).sum().backward()
    assert x.grad is not None
    rows, columns = (x.grad[0].abs().amax(dim=(0, dim)).nonzero().ravel() for dim in (2, 1))
    return tuple(int(abs(place - middle)) for place in (rows[0], rows[-1], columns[0], columns[-1]))  # type: ignore[return-value]


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_receptive_field_is_what_it_says(name: str, scale: int) -> None:
    net = network(name, scale)
    assert reach(net, side=2 * net.receptive_field + 7) == (net.receptive_field,) * 4


@pytest.mark.parametrize("shift", [(0.0, 0.125), (0.125, 0.125), (0.0, -0.25), (0.5, 0.0)])
def test_receptive_field_of_shifted_interpolation(shift: tuple[float, float]) -> None:
    net = Interpolation(2, shift=shift)
    assert max(reach(net, side=15)) == net.receptive_field


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.0, 0.125), (0.1875, -0.3), (0.6, 0.01)])
@pytest.mark.parametrize("size", [(1, 1), (3, 12), (13, 10)])
def test_interpolation_equals_resampling(
    kernel: str, scale: int, shift: tuple[float, float], size: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).random(size)
    expected = image
    for axis in (0, 1):
        weights = taps(size[axis], size[axis] * scale, shift=shift[axis], kernel=kernel)
        expected = resize_axis(expected, axis, *weights)
    result = Interpolation(scale, kernel=kernel, shift=shift)(torch.from_numpy(image).float()[None, None])
    np.testing.assert_allclose(result[0, 0].numpy(), expected, atol=2e-6)


def test_nearest_repeats() -> None:
    x = torch.rand(1, 1, 3, 4)
    assert torch.equal(network("nearest", 3)(x), x.repeat_interleave(3, 2).repeat_interleave(3, 3))


@pytest.mark.parametrize(
    ("name", "scale", "parameters", "macs"),
    [
        ("espcn", 2, 21_284, 21_184),
        ("espcn", 3, 22_729, 22_624),
        ("espcn", 4, 24_752, 24_640),
        ("ecbsr", 2, 10_020, 9_936),
        ("ecbsr", 3, 10_745, 10_656),
        ("ecbsr", 4, 11_760, 11_664),
        ("espcn-wide", 2, 1_343_044, 1_342_208),
        ("srcnn", 2, 8_129, 4 * 8_032),
        ("srcnn", 3, 8_129, 9 * 8_032),
        ("srcnn-955", 3, 57_281, 9 * 57_184),
        ("srcnn-subpixel", 3, 14_537, 14_432),
        ("srresnet", 2, 1_401_749, 1_441_728),
        ("srresnet", 4, 1_549_462, 2_218_176),
        ("srresnet-y", 4, 1_528_724, 2_041_920),
        ("rrdb", 2, 16_661_059, 16_873_920),
        ("rrdb", 4, 16_697_987, 17_926_848),
    ],
)
def test_counts(name: str, scale: int, parameters: int, macs: int) -> None:
    """Those of the published sizes, batch norm and all; 8 032, 57 184 and 16 697 987 are in the literature."""
    with torch.device("meta") if name == "rrdb" else contextlib.nullcontext():
        net = build_network(name, scale=scale)
    net = net.folded() if name == "ecbsr" else net
    assert parameter_count(net) == parameters
    assert macs_per_input_sample(net) == macs
    assert macs_by_running(net) == macs


def macs_by_running(net: Network) -> int:
    """Multiplications per input sample, counted where they happen."""
    counted = 0

    def count(layer: nn.Module, _: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, nn.Conv2d)
        counted += result[0].numel() * layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]

    hooks = [layer.register_forward_hook(count) for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    net(torch.zeros(1, net.channels, 8, 8))
    for hook in hooks:
        hook.remove()
    return counted // 64


@pytest.mark.parametrize("name", ["srgan", "esrgan"])
def test_a_network_that_paints_is_the_one_that_it_sharpens(name: str) -> None:
    plain = MODELS[name].sharpens
    assert plain is not None
    shapes = [{key: value.shape for key, value in network(n, 4).state_dict().items()} for n in (name, plain)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_ecbsr_costs_at_most_half_of_espcn(scale: int) -> None:
    assert 2 * macs_per_input_sample(network("ecbsr", scale)) <= macs_per_input_sample(network("espcn", scale))


def trained_for_moments(net: Network) -> Network:
    """Weights that no initialisation would give."""
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(5):
        x = torch.rand(2, net.channels, 8, 8)
        y = torch.rand(2, net.channels, 8 * net.scale, 8 * net.scale)
        optimizer.zero_grad()
        functional.mse_loss(net(x), y).backward()
        optimizer.step()
    return net


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_ecbsr_folds_into_the_same_function(scale: int) -> None:
    torch.manual_seed(1)
    net = trained_for_moments(build_network("ecbsr", scale=scale)).double()
    folded = net.folded()
    assert not [layer for layer in folded.modules() if isinstance(layer, EdgeConv)]
    assert folded.folded() is folded
    x = torch.rand(2, 1, 12, 10)
    with torch.no_grad():
        torch.testing.assert_close(folded(x).double(), net(x.double()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["srresnet", "srresnet-y"])
@pytest.mark.parametrize("scale", [2, 4])
def test_batch_norm_folds_into_the_same_function(name: str, scale: int) -> None:
    torch.manual_seed(1)
    net = trained_for_moments(loud(build_network(name, scale=scale, options=SMALL[name]))).double().eval()
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
    folded = net.folded().double()
    assert not [layer for layer in folded.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert not folded.training
    assert folded.folded() is folded
    x = torch.rand(2, net.channels, 12, 10, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), net(x), atol=1e-6, rtol=0)


def test_what_batch_norm_learnt_matters() -> None:
    """Folding is tested with statistics that are not the initial ones."""
    net = trained_for_moments(build_network("srresnet", scale=2, options=SMALL["srresnet"]))
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(layer.running_mean is not None and layer.running_mean.abs().max() > 1e-3 for layer in norms)


@pytest.mark.parametrize("name", ["srresnet", "srresnet-y", "rrdb"])
@pytest.mark.parametrize("scale", [2, 4])
def test_deep_networks_begin_as_linear_interpolation(name: str, scale: int) -> None:
    torch.manual_seed(3)
    net = build_network(name, scale=scale, options=SMALL[name]).eval()
    picture = to_floats(photo(24, 30)).expand(1, net.channels, -1, -1)
    # rrdb gets to ×4 in two steps of ×2.
    steps = [2, 2] if (name in ("rrdb", "esrgan") and scale == 4) else [scale]
    linear = picture
    for step in steps:
        linear = functional.interpolate(linear, scale_factor=step, mode="bilinear")
    inner = (..., slice(4 * scale, -4 * scale), slice(4 * scale, -4 * scale))
    with torch.no_grad():
        torch.testing.assert_close(net(picture)[inner], linear[inner], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["srcnn", "srcnn-955"])
def test_srcnn_begins_near_bicubic(name: str) -> None:
    torch.manual_seed(3)
    picture = to_floats(photo())
    with torch.no_grad():
        apart = build_network(name, scale=3)(picture) - network("bicubic", 3)(picture)
    assert apart.abs().mean() < 0.03


def test_srcnn_treats_channels_alike() -> None:
    """Of more than one channel, each is enlarged by itself before the first layer."""
    net, picture = SRCNN(SRCNNConfig(scale=2, channels=3)), torch.rand(2, 3, 7, 9)
    seen: list[Tensor] = []
    net.conv1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    assert net(picture).shape == (2, 3, 14, 18)
    planes = [network("bicubic", 2)(picture[:, channel : channel + 1]) for channel in range(3)]
    torch.testing.assert_close(seen[0], torch.cat(planes, dim=1))


def test_a_tile_of_rrdb_may_be_smaller_than_what_it_could_see() -> None:
    """What lies beyond the overlap moves no sample by an 8-bit step, even where nothing in the network is quiet."""
    torch.manual_seed(4)
    net = build_network("rrdb", scale=4, options={"blocks": 4, "width": 24, "growth": 12}).eval()
    for name, parameter in net.named_parameters():
        if "body" in name and parameter.ndim == 4:
            nn.init.kaiming_normal_(parameter, a=0.2)
    assert net.overlap == 40 < net.receptive_field
    side, middle = 2 * 48 + 1, 48
    one, other = torch.rand(2, 1, 3, side, side)
    seen = slice(middle - net.overlap, middle + net.overlap + 1)
    other[..., seen, seen] = one[..., seen, seen]
    place = (..., slice(4 * middle, 4 * middle + 4), slice(4 * middle, 4 * middle + 4))
    with torch.no_grad():
        assert (net(one)[place] - net(other)[place]).abs().max() < 0.5 / 255


def test_a_shallow_network_overlaps_by_all_that_it_sees() -> None:
    for name in ("rrdb", "ecbsr", "srresnet"):
        assert network(name, 2).overlap == network(name, 2).receptive_field


def test_the_folded_kernel_is_the_sum_of_branches_run_one_by_one() -> None:
    torch.manual_seed(2)
    block = EdgeConv(3, 5).double()
    nn.init.normal_(block.gains)
    x = torch.rand(1, 3, 9, 9, dtype=torch.float64)
    with torch.no_grad():
        wide = functional.conv2d(x, block.squeeze[:, :, None, None])
        total = block.plain(x) + functional.conv2d(wide, block.expand, padding=1)
        for mix, gain, edge in zip(block.mixes, block.gains, block.edges, strict=True):
            mixed = functional.conv2d(x, mix[:, :, None, None])
            per_channel = edge.double().expand(5, 1, 3, 3) * gain[:, None, None, None]
            total = total + functional.conv2d(mixed, per_channel, padding=1, groups=5)
        torch.testing.assert_close(block(x), total)


def test_every_branch_learns() -> None:
    net = build_network("ecbsr", scale=2)
    functional.mse_loss(net(torch.rand(1, 1, 8, 8)), torch.rand(1, 1, 16, 16)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_ecbsr_in_other_shapes() -> None:
    net = ECBSR(ECBSRConfig(scale=3, layers=2, width=8)).folded()
    assert net.receptive_field == 4
    assert macs_per_input_sample(net) == 9 * (8 + 2 * 64 + 8 * 9)


def test_unknown_names_and_scales_say_what_there_is() -> None:
    with pytest.raises(UnknownModelError, match=r"'edsr', allowed are ecbsr, .*, nearest; see 'vsr models'"):
        model_spec("edsr")
    with pytest.raises(UnknownModelError, match=r"scale 7 for espcn, allowed are 2, 3, 4"):
        build_network("espcn", scale=7)
    with pytest.raises(UnknownModelError, match=r"scale 3 for rrdb, allowed are 2, 4"):
        model_spec("rrdb", scale=3)


def test_unknown_options_say_what_there_is() -> None:
    with pytest.raises(UnknownModelError, match=r"option 'depth' for rrdb, allowed are: blocks, width, growth"):
        build_network("rrdb", scale=2, options={"depth": 3})
    with pytest.raises(UnknownModelError, match=r"option 'blocks' for espcn, allowed are: none"):
        build_network("espcn", scale=2, options={"blocks": 3})
    with pytest.raises(UnknownModelError, match=r"blocks = 0 for srresnet, it must be a whole number from 1"):
        build_network("srresnet", scale=2, options={"blocks": 0})


def test_the_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        MODELS["mine"] = MODELS["espcn"]  # type: ignore[index]
