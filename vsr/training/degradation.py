"""How a true picture becomes the small one that a network is given: shrunk, then made noisy, then compressed.

Shrinking keeps the centre: low-resolution sample i lies in the middle of the r true samples that it stands for, with
either kernel, as every network here assumes.

Video compression needs video, of which this package knows nothing: whoever can do it hands a :class:`Compressor` in.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from vsr.colour import rgb_to_luma
from vsr.errors import ConfigError, PixelError
from vsr.pairs import crop_to_multiple
from vsr.resample import imresize, resize_axis

Picture: TypeAlias = npt.NDArray[np.uint8]

KINDS = ("bicubic", "gaussian")

# A Gaussian beyond this many sigmas adds nothing that 8 bit can show.
_REACH_SIGMAS = 4.0


class Compressor(Protocol):
    """Makes of a picture one frame of a compressed video (``vsr.app.compress`` has one).

    A camera moves, so the frame that comes back shows a part of the picture: ``row`` and ``column``, in its samples,
    are where that part begins.
    """

    def __call__(self, picture: Picture, /, *, crf: int, luma: bool, rng: np.random.Generator) -> Compressed:
        """Compress uint8 H×W×3 RGB at a quality of x264's scale; with ``luma``, the result is H×W of BT.601."""


@dataclass(frozen=True, slots=True)
class Compressed:
    """Part of a picture as a decoder gave it back, and where in the picture it begins."""

    picture: Picture
    row: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradationConfig:
    """What is done to pictures, in this order. Ranges are (lowest, highest), drawn anew for each picture.

    Attributes:
        kind: ``"bicubic"``, MATLAB's antialiased imresize, as the papers' test protocol has it; or ``"gaussian"``,
            ESPCN's: blurred, then every r-th sample.
        blur_sigma: of the Gaussian, in true samples. ESPCN does not state it; where unset, it is half the scale.
        noise_sigma: of Gaussian noise, in steps of 8 bit, on each channel alone.
        jpeg_quality: Pillow's, 1 to 95, with chroma at half resolution.
        h264_crf: x264's, 0 (lossless) to 51.
        versions: how many small pictures are made of each true one.

    Raises:
        ConfigError: an unknown kind, or a range that is reversed or out of bounds.
    """

    kind: str = "bicubic"
    blur_sigma: tuple[float, float] | None = None
    noise_sigma: tuple[float, float] | None = None
    jpeg_quality: tuple[int, int] | None = None
    h264_crf: tuple[int, int] | None = None
    versions: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"got degradation.kind = {self.kind!r}, allowed are {', '.join(KINDS)}")
        if self.blur_sigma is not None and self.kind != "gaussian":
            raise ConfigError(f"degradation.blur_sigma is of kind = 'gaussian', got kind = {self.kind!r}")
        if self.versions < 1:
            raise ConfigError(f"got degradation.versions = {self.versions}, it must be at least 1")
        for name, (least, most) in _BOUNDS.items():
            chosen = getattr(self, name)
            if chosen is not None and not least <= chosen[0] <= chosen[1] <= most:
                raise ConfigError(
                    f"got degradation.{name} = {list(chosen)}, it must be [lowest, highest] within {least} and {most}"
                )

    @property
    def plain(self) -> bool:
        """Whether this is the papers' protocol and nothing else."""
        return self == DegradationConfig()


_BOUNDS: dict[str, tuple[float, float]] = {
    "blur_sigma": (0.1, 20.0),
    "noise_sigma": (0.0, 100.0),
    "jpeg_quality": (1, 95),
    "h264_crf": (0, 51),
}
assert _BOUNDS.keys() <= {field.name for field in fields(DegradationConfig)}


