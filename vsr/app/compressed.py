"""How networks fare on compressed video: ``python -m vsr.app.compressed CLIPS --markdown docs/compressed.md``.

Each clip is taken for the truth, shrunk by antialiased bicubic, compressed by x264 and decoded again, and its luma then
enlarged. Two figures: PSNR against the truth, and how much of the codec's block grid shows. A network that learnt on
clean pictures takes the edges of blocks for detail and sharpens them.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.sources import FileSource
from vsr.app.compress import coded_luma
from vsr.app.outputs import check_folder, writing
from vsr.metrics import psnr
from vsr.resample import imresize
from vsr.upscaler import Upscaler

Luma = npt.NDArray[np.uint8]

_BLOCK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One clip, compressed at one quality and enlarged by one network: means over its frames.

    Attributes:
        psnr: dB of luma against the truth.
        blocking: steps across the codec's block edges over steps elsewhere; see :func:`blocking`.
        truth_blocking: the same of the true pictures, which have no blocks.
    """

    clip: str
    crf: int
    model: str
    psnr: float
    blocking: float
    truth_blocking: float


def blocking(image: Luma, *, pitch: int) -> float:
    """How much a grid shows: the mean step between neighbours across its lines, over the mean of all other steps.

    Args:
        image: uint8 H×W, more than ``pitch`` on each side.
        pitch: samples from one line of the grid to the next.

    Returns:
        About 1 where there is no grid.
    """
    on, off = [], []
    for rows in (image, image.T):
        steps = np.abs(np.diff(rows.astype(np.int16), axis=1))
        across = np.arange(1, steps.shape[1] + 1) % pitch == 0
        on.append(steps[:, across].ravel())
        off.append(steps[:, ~across].ravel())
    return float(np.concatenate(on).mean() / np.concatenate(off).mean())


def measure(path: Path, *, models: Sequence[str], crfs: Sequence[int], scale: int, frames: int) -> Iterator[Result]:
    """Compress one clip at each quality and enlarge it with each network."""
    truths = _luma(path, scale, frames)
    small = [imresize(truth, scale=1 / scale) for truth in truths]
    upscalers = {model: Upscaler(model, scale=scale) for model in models}
    pitch = _BLOCK * scale
    for crf in crfs:
        decoded = coded_luma(small, crf=crf)
        for model, upscaler in upscalers.items():
            large = [upscaler.luma(picture) for picture in decoded]
            yield Result(
                clip=path.stem,
                crf=crf,
                model=model,
                psnr=float(np.mean([psnr(a, b, border=scale) for a, b in zip(large, truths, strict=True)])),
                blocking=float(np.mean([blocking(picture, pitch=pitch) for picture in large])),
                truth_blocking=float(np.mean([blocking(picture, pitch=pitch) for picture in truths])),
            )


def _luma(path: Path, scale: int, frames: int) -> list[Luma]:
    """The first pictures of a clip, cut so that both sizes are even."""
    result = []
    with FileSource(path) as source:
        for item in source:
            planes = getattr(item, "planes", None)
            if planes is not None:
                rows, columns = (length // (2 * scale) * 2 * scale for length in planes[0].shape)
                result.append(planes[0][:rows, :columns].copy())
            if len(result) == frames:
                break
    return result


def markdown(results: Sequence[Result], *, command: str) -> str:
    """The table, a row for each clip and quality, two columns for each network."""
    models = list(dict.fromkeys(result.model for result in results))
    rows = {(result.clip, result.crf): result.truth_blocking for result in results}
    cells = {(result.clip, result.crf, result.model): result for result in results}
    lines = [
        "# Compressed video",
        "",
        f"Written by `{command}` on {date.today()}, {platform.processor() or platform.machine()}.",
        "",
        __doc__.split("\n\n", 1)[1].strip().replace("\n", " "),
        "Blocking is the mean step of luma across the lines of the codec's 8×8 grid over the mean of all other steps: "
        "the truth's shows what no grid looks like.",
        "",
        "| clip | crf | " + " | ".join(f"{model} dB | blocking" for model in models) + " | truth's |",
        "|---|---|" + "---|" * (2 * len(models) + 1),
    ]
    for (clip, crf), truth in rows.items():
        found = [cells[clip, crf, model] for model in models]
        lines.append(
            f"| {clip} | {crf} | " + " | ".join(f"{r.psnr:.2f} | {r.blocking:.3f}" for r in found) + f" | {truth:.3f} |"
        )
    means = [[r for r in results if r.model == model] for model in models]
    lines.append(
        "| **mean** | | "
        + " | ".join(f"{np.mean([r.psnr for r in m]):.2f} | {np.mean([r.blocking for r in m]):.3f}" for m in means)
        + f" | {np.mean(list(rows.values())):.3f} |"
    )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="clips that were not compressed visibly")
    parser.add_argument("--models", default="bicubic,ecbsr,ecbsr-stream", help="networks, with commas")
    parser.add_argument("--crf", default="18,23,28,33", help="qualities of x264, with commas")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--frames", type=int, default=24, help="of each clip, at most")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    options = parser.parse_args(arguments)
    if options.markdown:
        check_folder(options.markdown)
    crfs = [int(crf) for crf in options.crf.split(",")]
    results: list[Result] = []
    for path in sorted(path for path in options.folder.iterdir() if path.is_file()):
        results += measure(
            path, models=options.models.split(","), crfs=crfs, scale=options.scale, frames=options.frames
        )
    chosen = f"--models {options.models} --crf {options.crf} --scale {options.scale} --frames {options.frames}"
    text = markdown(results, command=f"python -m vsr.app.compressed {options.folder.name} {chosen}")
    if options.markdown:
        with writing(options.markdown) as partial:
            partial.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
