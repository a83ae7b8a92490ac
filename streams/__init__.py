"""Frames with time: sources, sinks and the pipeline between them. Knows video, and no network."""
