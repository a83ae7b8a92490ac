"""Larger pictures that stay on the GPU for NVENC, behind which libx264 is pretended: the same pixels in the file."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from fake_device import FakeDevice
from gpu_pictures import decoded_on_gpu, pretend_cuda, same, surface_frame
from pictures import network, noise

from streams.frame import Frame, PixelFormat, Surface
from streams.sinks import EncoderOptions, FileSink, encoders
from streams.sources import FileSource
from streams.sources.base import SourceInfo
from vsr import Upscaler
from vsr.app.enhancer import UpscalerEnhancer
from vsr.app.jobs import upscale_video
from vsr.app.surfaces import LargerSurface
from vsr.backends import surfaces
from vsr.backends.surfaces import DevicePlane
from vsr.errors import ConfigError

NVENC = EncoderOptions(codec="h264_nvenc", gpu=0)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    return pretend_cuda(monkeypatch)


@pytest.fixture
def nvenc(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int | None]]:
    """A lossless encoder under the name of one of a GPU; the list is of the GPUs that it was opened on."""
    real, opened = encoders._context, []

    def context(library: str, *, pix_fmt: str, gpu: int | None = None, **options: Any) -> Any:
        opened.append(gpu)
        usual = {"p010le": "yuv420p10le"}.get(pix_fmt, pix_fmt)
        return real("libx264" if library == "h264_nvenc" else library, pix_fmt=usual, **options)

    monkeypatch.setattr(encoders, "_context", context)
    monkeypatch.setattr(encoders, "_settings", lambda *_, **__: {"qp": "0", "preset": "ultrafast"})
    for cached in (encoders._refusal, encoders.takes):
        cached.cache_clear()
    yield opened
    for cached in (encoders._refusal, encoders.takes):
        cached.cache_clear()


def info_of(form: PixelFormat, frame: Frame) -> SourceInfo:
    return SourceInfo(width=frame.width, height=frame.height, format=form, time_base=frame.time_base, rate=None)


def sink_for(path: Path, frame: Frame, options: EncoderOptions = NVENC) -> FileSink:
    return FileSink(
        path,
        info=info_of(frame.format, frame),
        width=frame.width,
        height=frame.height,
        format=frame.format,
        options=options,
    )


def decoded(path: Path) -> list[list[np.ndarray]]:
    with FileSource(path) as source:
        return [[plane.copy() for plane in frame.planes] for frame in source]


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("tile", [None, 20])
def test_from_the_decoder_to_the_file_without_the_host(
    bit_depth: int,
    tile: int | None,
    device: FakeDevice,
    nvenc: list[int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames, hosts = zip(*(surface_frame(34, 46, bit_depth=bit_depth, seed=seed) for seed in range(7)), strict=True)
    expected = UpscalerEnhancer(Upscaler(network=network("espcn", 2), tile=tile)).submit(hosts).result()
    monkeypatch.setattr(Surface, "__getitem__", lambda *_: pytest.fail("copied to the host"))
    with sink_for(tmp_path / "out.mkv", expected[0]) as sink:
        enhancer = UpscalerEnhancer(Upscaler(network=network("espcn", 2), tile=tile), leave=sink.takes_surfaces)
        pending = [enhancer.submit([frame]) for frame in frames]
        for job in pending:
            [made] = job.result()
            assert isinstance(made.planes, Surface)
            sink.write(made)
    assert nvenc[-1] == 0
    monkeypatch.undo()
    for one, other in zip(decoded(tmp_path / "out.mkv"), expected, strict=True):
        assert same(one, other.planes)


def test_pictures_of_the_host_are_taken_as_well(nvenc: list[int | None], tmp_path: Path) -> None:
    pairs = [surface_frame(34, 46, seed=seed) for seed in range(3)]
    with sink_for(tmp_path / "out.mkv", pairs[0][1]) as sink:
        assert sink.takes_surfaces
        for pair in pairs:
            sink.write(pair[1])
    assert all(same(one, pair[1].planes) for one, pair in zip(decoded(tmp_path / "out.mkv"), pairs, strict=True))


def test_a_picture_of_another_gpu_is_copied(nvenc: list[int | None], tmp_path: Path) -> None:
    there, here = surface_frame(34, 46, gpu=1)
    with sink_for(tmp_path / "out.mkv", here) as sink:
        sink.write(there)
    assert same(decoded(tmp_path / "out.mkv")[0], here.planes)


def test_a_picture_in_two_pieces_is_copied(nvenc: list[int | None], tmp_path: Path) -> None:
    """As decoders leave them: behind luma there are rows that belong to nothing."""
    there, here = surface_frame(34, 46)
    with sink_for(tmp_path / "out.mkv", here) as sink:
        sink.write(there)
    assert there.planes._planes is not None  # type: ignore[attr-defined]
    assert same(decoded(tmp_path / "out.mkv")[0], here.planes)


def test_a_gpu_without_room_loses_no_picture(
    clip: Path,
    device: FakeDevice,
    nvenc: list[int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upscale_video(clip, tmp_path / "host.mkv", model="espcn", codec="ffv1")
    packed, asked = surfaces.packed, itertools.count(1)

    def full(planes: Any) -> Any:
        if next(asked) < 5:
            return packed(planes)
        raise torch.OutOfMemoryError("fake: out of memory\nand much more")

    monkeypatch.setattr(surfaces, "packed", full)
    upscale_video(clip, tmp_path / "gpu.mkv", model="espcn", codec="h264_nvenc")
    [told] = [record.message for record in caplog.records if "host" in record.message]
    assert told.endswith("from here on: no room beside them there (fake: out of memory)")
    assert next(asked) == 6
    results = [decoded(tmp_path / name) for name in ("gpu.mkv", "host.mkv")]
    assert len(results[0]) == 12
    assert all(same(one, other) for one, other in zip(*results, strict=True))


def test_what_another_gpu_made_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensor's own method knows the current GPU of a thread alone."""

    def refused(*_: Any, **__: Any) -> Any:
        raise BufferError("Can't export tensors on a different CUDA device index")

    monkeypatch.setattr(torch.Tensor, "__dlpack__", refused)
    planes = [DevicePlane(torch.from_numpy(noise(*shape))) for shape in ((34, 46), (17, 23), (17, 23))]
    picture = av.VideoFrame.from_dlpack(surfaces.packed(planes), format="nv12")
    assert (picture.width, picture.height) == (46, 34)


