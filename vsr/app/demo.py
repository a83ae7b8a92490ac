"""``vsr demo``: a clip whose truth is known, upscaled by the real pipeline, and what that gained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from streams.errors import SinkError
from streams.frame import Frame
from streams.sources import open_source
from vsr.app.clip import Clip, Rgb, luma, write_clip
from vsr.app.jobs import upscale_video
from vsr.app.pictures import Tile, contact_sheet
from vsr.metrics import psnr, ssim
from vsr.upscaler import Upscaler

# Where the side-by-side picture looks, as parts of width and height: left, top, right, bottom.
_CROP = (0.30, 0.05, 0.70, 0.75)
_SHOWN_FRAME = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What the demo made and measured: luma PSNR in dB and SSIM, means over all frames, against the known truth."""

    input: str
    output: str
    picture: str
    model: str
    scale: int
    frames: int
    fps: float
    psnr_bicubic: float
    psnr: float
    ssim_bicubic: float
    ssim: float

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return asdict(self)


def run_demo(folder: Path, *, model: str = "ecbsr", scale: int = 2, clip: Clip | None = None) -> DemoReport:
    """Make a clip, upscale it, and compare the file that comes out with the truth.

    Args:
        folder: takes ``input.mp4``, ``output.mp4`` and ``side_by_side.png``; made if it is not there, its files are
            replaced.
        model: as :class:`vsr.Upscaler` takes it.
        scale: likewise.
        clip: what to show.

    Raises:
        SinkError: the folder cannot be made.
    """
    bicubic = Upscaler("bicubic", scale=scale)
    clip = clip or _clip(scale)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"the folder {folder} cannot be made: {error.strerror}; choose another with -o") from error
    small, large, picture = folder / "input.mp4", folder / "output.mp4", folder / "side_by_side.png"
    write_clip(small, clip, scale=scale)
    report = upscale_video(small, large, model=model, scale=scale, overwrite=True)
    scores = []
    for index, (low, high) in enumerate(zip(_frames(small), _frames(large), strict=True)):
        pair = (bicubic.luma(low.planes[0].astype(np.uint8)), high.planes[0].astype(np.uint8))
        truth = luma(clip.truth(index))
        scores.append([measure(plane, truth, border=scale) for measure in (psnr, ssim) for plane in pair])
        if index == _SHOWN_FRAME:
            notes = [f"{score:.2f} dB" for score in scores[-1][:2]]
            _side_by_side(low, high, bicubic, clip.truth(index), names=("bicubic", model), notes=notes).save(picture)
    psnr_bicubic, psnr_model, ssim_bicubic, ssim_model = np.mean(scores, axis=0).tolist()
    return DemoReport(
        input=str(small),
        output=str(large),
        picture=str(picture),
        model=model,
        scale=scale,
        frames=report.frames_out,
        fps=report.fps,
        psnr_bicubic=psnr_bicubic,
        psnr=psnr_model,
        ssim_bicubic=ssim_bicubic,
        ssim=ssim_model,
    )


def _clip(scale: int) -> Clip:
    """The usual clip, of a size that is ``scale`` times that of a picture with even sides, as H.264 wants them."""
    usual, step = Clip(), 2 * scale
    return Clip(width=usual.width // step * step, height=usual.height // step * step)


def _frames(path: Path) -> Iterator[Frame]:
    with open_source(path) as source:
        yield from source


def _side_by_side(
    low: Frame, high: Frame, bicubic: Upscaler, truth: Rgb, *, names: tuple[str, str], notes: list[str]
) -> Image.Image:
    """The most telling crop of a frame as it came in, as bicubic and the network made it, and as it should be."""
    small, large = (frame.owner.to_ndarray(format="rgb24") for frame in (low, high))
    made = zip(names, notes, (bicubic(small), large), strict=True)
    tiles = [("input", "", small), *made, ("truth", "", truth)]
    return contact_sheet([Tile(name, note, _crop(pixels)) for name, note, pixels in tiles])


def _crop(pixels: Rgb) -> Rgb:
    rows, columns = pixels.shape[:2]
    left, top, right, bottom = _CROP
    return pixels[int(top * rows) : int(bottom * rows), int(left * columns) : int(right * columns)]
