"""The ends of a live run: what it reads from, and all that it writes into, from the words of a command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from streams.errors import SinkError
from streams.frame import PixelFormat
from streams.redact import redact
from streams.sinks import EncoderOptions, FanOut, NullSink, Sink, check_sink, open_sink, place_of, same_file
from streams.sources import Source, SourceInfo, open_source
from vsr.errors import ConfigError

_RECONNECTING = ("webcam", "/dev/video", "rtsp", "rtmp", "http", "udp:", "tcp:")
# Windows, pages, and nothing at all, have no segments.
_WITHOUT_SEGMENTS = ("window:", "null:", "preview:", "rtsp", "rtmp", "udp:", "tcp:")
_NUMBER = "{n}"
_FOR_ONE_SOURCE = {
    "window:": "OpenCV keeps all windows of a program on one thread, and each source has its own",
    "preview:": "the page shows one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What an output is opened for.

    Attributes:
        info: what is known of the source.
        width, height: of the frames that will come, in luma samples.
        format: what their planes hold.
        sample_aspect_ratio: of the frames.
        on_quit: to be called when a person at an output wants the run to end.
    """

    info: SourceInfo
    width: int
    height: int
    format: PixelFormat
    sample_aspect_ratio: Fraction
    on_quit: Callable[[], None]


def open_live_source(
    url: str,
    *,
    realtime: bool = False,
    transport: str | None = None,
    max_retries: int | None = None,
    audio: bool = True,
) -> Source:
    """Open what a live run reads.

    Args:
        url: as :func:`streams.open_source` takes it.
        realtime: play a file at its own pace, as if it were live.
        transport: ``"tcp"``, ``"udp"`` or ``"http"``, for RTSP.
        max_retries: how often in a row to look for a lost source; None: for ever.
        audio: whether its sound is passed on.

    Raises:
        ConfigError: an option that this source does not have, or a file without ``realtime``.
        SourceError: it cannot be opened.
    """
    options: dict[str, Any] = {}
    if transport is not None:
        if not url.lower().startswith("rtsp"):
            raise ConfigError(
                f"got --transport {transport} for {redact(url)}, which is for rtsp:// alone; leave it out"
            )
        options["transport"] = transport
    if max_retries is not None:
        if not url.lower().startswith(_RECONNECTING):
            raise ConfigError(f"got --max-retries for {redact(url)}, which is not lost and found again; leave it out")
        options["max_retries"] = max_retries
    source = open_source(url, realtime=realtime, audio=audio, **options)
    if source.info.live or realtime:
        return source
    source.close()
    raise ConfigError(
        f"{redact(url)} has an end and can wait; give --realtime to play it at its own pace, or use 'vsr upscale'"
    )


def check_targets(
    targets: Sequence[str],
    *,
    source: str,
    options: EncoderOptions | None = None,
    segment_seconds: float | None = None,
    overwrite: bool = False,
) -> None:
    """Look for outputs that cannot be, or would be in each other's way, before anything is opened.

    Args:
        targets: as :func:`streams.open_sink` takes them.
        source: what is read.
        options: as :func:`open_outputs` takes them; so ``segment_seconds`` and ``overwrite``.
        segment_seconds: see ``options``.
        overwrite: see ``options``.

    Raises:
        ConfigError: two of them are one file, address or window, one is the file that is read, one is nothing, two are
            windows, or none has segments.
        SinkError: one cannot be written, or the encoder does not take its options.
    """
    _check_apart(targets, source=source, segmented=segment_seconds is not None)
    _check_openable(targets, options=options, segment_seconds=segment_seconds, overwrite=overwrite)


def check_numbered(
    targets: Sequence[str],
    *,
    sources: Sequence[str],
    options: EncoderOptions | None = None,
    segment_seconds: float | None = None,
    overwrite: bool = False,
) -> None:
    """As :func:`check_targets`, for the outputs of several sources.

    Args:
        targets: with ``{n}`` where the number of the source goes.
        sources: what is read, two or more.
        options: as :func:`open_outputs` takes them; so ``segment_seconds`` and ``overwrite``.
        segment_seconds: see ``options``.
        overwrite: see ``options``.

    Raises:
        ConfigError: an output is for one source only, or says not where the number goes; or as :func:`check_targets`.
        SinkError: as :func:`check_targets`.
    """
    for target in targets:
        spelt = _spelt_out(target)
        for scheme, reason in _FOR_ONE_SOURCE.items():
            if spelt.lower().startswith(scheme):
                raise ConfigError(
                    f"got -o {target} with {len(sources)} sources: {reason}; give one source, or -o 'hls:www-{_NUMBER}'"
                )
        if target and _NUMBER not in target and place_of(spelt) is not None:
            raise ConfigError(
                f"got -o {redact(target)} with {len(sources)} sources, which would all write there; "
                f"put {_NUMBER} where the number of the source goes, as in 'cam-{_NUMBER}.mkv'"
            )
    everything = [each for number in range(1, len(sources) + 1) for each in numbered(targets, number)]
    for source in sources:
        _check_apart(everything, source=source, segmented=segment_seconds is not None)
    _check_openable(everything, options=options, segment_seconds=segment_seconds, overwrite=overwrite)


