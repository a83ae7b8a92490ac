"""Decoding on a GPU, seen from a machine that may have none: what falls back, what is said, and that pixels stay."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import media
import numpy as np
import pytest

from streams.errors import SourceError
from streams.sources import FileSource, hwaccel
from streams.sources.hwaccel import open_with
from streams.sources.reader import Reader


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
    monkeypatch.setattr(hwaccel, "_open_on_gpu", av.open)
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


@pytest.mark.parametrize(("ours", "of_gpu"), [("yuv420p", "nv12"), ("yuv420p10le", "p010le")])
def test_what_a_gpu_copies_to_the_host_is_the_same(
    ours: str, of_gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [picture.reformat(format=ours) for picture in media.pattern(4, 64, 48)]
    for number, picture in enumerate(pictures):
        picture.pts = number
    path = media.write_clip(tmp_path / "clip.mkv", pictures, codec="ffv1")
    expected = planes(path)
    decode = Reader._decode

    def as_of_gpu(self: Reader, packet: Any) -> Iterator[av.VideoFrame]:
        for frame in decode(self, packet):
            other = frame.reformat(format=of_gpu)
            other.pts = frame.pts
            yield other

    monkeypatch.setattr(Reader, "_decode", as_of_gpu)
    assert same(planes(path), expected)


def test_a_gpu_that_decodes_nothing_is_left(
    clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = planes(clip)
    first = Reader.first_frame
    monkeypatch.setattr(
        Reader, "first_frame", lambda self: None if isinstance(self.stream, SimpleNamespace) else first(self)
    )
    choose = Reader._choose
    tried: list[str] = []

    def of_gpu(self: Reader) -> Any:
        stream = choose(self)
        if tried:
            return stream
        tried.append("GPU")
        return SimpleNamespace(index=stream.index, codec_context=SimpleNamespace(is_hwaccel=True))

    monkeypatch.setattr(Reader, "_choose", of_gpu)
    assert same(planes(clip, hwaccel="cuda"), expected)
    assert "the GPU decodes none of its pictures; decoding in software" in caplog.text
