"""Weights that are shipped, each against what the index says of it; and how weights are read and taken over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import SMALL, loud, network, photo, to_floats
from safetensors.torch import load_file, save_file

import vsr.weights
from vsr import Upscaler
from vsr.errors import ConfigError, UnknownModelError, WeightsError
from vsr.evaluate import evaluate
from vsr.models import MODELS, build_network
from vsr.models.base import Network, macs_per_input_sample, parameter_count
from vsr.models.ecbsr import EdgeConv
from vsr.models.quantized import quantized_layers
from vsr.training.loop import exported
from vsr.weights import (
    WeightsInfo,
    check,
    find,
    index,
    load_file_as,
    load_into,
    load_network,
    shipped_scales,
    start_from,
)
from vsr.weights.bundled import bundled_pictures, bundled_scores
from vsr.weights.ship import reference

every_file = pytest.mark.parametrize("info", index(), ids=lambda info: f"{info.model}-x{info.scale}-{info.precision}")


def named(infos: tuple[WeightsInfo, ...]) -> list[tuple[str, int, str]]:
    return [(info.model, info.scale, info.precision) for info in infos]


def test_the_index_names_each_network_once() -> None:
    assert len(set(named(index()))) == len(index())
    assert len({info.file for info in index()}) == len(index())
    for info in index():
        assert info.model in MODELS
        assert info.precision in ("fp32", "int8")


def test_no_file_is_missing_from_the_index() -> None:
    folder = Path(__file__).parents[1] / "vsr/weights"
    assert {path.name for path in folder.glob("*.safetensors")} == {info.file for info in index()}


@every_file
def test_file_is_what_the_index_says(info: WeightsInfo) -> None:
    check(info)
    net = load_network(info.model, scale=info.scale, precision=info.precision)
    assert parameter_count(net) == info.parameters
    assert macs_per_input_sample(net) == info.macs
    assert len(quantized_layers(net)) == (0 if info.precision == "fp32" else len(net.state_dict()) // 3)
    assert not any(isinstance(layer, EdgeConv) for layer in net.modules())
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())
    assert info.recipe
    assert info.data


@every_file
def test_file_is_as_good_as_the_index_says(info: WeightsInfo, data_dir: Path) -> None:
    up = Upscaler(info.model, scale=info.scale, device="torch", precision=info.precision, threads=1)
    paths = [data_dir / "test_images/Set5" / name for name in info.check]
    measured = {score.name: score.psnr for score in evaluate(up, paths, scale=info.scale)}
    assert info.check
    assert measured == pytest.approx(info.check, abs=0.01)


@every_file
def test_file_is_as_good_on_pictures_that_everybody_has(info: WeightsInfo) -> None:
    net = load_network(info.model, scale=info.scale, precision=info.precision)
    assert bundled_scores(reference(net)) == pytest.approx(info.bundled, abs=0.01)


@every_file
def test_file_is_better_than_bicubic_where_it_is_trained_for_that(info: WeightsInfo) -> None:
    bicubic = bundled_scores(Upscaler("bicubic", scale=info.scale, device="torch"))
    assert set(info.bundled) == set(bicubic) == set(bundled_pictures())
    if MODELS[info.model].sharpens is None and info.model != "ecbsr-stream":
        for name, value in bicubic.items():
            assert info.bundled[name] > value, name


def test_bundled_pictures_fit_every_scale() -> None:
    for picture in bundled_pictures().values():
        assert picture.shape == (240, 240, 3)
        assert picture.std() > 30


@every_file
def test_int8_costs_little(info: WeightsInfo) -> None:
    if info.precision == "int8":
        exact = find(info.model, scale=info.scale)
        for name, value in info.psnr.items():
            assert value > exact.psnr[name] - 0.1, name


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_that_are_not_shipped(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    have = WeightsInfo(
        model="espcn", scale=3, precision="fp32", file="", sha256="", recipe="", data=(), parameters=0, macs=0,
        psnr={}, ssim={}, check={},
    )  # fmt: skip
    monkeypatch.setattr("vsr.weights.index", lambda: (have,))
    with pytest.raises(WeightsError, match=rf"no {precision} weights of espcn ×2 are shipped; there are: ×3 fp32"):
        find("espcn", scale=2, precision=precision)
    with pytest.raises(WeightsError, match="no fp32 weights of espcn ×2"):
        load_network("espcn", scale=2)
    with pytest.raises(UnknownModelError, match="scale 9"):
        load_network("espcn", scale=9)


def shipped(path: Path, *, model: str = "ecbsr", **more: Any) -> WeightsInfo:
    """An entry of the index for a file that lies anywhere."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return WeightsInfo(
        model=model, scale=2, precision="fp32", file=str(path), sha256=sha256, recipe="none", data=("noise",),
        parameters=1, macs=1, psnr={}, ssim={}, check={}, **more,
    )  # fmt: skip


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_file(exported(network("ecbsr", 2, seed=5)), path)
    return path


