"""Weights from elsewhere: every naming that is known, told by names and shapes; and what is not known says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import elsewhere
import numpy as np
import pytest
import torch
from pictures import SMALL, loud, network
from safetensors.torch import save_file
from torch import Tensor, nn

from vsr.errors import UnknownModelError, WeightsError
from vsr.metrics import psnr
from vsr.models import build_network
from vsr.models.base import Network
from vsr.models.ecbsr import EdgeConv
from vsr.models.espcn import WideESPCN
from vsr.models.quantized import calibrate, quantize, quantized_layers
from vsr.models.srcnn import SRCNN
from vsr.pairs import find_images, luma_of, make_pair, read_rgb, to_image, to_tensor
from vsr.weights import index, load_network
from vsr.weights.foreign import load_any

State = dict[str, Tensor]


def deep(name: str, scale: int, *, batch_norm: bool = False) -> Network:
    """A small deep network that nothing is silent in, with the norm's statistics its own."""
    torch.manual_seed(7)
    net = loud(build_network(name, scale=scale, options={**SMALL[name], "blocks": 2}))
    if batch_norm:
        net.train()
        for _ in range(3):
            net(torch.rand(2, net.channels, 9, 9))
    net = net.eval() if batch_norm else net.folded()
    return net.eval().requires_grad_(False)


def chain(net: Network, *names: str) -> State:
    """The convolutions of a network under other names."""
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    pairs = zip(names, convs, strict=True)
    return {f"{name}.{part}": getattr(conv, part) for name, conv in pairs for part in ("weight", "bias")}


def saved(state: Any, folder: Path) -> Path:
    torch.save(state, folder / "weights.pth")
    return folder / "weights.pth"


def assert_same(loaded: Network, net: Network) -> None:
    x = torch.rand(1, net.channels, 9, 12)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), net(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("info", index(), ids=lambda info: info.file)
def test_what_is_shipped_is_told_by_its_shapes(info: Any) -> None:
    same = load_network(info.model, scale=info.scale, precision=info.precision)
    loaded = load_any(info.path, scale=info.scale if isinstance(same, SRCNN) else None)
    assert type(loaded.network) is type(same)
    assert loaded.network.scale == info.scale
    assert bool(quantized_layers(loaded.network)) == (info.precision == "int8")


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["espcn", "espcn-wide", "ecbsr", "srcnn-subpixel", "srcnn", "srcnn-955"])
def test_its_own_files(name: str, scale: int, tmp_path: Path) -> None:
    net = network(name, scale, seed=3)
    path = tmp_path / "own.safetensors"
    save_file(net.state_dict(), path)
    loaded = load_any(path, scale=scale if name in ("srcnn", "srcnn-955") else None)
    assert (loaded.model, loaded.network.scale) == (name, scale)
    assert_same(loaded.network, net)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(
    ("name", "norm"), [("srresnet", True), ("srresnet", False), ("srresnet-y", False), ("rrdb", False)]
)
def test_its_own_deep_files(name: str, norm: bool, scale: int, tmp_path: Path) -> None:
    net = deep(name, scale, batch_norm=norm)
    loaded = load_any(saved(net.state_dict(), tmp_path))
    assert (loaded.model, loaded.network.scale) == (name, scale)
    assert not [layer for layer in loaded.network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert_same(loaded.network, net)


def test_ecbsr_with_its_branches_and_of_another_size(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = build_network("ecbsr", scale=3)
    loaded = load_any(saved(net.state_dict(), tmp_path)).network
    assert not [layer for layer in loaded.modules() if isinstance(layer, EdgeConv)]
    assert_same(loaded, net)


def test_eight_bits(tmp_path: Path) -> None:
    net = quantize(network("ecbsr", 2))
    calibrate(net, torch.rand(1, 1, 9, 9))
    loaded = load_any(saved(net.state_dict(), tmp_path)).network
    assert len(quantized_layers(loaded)) == len(quantized_layers(net))
    assert_same(loaded, net.eval().requires_grad_(False))


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("srcnn", ("features.0", "map.0", "reconstruction")),
        ("srcnn", ("conv1", "conv2", "conv3")),
        ("srcnn-955", ("0", "2", "4")),
        ("srcnn", ("patch_extraction", "nonlinear_map", "recon")),
        ("srcnn-subpixel", ("features.0", "map.0", "reconstruction")),
        ("espcn", ("first_part.0", "first_part.2", "last_part.0")),
        ("espcn", ("feature_maps.0", "feature_maps.2", "sub_pixel.0")),
        ("espcn", ("conv1", "conv2", "conv3")),
        ("espcn", ("conv_1", "conv_2", "conv_3")),
    ],
)
def test_chains_by_other_names(name: str, names: tuple[str, ...], tmp_path: Path) -> None:
    net = network(name, 3, seed=2)
    loaded = load_any(saved(chain(net, *names), tmp_path), scale=3)
    assert loaded.model == name
    assert_same(loaded.network, net)


