"""Every network with weights on every test set: what ``vsr evaluate --all`` measures. ``results_page.py`` writes it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vsr.errors import DataError, PixelError, WeightsError
from vsr.evaluate import Trial, check_pictures, trials
from vsr.metrics import gmsd, psnr, ssim
from vsr.models import MODELS, model_spec
from vsr.niqe import niqe
from vsr.pairs import IMAGE_SUFFIXES, find_images, make_pair, read_rgb
from vsr.upscaler import Upscaler
from vsr.weights import WeightsInfo, index, load_network

BASELINES = ("nearest", "bilinear", "bicubic")
SCALES = (2, 3, 4)

_KNOWN_SETS = ("Set5", "Set14", "BSD100")
_LONGEST_FRAME_MS = 20_000
_TIMED_SECONDS = 4
_PART = 4

TestSets = Mapping[str, Sequence[Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Means over the pictures of a test set: luma PSNR in dB, SSIM, NIQE and GMSD.

    ``niqe`` is None where the pictures are too small for it.
    """

    psnr: float
    ssim: float
    niqe: float | None
    gmsd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Milliseconds for a frame of 1920×1080 out; ``part_only`` when a sixteenth of one was timed, sixteen times."""

    milliseconds: float
    device: str
    precision: str
    part_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One set of weights, or a baseline, at one scale. ``macs`` are for each pixel of the input."""

    model: str
    scale: int
    precision: str
    options: Mapping[str, int | bool]
    parameters: int
    macs: int
    quality: Mapping[str, Quality]
    speed: Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything that was measured in one run.

    Attributes:
        pictures: how many pictures of each test set.
        truth: NIQE of the true pictures, by scale (they are cut to a multiple of it) and test set.
        rows: by scale, baselines first.
    """

    pictures: Mapping[str, int]
    truth: Mapping[int, Mapping[str, float | None]]
    rows: Sequence[Row] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def measure_all(
    sets: TestSets, *, models: Sequence[str] | None = None, on_progress: Callable[[str], None] = lambda _: None
) -> Results:
    """Measure every set of weights that is shipped, and the baselines.

    Args:
        sets: of :func:`test_sets`.
        models: names, or None for all.
        on_progress: gets a line after each row.

    Raises:
        UnknownModelError, WeightsError: a name that does not exist, or has no weights.
        DataError: pictures that cannot be read or are too small, all of them named; nothing was measured.
    """
    entries = _entries(models)
    check_pictures([path for paths in sets.values() for path in paths], scale=max(SCALES))
    rows, scales = [], [scale for scale in SCALES if any(entry[1] == scale for entry in entries)]
    for scale in scales:
        for name, _, info in (entry for entry in entries if entry[1] == scale):
            row = _measure(name, scale, info, sets)
            rows.append(row)
            figures = ", ".join(f"{each} {quality.psnr:.2f} dB" for each, quality in row.quality.items())
            on_progress(f"{name} ×{scale} {row.precision}: {figures}, {row.speed.milliseconds:.0f} ms a frame")
    return Results(
        pictures={name: len(paths) for name, paths in sets.items()},
        truth={scale: {name: _niqe_of_truth(paths, scale) for name, paths in sets.items()} for scale in scales},
        rows=rows,
    )


def test_sets(folder: Path, *, limit: int | None = None) -> dict[str, list[Path]]:
    """The pictures of each folder in a folder, the best known sets first.

    Args:
        folder: holds Set5, Set14, BSD100, …; or is itself a folder of pictures.
        limit: take only so many of each.

    Raises:
        DataError: there are no pictures.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one that holds Set5, Set14 and the like as folders")
    found = {
        each.name: find_images(each)[:limit]
        for each in folder.iterdir()
        if each.is_dir() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in each.rglob("*"))
    }
    if not found:
        return {folder.name: find_images(folder)[:limit]}
    order = {name: place for place, name in enumerate(_KNOWN_SETS)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def frame_speed(upscaler: Upscaler) -> Speed:
    """How long a frame of 1920×1080 takes to be made: the median of a few, or a part of it where one takes long."""
    shape = (1080 // upscaler.scale, 1920 // upscaler.scale)
    colours = (3,) if upscaler.network.channels == 3 else ()
    picture = np.random.default_rng(0).integers(16, 236, shape + colours, dtype=np.uint8)
    enlarge = upscaler if colours else upscaler.luma
    part = picture[: shape[0] // _PART, : shape[1] // _PART]
    enlarge(part)
    guess = _PART**2 * _milliseconds(enlarge, part)
    choice = upscaler.choice
    if guess > _LONGEST_FRAME_MS:
        return Speed(milliseconds=guess, device=choice.device, precision=choice.precision, part_only=True)
    enlarge(picture)
    count = max(1, min(15, int(1000 * _TIMED_SECONDS / guess)))
    middle = statistics.median(_milliseconds(enlarge, picture) for _ in range(count))
    return Speed(milliseconds=middle, device=choice.device, precision=choice.precision, part_only=False)


def _entries(models: Sequence[str] | None) -> list[tuple[str, int, WeightsInfo | None]]:
    """(name, scale, weights) of all that is to be measured, in the order of the page."""
    for name in models or ():
        if model_spec(name).trained and not any(info.model == name for info in index()):
            raise WeightsError(f"no weights of {name} are shipped, so there is nothing to measure; see 'vsr models'")
    entries: list[tuple[str, int, WeightsInfo | None]] = [(name, scale, None) for name in BASELINES for scale in SCALES]
    shipped = sorted(index(), key=lambda info: (list(MODELS).index(info.model), info.precision))
    entries += [(info.model, info.scale, info) for info in shipped]
    return [entry for entry in entries if models is None or entry[0] in models]


def _measure(name: str, scale: int, info: WeightsInfo | None, sets: TestSets) -> Row:
    """One row: quality in the precision of the weights, speed in the one that this machine would choose for them."""
    precision = info.precision if info else "fp32"
    exact = Upscaler(name, scale=scale, precision=precision)
    network = load_network(name, scale=scale, precision=precision) if info else None
    return Row(
        model=name,
        scale=scale,
        precision=precision if info else "",
        options=info.options if info else {},
        parameters=info.parameters if info else 0,
        macs=info.macs if info else 0,
        quality={each: _quality(exact, paths, scale) for each, paths in sets.items()},
        speed=frame_speed(Upscaler(name, scale=scale, network=network)),
    )


def _quality(upscaler: Upscaler, paths: Sequence[Path], scale: int) -> Quality:
    measured = [_judged(trial, scale) for trial in trials(upscaler, paths, scale=scale)]
    return Quality(
        psnr=float(np.mean([each.psnr for each in measured])),
        ssim=float(np.mean([each.ssim for each in measured])),
        niqe=_mean_of_known(each.niqe for each in measured),
        gmsd=float(np.mean([each.gmsd for each in measured])),
    )


def _judged(trial: Trial, scale: int) -> Quality:
    pair = (trial.result, trial.truth)
    return Quality(
        psnr=psnr(*pair, border=scale),
        ssim=ssim(*pair, border=scale),
        niqe=niqe_or_none(trial.result, border=scale),
        gmsd=gmsd(*pair, border=scale),
    )


def niqe_or_none(luma: npt.NDArray[np.uint8], *, border: int = 0) -> float | None:
    """NIQE, or None of pictures that it cannot judge: too small, or without contrast."""
    try:
        return niqe(luma, border=border)
    except PixelError:
        return None


def _niqe_of_truth(paths: Sequence[Path], scale: int) -> float | None:
    truths = (make_pair(read_rgb(path), scale).high for path in paths)
    return _mean_of_known(niqe_or_none(truth, border=scale) for truth in truths)


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _milliseconds(enlarge: Callable[[npt.NDArray[np.uint8]], object], picture: npt.NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    enlarge(picture)
    return 1000 * (time.perf_counter() - start)
