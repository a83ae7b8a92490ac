"""The commands beside ``vsr upscale``: train, models, doctor, bench, demo; those that judge quality are next door."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vsr.app.commands_quality import compare, evaluate
from vsr.app.options import Debug, Json, as_options, given, start

_LIVE_FPS = 30

# What 'vsr bench' can measure, and the options that each makes use of.
_SPEED = ("frames", "size", "models", "scale", "baselines", "profile")
_INSTEAD = {
    "memory": ("frames",),
    "shapes": ("size", "scale"),
    "live": ("frames", "size", "models", "scale", "streams", "source"),
    "scaling": ("size", "models", "scale"),
    "threads_sweep": ("frames", "size", "models", "scale"),
    "reuse": ("size", "models", "scale", "source"),
}


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (train, evaluate, compare, models, doctor, bench, demo):
        app.command(command.__name__)(command)


def train(
    context: typer.Context,
    *,
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of one that is shipped: ecbsr_x2, …")],
    data: Annotated[Path | None, typer.Option(help="Folder of training pictures, in place of the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for all that the run writes.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How long, in place of the recipe's.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Fewer steps, if more do not fit into this time.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    init: Annotated[str | None, typer.Option(help="Weights to start from: a file, or ecbsr:2.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a network by a recipe.

    vsr train ecbsr_x2 --data pictures/            as shipped, with your pictures

    vsr train my.toml --resume                     go on where it was interrupted
    """
    console = start(context, as_json=as_json, debug=debug)
    from vsr.app.compress import through_h264
    from vsr.training.checkpoints import BEST
    from vsr.training.config import find_recipe, load_config
    from vsr.training.gan import trainer_for

    config = load_config(
        find_recipe(recipe),
        data__folder=data and str(data),
        out=out and str(out),
        optim__steps=steps,
        optim__minutes=minutes,
        threads=threads,
        device=device,
        model__init=init,
    )
    best = trainer_for(config, resume=resume, compressor=through_h264).run()
    weights = str(Path(config.out) / BEST)
    console.say(f"{weights}\n  validation PSNR {best:.3f} dB")
    console.give({"weights": weights, "psnr": best})


def models(context: typer.Context, *, as_json: Json = False, debug: Debug = False) -> None:
    """The networks, their shipped weights, and what was measured of each."""
    console = start(context, as_json=as_json, debug=debug)
    from vsr.models import MODELS
    from vsr.weights import index

    for name, spec in MODELS.items():
        console.say(f"{name:14} {spec.summary}; ×{' ×'.join(map(str, spec.scales))}")
        for info in index():
            if info.model == name:
                figures = ", ".join(f"{test} {value:.2f} dB" for test, value in info.psnr.items())
                shape = "".join(f", {option} {value}" for option, value in info.options.items())
                which = f"×{info.scale} {info.precision}{shape}"
                console.say(f"               {which}: {figures}; {info.macs} MACs a sample")
    console.give([_as_dict(info) for info in index()])


def doctor(context: typer.Context, *, as_json: Json = False, debug: Debug = False) -> None:
    """What this machine has, what will be used, and why."""
    console = start(context, as_json=as_json, debug=debug)
    from vsr.app.doctor import examine, report_lines

    facts = examine()
    console.say("\n".join(report_lines(facts)))
    console.give(facts)


