"""NIQE, a measure of naturalness that needs no truth (Mittal, Soundararajan, Bovik 2013): less is better.

Local contrast is divided out of a picture; what is left of a photograph, and the products of its neighbours, follow
generalised Gaussians whose shapes say whether it is blurred, noisy or blocky. 36 such numbers of every patch of 96×96
samples make a cloud, and the measure is the distance of that cloud from the one of good photographs.

The cloud of good photographs here is not the authors': it was fitted to other pictures, by ``python -m vsr.niqe fit``.
**Figures can be compared with one another, not with those of other implementations.**
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vsr.colour import rgb_to_luma
from vsr.errors import DataError, PixelError
from vsr.pairs import find_images, read_rgb
from vsr.resample import imresize

Floats = npt.NDArray[np.float64]

PATCH = 96
FEATURES = 36
"""18 at each of two scales."""

_FILE = "niqe.safetensors"
_SHARP_SHARE = 0.75
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))

_offsets = np.arange(-3, 4)
_WINDOW: Floats = np.exp(-0.5 * (_offsets / (7 / 6)) ** 2)
_WINDOW /= _WINDOW.sum()

# The moment ratio of a generalised Gaussian by its shape, which is inverted by looking it up; it rises with the shape.
_SHAPES: Floats = np.arange(0.2, 10.0005, 0.001)
_gamma = np.vectorize(math.gamma, otypes=[np.float64])
_RATIOS: Floats = _gamma(2 / _SHAPES) ** 2 / (_gamma(1 / _SHAPES) * _gamma(3 / _SHAPES))


@dataclass(frozen=True, slots=True)
class Naturalness:
    """What good photographs look like: the mean (36) and covariance (36×36) of the features of their sharp patches."""

    mean: Floats
    covariance: Floats


def niqe(luma: npt.NDArray[np.uint8], *, border: int = 0, model: Naturalness | None = None) -> float:
    """How far a picture is from a natural one: 0 at best, some 3 to 15 for pictures that people would keep.

    Args:
        luma: uint8 H×W, limited range (16..235); pictures of a few patches only give a figure that means little.
        border: rows and columns that are left out on each side.
        model: in place of the one that is shipped.

    Raises:
        PixelError: another shape or type, or fewer than two patches of 96×96.
    """
    if border < 0:
        raise PixelError(f"got a border of {border}, it must be at least 0")
    found, _ = patch_features(luma[tuple(slice(border, side - border) for side in luma.shape)])
    model = model or shipped_model()
    # Patches without any contrast have no shape, and are left out of the mean as of the covariance.
    found = found[np.isfinite(found).all(axis=1)]
    if len(found) < 2:
        raise PixelError("all patches but one are without any contrast; NIQE cannot judge this picture")
    apart = found.mean(axis=0) - model.mean
    spread = (model.covariance + np.cov(found, rowvar=False)) / 2
    return float(np.sqrt(apart @ np.linalg.pinv(spread) @ apart))


def patch_features(luma: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """The 36 features of every whole patch (N×36, NaN where there is no contrast), and how sharp each is (N).

    Raises:
        PixelError: it is not uint8 H×W, or holds fewer than two patches.
    """
    if luma.ndim != 2 or luma.dtype != np.uint8:
        raise PixelError(f"got {luma.shape} {luma.dtype}, NIQE takes luma, H×W uint8")
    rows, columns = (side // PATCH * PATCH for side in luma.shape)
    if rows * columns < 2 * PATCH**2:
        raise PixelError(f"got {luma.shape[0]}×{luma.shape[1]}, NIQE needs two patches of {PATCH}×{PATCH}")
    image = (luma[:rows, :columns].astype(np.float64) - 16) * (255 / 219)
    normal, deviation = _normalised(image)
    half, _ = _normalised(imresize(image, scale=0.5))
    features = np.hstack([_shapes(_cut(normal, PATCH)), _shapes(_cut(half, PATCH // 2))])
    return features, _cut(deviation, PATCH).mean(axis=(1, 2))


def fit(lumas: Iterable[npt.NDArray[np.uint8]]) -> tuple[Naturalness, int]:
    """Learn what is natural from good photographs; of each, the patches count that are nearly as sharp as its sharpest.

    Returns:
        The model, and the number of patches that it is fitted to.

    Raises:
        DataError: there are too few patches for a covariance.
    """
    kept = []
    for luma in lumas:
        features, sharpness = patch_features(luma)
        kept.append(features[sharpness > _SHARP_SHARE * sharpness.max()])
    found = np.concatenate(kept) if kept else np.empty((0, FEATURES))
    found = found[np.isfinite(found).all(axis=1)]
    if len(found) <= FEATURES:
        raise DataError(f"got {len(found)} sharp patches, {FEATURES} features need more than {FEATURES}")
    return Naturalness(found.mean(axis=0), np.cov(found, rowvar=False)), len(found)


@cache
def shipped_model() -> Naturalness:
    """The model that comes with the package."""
    return load(Path(str(resources.files("vsr") / _FILE)))


def load(path: Path) -> Naturalness:
    """Read a model.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        with safe_open(path, framework="np") as file:
            model = Naturalness(file.get_tensor("mean"), file.get_tensor("covariance"))
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read {path} as a model of NIQE: {error}") from error
    if model.mean.shape != (FEATURES,) or model.covariance.shape != (FEATURES, FEATURES):
        raise DataError(f"{path} holds {model.mean.shape} and {model.covariance.shape}, not a model of NIQE")
    return model