def test_four_layers_are_those_of_full_range_luma(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    net = WideESPCN(scale=3, widths=(64, 64, 32)).requires_grad_(False)
    caplog.set_level(logging.INFO)
    loaded = load_any(saved(chain(net, "conv1", "conv2", "conv3", "conv4"), tmp_path))
    assert loaded.model == "espcn-wide"
    full = torch.rand(1, 1, 8, 8)
    limited = (full * 219 + 16) / 255
    torch.testing.assert_close(loaded.network(limited), (net(full) * 219 + 16) / 255, atol=1e-5, rtol=0)
    assert "full-range luma" in caplog.text


def settled(net: nn.Module) -> nn.Module:
    """With statistics that norms would have gathered."""
    net.train()
    for _ in range(3):
        net(torch.rand(2, 3, 9, 9))
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("make", "model", "scale"),
    [
        (lambda: elsewhere.Lornatang(1), "srresnet", 2),
        (lambda: elsewhere.Lornatang(2), "srresnet", 4),
        (lambda: elsewhere.Lornatang(2, first="conv1", second="conv2"), "srresnet", 4),
        (lambda: elsewhere.LeftThomas(1), "srresnet", 2),
        (lambda: elsewhere.LeftThomas(2), "srresnet", 4),
        (lambda: elsewhere.Sgrvinod(1), "srresnet", 2),
        (lambda: elsewhere.Sgrvinod(2), "srresnet", 4),
        (elsewhere.Xinntao, "rrdb", 4),
        (lambda: elsewhere.Oldest(1), "rrdb", 2),
        (lambda: elsewhere.Oldest(2), "rrdb", 4),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_deep_networks_by_other_names(make: Callable[[], nn.Module], model: str, scale: int, tmp_path: Path) -> None:
    """The other network and the one that is loaded do the same to a picture."""
    torch.manual_seed(5)
    net = settled(make())
    path = saved(net.state_dict(), tmp_path)
    loaded = load_any(path)
    assert (loaded.model, loaded.network.scale, loaded.network.channels) == (model, scale, 3)
    x = torch.rand(2, 3, 7, 10)
    torch.testing.assert_close(loaded.network(x), net(x), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"params": {"conv1.weight": torch.zeros(1)}, "params_ema": state},
        lambda state: {"epoch": 3, "model": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
        lambda state: {"step": 5, "optimizer": {"lr": 1.0}, "netG": state, "netD": {"0.weight": torch.zeros(2)}},
        lambda state: {
            "state_dict": {f"generator.{name}": value for name, value in state.items()} | {"disc.w": torch.ones(1)}
        },
        lambda state: {name: value.half() for name, value in state.items()},
    ],
)
def test_what_a_checkpoint_wraps_around(wrap: Callable[[State], Any], tmp_path: Path) -> None:
    net = network("ecbsr", 2)
    loaded = load_any(saved(wrap(net.state_dict()), tmp_path)).network
    torch.testing.assert_close(loaded.state_dict(), net.state_dict(), atol=1e-3, rtol=1e-3)


def test_names_are_those_of_the_registry_where_given(tmp_path: Path) -> None:
    path = saved(deep("rrdb", 4).state_dict(), tmp_path)
    assert load_any(path, model="esrgan", scale=4).model == "esrgan"
    with pytest.raises(WeightsError, match=r"weights.pth holds rrdb, not srgan"):
        load_any(path, model="srgan")
    with pytest.raises(WeightsError, match=r"enlarges ×4, not ×2; leave the scale out"):
        load_any(path, scale=2)
    with pytest.raises(UnknownModelError, match="'edsr'"):
        load_any(path, model="edsr")


def test_srcnn_needs_a_scale(tmp_path: Path) -> None:
    path = saved(network("srcnn", 3).state_dict(), tmp_path)
    with pytest.raises(WeightsError, match="holds srcnn, not srcnn-955"):
        load_any(path, model="srcnn-955", scale=3)
    with pytest.raises(WeightsError, match="do not tell by how much they enlarge; give the scale, as in --scale 3"):
        load_any(path)
    assert [load_any(path, scale=scale).network.scale for scale in (2, 3, 4)] == [2, 3, 4]


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("was-run"),))