def bench(
    context: typer.Context,
    *,
    frames: Annotated[int, typer.Option(min=16, help="Length of the clip; with --live at 30 a second.")] = 150,
    size: Annotated[str, typer.Option(metavar="WxH", help="Of the clip.")] = "960x540",
    models: Annotated[str, typer.Option(help="Networks to run, with commas.")] = "ecbsr,espcn,bicubic",
    scale: Annotated[int, typer.Option(help="2, 3 or 4.")] = 2,
    baselines: Annotated[
        bool, typer.Option(help="Also the same job through cv2.dnn and through a plain PyTorch loop.")
    ] = True,
    memory: Annotated[
        bool, typer.Option("--memory", help="In place of speed: memory over a 1080p to 2160p job.")
    ] = False,
    shapes: Annotated[bool, typer.Option("--shapes", help="Instead: what the shape of a network costs.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Instead: the latency of live video, also when too much of it comes.")
    ] = False,
    streams: Annotated[
        int | None, typer.Option(min=1, help="With --live: so many at once, in turns and otherwise.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="With --live: read this in place of a pattern; with --reuse: a file, as well."
        ),
    ] = None,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="Instead: how cost grows with size, scale and frames under way.")
    ] = False,
    threads_sweep: Annotated[
        bool, typer.Option("--threads-sweep", help="Instead: threads for the network and for the encoder.")
    ] = False,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Instead: what it brings that what does not change is not computed again.")
    ] = False,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write what every thread did when: .json for Perfetto, .svg to look at."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Speed from file to file (H.264 in and out) on this machine, as one JSON line.

    vsr bench                            the figures of the README

    vsr bench --memory                   peak memory, and whether it grows

    vsr bench --shapes                   what layers and channels cost here

    vsr bench --live                     how old a frame is when it leaves

    vsr bench --live --streams 4         of four at once

    vsr bench --reuse                    motion, a desk, a still picture

    vsr bench --scaling                  sizes, scales, frames under way

    vsr bench --threads-sweep            how to divide the processor
    """
    console = start(context, as_json=True, debug=debug)
    _check_bench(given(context))
    names = [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise typer.BadParameter(f"got --models {models!r}, allowed are names, see 'vsr models'")
    if live:
        from vsr.app.bench_live import bench_live, bench_streams

        job: dict[str, Any] = {"size": _size(size), "model": names[0], "scale": scale, "source": source}
        seconds = frames / _LIVE_FPS
        console.give(
            bench_live(**job, seconds=seconds)
            if streams is None
            else bench_streams(**job, seconds=seconds, streams=streams)
        )
        return
    if scaling:
        from vsr.app.bench_scaling import bench_scaling

        console.give(bench_scaling(model=names[0], scale=scale, size=_size(size)))
        return
    if threads_sweep:
        from vsr.app.bench_threads import bench_threads

        console.give(bench_threads(frames=frames, size=_size(size), model=names[0], scale=scale))
        return
    if reuse:
        from vsr.app.bench_reuse import bench_reuse

        console.give(bench_reuse(size=_size(size), model=names[0], scale=scale, source=source))
        return
    from vsr.app.bench import bench_memory, bench_shapes, bench_speed

    if memory:
        console.give(bench_memory(frames=frames))
        return
    if shapes:
        console.give(bench_shapes(size=_size(size), scale=scale))
        return
    console.give(
        bench_speed(frames=frames, size=_size(size), models=names, scale=scale, baselines=baselines, profile=profile)
    )


def demo(
    context: typer.Context,
    *,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the clips and the picture.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="The network.")] = "ecbsr",
    scale: Annotated[int, typer.Option(help="2, 3 or 4.")] = 2,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a small clip with a known truth, upscale it, and say what was gained."""
    console = start(context, as_json=as_json, debug=debug)
    from vsr.app.demo import run_demo

    report = run_demo(folder, model=model, scale=scale)
    console.say(
        f"small clip    {report.input}\nupscaled      {report.output} ({report.frames} frames, {report.fps:.0f} fps)\n"
        f"side by side  {report.picture}\n"
        f"luma PSNR against the known truth: bicubic {report.psnr_bicubic:.2f} dB, {report.model} {report.psnr:.2f} dB "
        f"({report.psnr - report.psnr_bicubic:+.2f} dB)\n"
        f"SSIM: bicubic {report.ssim_bicubic:.4f}, {report.model} {report.ssim:.4f}"
    )
    console.give(report.as_dict())


def _check_bench(options: Sequence[str]) -> None:
    instead = [name for name in options if name in _INSTEAD]
    if len(instead) > 1:
        raise typer.BadParameter(f"got {as_options(instead)}, allowed is one of them; measure one after the other")
    used = _INSTEAD[instead[0]] if instead else _SPEED
    unused = [name for name in options if name not in (*instead, *used, "debug")]
    if unused and instead:
        raise typer.BadParameter(f"got {as_options(unused)} with {as_options(instead)}, allowed are {as_options(used)}")
    if unused:
        having = [name for name, takes in _INSTEAD.items() if set(unused) <= set(takes)]
        raise typer.BadParameter(f"got {as_options(unused)}, allowed with {as_options(having)}")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    # The clip is 4:2:0 in H.264, which has no odd sizes.
    if not all(side.isdigit() and int(side) >= 64 and int(side) % 2 == 0 for side in (width, height)):
        raise typer.BadParameter(f"got --size {text!r}, allowed is an even WIDTHxHEIGHT from 64x64, such as 960x540")
    return int(width), int(height)


def _as_dict(info: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(info)
