"""Which network a job runs: by name, from a file, and what is said where that cannot be."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
import torch
from pictures import network
from safetensors.torch import save_file

from streams.frame import Frame, PixelFormat
from streams.sources import FileSource
from vsr import Upscaler, weights
from vsr.app.cli import main
from vsr.app.enhancer import UpscalerEnhancer, layout_of
from vsr.app.jobs import upscale_video
from vsr.app.networks import select_network
from vsr.app.sizes import plan_size, size_label
from vsr.app.stated import stated
from vsr.errors import ConfigError, PixelError, UnknownModelError, WeightsError
from vsr.models import build_network
from vsr.models.base import Network
from vsr.models.rrdb import RRDBNet

SMALL = {"blocks": 1, "width": 8, "growth": 4}


@torch.no_grad()
def linear(net: Network) -> Network:
    """A network of RRDBs as it is built, less what little is random in it: linear interpolation."""
    assert isinstance(net, RRDBNet)
    assert net.conv_body.bias is not None
    net.conv_body.bias.zero_()
    for conv in (net.conv_up1, net.conv_up2, net.conv_hr, net.conv_last):
        if conv is not None:
            conv.weight[:3, 3:] = 0
    return net


def saved(net: Network, path: Path) -> Path:
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, str(path))
    return path


@pytest.fixture(scope="module")
def rrdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = linear(build_network("rrdb", scale=2, options=SMALL))
    return saved(net, tmp_path_factory.mktemp("weights") / "mine.safetensors")


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A package with weights of rrdb for ×2 and ×4, and of esrgan for ×4 alone."""
    some = weights.index()[0]
    kinds = [("rrdb", 2), ("rrdb", 4), ("esrgan", 4), ("ecbsr", 2), ("ecbsr", 3)]
    monkeypatch.setattr(
        weights,
        "index",
        lambda: tuple(replace(some, model=name, scale=scale, precision="fp32") for name, scale in kinds),
    )
    return monkeypatch


@pytest.mark.parametrize(
    ("model", "scales"), [(None, (2, 3)), ("rrdb", (2, 4)), ("esrgan", (4,)), ("bicubic", (2, 3, 4))]
)
@pytest.mark.usefixtures("shipped")
def test_scales_are_those_with_weights(model: str | None, scales: tuple[int, ...]) -> None:
    selection = select_network(model)
    assert (selection.model, selection.scales) == (model or "ecbsr", scales)


@pytest.mark.usefixtures("shipped")
def test_another_scale_than_the_usual_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    select_network("rrdb")
    select_network("esrgan", to="1080p")
    assert not caplog.messages
    select_network("esrgan")
    assert caplog.messages == ["there is esrgan for ×4, so the picture becomes 4 times larger"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "esrgan", "scale": 3}, WeightsError, "got scale 3, and there is esrgan for ×4; any size up to ×4"),
        ({"model": "rrdb", "scale": 3}, WeightsError, "rrdb for ×2 and ×4; any size up to ×4 with --to"),
        ({"model": "srresnet"}, WeightsError, "'vsr train RECIPE' with .*srresnet_x4.*--weights"),
        ({"model": "rrdbb"}, UnknownModelError, "did you mean 'rrdb'"),
        ({"model": "rrdbb", "weights": "x"}, UnknownModelError, "did you mean 'rrdb'"),
        ({"model": "rrdb", "blend": 0.5}, ConfigError, "0.5 with rrdb, only networks .* have it: srgan, esrgan"),
        ({"model": "esrgan", "blend": 1.5}, ConfigError, "1.5, allowed is 0 .* to 1"),
        ({"weights": "x", "blend": 0.5}, ConfigError, "only shipped weights are blended"),
        ({"weights": "no/such.safetensors"}, WeightsError, "no/such.safetensors"),
    ],
)
@pytest.mark.usefixtures("shipped")
def test_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        select_network(**arguments)
    assert "\n" not in str(caught.value)


def test_a_file_says_what_it_is(rrdb: Path) -> None:
    selection = select_network(weights=rrdb)
    assert selection.scales == (2,)
    assert selection.network is not None
    assert selection.network.channels == 3
    assert select_network("rrdb", scale=2, weights=rrdb).model == "rrdb"
    for contradiction in ({"scale": 4}, {"model": "ecbsr"}):
        with pytest.raises(WeightsError):
            select_network(weights=rrdb, **contradiction)  # type: ignore[arg-type]


@pytest.mark.parametrize(("scales", "label", "factor"), [((2, 4), "x2", 2), ((4,), "x4", 4), ((3, 4), "x3", 3)])
def test_sizes_follow_the_scales(scales: tuple[int, ...], label: str, factor: int) -> None:
    assert size_label(None, None, scales=scales) == label
    assert plan_size(100, 50, scales=scales).scale == factor
    assert plan_size(100, 50, to="250x125", scales=scales).scale == next(s for s in scales if s >= 2.5)
    with pytest.raises(ConfigError, match=r"got scale 5, allowed are .*up to x4"):
        plan_size(100, 50, scale=5, scales=scales)


def test_a_size_beyond_the_largest_scale() -> None:
    with pytest.raises(ConfigError, match="more than 2 times the input's 100×50"):
        plan_size(100, 50, to="300x150", scales=(2,))


