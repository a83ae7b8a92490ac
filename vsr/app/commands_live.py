"""The commands for video that has no end: ``vsr live`` and ``vsr devices``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vsr.app.console import Console, message_of, write_line
from vsr.app.exit_codes import ExitCode, exit_code_of
from vsr.app.inputs import parse_seconds
from vsr.app.interrupts import stop_on_signals
from vsr.app.sizes import size_label
from vsr.errors import ConfigError

if TYPE_CHECKING:
    from vsr.app.live import LiveOptions, LiveReport, LiveSession, LiveStatus

_SIZE, _SOURCE, _OUTPUT = "How large, and how it is computed", "How the source is read", "What is written and said"


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (live, devices):
        app.command(command.__name__)(command)


def live(
    context: typer.Context,
    *,
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="webcam, /dev/video0, rtsp://…, http://…, udp://…, or a file; several, and they take turns.",
        ),
    ],
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="SINK",
            help="A .mp4 or .mkv to record into, hls:FOLDER, rtsp://…, rtmp://…, udp://…, window; several times for "
            "several, with {n} for the number of the source where there are more. Without it, figures alone.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="The network; see 'vsr models'.", rich_help_panel=_SIZE)] = "ecbsr",
    scale: Annotated[int | None, typer.Option(help="2 (the default), 3 or 4.", rich_help_panel=_SIZE)] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="In place of --scale: 720p, 1080p, 1440p, 2160p or WxH.", rich_help_panel=_SIZE
        ),
    ] = None,
    realtime_quality: Annotated[
        Literal["fixed", "auto"],
        typer.Option(
            help="auto: cheaper networks whenever the chosen one does not keep up with the source.",
            rich_help_panel=_SIZE,
        ),
    ] = "fixed",
    device: Annotated[
        str, typer.Option(help="auto, cpu, native, openvino, torch, cuda or cuda:N.", rich_help_panel=_SIZE)
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, fp16, bf16, int16 or int8.", rich_help_panel=_SIZE)
    ] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU cores; 0 for all.", rich_help_panel=_SIZE)] = 0,
    reuse: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="What does not change is not computed again: exact, off, threshold=N (lossy, for noise), auto.",
            rich_help_panel=_SIZE,
        ),
    ] = "auto",
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="End after 90, 1:30 or 0:01:30.", rich_help_panel=_SOURCE)
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play a file at its own pace.", rich_help_panel=_SOURCE)
    ] = False,
    transport: Annotated[
        Literal["tcp", "udp", "http"] | None,
        typer.Option(help="How RTSP carries pictures; tcp unless told.", rich_help_panel=_SOURCE),
    ] = None,
    max_retries: Annotated[
        int | None,
        typer.Option(
            min=0, help="How often in a row to look for a lost source; for ever unless told.", rich_help_panel=_SOURCE
        ),
    ] = None,
    no_audio: Annotated[
        bool, typer.Option("--no-audio", help="Leave the sound of the source out.", rich_help_panel=_SOURCE)
    ] = False,
    segment_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Record into parts of that length.", rich_help_panel=_OUTPUT)
    ] = None,
    codec: Annotated[str | None, typer.Option(help="h264 (the usual), h265, …", rich_help_panel=_OUTPUT)] = None,
    crf: Annotated[float | None, typer.Option(help="Quality on the encoder's scale.", rich_help_panel=_OUTPUT)] = None,
    preset: Annotated[
        str | None, typer.Option(help="Speed against size; veryfast for h264 unless told.", rich_help_panel=_OUTPUT)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a recording that exists.", rich_help_panel=_OUTPUT)
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Figures for Prometheus on 127.0.0.1; 0: any free port.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a second on stdout.", rich_help_panel=_OUTPUT)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.", rich_help_panel=_OUTPUT)] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also what was decided, and why.", rich_help_panel=_OUTPUT)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks.", rich_help_panel=_OUTPUT)] = False,
) -> None:
    """Make live video larger and sharper, as it comes.

    Frames that come too fast are dropped, the oldest first, and counted. Ctrl-C finishes the recordings.

    vsr live webcam -o window                                  look
    vsr live rtsp://camera/stream -o camera.mkv --segment-time 10:00
    vsr live rtsp://camera/stream -o hls:www -o rtsp://server/large --realtime-quality auto
    vsr live rtsp://one/a rtsp://two/b -o 'camera-{n}.mkv'     several, in turns
    vsr live clip.mp4 --realtime --json                        a trial, with figures alone
    """
    console: Console = context.obj
    console.debug, console.quiet, console.verbose = debug or console.debug, quiet, verbose
    console.as_json = as_json
    console.start_logging()
    size_label(scale, to)
    chosen: dict[str, Any] = {
        "model": model,
        "scale": scale,
        "to": to,
        "quality": realtime_quality,
        "device": device,
        "precision": precision,
        "threads": threads,
        "reuse": reuse,
    }
    read = {"realtime": realtime, "transport": transport, "max_retries": max_retries, "audio": not no_audio}
    written: dict[str, Any] = {
        "targets": output or [],
        "segment_seconds": _positive("--segment-time", segment_time),
        "overwrite": overwrite,
    }
    encoder = {"codec": codec, "crf": crf, "preset": preset}
    try:
        code = _run(
            console,
            source,
            chosen=chosen,
            read=read,
            written=written,
            encoder=encoder,
            duration_seconds=_positive("--duration", duration),
            metrics_port=metrics_port,
        )
    except KeyboardInterrupt as error:
        code = console.fail(error)
        console.give({"event": "error", "error": message_of(error), "exit_code": int(code)})
    except Exception as error:
        console.give({"event": "error", "error": message_of(error), "exit_code": int(exit_code_of(error))})
        raise
    raise typer.Exit(code)


def devices(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks in place of one-line errors.")] = False,
) -> None:
    """The cameras that can be opened."""
    console: Console = context.obj
    console.as_json, console.debug = as_json, console.debug or debug
    console.start_logging()
    from dataclasses import asdict

    from streams.sources.devices import list_devices

    found = list_devices()
    for device in found:
        console.say(f"{device.address:10} {device.name} ({device.path})")
    if not found:
        console.say("no camera was found")
    console.give([asdict(device) for device in found])


def _run(
    console: Console,
    urls: Sequence[str],
    *,
    chosen: dict[str, Any],
    read: dict[str, Any],
    written: dict[str, Any],
    encoder: dict[str, Any],
    duration_seconds: float | None,
    metrics_port: int | None,
) -> ExitCode:
    from streams.sinks import EncoderOptions
    from vsr.app.live import LiveOptions

    job: dict[str, Any] = {
        "options": LiveOptions(**chosen),
        "read": read,
        "written": {**written, "options": EncoderOptions(**encoder)},
        "duration_seconds": duration_seconds,
        "metrics_port": metrics_port,
    }
    if len(urls) == 1:
        return _run_one(console, urls[0], **job)
    from vsr.app.live_several import run_several

    return run_several(console, urls, **job)


def _run_one(
    console: Console,
    url: str,
    *,
    options: LiveOptions,
    read: dict[str, Any],
    written: dict[str, Any],
    duration_seconds: float | None,
    metrics_port: int | None,
) -> ExitCode:
    from vsr.app.live import LiveSession
    from vsr.app.live_ends import check_targets, open_live_source, open_outputs
    from vsr.app.prometheus import serve_metrics

    check_targets(source=url, **written)
    with ExitStack() as stack:
        source = stack.enter_context(open_live_source(url, **read))
        # Not before: while nothing is written there is nothing to finish, and Ctrl-C may break the connecting off.
        stop = stack.enter_context(stop_on_signals())
        session = stack.enter_context(
            LiveSession(source, lambda feed: open_outputs(feed, **written), options=options, stop=stop)
        )
        if metrics_port is not None:
            address = stack.enter_context(serve_metrics(session.status, port=metrics_port))
            write_line(f"vsr: figures at {address}")
        outcome = _outcome(console, session, duration_seconds=duration_seconds)
        return _conclude(console, session.status(), outcome)


def _outcome(console: Console, session: LiveSession, *, duration_seconds: float | None) -> LiveReport | Exception:
    """What the run did, or what ended it."""
    from vsr.app.live_line import shown

    try:
        with shown(console) as on_status:
            return session.run(duration_seconds=duration_seconds, on_status=on_status)
    except BrokenPipeError:
        # Nobody listens any more, and so there is nobody to tell the end to.
        raise
    except Exception as error:
        return error


def _conclude(console: Console, status: LiveStatus, outcome: LiveReport | Exception) -> ExitCode:
    """Say at the end how it stood, whatever the end."""
    from vsr.app.live_line import end_of, summary_of_live

    console.say(summary_of_live(status if isinstance(outcome, Exception) else outcome.status))
    if isinstance(outcome, Exception):
        console.fail(outcome)
    code, end = end_of(status, outcome)
    console.give({"event": "end", "exit_code": int(code), **end})
    return code


def _positive(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    seconds = parse_seconds(text)
    if not seconds:
        raise ConfigError(f"got {option} {text}, allowed is more than 0")
    return seconds
