"""Outputs of video: :func:`open_sink` finds the right one for a path or an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from streams.errors import SinkError
from streams.frame import PixelFormat
from streams.redact import redact
from streams.sinks.base import Sink
from streams.sinks.containers import CONTAINERS
from streams.sinks.encoders import ENCODERS, EncoderOptions, available_encoders
from streams.sinks.file import FileSink, same_file
from streams.sinks.null import NullSink
from streams.sinks.partial import partial_path
from streams.sinks.remux import StreamPlan
from streams.sources.base import SourceInfo

__all__ = [
    "CONTAINERS",
    "ENCODERS",
    "EncoderOptions",
    "FileSink",
    "NullSink",
    "Sink",
    "StreamPlan",
    "available_encoders",
    "open_sink",
    "partial_path",
    "same_file",
]


def _open_null(_url: str | Path, **_options: Any) -> Sink:
    return NullSink()


# A new kind of sink is one line here and one in the contract test.
_OPENERS: Mapping[str, Callable[..., Sink]] = MappingProxyType({"file": FileSink, "null": _open_null})


def open_sink(
    url: str | Path,
    *,
    info: SourceInfo,
    width: int,
    height: int,
    format: PixelFormat,  # noqa: A002
    options: EncoderOptions | None = None,
    overwrite: bool = False,
    sample_aspect_ratio: Fraction | None = None,
    **more: Any,
) -> Sink:
    """Open a path or an address for writing.

    Args:
        url: a path; or ``file:PATH``; or ``null:``, which counts what it is given and keeps nothing.
        info: what is known of the input: time base, rate, tags, chapters, the streams to copy.
        width: of the frames that will be written, in luma samples; so the ``height``.
        height: see ``width``.
        format: what their planes hold.
        options: for the encoder.
        overwrite: replace a file of that name.
        sample_aspect_ratio: of the output, otherwise the input's.
        more: what the sink takes besides; for files see :class:`FileSink`.

    Raises:
        SinkError: the output cannot be opened, or nothing here writes to addresses of its scheme.
    """
    name, rest = _scheme(url)
    return _OPENERS[name](
        rest,
        info=info,
        width=width,
        height=height,
        format=format,
        options=options,
        overwrite=overwrite,
        sample_aspect_ratio=sample_aspect_ratio,
        **more,
    )


def _scheme(url: str | Path) -> tuple[str, str | Path]:
    if isinstance(url, Path):
        return "file", url
    name, colon, rest = url.partition(":")
    if colon and name in _OPENERS:
        return name, rest
    if "://" in url:
        raise SinkError(f"got {redact(url)!r}; allowed are a path and {', '.join(f'{key}:' for key in _OPENERS)}")
    return "file", url
