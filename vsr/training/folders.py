"""Which files below a folder are trained on, validated with, or left alone: the layouts that data sets come in.

=================================  ==================================================================================
layout                             what is taken
=================================  ==================================================================================
pictures, at any depth             all; every n-th is held out for validation
``NAME_train_HR``, ``NAME_HR``     trained on (DIV2K, Flickr2K); with the small ones that came with it, where they
                                   lie beside it: ``NAME_train_LR_bicubic/X2/0001x2.png``
``NAME_valid_HR``                  validated with; nothing of the rest is then held out
``…LR…``                           never taken for true pictures
``train``, ``val``, ``test``       beside each other (BSDS500): ``train`` is trained on, ``val`` only if asked for,
                                   ``test`` never
=================================  ==================================================================================

BSDS500's ``val`` is the test set BSD100, which is why that name alone does not make a folder one to validate with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vsr.errors import DataError
from vsr.pairs import find_images
from vsr.training.config import DataConfig

_LOW = re.compile(r"(^|_)LR(_|$)", re.IGNORECASE)
_HIGH = re.compile(r"_HR$")
_VALID = re.compile(r"_valid(ation)?_HR$")
_VAL_PARTS = frozenset({"val", "valid", "validation"})
_PARTS = _VAL_PARTS | {"test"}


@dataclass(frozen=True, slots=True)
class Source:
    """A true picture, and the small one that came with it, if any."""

    high: Path
    low: Path | None = None


def find_sources(settings: DataConfig, *, scale: int) -> tuple[list[Source], list[Source]]:
    """The pictures to train on and, none of them the same, those to validate with; each sorted by path.

    Raises:
        DataError: a folder that is not there or has no picture, or nothing is left to train on or to validate with.
    """
    folder = Path(settings.folder)
    kept = [path for path in find_images(folder) if not _is_low(path, folder)]
    training = [path for path in kept if _is_trained_on(path, folder, with_val=settings.with_val)]
    if settings.validation is not None:
        held = Path(settings.validation)
        validation = [path for path in find_images(held) if not _is_low(path, held)]
        training = [path for path in training if not path.resolve().is_relative_to(held.resolve())]
    else:
        validation = [path for path in kept if _is_validation(path, folder)]
    if not training:
        raise DataError(f"no picture to train on below {folder}: all are of low resolution, validation or a test")
    if not validation:
        training, validation = split(training, settings.holdout_every)
    return [_source(path, scale) for path in training], [_source(path, scale) for path in validation]


def split(paths: Sequence[Path], holdout_every: int) -> tuple[list[Path], list[Path]]:
    """Part pictures into those to train on and those to validate with: every n-th, or the last of a few.

    Raises:
        DataError: there is only one, and it cannot be both.
    """
    if len(paths) < 2:
        raise DataError(f"got {len(paths)} picture, training needs at least 2: one of them is kept for validation")
    every = min(holdout_every, len(paths))
    training = [path for number, path in enumerate(paths, start=1) if number % every]
    return training, list(paths[every - 1 :: every])


def _is_low(path: Path, folder: Path) -> bool:
    return any(_LOW.search(name) for name in path.relative_to(folder).parts[:-1])


def _is_validation(path: Path, folder: Path) -> bool:
    return any(_VALID.search(name) for name in path.relative_to(folder).parts[:-1])


def _is_trained_on(path: Path, folder: Path, *, with_val: bool) -> bool:
    if _is_validation(path, folder):
        return False
    between = len(path.relative_to(folder).parts) - 1
    for parent in list(path.parents)[:between]:
        # A folder that is called "test" is one only beside a "train".
        if parent.name in _PARTS and (parent.parent / "train").is_dir():
            return with_val and parent.name in _VAL_PARTS
    return True


def _source(high: Path, scale: int) -> Source:
    folder = high.parent
    if _HIGH.search(folder.name):
        low = folder.with_name(_HIGH.sub("_LR_bicubic", folder.name)) / f"X{scale}" / f"{high.stem}x{scale}.png"
        if low.is_file():
            return Source(high, low)
    return Source(high)