def _normalised(image: Floats) -> tuple[Floats, Floats]:
    """Mean subtracted and contrast divided out, and the local deviation that it was divided by."""
    mean = _blurred(image)
    deviation = np.sqrt(np.abs(_blurred(image**2) - mean**2))
    return (image - mean) / (deviation + 1), deviation


def _blurred(image: Floats) -> Floats:
    rows, columns = image.shape
    padded = np.pad(image, 3, mode="edge")
    across: Floats = sum((weight * padded[:, i : i + columns] for i, weight in enumerate(_WINDOW)), np.zeros(1))
    down: Floats = sum((weight * across[i : i + rows] for i, weight in enumerate(_WINDOW)), np.zeros(1))
    return down


def _cut(image: Floats, side: int) -> Floats:
    """H×W to N×side×side."""
    rows, columns = (length // side for length in image.shape)
    blocks = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return blocks.swapaxes(1, 2).reshape(-1, side, side)


def _shapes(patches: Floats) -> Floats:
    """N×side×side to the N×18 features of one scale."""
    shape, left, right = _asymmetric_gaussian(patches)
    features = [shape, (left + right) / 2]
    for shift in _NEIGHBOURS:
        # Around the patch, as the authors do it.
        shape, left, right = _asymmetric_gaussian(patches * np.roll(patches, shift, axis=(1, 2)))
        mean = (right - left) * _gamma(2 / shape) / _gamma(1 / shape)
        features += [shape, mean, left, right]
    return np.stack(features, axis=1)


def _asymmetric_gaussian(patches: Floats) -> tuple[Floats, Floats, Floats]:
    """The shape, and the scales to the left and right of zero, of an asymmetric generalised Gaussian by its moments."""
    values = patches.reshape(len(patches), -1)
    square = values**2
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = (np.sqrt((square * side).sum(1) / side.sum(1)) for side in (values < 0, values > 0))
        lean = left / right
        ratio = np.abs(values).mean(1) ** 2 / square.mean(1)
        ratio *= (lean**3 + 1) * (lean + 1) / (lean**2 + 1) ** 2
    shape: Floats = np.interp(ratio, _RATIOS, _SHAPES)
    width = np.sqrt(_gamma(1 / shape) / _gamma(3 / shape))
    return shape, left * width, right * width


def main() -> None:
    """The command line: ``python -m vsr.niqe fit DIR …`` writes the model that is shipped."""
    parser = argparse.ArgumentParser(description="Fit what NIQE takes for natural.")
    parser.add_argument("verb", choices=["fit"])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of good photographs")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(_FILE))
    options = parser.parse_args()
    paths = [path for folder in options.folders for path in find_images(folder)]
    model, patches = fit(rgb_to_luma(read_rgb(path)) for path in paths)
    notes = {
        "pictures": str(len(paths)),
        "patches": str(patches),
        "folders": " ".join(folder.name for folder in options.folders),
        "patch": f"{PATCH}x{PATCH}, of each picture those above {_SHARP_SHARE} of its greatest sharpness",
    }
    save_file({"mean": model.mean, "covariance": model.covariance}, options.out, metadata=notes)


if __name__ == "__main__":
    main()
