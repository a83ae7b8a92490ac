"""Inputs of video: :func:`open_source` finds the right one for a path or an address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from streams.errors import SourceError
from streams.redact import redact
from streams.sources.base import Source, SourceInfo, StreamInfo
from streams.sources.file import FileSource
from streams.sources.synthetic import SyntheticSource

__all__ = ["FileSource", "Source", "SourceInfo", "StreamInfo", "SyntheticSource", "open_source"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)


def _open_file(url: str, **options: Any) -> Source:
    return FileSource(Path(re.sub(r"^file:(//(?=/))?", "", url)), **options)


def _open_synthetic(url: str, **options: Any) -> Source:
    if options:
        raise SourceError(f"got {', '.join(options)} for {url!r}, which takes no options of a file; put them after ?")
    return SyntheticSource.from_url(url)


# A new kind of source is one line here and one in the contract test.
_OPENERS: Mapping[str, Callable[..., Source]] = MappingProxyType({"file": _open_file, "synthetic": _open_synthetic})


def open_source(url: str | Path, **options: Any) -> Source:
    """Open a path or an address as a source of video.

    Args:
        url: a path; or ``file:PATH``; or ``synthetic:WIDTHxHEIGHT?frames=N&rate=R``.
        options: what the source takes; for files see :class:`FileSource`.

    Raises:
        SourceError: the input cannot be opened, or nothing here opens addresses of its scheme.
    """
    if isinstance(url, Path):
        return FileSource(url, **options)
    scheme = _SCHEME.match(url)
    name = scheme[1].lower() if scheme else ""
    if name in _OPENERS and not Path(url).exists():
        return _OPENERS[name](url, **options)
    if "://" in url:
        raise SourceError(f"got {redact(url)!r}; allowed are a path and {', '.join(f'{key}:' for key in _OPENERS)}")
    return FileSource(Path(url), **options)
