"""PSNR and SSIM by the papers' protocol.

The true picture is cut to a multiple of the scale, shrunk by antialiased bicubic in RGB and rounded to 8 bit. A network
on luma enlarges the luma of that, one on RGB all of it; the luma of the result is compared with the luma of the truth,
8 bit both, a border of ``scale`` samples left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vsr.colour import rgb_to_luma
from vsr.errors import DataError
from vsr.metrics import SSIM_WINDOW, psnr, ssim
from vsr.pairs import find_images, make_pair, read_rgb
from vsr.upscaler import Upscaler

Pixels: TypeAlias = npt.NDArray[np.uint8]
Enlarger: TypeAlias = Upscaler | Callable[[Pixels], Pixels]
"""An upscaler of either kind, or a function from uint8 H×W luma (16..235) to uint8 rH×rW."""


@dataclass(frozen=True, slots=True)
class Score:
    """One picture: ``psnr`` in dB, ``ssim`` at most 1."""

    name: str
    psnr: float
    ssim: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One picture enlarged: the luma that came out and the true one, both uint8 rH×rW, borders and all."""

    name: str
    result: Pixels
    truth: Pixels


def luma_of_enlarged(upscaler: Upscaler, rgb_low: Pixels) -> Pixels:
    """What is compared with the truth: the luma of a picture that was enlarged as the network wants it.

    Args:
        upscaler: of a network on luma, which gets the luma of the picture, or on RGB, which gets all of it.
        rgb_low: uint8 H×W×3.

    Returns:
        uint8 rH×rW, 16..235.
    """
    if upscaler.network.channels == 3:
        return rgb_to_luma(upscaler(rgb_low))
    return upscaler.luma(rgb_to_luma(rgb_low))


def check_pictures(paths: Sequence[Path], *, scale: int) -> None:
    """Find out before long work whether every picture can be read and is large enough to be judged.

    Args:
        paths: the true pictures.
        scale: the largest r that they will be shrunk by.

    Raises:
        DataError: some are not; all of those are named.
    """
    faults = [fault for path in paths if (fault := _fault_of(path, scale)) is not None]
    if faults:
        raise DataError(
            f"{len(faults)} of {len(paths)} pictures cannot be judged: {'; '.join(faults)}; replace or remove them"
        )


def _fault_of(path: Path, scale: int) -> str | None:
    try:
        rows, columns = read_rgb(path).shape[:2]
    except DataError as error:
        return str(error)
    # What is left of a picture without its borders is to hold a window of SSIM.
    smallest = -(-(SSIM_WINDOW + 2 * scale) // scale) * scale
    if min(rows, columns) < smallest:
        return f"{path} has {columns}×{rows} pixels, at ×{scale} it takes {smallest}×{smallest}"
    return None


def trials(enlarge: Enlarger, paths: Iterable[Path], *, scale: int) -> Iterator[Trial]:
    """Degrade and enlarge pictures one by one.

    Raises:
        DataError: a file is not a picture.
    """
    for path in paths:
        pair = make_pair(read_rgb(path), scale, channels=3)
        if isinstance(enlarge, Upscaler):
            result = luma_of_enlarged(enlarge, pair.low)
        else:
            result = enlarge(rgb_to_luma(pair.low))
        yield Trial(path.name, result, rgb_to_luma(pair.high))


def evaluate(enlarge: Enlarger, paths: Iterable[Path], *, scale: int) -> Iterator[Score]:
    """Score pictures one by one.

    Args:
        enlarge: what makes them larger.
        paths: the true pictures.
        scale: r.

    Raises:
        DataError: a file is not a picture.
    """
    for trial in trials(enlarge, paths, scale=scale):
        result, truth = trial.result, trial.truth
        yield Score(trial.name, psnr(result, truth, border=scale), ssim(result, truth, border=scale))


def evaluate_folder(enlarge: Enlarger, folder: Path, *, scale: int) -> list[Score]:
    """:func:`evaluate` over every picture below a folder."""
    return list(evaluate(enlarge, find_images(folder), scale=scale))


def mean(scores: list[Score]) -> Score:
    """The averages, as papers state them: of the pictures' dB, not of their errors."""
    return Score("mean", float(np.mean([s.psnr for s in scores])), float(np.mean([s.ssim for s in scores])))