def degrade(high: Picture, *, scale: int, settings: DegradationConfig, rng: np.random.Generator) -> Picture:
    """Make the small picture of a true one: all of ``settings`` but video compression.

    Args:
        high: uint8 rH×rW×3 RGB, both sides multiples of ``scale``.
        scale: r.
        settings: what to do.
        rng: all that is random comes from here, so that a seed decides the result.

    Returns:
        uint8 H×W×3 RGB.

    Raises:
        PixelError: another shape or type.
    """
    if high.dtype != np.uint8 or high.ndim != 3 or high.shape[2] != 3 or any(n % scale for n in high.shape[:2]):
        raise PixelError(
            f"got {high.shape} {high.dtype}, degrading takes H×W×3 of uint8 with sides that {scale} divides; "
            "see vsr.pairs.crop_to_multiple"
        )
    if settings.kind == "bicubic":
        low = imresize(high, scale=1 / scale)
    else:
        sigma = scale / 2 if settings.blur_sigma is None else rng.uniform(*settings.blur_sigma)
        low = blur_and_subsample(high, scale=scale, sigma=sigma)
    if settings.noise_sigma is not None:
        noise = rng.normal(0.0, rng.uniform(*settings.noise_sigma), low.shape)
        low = np.clip(np.rint(low + noise), 0, 255).astype(np.uint8)
    if settings.jpeg_quality is not None:
        low = _through_jpeg(low, quality=_whole(settings.jpeg_quality, rng))
    return low


def degraded_pairs(
    rgb: Picture,
    *,
    scale: int,
    settings: DegradationConfig,
    channels: int,
    rng: np.random.Generator,
    compressor: Compressor | None = None,
) -> Iterator[tuple[Picture, Picture]]:
    """Make ``settings.versions`` pairs of one picture.

    Args:
        rgb: uint8 H×W×3; what ``scale`` does not divide is cut off the end.
        scale: of the pairs.
        settings: what to do.
        channels: 3 for RGB; 1 for the limited-range luma of BT.601 (that of a video is as it was decoded).
        rng: all that is random comes from here.
        compressor: for H.264.

    Yields:
        low and high, uint8 h×w×3 and rh×rw×3, or h×w and rh×rw for one channel; both begin and end at the same place.

    Raises:
        ConfigError: H.264 is asked for and there is no compressor.
        PixelError: the picture cannot be used, or is too small to be a video.
    """
    if settings.h264_crf is not None and compressor is None:
        raise ConfigError("degradation.h264_crf needs a video encoder; train with 'vsr train', which has one")
    high = crop_to_multiple(rgb, scale)
    for _ in range(settings.versions):
        low = degrade(high, scale=scale, settings=settings, rng=rng)
        truth = rgb_to_luma(high) if channels == 1 else high
        if settings.h264_crf is None or compressor is None:
            yield (rgb_to_luma(low) if channels == 1 else low), truth
            continue
        made = compressor(low, crf=_whole(settings.h264_crf, rng), luma=channels == 1, rng=rng)
        rows, columns = made.picture.shape[:2]
        top, left = made.row * scale, made.column * scale
        yield made.picture, truth[top : top + rows * scale, left : left + columns * scale]


def blur_and_subsample(image: Picture, *, scale: int, sigma: float) -> Picture:
    """Weigh true samples by a Gaussian around the middle of each r×r block, and round.

    Args:
        image: uint8 rH×rW×C.
        scale: r.
        sigma: in true samples.

    Returns:
        uint8 H×W×C; beyond the border the edge sample is repeated.
    """
    result: npt.NDArray[np.floating[Any]] = image.astype(np.float64)
    for axis in (0, 1):
        length = image.shape[axis]
        centre = (np.arange(length // scale) + 0.5) * scale - 0.5
        reach = int(np.ceil(_REACH_SIGMAS * sigma))
        index = np.floor(centre).astype(np.int64)[:, None] + np.arange(-reach, reach + 2)
        weight = np.exp(-0.5 * ((index - centre[:, None]) / sigma) ** 2)
        weight /= weight.sum(axis=1, keepdims=True)
        result = resize_axis(result, axis, np.clip(index, 0, length - 1), weight)
    rounded: Picture = np.clip(np.floor(result + 0.5), 0, 255).astype(np.uint8)
    return rounded


def _through_jpeg(image: Picture, *, quality: int) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        return np.array(decoded)


def _whole(bounds: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(bounds[0], bounds[1], endpoint=True))
