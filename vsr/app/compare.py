"""``vsr compare``: one picture through several networks, and the crop of it where they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vsr.app.results import niqe_or_none
from vsr.colour import rgb_to_luma
from vsr.errors import ConfigError, DataError
from vsr.evaluate import luma_of_enlarged
from vsr.metrics import psnr, ssim
from vsr.models import model_spec
from vsr.pairs import make_pair
from vsr.upscaler import Upscaler
from vsr.weights import index
from vsr.weights.foreign import load_any

DEFAULT_MODELS = ("nearest", "bicubic", "espcn", "ecbsr", "srresnet", "srgan", "esrgan")

_SMALLEST = 16
_USUAL_CROP = 96
_LARGE_CROP = 128
_LARGE_PICTURE = 1000
_TILE_WIDTH = 384

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Box:
        """``X,Y,W,H``.

        Raises:
            ConfigError: it is something else.
        """
        words = text.replace(" ", "").split(",")
        if len(words) != 4 or not all(word.isdigit() for word in words) or "0" in (words[2], words[3]):
            raise ConfigError(f"got --crop {text!r}, allowed is X,Y,W,H in pixels, such as 200,120,96,72")
        return cls(*map(int, words))

    def times(self, factor: int) -> Box:
        """The same part of a picture that is larger by ``factor``."""
        return Box(self.left * factor, self.top * factor, self.width * factor, self.height * factor)

    def of(self, picture: Pixels) -> Pixels:
        """What it cuts out."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A picture as one network made it, uint8 rH×rW×3, and its figures (luma, of the whole picture).

    ``psnr`` and ``ssim`` are None without a truth, ``niqe`` where the picture is too small for it.
    """

    name: str
    pixels: Pixels
    psnr: float | None = None
    ssim: float | None = None
    niqe: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What ``vsr compare`` shows.

    Attributes:
        whole: the picture that came, uint8 H×W×3, cut to a multiple of the scale where it is the truth.
        box: the part of ``whole`` that is shown.
        low: (rows, columns) of what the networks were given.
        scale: r.
        truth: whether ``whole`` is what the results should be; else it is what was enlarged.
        results: in the order of the networks, the truth last.
    """

    whole: Pixels
    box: Box
    low: tuple[int, int]
    scale: int
    truth: bool
    results: Sequence[Result]

    def crops(self) -> list[Pixels]:
        """The part that is shown, of each result."""
        box = self.box if self.truth else self.box.times(self.scale)
        return [box.of(result.pixels) for result in self.results]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        figures = [{key: getattr(each, key) for key in ("name", "psnr", "ssim", "niqe")} for each in self.results]
        return {"scale": self.scale, "truth": self.truth, "crop": asdict(self.box), "results": figures}


def upscalers(
    *, models: Sequence[str] | None, weights: Sequence[Path] = (), scale: int, device: str = "auto"
) -> dict[str, Upscaler]:
    """The networks to compare, by the names to show.

    Args:
        models: names; None takes those of :data:`DEFAULT_MODELS` that have weights at this scale.
        weights: files of networks to compare besides, shown under their own names; where one is taken, such as
            that of the ``best.safetensors`` of another run, their folder's is put before it.
        scale: of all of them.
        device: as :class:`vsr.Upscaler` takes it.

    Raises:
        UnknownModelError, WeightsError, DeviceError: something of this does not exist here.
    """
    if models is None:
        shipped = {info.model for info in index() if info.scale == scale}
        models = [name for name in DEFAULT_MODELS if name in shipped or not model_spec(name).trained]
    made = {name: Upscaler(name, scale=scale, device=device) for name in models}
    for path in weights:
        network = load_any(path, scale=scale).network
        name = path.stem if path.stem not in made else f"{path.resolve().parent.name}/{path.stem}"
        made[name] = Upscaler(scale=scale, device=device, network=network)
    return made


def compare_pictures(
    picture: Pixels,
    networks: dict[str, Upscaler],
    *,
    scale: int,
    box: Box | None = None,
    truth: bool = True,
    on_result: Callable[[Result], None] = lambda _: None,
) -> Comparison:
    """Enlarge a picture by each network.

    Args:
        picture: uint8 H×W×3.
        networks: of :func:`upscalers`.
        scale: theirs.
        box: what to show, in pixels of the picture; None for its most detailed part.
        truth: the picture is what the results should be: it is shrunk first. Else it is enlarged itself.
        on_result: called with each as it is there.

    Raises:
        DataError: the picture is too small.
        ConfigError: the box is not within it.
    """
    smallest = _SMALLEST * (scale if truth else 1)
    if min(picture.shape[:2]) < smallest:
        raise DataError(
            f"got a picture of {picture.shape[1]}×{picture.shape[0]}, it takes {smallest}×{smallest} at ×{scale}"
        )
    pair = make_pair(picture, scale, channels=3) if truth else None
    low, whole = (pair.low, pair.high) if pair else (picture, picture)
    box = _within(box, whole) if box else most_detailed(whole, scale=scale, truth=truth)
    results = []
    for name, upscaler in networks.items():
        results.append(_result(name, upscaler, low, pair.high if pair else None))
        on_result(results[-1])
    if pair:
        luma = rgb_to_luma(pair.high)
        results.append(Result(name="truth", pixels=pair.high, niqe=niqe_or_none(luma, border=scale)))
    return Comparison(whole=whole, box=box, low=low.shape[:2], scale=scale, truth=truth, results=results)


def most_detailed(picture: Pixels, *, scale: int, truth: bool) -> Box:
    """Where the luma of a picture changes most: the part whose gradients add up to the most."""
    rows, columns = picture.shape[:2]
    width = (_LARGE_CROP if columns >= _LARGE_PICTURE else _USUAL_CROP) if truth else _TILE_WIDTH // scale
    width = min(width, columns, rows * 4 // 3)
    height = max(1, width * 3 // 4)
    luma = rgb_to_luma(picture).astype(np.float64)
    steps = np.abs(np.diff(luma, axis=0, append=luma[-1:])) + np.abs(np.diff(luma, axis=1, append=luma[:, -1:]))
    # Roots, so that one hard edge does not outweigh a place full of lines.
    sums = np.pad(np.sqrt(steps).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    detail = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(detail[::scale, ::scale].argmax()), detail[::scale, ::scale].shape)
    return Box(int(left) * scale, int(top) * scale, width, height)


def _result(name: str, upscaler: Upscaler, low: Pixels, truth: Pixels | None) -> Result:
    pixels = upscaler(low)
    # The colours of a network on luma lose some of it where RGB has no room: the luma itself is what is judged.
    luma = rgb_to_luma(pixels) if upscaler.network.channels == 3 else luma_of_enlarged(upscaler, low)
    scale = upscaler.scale
    natural = niqe_or_none(luma, border=scale)
    if truth is None:
        return Result(name=name, pixels=pixels, niqe=natural)
    pair = (luma, rgb_to_luma(truth))
    return Result(
        name=name, pixels=pixels, psnr=psnr(*pair, border=scale), ssim=ssim(*pair, border=scale), niqe=natural
    )


def _within(box: Box, picture: Pixels) -> Box:
    rows, columns = picture.shape[:2]
    if box.left + box.width > columns or box.top + box.height > rows:
        asked = f"{box.left},{box.top},{box.width},{box.height}"
        raise ConfigError(f"got --crop {asked}, it must lie within the picture of {columns}×{rows}")
    return box
