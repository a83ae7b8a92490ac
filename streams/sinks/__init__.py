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
from streams.sinks import hls
from streams.sinks.base import Sink, SinkState, SinkStatus
from streams.sinks.buffered import BufferedSink, room_for_hiccups
from streams.sinks.containers import CONTAINERS, container_of
from streams.sinks.detached import DetachedSink
from streams.sinks.encoders import ENCODERS, EncoderOptions, available_encoders
from streams.sinks.fanout import FanOut
from streams.sinks.file import FileSink, same_file
from streams.sinks.hls import PLAYLIST, HlsSink
from streams.sinks.latest import LatestFrame
from streams.sinks.network import CARRIAGES, NetworkSink
from streams.sinks.null import NullSink
from streams.sinks.output import TRIAL, try_encoder
from streams.sinks.partial import partial_path
from streams.sinks.recording import RecordingSink
from streams.sinks.remux import StreamPlan
from streams.sinks.window import WindowSink
from streams.sources.base import SourceInfo

__all__ = [
    "CONTAINERS",
    "ENCODERS",
    "BufferedSink",
    "DetachedSink",
    "EncoderOptions",
    "FanOut",
    "FileSink",
    "HlsSink",
    "LatestFrame",
    "NetworkSink",
    "NullSink",
    "RecordingSink",
    "Sink",
    "SinkState",
    "SinkStatus",
    "StreamPlan",
    "WindowSink",
    "available_encoders",
    "check_sink",
    "open_sink",
    "partial_path",
    "place_of",
    "room_for_hiccups",
    "same_file",
]


def _open_path(path: str | Path, **options: Any) -> Sink:
    if Path(path).suffix.lower() == ".m3u8":
        return _open_hls(path, **options)
    # A file that is finished last of all would be lost with the program; one job may end so, a camera must not.
    records = options["info"].live or "segment_seconds" in options
    return _open_recording(path, **options) if records else FileSink(path, **options)


def _open_recording(path: str | Path, **options: Any) -> Sink:
    return _apart(RecordingSink(path, **options), **options)


def _open_hls(path: str | Path, **options: Any) -> Sink:
    return _apart(HlsSink(path, **options), **options)


def _apart(sink: Sink, *, info: SourceInfo, width: int, height: int, format: PixelFormat, **_: Any) -> Sink:  # noqa: A002
    """The sink on a thread of its own, where the source cannot wait for the disk and the encoder."""
    if not info.live:
        return sink
    room = room_for_hiccups(info=info, width=width, height=height, format=format)
    return BufferedSink(sink, name=sink.status()[0].name, queue_size=room)


def _open_network(url: str | Path, *, overwrite: bool = False, **options: Any) -> Sink:
    address = str(url)
    detached = {key: options.pop(key) for key in ("max_retries", "queue_size", "stall_seconds") if key in options}
    # Once here for what is wrong with the order itself; the sinks that connect are made on the other thread.
    NetworkSink(address, **options)
    return DetachedSink(lambda: NetworkSink(address, **options), name=address, **detached)


def _open_window(title: str | Path, *, on_quit: Callable[[], None] | None = None, **_options: Any) -> Sink:
    return WindowSink(str(title) or "vsr", on_quit=on_quit)


def _open_null(_url: str | Path, **_options: Any) -> Sink:
    return NullSink()


# A new kind of sink is one line here and one in the contract test. What is behind the colon is the sink's.
_OPENERS: Mapping[str, Callable[..., Sink]] = MappingProxyType(
    {
        "file": _open_path,
        "record": _open_recording,
        "hls": _open_hls,
        "window": _open_window,
        "null": _open_null,
        **dict.fromkeys(CARRIAGES, _open_network),
    }
)


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
        url: one of

            * a path, or ``file:PATH``: a file, where the input ends; a recording, where it is live or there is a
              ``segment_seconds``; a folder of segments, where the path ends in ``.m3u8``;
            * ``record:PATH``: a recording, whatever the input;
            * ``hls:FOLDER``: a folder of segments and a playlist of the newest;
            * ``rtsp://``, ``rtmp://``, ``rtmps://``; ``udp://`` and ``tcp://`` (MPEG-TS): sent, and connected again
              when lost, on another thread;
            * ``window:`` or ``window:TITLE``: a window on the screen;
            * ``null:``: counts what it is given and keeps nothing.

            Of a live input, recordings and segments are encoded and written on a thread of their own
            (:class:`BufferedSink`).
        info: what is known of the input: time base, rate, tags, chapters, the streams to copy.
        width: of the frames that will be written, in luma samples; so the ``height``.
        height: see ``width``.
        format: what their planes hold.
        options: for the encoder.
        overwrite: replace a file of that name.
        sample_aspect_ratio: of the output, otherwise the input's.
        more: what the sink takes besides: see :class:`FileSink`, :class:`RecordingSink`, :class:`HlsSink`,
            :class:`NetworkSink` with :class:`DetachedSink`, :class:`WindowSink`.

    Raises:
        SinkError: the output cannot be opened, or nothing here writes to addresses of its scheme.
        TypeError: ``more`` holds what that kind of sink does not take.
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


def check_sink(url: str | Path, *, options: EncoderOptions | None = None, overwrite: bool = False, **more: Any) -> None:
    """Find out what is wrong with an output of live video before there is an input, and leave nothing behind.

    Args:
        url: as :func:`open_sink` takes it.
        options: so.
        overwrite: so.
        more: so.

    Raises:
        SinkError: it could not be opened, the disk does not take it, or the encoder does not open with its options.
    """
    name, rest = _scheme(url)
    options = options or EncoderOptions()
    order: dict[str, Any] = {
        "info": TRIAL,
        "width": TRIAL.width,
        "height": TRIAL.height,
        "format": TRIAL.format,
        "options": options,
    }
    if name in CARRIAGES:
        NetworkSink(str(rest), **order, **more)
        try_encoder(CARRIAGES[name].container, options=options)
    elif name == "hls" or (name == "file" and Path(rest).suffix.lower() == ".m3u8"):
        HlsSink(rest, overwrite=overwrite, **order, **more)
        try_encoder(hls.CONTAINER, options=options)
    elif name in ("file", "record"):
        RecordingSink(rest, overwrite=overwrite, **order, **more)
        try_encoder(container_of(Path(rest)), options=options)


def place_of(url: str | Path) -> Path | str | None:
    """What no two outputs can be written into at once: a file, an address, a window; None where there is no such thing.

    Args:
        url: as :func:`open_sink` takes it.

    Raises:
        SinkError: nothing here writes to addresses of its scheme.
    """
    name, rest = _scheme(url)
    if name == "null":
        return None
    if name == "window" or name in CARRIAGES:
        return f"{name}:{rest}"
    path = Path(rest)
    return (path / PLAYLIST if name == "hls" and path.suffix.lower() != ".m3u8" else path).resolve()


def _scheme(url: str | Path) -> tuple[str, str | Path]:
    if isinstance(url, Path):
        return "file", url
    name, colon, rest = url.partition(":")
    name = name.lower()
    if name in CARRIAGES and rest.startswith("//"):
        return name, url
    if colon and name in _OPENERS and name not in CARRIAGES:
        return name, rest
    if "://" in url:
        raise SinkError(f"got {redact(url)!r}; allowed are a path and {', '.join(map(_shown, _OPENERS))}")
    return "file", url


def _shown(name: str) -> str:
    return f"{name}://" if name in CARRIAGES else f"{name}:"
