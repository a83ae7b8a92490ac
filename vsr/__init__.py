"""Pixels in, pixels out: networks that make pictures larger and sharper.

Only :func:`upscale_video` knows video, and only while it runs: it lives in ``vsr.app``, which joins this package with
``streams``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vsr._version import __version__

if TYPE_CHECKING:
    from vsr.app.jobs import Report, upscale_video
    from vsr.upscaler import Upscaler

__all__ = ["Report", "Upscaler", "__version__", "list_models", "upscale_video"]

# Loaded when they are asked for: PyTorch takes seconds that 'vsr --help' need not wait, and PyAV is for those who want
# video.
_HOMES = {"Report": "vsr.app.jobs", "Upscaler": "vsr.upscaler", "upscale_video": "vsr.app.jobs"}


def list_models() -> list[str]:
    """The names that ``Upscaler`` and ``upscale_video`` take as ``model``, the default first."""
    from vsr.models import MODELS

    return list(MODELS)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vsr' has no attribute {name!r}")
