"""Pixels in, pixels out: networks that make pictures larger and sharper.

Only :func:`upscale_video` knows video, and only while it runs: it lives in ``vsr.app``, which joins this package with
``streams``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vsr._version import __version__
from vsr.models import MODELS
from vsr.upscaler import Upscaler

if TYPE_CHECKING:
    from vsr.app.jobs import Report, upscale_video

__all__ = ["Report", "Upscaler", "__version__", "list_models", "upscale_video"]


def list_models() -> list[str]:
    """The names that ``Upscaler`` and ``upscale_video`` take as ``model``, the default first."""
    return list(MODELS)


def __getattr__(name: str) -> Any:
    # PyAV is loaded by those who ask for video, not by those who want pixels.
    if name in ("upscale_video", "Report"):
        from vsr.app import jobs

        return getattr(jobs, name)
    raise AttributeError(f"module 'vsr' has no attribute {name!r}")
