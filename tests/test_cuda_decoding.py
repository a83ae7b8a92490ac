"""Decoding on a GPU, seen from a machine that may have none: what falls back, what is said, and that pixels stay."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
from gpu_pictures import GpuPicture, decoded_on_gpu

from streams import cuda
from streams.cuda import share_primary_context
from streams.errors import SourceError
from streams.frame import Surface
from streams.sources import FileSource, hwaccel
from streams.sources.hwaccel import open_with
from streams.sources.reader import Reader
from vsr import upscaler
from vsr.app.jobs import upscale_video
from vsr.backends import Choice


def no_driver(*_: Any, **__: Any) -> Any:
    raise av.error.PermissionError(1, "Operation not permitted", "avformat_open_input")


def planes(path: Path, **options: Any) -> list[list[np.ndarray]]:
    with FileSource(path, **options) as source:
        return [[plane.copy() for plane in frame.planes] for frame in source]


def same(a: list[list[np.ndarray]], b: list[list[np.ndarray]]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x, y) for ours, theirs in zip(a, b, strict=True) for x, y in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize(("asked", "level"), [("cuda", logging.WARNING), ("auto", logging.INFO)])
def test_without_a_driver_software_decodes(
    asked: Any, level: int, clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hwaccel, "_open_on_gpu", no_driver)
    with caplog.at_level(logging.INFO, logger="streams"):
        assert same(planes(clip, hwaccel=asked), planes(clip))
    [record] = [record for record in caplog.records if "GPU" in record.message]
    assert record.levelno == level
    assert record.message == "no decoding on a GPU (Operation not permitted); decoding in software"


def test_a_codec_no_gpu_knows_is_decoded_in_software(
    clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hwaccel, "_open_on_gpu", lambda url, _, **options: av.open(url, **options))
    assert same(planes(clip, hwaccel="cuda"), planes(clip))
    assert "it does not know the codec" in caplog.text


def test_without_cuda_in_ffmpeg(clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(hwaccel, "hwdevices_available", lambda: ["qsv"])
    open_with("cuda", str(clip)).close()
    assert "this FFmpeg is built without CUDA" in caplog.text


def test_this_machine_as_it_is(tmp_path: Path) -> None:
    """H.264, which every GPU that decodes knows: here it is decoded, whoever does it."""
    path = media.write_clip(tmp_path / "clip.mp4", media.pattern(5, 256, 192), codec="libx264")
    assert same(planes(path, hwaccel="auto"), planes(path))


def test_a_file_that_is_none_stays_an_error(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(SourceError, match="not a media file"):
        FileSource(path, hwaccel="cuda")


def test_other_words_are_refused(clip: Path) -> None:
    with pytest.raises(SourceError, match="got hwaccel 'vulkan', allowed are none, auto, cuda"):
        FileSource(clip, hwaccel="vulkan")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "of_gpu", "stays"),
    [("yuv420p", "nv12", True), ("yuv420p10le", "p010le", True), ("yuv444p", "yuv444p", False)],
)
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_what_a_gpu_decodes_is_the_same_on_the_host(
    ours: str, of_gpu: str, stays: bool, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.write_clip(tmp_path / "clip.mkv", media.pattern(4, *size, ours), codec="ffv1")
    expected = planes(path)
    decoded_on_gpu(monkeypatch, of_gpu)
    with FileSource(path) as source:
        frames = list(source)
    assert same([list(frame.planes) for frame in frames], expected)
    assert all(isinstance(frame.planes, Surface) == (stays and size == (64, 48)) for frame in frames)
    assert (source.info.width, source.info.height, source.info.format.name) == (*size, ours)


def test_nothing_is_copied_before_it_is_looked_at(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = decoded_on_gpu(monkeypatch, "nv12")
    with FileSource(clip) as source:
        frames = list(source)
    assert [(frame.width, frame.height) for frame in frames] == [(64, 48)] * 12
    moved = replace(frames[0], pts=9)
    assert sum(picture.downloads for picture in pictures) == 0
    for frame in (moved, *frames):
        assert [plane.shape for plane in frame.planes] == [(48, 64), (24, 32), (24, 32)]
    assert [picture.downloads for picture in pictures] == [1] * 12


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"deinterlace": "on"}, "they are deinterlaced there"), ({"rotate": True}, "they are turned")],
)
def test_what_is_changed_on_the_way_comes_to_the_host(
    options: Any, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turn = (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30)
    path = media.write_clip(tmp_path / "clip.mp4", media.pattern(5, 64, 48), codec="libx264", matrix=turn)
    expected = planes(path, **options)
    decoded_on_gpu(monkeypatch, "nv12")
    with caplog.at_level(logging.INFO), FileSource(path, **options) as source:
        frames = list(source)
    assert caplog.text.count(f"pictures are copied to the host: {reason}") == 1
    assert same([list(frame.planes) for frame in frames], expected)
    assert not any(isinstance(frame.planes, Surface) for frame in frames)


def test_a_picture_of_another_size_comes_to_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mpg"
    path.write_bytes(
        b"".join(
            media.write_clip(
                tmp_path / f"{width}.mpg", media.pattern(4, width, 48), codec="mpeg2video", time_base=Fraction(1, 25)
            ).read_bytes()
            for width in (64, 96)
        )
    )
    decoded_on_gpu(monkeypatch, "nv12")
    with FileSource(path) as source:
        frames = list(source)
    kinds = [isinstance(frame.planes, Surface) for frame in frames]
    assert kinds == sorted(kinds, reverse=True)
    assert len(set(kinds)) == 2
    assert {(frame.width, frame.height) for frame in frames} == {(64, 48)}


def test_a_picture_that_cannot_be_copied_is_an_error(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any, **__: Any) -> Any:
        raise av.error.ExternalError(1, "Generic error in an external library", "av_hwframe_transfer_data")

    monkeypatch.setattr(GpuPicture, "reformat", lost)
    decoded_on_gpu(monkeypatch, "nv12")
    with FileSource(clip) as source:
        frame = next(iter(source))
    with pytest.raises(SourceError, match="cannot be copied from the GPU"):
        frame.planes[0]


def test_without_a_context_in_common_pictures_are_copied_by_the_decoder(
    clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def opened(url: str, mode: str, *, hwaccel: Any = None, **_: Any) -> Any:
        if hwaccel.is_hw_owned:
            raise av.error.OSError(95, "Operation not supported", "av_hwdevice_ctx_create")
        return real(url, mode)

    real = av.open
    monkeypatch.setattr(hwaccel.av, "open", opened)
    with caplog.at_level(logging.INFO):
        open_with("cuda", str(clip)).close()
    assert "FFmpeg is not let into the context of the GPU (Operation not supported)" in caplog.text
    assert "decoding in software" not in caplog.text.partition("it does not know the codec")[0]


class Driver:
    """CUDA's own, with two GPUs of which the second has the handle 7."""

    def __init__(self) -> None:
        self.set: list[tuple[int, int]] = []

    def cuInit(self, _: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGet(self, handle: Any, index: int) -> int:  # noqa: N802
        handle._obj.value = (3, 7)[index]
        return 0

    def cuDevicePrimaryCtxSetFlags_v2(self, handle: Any, flags: int) -> int:  # noqa: N802
        self.set.append((handle.value, flags))
        return 0


def test_the_context_is_made_as_ffmpeg_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    monkeypatch.setattr(cuda.ctypes, "CDLL", lambda _: driver)
    share_primary_context(1)
    assert driver.set == [(7, 4)]


def test_without_a_driver_there_is_no_context_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(cuda.ctypes, "CDLL", missing)
    share_primary_context(0)


def test_the_decoder_is_asked_to_leave_pictures_on_the_gpu(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def opened(url: str, mode: str, *, hwaccel: Any = None, **_: Any) -> Any:
        asked.append(hwaccel)
        return real(url, mode)

    real = av.open
    monkeypatch.setattr(hwaccel.av, "open", opened)
    open_with("cuda", str(clip)).close()
    assert asked[0].is_hw_owned
    # The context that PyTorch uses.
    assert asked[0].options == {"primary_ctx": "1"}


@pytest.mark.parametrize(("device", "gpu"), [("auto", 0), ("cuda", 0), ("cuda:1", 1), ("cuda:2,0", 2), ("cuda:all", 0)])
@pytest.mark.parametrize("shared", [True, False])
def test_the_gpu_that_computes_decodes(
    device: str, gpu: int, shared: bool, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[int] = []
    asked: list[Any] = []

    def opened(*args: Any, hwaccel: Any = None, **options: Any) -> Any:
        if hwaccel is not None:
            asked.append(hwaccel)
            if hwaccel.is_hw_owned and not shared:
                raise av.error.OSError(95, "Operation not supported", "av_hwdevice_ctx_create")
        return real(*args, **options)

    real = av.open
    monkeypatch.setattr(hwaccel.av, "open", opened)
    monkeypatch.setattr(hwaccel, "share_primary_context", contexts.append)
    settled = Choice(device="cpu", precision="fp32", reason="pretended")
    monkeypatch.setattr(upscaler, "choose", lambda *_, **__: settled)
    # From the middle, which opens the file more than once.
    upscale_video(clip, tmp_path / "out.mkv", model="nearest", device=device, hwaccel="cuda", start_seconds=0.2)
    assert {*contexts} == {gpu}
    assert {accel.device_id for accel in asked} == {gpu}
    assert len(asked) == len(contexts) * (1 if shared else 2)


class OfGpu:
    """A stream or a decoder that is another one, but for a few attributes."""

    def __init__(self, real: Any, **attributes: Any) -> None:
        self.__dict__.update(attributes, _real=real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize(("asked", "level"), [("cuda", logging.WARNING), ("auto", logging.INFO)])
@pytest.mark.parametrize("decoded_in_software", [False, True], ids=["nothing", "a kind it does not know"])
def test_a_gpu_that_decodes_nothing_is_left(
    asked: Any,
    level: int,
    decoded_in_software: bool,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = planes(clip)
    choose, first = Reader._choose, Reader.first_frame
    chosen: list[Any] = []

    def of_gpu(self: Reader) -> Any:
        stream: Any = choose(self)
        if not chosen:
            stream = OfGpu(stream, codec_context=OfGpu(stream.codec_context, is_hwaccel=True))
        chosen.append(stream)
        return stream

    def first_of(self: Reader) -> Any:
        return first(self) if decoded_in_software or len(chosen) > 1 else None

    monkeypatch.setattr(Reader, "_choose", of_gpu)
    monkeypatch.setattr(Reader, "first_frame", first_of)
    with caplog.at_level(logging.INFO, logger="streams"):
        assert same(planes(clip, hwaccel=asked), expected)
    [record] = [record for record in caplog.records if "decodes none of its pictures" in record.message]
    assert record.message == f"{clip.name}: the GPU decodes none of its pictures; decoding in software"
    assert record.levelno == level
    assert len(chosen) == 2
