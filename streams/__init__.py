"""Frames with time: sources, sinks and the pipeline between them. Knows video, and no network."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.frame import Frame, Item, Packet, PixelFormat
    from streams.pipeline import Pipeline
    from streams.sinks import Sink, open_sink
    from streams.sources import Source, SourceInfo, open_source
    from streams.stats import Report, Stats

__all__ = [
    "Frame",
    "Item",
    "Packet",
    "Pipeline",
    "PixelFormat",
    "Report",
    "Sink",
    "Source",
    "SourceInfo",
    "Stats",
    "open_sink",
    "open_source",
]

# Loaded when they are asked for: who needs only the errors, such as a command line that shows its help, need not wait
# for PyAV.
_HOMES = {
    "Frame": "streams.frame",
    "Item": "streams.frame",
    "Packet": "streams.frame",
    "Pipeline": "streams.pipeline",
    "PixelFormat": "streams.frame",
    "Report": "streams.stats",
    "Sink": "streams.sinks",
    "Source": "streams.sources",
    "SourceInfo": "streams.sources",
    "Stats": "streams.stats",
    "open_sink": "streams.sinks",
    "open_source": "streams.sources",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'streams' has no attribute {name!r}")
