"""Frames with time: sources, sinks and the pipeline between them. Knows video, and no network."""

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