def test_shipped_weights_are_loaded_folded_and_frozen(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.weights.index", lambda: (shipped(weights),))
    net = load_network("ecbsr", scale=2)
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert torch.equal(net(to_floats(photo())), network("ecbsr", 2, seed=5)(to_floats(photo())))


def test_a_damaged_or_missing_file_is_refused(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = shipped(weights)
    check(info)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights.safetensors is damaged .*install vsr anew"):
        check(info)
    monkeypatch.setattr("vsr.weights.index", lambda: (info,))
    with pytest.raises(WeightsError, match="damaged"):
        Upscaler("ecbsr")
    with pytest.raises(WeightsError, match=r"cannot read .*gone.safetensors: No such file"):
        check(replace(info, file=str(weights.with_name("gone.safetensors"))))


def test_load_into_refuses_what_does_not_fit(weights: Path, tmp_path: Path) -> None:
    net = network("espcn", 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(WeightsError, match=r"weights.safetensors does not fit this network: .*body") as caught:
        load_into(net, weights)
    assert "\n" not in str(caught.value)
    text = tmp_path / "text.safetensors"
    text.write_text("not weights")
    for path in (text, tmp_path / "gone.safetensors"):
        with pytest.raises(WeightsError, match=rf"cannot read .*{path.name}"):
            load_into(net, path)
    assert before.keys() == net.state_dict().keys()


def test_half_precision_files_are_read(weights: Path) -> None:
    save_file({name: value.half() for name, value in load_file(weights).items()}, weights)
    net = build_network("ecbsr", scale=2).folded()
    load_into(net, weights)
    assert {value.dtype for value in net.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(
        net(to_floats(photo())), network("ecbsr", 2, seed=5)(to_floats(photo())), atol=2e-3, rtol=0
    )


def test_start_from_the_same_scale_is_the_same_function(weights: Path) -> None:
    torch.manual_seed(9)
    net = start_from(build_network("ecbsr", scale=2), str(weights))
    assert any(isinstance(layer, EdgeConv) for layer in net.modules())
    with torch.no_grad():
        torch.testing.assert_close(net(to_floats(photo())), network("ecbsr", 2, seed=5)(to_floats(photo())))


@pytest.mark.parametrize("name", ["espcn", "ecbsr"])
def test_start_from_another_scale_takes_all_but_the_last_layer(name: str, tmp_path: Path) -> None:
    source = network(name, 2, seed=5)
    save_file(exported(source), tmp_path / "x2.safetensors")
    torch.manual_seed(9)
    net = start_from(build_network(name, scale=4), str(tmp_path / "x2.safetensors")).folded()
    *hidden, last = [key for key in source.state_dict() if key.endswith("weight")]
    for key in hidden:
        for part in (key, key.replace("weight", "bias")):
            torch.testing.assert_close(net.state_dict()[part], source.state_dict()[part], atol=1e-7, rtol=0)
    assert net.state_dict()[last].shape != source.state_dict()[last].shape


def test_start_from_refuses(weights: Path, tmp_path: Path) -> None:
    for scale in (2, 3, 4):
        with pytest.raises(WeightsError, match=r"nothing in .*weights.safetensors fits"):
            start_from(build_network("espcn", scale=scale), str(weights))
    with pytest.raises(WeightsError, match=r"gone\.safetensors"):
        start_from(build_network("espcn", scale=2), str(tmp_path / "gone.safetensors"))
    with pytest.raises(WeightsError, match="espcn ×9"):
        start_from(build_network("espcn", scale=2), "espcn:9")


def test_start_from_never_takes_half_a_layer(tmp_path: Path) -> None:
    """The bias of one network's last layer may have the shape of another's hidden one."""
    save_file(exported(network("espcn", 4)), tmp_path / "espcn.safetensors")
    with pytest.raises(WeightsError, match="nothing in"):
        start_from(build_network("ecbsr", scale=2), str(tmp_path / "espcn.safetensors"))


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Network]]:
    """A small network trained for PSNR and one that paints, as if they were shipped."""
    networks = {"rrdb": network("rrdb", 2, seed=1), "esrgan": network("esrgan", 2, seed=2)}
    infos = []
    for name, net in networks.items():
        path = tmp_path / f"{name}.safetensors"
        save_file(net.state_dict(), path)
        infos.append(shipped(path, model=name, options=SMALL[name]))
    monkeypatch.setattr("vsr.weights.index", lambda: tuple(infos))
    yield networks


def test_blending_mixes_every_weight(pair: dict[str, Network]) -> None:
    smooth, sharp = (pair[name].state_dict() for name in ("rrdb", "esrgan"))
    for blend in (0.0, 0.25, 0.8, 1.0):
        net = load_network("esrgan", scale=2, blend=blend)
        assert not net.training
        assert not any(parameter.requires_grad for parameter in net.parameters())
        for name, value in net.state_dict().items():
            torch.testing.assert_close(value, (1 - blend) * smooth[name] + blend * sharp[name])
    torch.testing.assert_close(load_network("esrgan", scale=2).state_dict(), sharp, atol=0, rtol=0)


@pytest.mark.parametrize("blend", [-0.1, 1.5, float("nan")])
def test_blend_is_a_share(pair: dict[str, Network], blend: float) -> None:
    with pytest.raises(ConfigError, match=rf"got blend={blend}, it must be from 0 .* to 1"):
        load_network("esrgan", scale=2, blend=blend)


def test_what_cannot_be_blended(pair: dict[str, Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"blend=0.5 for rrdb, only networks that paint texture have it: srgan, esrgan"
    ):
        load_network("rrdb", scale=2, blend=0.5)
    rrdb, esrgan = index_of("rrdb"), index_of("esrgan")
    monkeypatch.setattr("vsr.weights.index", lambda: (esrgan,))
    with pytest.raises(WeightsError, match="no fp32 weights of rrdb ×2"):
        load_network("esrgan", scale=2, blend=0.5)
    assert load_network("esrgan", scale=2, blend=1.0).scale == 2
    monkeypatch.setattr("vsr.weights.index", lambda: (esrgan, replace(rrdb, options={**rrdb.options, "blocks": 3})))
    with pytest.raises(WeightsError, match=r"cannot blend esrgan \(blocks=1, .*\) with rrdb \(blocks=3, .*both must"):
        load_network("esrgan", scale=2, blend=0.5)


def index_of(model: str) -> WeightsInfo:
    return next(info for info in vsr.weights.index() if info.model == model)


def test_blending_checks_both_files(pair: dict[str, Network]) -> None:
    path = index_of("rrdb").path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match=r"rrdb.safetensors is damaged"):
        load_network("esrgan", scale=2, blend=0.5)


def test_scales_that_are_shipped(pair: dict[str, Network], monkeypatch: pytest.MonkeyPatch) -> None:
    info = index_of("rrdb")
    monkeypatch.setattr("vsr.weights.index", lambda: tuple(replace(info, scale=scale) for scale in (4, 2)))
    assert shipped_scales("rrdb") == (2, 4)
    assert shipped_scales("rrdb", precision="int8") == ()
    assert shipped_scales("srcnn") == ()


def test_options_are_those_of_the_network() -> None:
    for info in index():
        assert set(info.options) <= set(MODELS[info.model].options)
        if MODELS[info.model].options:
            assert {"blocks", "width"} <= set(info.options)


@pytest.mark.parametrize("name", ["srresnet", "srresnet-y", "srgan", "rrdb", "esrgan"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_file_tells_its_size(name: str, blocks: int, tmp_path: Path) -> None:
    torch.manual_seed(2)
    net = loud(build_network(name, scale=4, options={**SMALL[name], "blocks": blocks})).eval()
    for state in (exported(net), {key: value.clone() for key, value in net.state_dict().items()}):
        save_file(state, tmp_path / "any.safetensors")
        loaded = load_file_as(name, tmp_path / "any.safetensors", scale=4)
        x = torch.rand(1, net.channels, 6, 6)
        with torch.no_grad():
            torch.testing.assert_close(loaded(x), net(x), atol=1e-5, rtol=1e-5)


def test_a_file_of_another_network(weights: Path) -> None:
    with pytest.raises(WeightsError, match="does not fit this network"):
        load_file_as("rrdb", weights, scale=2)
    with pytest.raises(UnknownModelError, match="scale 3 for rrdb"):
        load_file_as("rrdb", weights, scale=3)


def test_a_painter_starts_from_what_it_sharpens(pair: dict[str, Network]) -> None:
    net = start_from(build_network("esrgan", scale=2, options=SMALL["esrgan"]), "rrdb:2")
    torch.testing.assert_close(net.state_dict(), pair["rrdb"].state_dict(), atol=0, rtol=0)


def test_batch_norm_cannot_start_from_folded_weights(tmp_path: Path) -> None:
    torch.manual_seed(2)
    path = tmp_path / "srresnet.safetensors"
    source = loud(build_network("srresnet", scale=4, options=SMALL["srresnet"]))
    save_file(exported(source), path)
    with pytest.raises(ConfigError, match=r"srresnet.safetensors is folded away .*set batch_norm = false"):
        start_from(build_network("srgan", scale=4, options=SMALL["srgan"]), str(path))
    plain = start_from(build_network("srgan", scale=4, options={**SMALL["srgan"], "batch_norm": False}), str(path))
    torch.testing.assert_close(plain.state_dict(), exported(source), atol=0, rtol=0)
    save_file({name: value.clone() for name, value in source.state_dict().items()}, path)
    normed = start_from(build_network("srgan", scale=4, options=SMALL["srgan"]), str(path))
    torch.testing.assert_close(normed.state_dict(), source.state_dict(), atol=0, rtol=0)