FORMATS = [
    PixelFormat(subsampling="420"),
    PixelFormat(subsampling="422", bit_depth=10),
    PixelFormat(subsampling="444"),
    PixelFormat(subsampling="gray"),
    PixelFormat(subsampling="420", bit_depth=10, range="full"),
    PixelFormat(subsampling="420", range="full", matrix=1),
]


def waves(form: PixelFormat, width: int, height: int) -> av.VideoFrame:
    """A picture of soft waves of light and colour."""
    planes = []
    for index in range(form.plane_count):
        rows, columns = form.plane_shape(index, width, height)
        y, x = np.mgrid[:rows, :columns] * [[[height / rows]], [[width / columns]]]
        wave = np.sin(x / 7 + 2 * index) * np.cos(y / 9 - index)
        planes.append(((0.5 + 0.15 * wave) * (1 << form.bit_depth)).astype(form.dtype))
    return media.to_av(Frame(planes=tuple(planes), format=form, pts=0, time_base=media.TICK))


def decoded(path: Path) -> list[Frame]:
    with FileSource(path) as source:
        return [item for item in source.items() if isinstance(item, Frame)]


@pytest.mark.parametrize("size", [(48, 32), (37, 29)])
@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.name}-{form.range}")
def test_colours_of_a_clip_are_those_of_plain_interpolation(
    form: PixelFormat, size: tuple[int, int], rrdb: Path, tmp_path: Path
) -> None:
    facts = {"color_range": 2 if form.range == "full" else 1, "colorspace": form.matrix}
    source = media.write_clip(tmp_path / "in.mkv", [waves(form, *size)], **facts)
    options: dict[str, Any] = {"codec": "ffv1", "device": "torch"}
    report = upscale_video(source, tmp_path / "rrdb.mkv", weights=rrdb, **options)
    assert (report.model, report.scale, report.precision) == ("rrdb", 2, "fp32")
    assert (report.weights, report.blend) == (str(rrdb), None)
    upscale_video(source, tmp_path / "plain.mkv", model="bilinear", **options)
    for made, plain in zip(decoded(tmp_path / "rrdb.mkv"), decoded(tmp_path / "plain.mkv"), strict=True):
        assert made.format == plain.format
        assert (made.format.range, made.format.name) == (form.range, form.name)
        step = 1 << (made.format.bit_depth - 8)
        for a, b in zip(made.planes, plain.planes, strict=True):
            # The network sees black beyond the border, interpolation what lies at it.
            inner = np.abs(a.astype(float) - b)[8:-8, 8:-8]
            assert inner.mean() < 0.6 * step
            assert inner.max() <= 3 * step


def test_the_matrix_that_players_assume_is_the_one_converted_with() -> None:
    up = Upscaler(network=network("rrdb", 2), device="torch")
    for lines, matrix in ((719, 6), (720, 1)):
        form = stated(PixelFormat(), lines=lines)
        assert form.matrix == matrix
        rng = np.random.default_rng(0)
        planes = tuple(rng.integers(40, 200, shape).astype(np.uint8) for shape in ((lines, 8), (-(-lines // 2), 4)))
        frame = Frame(planes=(planes[0], planes[1], planes[1]), format=PixelFormat(), pts=0, time_base=media.TICK)
        (made,) = UpscalerEnhancer(up).submit([frame]).result()
        expected = up.submit([frame.planes], layout=layout_of(form)).result()[0]
        for a, b in zip(made.planes, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert stated(PixelFormat(matrix=9), lines=100).matrix == 9
    assert stated(PixelFormat(subsampling="gray"), lines=100).matrix == 2


def test_a_matrix_that_is_none_is_refused_before_anything_is_written(rrdb: Path, tmp_path: Path) -> None:
    source = media.write_clip(tmp_path / "in.mkv", media.pattern(2, 48, 32), colorspace=8)
    with pytest.raises(PixelError, match="matrix 8"):
        upscale_video(source, tmp_path / "out.mkv", weights=rrdb)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_the_command_line(rrdb: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: Any) -> tuple[int, str, str]:
        code = main(["upscale", str(clip), *map(str, arguments), "--device", "torch", "--preset", "ultrafast"])
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, _ = run("-o", tmp_path / "out.mkv", "--weights", rrdb, "--json", "--sample", "2")
    assert code == 0
    assert (json.loads(out)["model"], json.loads(out)["scale"]) == ("rrdb", 2)
    four = saved(build_network("rrdb", scale=4, options=SMALL), tmp_path / "four.safetensors")
    code, _, _ = run("-o", f"{tmp_path}/folder/", "--weights", four, "--sample", "1", "--tile", "16")
    assert code == 0
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["clip_x4.mkv"]
    for arguments, expected in (
        (("--weights", rrdb, "--scale", "4"), 5),
        (("--weights", rrdb, "--model", "ecbsr"), 5),
        (("--weights", tmp_path / "none"), 5),
        (("--blend", "0.5"), 2),
    ):
        code, out, err = run("-o", tmp_path / "no.mkv", *arguments)
        assert (code, out, err.count("\n")) == (expected, "", 1)
        assert not (tmp_path / "no.mkv").exists()
