"""The names that others may rely on."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys

import pytest

import vsr
import vsr.upscaler
from vsr import errors
from vsr.app import jobs


def test_exported_names() -> None:
    assert vsr.__all__ == ["Report", "Upscaler", "__version__", "list_models", "upscale_video"]
    assert all(hasattr(vsr, name) for name in vsr.__all__)
    assert vsr.upscale_video is jobs.upscale_video
    assert vsr.Report is jobs.Report
    with pytest.raises(AttributeError, match="no attribute 'upscale'"):
        vsr.upscale  # noqa: B018


def test_models_the_default_first() -> None:
    assert set(vsr.list_models()) >= {"srcnn", "espcn", "srresnet", "srgan", "esrgan", "nearest", "bilinear", "bicubic"}
    assert inspect.signature(vsr.Upscaler).parameters["model"].default == vsr.list_models()[0]


def test_signature_of_the_upscaler() -> None:
    parameters = inspect.signature(vsr.Upscaler).parameters
    defaults = {name: parameters[name].default for name in ("model", "scale", "device", "precision")}
    assert defaults == {"model": "ecbsr", "scale": 2, "device": "auto", "precision": "auto"}
    assert [name for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY] == ["model"]


def test_examples_in_the_documentation_are_true() -> None:
    result = doctest.testmod(vsr.upscaler)
    assert result.attempted > 0
    assert result.failed == 0


def test_pixels_need_no_video_and_no_command_line() -> None:
    unwanted = ("av", "typer", "cv2", "openvino", "streams", "vsr.app.jobs")
    program = f"import sys, vsr; vsr.list_models(); print(*(name for name in {unwanted} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert run.stdout.split() == []


def test_every_error_is_a_vsr_error_and_in_the_tree() -> None:
    classes = [item for _, item in inspect.getmembers(errors, inspect.isclass) if item is not errors.VsrError]
    assert len(classes) >= 6
    assert errors.__doc__ is not None
    for error in classes:
        assert issubclass(error, errors.VsrError)
        assert error.__name__ in errors.__doc__
