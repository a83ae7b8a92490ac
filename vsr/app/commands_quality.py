"""The commands that judge pictures: evaluate, by figures, and compare, for the eye."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vsr.app.console import Console
from vsr.app.options import Debug, Json, as_options, given, names, start

_OF_ONE_NETWORK = ("scale", "weights", "device", "precision")


def evaluate(
    context: typer.Context,
    *,
    model: Annotated[str | None, typer.Argument(help="A network; see 'vsr models'.")] = None,
    data: Annotated[
        Path, typer.Option(help="Folder of true pictures, such as Set5; for --all, one that holds such folders.")
    ],
    scale: Annotated[int, typer.Option(help="2, 3 or 4.")] = 2,
    weights: Annotated[Path | None, typer.Option(help="A file of weights, in place of the shipped ones.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, native, openvino, torch, cuda, cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16, int16, int8.")] = "fp32",
    everything: Annotated[
        bool, typer.Option("--all", help="All weights that are shipped, at every scale, with their speed, as a page.")
    ] = False,
    models: Annotated[str | None, typer.Option(help="With --all: only these, with commas.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many pictures of each folder.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="With --all: the Markdown file, written anew; else it is printed."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """PSNR and SSIM on luma, by the papers' protocol.

    vsr evaluate ecbsr --data Set5 --scale 2

    vsr evaluate --all --data test_images --out docs/results.md     all networks on all test sets
    """
    console = start(context, as_json=as_json, debug=debug)
    if everything == (model is not None):
        raise typer.BadParameter("name a network, or give --all for every one; one of the two")
    if everything:
        unused = [name for name in given(context) if name in _OF_ONE_NETWORK]
        if unused:
            options = as_options(unused)
            raise typer.BadParameter(f"--all measures all that is shipped; leave out {options}, or name a network")
        _evaluate_all(console, data, models=names(models), limit=limit, out=out)
        return
    if models is not None or out is not None:
        raise typer.BadParameter("--models and --out go with --all")
    assert model is not None
    from vsr.evaluate import check_pictures, mean
    from vsr.evaluate import evaluate as evaluate_pictures
    from vsr.pairs import find_images
    from vsr.upscaler import Upscaler
    from vsr.weights.foreign import load_any

    network = load_any(weights, model=model, scale=scale).network if weights else None
    upscaler = Upscaler(model, scale=scale, device=device, precision=precision, network=network)
    paths = find_images(data)[:limit]
    check_pictures(paths, scale=scale)
    scores = list(evaluate_pictures(upscaler, paths, scale=scale))
    average = mean(scores)
    for score in [*scores, average]:
        console.say(f"{score.name:24} {score.psnr:7.3f} dB  {score.ssim:.4f}")
    console.give(
        {
            "model": model,
            "scale": scale,
            "device": upscaler.choice.device,
            "precision": upscaler.choice.precision,
            "data": str(data),
            "psnr": average.psnr,
            "ssim": average.ssim,
            "images": {score.name: {"psnr": score.psnr, "ssim": score.ssim} for score in scores},
        }
    )


def _evaluate_all(
    console: Console, data: Path, *, models: list[str] | None, limit: int | None, out: Path | None
) -> None:
    from vsr.app.console import write_line
    from vsr.app.doctor import examine
    from vsr.app.outputs import check_folder, writing
    from vsr.app.results import measure_all, test_sets
    from vsr.app.results_page import results_page

    def show(line: str) -> None:
        if not console.quiet:
            write_line(line)

    if out is not None:
        check_folder(out)
    results = measure_all(test_sets(data, limit=limit), models=models, on_progress=show)
    # Where the pictures lie on this machine is nobody else's affair: only the folder's own name.
    words = ["vsr evaluate --all --data", data.resolve().name]
    words += ["--models", ",".join(models)] if models else []
    words += ["--limit", str(limit)] if limit else []
    words += ["--out", out.name if out.is_absolute() else str(out)] if out else []
    page = results_page(results, command=" ".join(words), machine=examine())
    if out is None:
        console.say(page)
    else:
        with writing(out) as path:
            path.write_text(page, encoding="utf-8")
        console.say(str(out))
    console.give(results.as_dict())


def compare(
    context: typer.Context,
    *,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A picture, or a video of which a frame is taken.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The picture to write; else NAME_compare.png, here.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Networks with commas; else those of nearest, bicubic, … that have weights.")
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Another network, from a file of weights; may be repeated."),
    ] = None,
    scale: Annotated[int, typer.Option(help="2, 3 or 4.")] = 4,
    crop: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="What is shown, in pixels of the input; else its most detailed part."),
    ] = None,
    frame: Annotated[
        str | None, typer.Option(metavar="N|TIME", help="Of a video: a number from 0, or a time such as 0:05 or 2.5.")
    ] = None,
    no_truth: Annotated[
        bool, typer.Option("--no-truth", help="Enlarge the input itself; else it is shrunk first, and is the truth.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, native, openvino, torch, cuda, cuda:N.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it is there.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Crops of one picture, enlarged by several networks, side by side with PSNR and SSIM.

    vsr compare photo.png                                    all networks at x4, the photo is the truth

    vsr compare film.mp4 --frame 0:05 --models bicubic,ecbsr --scale 2 --no-truth
    """
    console = start(context, as_json=as_json, debug=debug)
    from vsr.app.compare import Box, Result, compare_pictures, upscalers
    from vsr.app.compare_sheet import figures, sheet
    from vsr.app.outputs import check_picture, writing
    from vsr.app.still import read_still

    picture = read_still(source, frame=frame)
    target = out or Path(f"{source.stem}_compare.png")
    check_picture(target, source=source, overwrite=overwrite)
    box = None if crop is None else Box.parse(crop)
    networks = upscalers(models=names(models), weights=weights or (), scale=scale, device=device)

    def show(result: Result) -> None:
        console.say(f"{result.name:16}{'  '.join(figures(result))}")

    comparison = compare_pictures(picture, networks, scale=scale, box=box, truth=not no_truth, on_result=show)
    with writing(target) as path:
        sheet(comparison, title=source.name).save(path)
    console.say(str(target))
    console.give({"picture": str(target), **comparison.as_dict()})
