"""Inputs of video: :func:`open_source` finds the right one for a path or an address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode

from streams.errors import SourceError
from streams.redact import redact
from streams.sources.base import Source, SourceInfo, StreamInfo
from streams.sources.file import FileSource
from streams.sources.live import LiveSource
from streams.sources.network import NETWORK_SCHEMES, NetworkSource
from streams.sources.paced import PacedSource
from streams.sources.pushed import PushedSource
from streams.sources.status import LiveStatus
from streams.sources.synthetic import SyntheticSource
from streams.sources.webcam import WebcamSource, is_webcam

__all__ = [
    "FileSource",
    "LiveSource",
    "LiveStatus",
    "NetworkSource",
    "PacedSource",
    "PushedSource",
    "Source",
    "SourceInfo",
    "StreamInfo",
    "SyntheticSource",
    "WebcamSource",
    "open_source",
]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)


def _open_file(url: str, **options: Any) -> Source:
    return FileSource(Path(re.sub(r"^file:(//(?=/))?", "", url)), **options)


def _open_synthetic(url: str, **options: Any) -> Source:
    if options:
        raise SourceError(f"got {', '.join(options)} for {url!r}, which takes no options of a file; put them after ?")
    address, _, query = url.partition("?")
    settings = dict(parse_qsl(query, keep_blank_values=True))
    live = settings.pop("live", "0")
    if live not in {"0", "1"}:
        raise SourceError(f"got live={live} in {url!r}, allowed are 0 and 1")
    if live == "0":
        return SyntheticSource.from_url(f"{address}?{urlencode(settings)}")
    return PacedSource(SyntheticSource.from_url(f"{address}?{urlencode({'frames': 'endless', **settings})}"))


# A new kind of source is one line here and one in the contract test.
_OPENERS: Mapping[str, Callable[..., Source]] = MappingProxyType(
    {
        "file": _open_file,
        "synthetic": _open_synthetic,
        "webcam": WebcamSource,
        **dict.fromkeys(NETWORK_SCHEMES, NetworkSource),
    }
)


def open_source(
    url: str | Path, *, realtime: bool = False, loop: bool = False, audio: bool = True, **options: Any
) -> Source:
    """Open a path or an address as a source of video.

    Args:
        url: a path; ``file:PATH``; ``synthetic:WIDTHxHEIGHT?frames=N&rate=R`` (with ``live=1`` at its own pace and
            without an end); a camera (``webcam``, ``webcam:1``, ``/dev/video0``); or an address of a network:
            ``rtsp``, ``rtsps``, ``rtmp``, ``rtmps``, ``http``, ``https``, ``udp`` or ``tcp``.
        realtime: give the frames of a file out at their own pace, as a live source does.
        loop: with ``realtime``, begin again at the end, for ever.
        audio: whether the sound of what is live, or is made so by ``realtime``, is given out; other files keep theirs.
        options: what the source takes: see :class:`FileSource`, :class:`NetworkSource` and :class:`WebcamSource`.

    Raises:
        SourceError: the input cannot be opened, or nothing here opens addresses of its scheme.
    """
    if not audio and _is_connected(url):
        options["audio"] = False
    source = _open(url, **options)
    if realtime and not source.info.live:
        return PacedSource(source, audio=audio, reopen=(lambda: _open(url, **options)) if loop else None)
    return source


def _open(url: str | Path, **options: Any) -> Source:
    if isinstance(url, Path):
        return FileSource(url, **options)
    name = _kind_of(url)
    if name in _OPENERS:
        return _OPENERS[name](url, **options)
    if "://" in url:
        raise SourceError(f"got {redact(url)!r}; allowed are a path and {', '.join(f'{key}:' for key in _OPENERS)}")
    return FileSource(Path(url), **options)


def _is_connected(url: str | Path) -> bool:
    return isinstance(url, str) and _kind_of(url) in {"webcam", *NETWORK_SCHEMES}


def _kind_of(url: str) -> str:
    """The key of the opener that an address asks for; of none for what is a path."""
    if is_webcam(url) and not Path(url).is_file():
        return "webcam"
    scheme = _SCHEME.match(url)
    return scheme[1].lower() if scheme and not Path(url).exists() else ""