@pytest.mark.parametrize(
    ("options", "form", "reason"),
    [
        ({"codec": "h264"}, PixelFormat(), "h264 encodes on the processor"),
        ({}, PixelFormat(subsampling="444"), "h264_nvenc takes yuv444p at 46×34 from there"),
        ({"pix_fmt": "yuv420p"}, PixelFormat(), "--pix-fmt yuv420p is made there"),
    ],
)
def test_why_pictures_do_not_stay(
    options: Any,
    form: PixelFormat,
    reason: str,
    nvenc: list[int | None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shapes = [form.plane_shape(plane, 46, 34) for plane in range(3)]
    frame = Frame(planes=tuple(noise(*shape) for shape in shapes), format=form, pts=0, time_base=Fraction(1, 25))
    chosen = EncoderOptions(**{"codec": "h264_nvenc", "gpu": 0} | options)
    with caplog.at_level(logging.INFO), sink_for(tmp_path / "out.mkv", frame, chosen) as sink:
        assert not sink.takes_surfaces
        sink.write(frame)
    assert f"larger pictures are copied to the host: {reason}" in caplog.text
    assert same(decoded(tmp_path / "out.mkv")[0], frame.planes)


@pytest.mark.parametrize("error", [av.error.ExternalError(1, "no device", "avcodec_open2"), ValueError("no config")])
def test_an_encoder_that_does_not_open_there_opens_as_ever(
    error: Exception,
    nvenc: list[int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = encoders._context

    def only_from_the_host(library: str, *, gpu: int | None = None, **options: Any) -> Any:
        if gpu is not None:
            raise error
        return context(library, gpu=gpu, **options)

    monkeypatch.setattr(encoders, "_context", only_from_the_host)
    _, frame = surface_frame(34, 46)
    with sink_for(tmp_path / "out.mkv", frame) as sink:
        assert not sink.takes_surfaces
        sink.write(frame)
    assert "larger pictures are copied to the host: no h264_nvenc on GPU 0" in caplog.text
    assert same(decoded(tmp_path / "out.mkv")[0], frame.planes)


def test_nothing_changes_where_no_gpu_is_named(nvenc: list[int | None], tmp_path: Path, caplog: Any) -> None:
    (_, frame), usual = surface_frame(34, 46), EncoderOptions(codec="h264_nvenc")
    with (
        caplog.at_level(logging.INFO),
        sink_for(tmp_path / "out.mkv", frame, usual) as sink,
    ):
        assert not sink.takes_surfaces
        sink.write(frame)
    assert set(nvenc) == {None}
    assert "larger pictures" not in caplog.text


def test_what_is_left_can_be_looked_at_and_reduced(device: FakeDevice) -> None:
    there, here = surface_frame(34, 46, bit_depth=10)
    [expected] = UpscalerEnhancer(Upscaler(network=network("bicubic", 2))).submit([here]).result()
    [found] = UpscalerEnhancer(Upscaler(network=network("bicubic", 2)), leave=True).submit([there]).result()
    assert isinstance(found.planes, LargerSurface)
    assert (found.width, found.height) == (92, 68)
    assert same(found.planes, expected.planes)
    reduced, wanted = (
        UpscalerEnhancer(Upscaler(network=network("bicubic", 2)), size=(80, 60), leave=leave).submit([here]).result()[0]
        for leave in (True, False)
    )
    assert same(reduced.planes, wanted.planes)


def test_who_cannot_leave_results_says_so() -> None:
    with pytest.raises(ConfigError, match="results can be left only on one GPU"):
        UpscalerEnhancer(Upscaler(network=network("nearest", 2), device="torch"), leave=True)


def test_a_job_keeps_pictures_on_the_gpu_from_end_to_end(
    clip: Path,
    device: FakeDevice,
    nvenc: list[int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upscale_video(clip, tmp_path / "host.mkv", model="espcn", codec="ffv1")
    pictures = decoded_on_gpu(monkeypatch, "nv12")
    monkeypatch.setattr(LargerSurface, "download", lambda _: pytest.fail("copied to the host"))
    with caplog.at_level(logging.INFO):
        upscale_video(clip, tmp_path / "gpu.mkv", model="espcn", codec="h264_nvenc")
    assert [record.message for record in caplog.records if "pictures" in record.message] == [
        "larger pictures stay on GPU 0 for h264_nvenc",
        "pictures stay on GPU 0 from the decoder to the network",
    ]
    assert sum(picture.downloads for picture in pictures) == 0
    monkeypatch.undo()
    results = [decoded(tmp_path / name) for name in ("gpu.mkv", "host.mkv")]
    assert len(results[0]) == 12
    assert all(same(one, other) for one, other in zip(*results, strict=True))


def test_a_job_that_reduces_its_pictures_does_so_on_the_host(
    clip: Path, device: FakeDevice, nvenc: list[int | None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        upscale_video(clip, tmp_path / "out.mkv", model="espcn", to="96x72", codec="h264_nvenc")
    assert "larger pictures" not in caplog.text
    assert len(decoded(tmp_path / "out.mkv")) == 12
