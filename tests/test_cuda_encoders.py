"""Encoders of a GPU: tried before they are trusted, and replaced where they do not work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from streams.frame import PixelFormat
from streams.sinks import EncoderOptions, available_encoders, encoders
from streams.sinks.containers import container_of
from streams.sinks.encoders import ENCODERS, working_encoder
from streams.sinks.track import choose_encoder

HARDWARE = [name for name, encoder in ENCODERS.items() if encoder.software is not None]


@pytest.fixture(autouse=True)
def _tried_anew() -> Iterator[None]:
    encoders._refusal.cache_clear()
    yield
    encoders._refusal.cache_clear()


def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What opening says where there is no driver, even on a machine that has one."""
    real = encoders._context

    def context(library: str, **options: object) -> object:
        if library.endswith(("nvenc", "qsv")):
            raise av.error.PermissionError(1, "Operation not permitted", "avcodec_open2")
        return real(library, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(encoders, "_context", context)


@pytest.mark.parametrize("name", HARDWARE)
def test_software_takes_the_place(name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    without_gpu(monkeypatch)
    encoder = working_encoder(name)
    assert encoder.codec == ENCODERS[name].codec
    assert encoder.software is None
    assert f"{name} does not work here (Operation not permitted); {encoder.name} encodes in its place" in caplog.text
    assert name not in available_encoders()


def test_one_that_works_is_kept(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    real = encoders._context
    monkeypatch.setattr(encoders, "_context", lambda library, **options: real("libx264", **options))
    assert working_encoder("h264_nvenc").name == "h264_nvenc"
    assert caplog.text == ""


def test_the_way_through_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    without_gpu(monkeypatch)
    container = container_of(Path("out.mp4"))
    form = PixelFormat(subsampling="420")
    assert choose_encoder(container, form, options=EncoderOptions(codec="hevc_nvenc")).library == "libx265"