@pytest.mark.parametrize("what", [{"model": Harmful()}, nn.Conv2d(1, 1, 1)])
def test_a_pickle_that_could_run_code_is_not_loaded(what: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(what, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"holds more than tensors \([\w.]+\), which could run code.*state_dict\(\)"):
        load_any(path)
    assert not Path("was-run").exists()


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04broken", b"\x80\x02broken"])
def test_what_is_no_file_of_weights(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(WeightsError, match=r"cannot read .*weights.pth: No such file"):
        load_any(path)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot read .*weights.pth") as caught:
        load_any(path)
    assert "\n" not in str(caught.value)
    for nothing in ({}, {"epoch": 3}, [1, 2], {"state_dict": {}}):
        with pytest.raises(WeightsError, match="holds no state dict"):
            load_any(saved(nothing, tmp_path))


def test_what_is_called_safetensors_and_is_none(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"none")
    with pytest.raises(WeightsError, match=r"cannot read .*weights.safetensors as safetensors"):
        load_any(path)


def cut(state: State, *, leave: str) -> State:
    return {name: value for name, value in state.items() if leave not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: cut(s, leave="conv_hr"), r"missing conv_hr.bias, conv_hr.weight; unexpected nothing"),
        (lambda s: {**s, "extra.weight": torch.ones(1)}, r"closest is rrdb; missing nothing; unexpected extra.weight"),
        (lambda s: cut(s, leave="body.1.rdb2"), r"missing body.1.rdb2.conv1.bias, .* and 4 more;"),
        (lambda s: {f"strange.{i}": torch.ones(1) for i in range(9)}, r"no known layers \(.*strange.5 and 3 more\)"),
        (lambda s: {**s, "conv_first.weight": torch.ones(8, 12, 3, 3)}, "Real-ESRGAN ×2"),
        (lambda s: {**s, "conv_hr.weight": torch.ones(8, 8, 1, 1)}, r"another shape: conv_hr.weight \(8, 8, 1, 1\)"),
        (lambda s: {"conv_first.weight": s["conv_first.weight"], "body.0.conv1.weight": torch.ones(1)}, "MSRResNet"),
        (
            lambda s: {"body.0.weight": torch.ones(8, 3, 3, 3), "body.1.weight": torch.ones(8)},
            "not all .* convolutions",
        ),
        (lambda s: {f"conv{i}.weight": torch.ones(4, 4, 7, 7) for i in (1, 2, 3)}, "7-7-7 in a row"),
        (lambda s: {f"conv{i}.weight": torch.ones(4, 3, 3, 3) for i in (1, 2, 3)}, "do not follow one another"),
    ],
)
def test_what_does_not_fit_says_what_is_missing(change: Callable[[State], State], message: str, tmp_path: Path) -> None:
    path = saved(change(dict(deep("rrdb", 4).state_dict())), tmp_path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_any(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {**s, "extra.weight": torch.ones(1)}, "closest is espcn; missing nothing; unexpected extra.weight"),
        (lambda s: {**s, "body.9.weight": torch.ones(1)}, "not all of its layers are convolutions"),
        (lambda s: cut(s, leave="body.2.weight"), "missing chain.2.weight"),
        (lambda s: cut(s, leave="body.4.bias"), "missing body.4.bias; unexpected nothing"),
        (lambda s: {"head.0.weight": torch.ones(1), "blocks.x.weight": torch.ones(1)}, "no shape that is known"),
        (lambda s: {**s, "body.4.weight": torch.ones(64, 32, 3, 3)}, "enlarges ×8, which espcn does not do"),
    ],
)
def test_what_does_not_fit_a_chain(change: Callable[[State], State], message: str, tmp_path: Path) -> None:
    path = saved(change(dict(network("espcn", 2).state_dict())), tmp_path)
    with pytest.raises(WeightsError, match=message):
        load_any(path)


def mean_decibels(net: Network, folder: Path, *, border: int) -> float:
    scores = []
    for path in find_images(folder):
        pair = make_pair(read_rgb(path), net.scale, channels=3)
        with torch.inference_mode():
            result = luma_of(to_image(net(to_tensor(pair.low))))
        scores.append(psnr(result, luma_of(pair.high), border=border))
    return float(np.mean(scores))


@pytest.mark.parametrize(("scale", "decibels"), [(2, 36.1), (3, 31.8), (4, 29.1)])
def test_espcn_of_another_project(scale: int, decibels: float, data_dir: Path) -> None:
    """Trained on YCbCr of full range and blurred inputs, it lies between bicubic and the paper."""
    loaded = load_any(data_dir / f"peer_weights/espcn_pt_nhatthanh/x{scale}_ESPCN-x{scale}.pt")
    assert (loaded.model, loaded.network.scale, loaded.network.channels) == ("espcn", scale, 3)
    measured = mean_decibels(loaded.network, data_dir / "test_images/Set5", border=scale)
    assert measured == pytest.approx(decibels, abs=0.1)


@pytest.mark.parametrize("middle", [1, 3, 5])
def test_srcnn_of_another_project(middle: int, data_dir: Path) -> None:
    loaded = load_any(data_dir / f"peer_weights/srcnn_pt_nhatthanh/SRCNN9{middle}5_SRCNN-9{middle}5.pt", scale=3)
    assert loaded.model == ("srcnn-955" if middle == 5 else "srcnn")
    # It was trained without padding: what the border of zeros reaches is left out. Bicubic has 30.43 there.
    assert 30.9 < mean_decibels(loaded.network, data_dir / "test_images/Set5", border=12) < 33
