"""PSNR and SSIM by the papers' protocol.

The true picture is cut to a multiple of the scale, shrunk by antialiased bicubic in RGB and rounded to 8 bit; the luma
of that is enlarged and compared with the luma of the truth, 8 bit both, a border of ``scale`` samples left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vsr.metrics import psnr, ssim
from vsr.pairs import find_images, make_pair, read_rgb

Luma = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Score:
    """One picture: ``psnr`` in dB, ``ssim`` at most 1."""

    name: str
    psnr: float
    ssim: float


def evaluate(enlarge: Callable[[Luma], Luma], paths: Iterable[Path], *, scale: int) -> Iterator[Score]:
    """Score pictures one by one.

    Args:
        enlarge: uint8 H×W luma (16..235) to uint8 rH×rW, such as :meth:`vsr.Upscaler.luma`.
        paths: the true pictures.
        scale: r.

    Raises:
        DataError: a file is not a picture.
    """
    for path in paths:
        pair = make_pair(read_rgb(path), scale)
        result = enlarge(pair.low)
        yield Score(path.name, psnr(result, pair.high, border=scale), ssim(result, pair.high, border=scale))


def evaluate_folder(enlarge: Callable[[Luma], Luma], folder: Path, *, scale: int) -> list[Score]:
    """:func:`evaluate` over every picture below a folder."""
    return list(evaluate(enlarge, find_images(folder), scale=scale))


def mean(scores: list[Score]) -> Score:
    """The averages, as papers state them: of the pictures' dB, not of their errors."""
    return Score("mean", float(np.mean([s.psnr for s in scores])), float(np.mean([s.ssim for s in scores])))
