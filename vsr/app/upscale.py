"""The command ``vsr upscale``: what it takes, and the loop over its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from streams.errors import Cancelled, UnsupportedStreamError
from vsr.app.console import Console, message_of
from vsr.app.exit_codes import ExitCode, exit_code_of
from vsr.app.inputs import Task, did_you_mean, expand, parse_seconds, plan_tasks
from vsr.app.interrupts import ending_at_once, stop_on_signals
from vsr.app.networks import select_network
from vsr.app.progress import progress_bar
from vsr.app.sizes import size_label
from vsr.app.summary import summary_of
from vsr.errors import ConfigError

_SIZE, _PART, _ENCODER = "How large", "Which part", "How it is encoded"
_NETWORK, _PICTURE, _OUTPUT = "How it is computed", "How the input is read", "What is said"


def upscale(
    context: typer.Context,
    *,
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN…", help="Videos, folders of videos, or patterns such as 'clips/*.mov'.")
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="OUT|DIR", help="A .mp4, .mov, .mkv or .webm file; a folder for several inputs."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="The network, ecbsr if none is named; see 'vsr models'.", rich_help_panel=_SIZE),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(help="2 (the default where the network has it), 3 or 4.", rich_help_panel=_SIZE),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="In place of --scale: 720p, 1080p, 1440p, 2160p (the shorter side as seen) or WIDTHxHEIGHT.",
            rich_help_panel=_SIZE,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights of yours; they say which network and scale.", rich_help_panel=_SIZE),
    ] = None,
    blend: Annotated[
        float | None,
        typer.Option(
            metavar="0..1", help="srgan, esrgan: how much texture is painted; 1 for all.", rich_help_panel=_SIZE
        ),
    ] = None,
    start: Annotated[
        str, typer.Option(metavar="TIME", help="Skip what comes before: 90, 1:30 or 0:01:30.5.", rich_help_panel=_PART)
    ] = "0",
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="How much to take from there.", rich_help_panel=_PART)
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Only N frames, and an estimate of time and size for the rest.",
            rich_help_panel=_PART,
        ),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option(help="h264 (the usual), h265, av1, vp9, ffv1, prores, h264_nvenc, …", rich_help_panel=_ENCODER),
    ] = None,
    crf: Annotated[
        float | None, typer.Option(help="Quality on the encoder's scale: lower is better.", rich_help_panel=_ENCODER)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Speed against size, in the encoder's words.", rich_help_panel=_ENCODER)
    ] = None,
    pix_fmt: Annotated[
        str | None, typer.Option(help="Pixel format; otherwise that of the input.", rich_help_panel=_ENCODER)
    ] = None,
    deinterlace: Annotated[
        Literal["auto", "on", "off"],
        typer.Option(help="auto: frames that are flagged as interlaced.", rich_help_panel=_PICTURE),
    ] = "auto",
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Turn the pixels upright; otherwise players do.", rich_help_panel=_PICTURE)
    ] = False,
    chroma_location: Annotated[
        Literal["left", "center", "topleft"] | None,
        typer.Option(help="Where 4:2:0 chroma lies, if you know better.", rich_help_panel=_PICTURE),
    ] = None,
    hwaccel: Annotated[
        Literal["none", "auto", "cuda"],
        typer.Option(help="Decode on a GPU; in software where that cannot be.", rich_help_panel=_PICTURE),
    ] = "none",
    device: Annotated[
        str,
        typer.Option(
            help="auto, cpu, native, openvino, torch, cuda, cuda:N, cuda:N,M or cuda:all.", rich_help_panel=_NETWORK
        ),
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, fp16, bf16, int16 or int8.", rich_help_panel=_NETWORK)
    ] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU cores; 0 for all.", rich_help_panel=_NETWORK)] = 0,
    tile: Annotated[
        int | None,
        typer.Option(min=16, help="Largest side worked on at once; less memory.", rich_help_panel=_NETWORK),
    ] = None,
    reuse: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="What does not change is not computed again: exact (same output); off; threshold=N (lossy, for noisy "
            "cameras: up to N of 255 counts as unchanged); auto: exact where it pays.",
            rich_help_panel=_NETWORK,
        ),
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write what every thread did when: .json for Perfetto, .svg to look at.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The report as JSON on stdout.", rich_help_panel=_OUTPUT)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.", rich_help_panel=_OUTPUT)] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also what was decided, and why.", rich_help_panel=_OUTPUT)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks.", rich_help_panel=_OUTPUT)] = False,
) -> None:
    """Make videos larger and sharper.

    Frames keep their times; sound, subtitles, chapters and tags stay. Ctrl-C leaves a playable NAME.partial.EXT.

    vsr upscale in.mp4 -o out.mp4                     twice as large
    vsr upscale in.mp4 -o out.mp4 --to 1080p          to a size
    vsr upscale in.mkv -o out.mkv --sample 100        a try, with an estimate
    vsr upscale in.mov -o out.mp4 --start 1:30 --duration 10
    vsr upscale holiday/ *.avi -o larger/ --scale 3   many
    vsr upscale in.mp4 -o out.mp4 --codec h265 --crf 18 --preset slow
    vsr upscale in.mp4 -o out.mp4 --model esrgan --blend 0.7
    vsr upscale in.mp4 -o out.mp4 --json | jq .fps
    """
    console: Console = context.obj
    console.debug, console.quiet, console.verbose = debug or console.debug, quiet, verbose
    console.as_json = as_json
    console.start_logging()
    with ending_at_once():
        size_label(scale, to)
        selection = select_network(model, scale=scale, to=to, weights=weights, blend=blend)
        if profile is not None:
            _check_profile(profile, inputs, overwrite=overwrite)
        tasks = plan_tasks(inputs, output=output, label=size_label(scale, to, scales=selection.scales))
    options: dict[str, Any] = {
        "model": model,
        "scale": scale,
        "to": to,
        "weights": weights,
        "blend": blend,
        "start_seconds": parse_seconds(start),
        "duration_seconds": None if duration is None else _parse_duration(duration),
        "max_frames": sample,
        "codec": codec,
        "crf": crf,
        "preset": preset,
        "pix_fmt": pix_fmt,
        "deinterlace": deinterlace,
        "rotate": rotate,
        "chroma_location": chroma_location,
        "hwaccel": hwaccel,
        "device": device,
        "precision": precision,
        "threads": threads,
        "tile": tile,
        "reuse": reuse,
        "overwrite": overwrite,
    }
    raise typer.Exit(run_tasks(tasks, options, console=console, profile=profile))


def _parse_duration(text: str) -> float:
    seconds = parse_seconds(text)
    if not seconds:
        raise ConfigError(f"got --duration {text}, allowed is more than 0")
    return seconds


def _check_profile(path: Path, inputs: Sequence[str], *, overwrite: bool) -> None:
    from vsr.app.profile import check_profile

    count = len(expand(inputs))
    if count > 1:
        raise ConfigError(f"got --profile with {count} inputs, allowed is one; name one of them, or leave it out")
    check_profile(path, overwrite=overwrite)


def run_tasks(
    tasks: Sequence[Task], options: dict[str, Any], *, console: Console, profile: Path | None = None
) -> ExitCode:
    """Work through ``tasks``; one that fails does not stop the others, an interruption does.

    Args:
        tasks: of :func:`vsr.app.inputs.plan_tasks`.
        options: of :func:`vsr.upscale_video`.
        console: told of everything.
        profile: where to write what every thread did when, of the only task.

    Returns:
        The code of the only task; for several ``INTERRUPTED`` where any was left, else ``FAILURE`` where any failed.
    """
    results: list[dict[str, Any]] = []
    codes: list[ExitCode] = []
    with stop_on_signals() as stop:
        for task in tasks:
            try:
                with progress_bar(task.source.name, quiet=console.quiet) as show:
                    asked = options | {"on_progress": show, "stop": stop}
                    report = _upscale_one(task, asked) if profile is None else _profiled(task, asked, profile)
            except (Exception, KeyboardInterrupt) as error:
                codes.append(console.fail(error, about=task.source.name if len(tasks) > 1 else ""))
                results.append(_failure(task, error))
            else:
                codes.append(ExitCode.OK)
                results.append(report.as_dict())
                console.say(summary_of(report))
            if stop.is_set() or codes[-1] is ExitCode.INTERRUPTED:
                break
    skipped = tasks[len(codes) :]
    results += [_failure(task, Cancelled("interrupted before its turn")) for task in skipped]
    codes += [ExitCode.INTERRUPTED] * len(skipped)
    console.give(results if len(tasks) > 1 else results[0])
    if len(tasks) == 1:
        return codes[0]
    done = codes.count(ExitCode.OK)
    console.say(f"{done} of {len(tasks)} done")
    if ExitCode.INTERRUPTED in codes:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if done == len(tasks) else ExitCode.FAILURE


def _profiled(task: Task, options: dict[str, Any], path: Path) -> Any:
    """As below; a job that is interrupted is told of until then, so that nobody has to wait for a film's end."""
    from vsr.app.profile import Profile

    profile = Profile()
    try:
        return _upscale_one(task, options | {"profile": profile})
    finally:
        if profile.seconds:
            profile.write(path)


def _upscale_one(task: Task, options: dict[str, Any]) -> Any:
    from vsr.app.jobs import upscale_video

    stop = options["stop"]
    if stop.is_set():
        raise Cancelled("before anything was written")
    try:
        return upscale_video(task.source, task.target, **options)
    except UnsupportedStreamError as error:
        from streams.sinks.encoders import ALIASES, ENCODERS

        name, names = options["codec"], [*ENCODERS, *ALIASES]
        if name is None or name.lower() in names:
            raise
        raise UnsupportedStreamError(f"{error}{did_you_mean(name, names)}") from error


def _failure(task: Task, error: BaseException) -> dict[str, Any]:
    return {"input": str(task.source), "error": message_of(error), "exit_code": int(exit_code_of(error))}