def _check_apart(targets: Sequence[str], *, source: str, segmented: bool) -> None:
    if segmented and not any(map(_has_segments, targets)):
        raise ConfigError("got --segment-time without a recording or an hls: folder to cut; leave it out, or give one")
    seen: dict[Path | str, str] = {}
    for target in targets:
        if not target:
            raise ConfigError("got an empty -o; give a file, hls:FOLDER, an address or window, or leave it out")
        place = place_of(_spelt_out(target))
        if place in seen:
            other = seen[place]
            pair = f"-o {redact(other)} twice" if other == target else f"-o {redact(other)} and -o {redact(target)}"
            raise ConfigError(f"got {pair}, which is one output; give each a name of its own")
        if isinstance(place, Path) and same_file(place, source):
            raise ConfigError(f"got -o {target}, which is the input; give the output another name")
        if place is not None:
            seen[place] = target
    windows = [target for target in targets if _spelt_out(target).lower().startswith("window:")]
    if len(windows) > 1:
        raise ConfigError(f"got -o {windows[0]} and -o {windows[1]}; OpenCV shows one window here, leave out the other")


def _check_openable(
    targets: Sequence[str], *, options: EncoderOptions | None, segment_seconds: float | None, overwrite: bool
) -> None:
    for target in map(_spelt_out, targets):
        if not target.startswith("preview:"):
            _refuse_folder(target)
            check_sink(target, options=options, overwrite=overwrite, **_segments(target, segment_seconds))


def numbered(targets: Sequence[str], number: int) -> list[str]:
    """The outputs of one of several sources: its number in the place of ``{n}``."""
    return [target.replace(_NUMBER, str(number)) for target in targets]


def open_outputs(
    feed: Feed,
    *,
    targets: Sequence[str],
    options: EncoderOptions | None = None,
    segment_seconds: float | None = None,
    overwrite: bool = False,
) -> Sink:
    """Open everything that a live run writes into, as one sink; none at all only counts.

    Args:
        feed: what comes.
        targets: as :func:`streams.open_sink` takes them; ``preview`` or ``preview:PORT`` for browsers on this machine.
        options: of the encoders.
        segment_seconds: of recordings and HLS.
        overwrite: replace files.

    Raises:
        SinkError: one of them cannot be opened; those before it are closed again.
    """
    if not targets:
        return NullSink()
    sinks: list[Sink] = []
    try:
        for target in map(_spelt_out, targets):
            more = _segments(target, segment_seconds)
            if target.startswith("window:"):
                more["on_quit"] = feed.on_quit
            sinks.append(_open(target, feed, options=options, overwrite=overwrite, **more))
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise
    return FanOut(sinks)


def _segments(target: str, seconds: float | None) -> dict[str, Any]:
    return {} if seconds is None or not _has_segments(target) else {"segment_seconds": seconds}


def _has_segments(target: str) -> bool:
    return not _spelt_out(target).lower().startswith(_WITHOUT_SEGMENTS)


def _spelt_out(target: str) -> str:
    return f"{target}:" if target in ("window", "preview") else target


def _open(target: str, feed: Feed, **more: Any) -> Sink:
    if target.startswith("preview:"):
        from vsr.app.page.preview import open_preview

        return open_preview(feed, target)
    _refuse_folder(target)
    return open_sink(
        target,
        info=feed.info,
        width=feed.width,
        height=feed.height,
        format=feed.format,
        sample_aspect_ratio=feed.sample_aspect_ratio,
        **more,
    )


def _refuse_folder(target: str) -> None:
    if Path(target).is_dir():
        raise SinkError(f"{target} is a folder; name a file in it, or hls:{target}")
