"""Crops side by side with their names, for people to judge by eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_SIDE = 360
_BAND = 44
_GAP = 6


@dataclass(frozen=True, slots=True)
class Tile:
    """One crop: its name, a second line (a score, say), and uint8 H×W or H×W×3 pixels."""

    name: str
    note: str
    pixels: npt.NDArray[np.uint8]


def contact_sheet(tiles: Sequence[Tile]) -> Image.Image:
    """The crops in a row at one height, each pixel enlarged without smoothing, names beneath."""
    pictures = [_enlarged(tile.pixels) for tile in tiles]
    width = sum(picture.width for picture in pictures) + _GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, _SIDE + _BAND), "white")
    draw = ImageDraw.Draw(sheet)
    left = 0
    for tile, picture in zip(tiles, pictures, strict=True):
        sheet.paste(picture, (left, 0))
        text = "\n".join(line for line in (tile.name, tile.note) if line)
        font = ImageFont.load_default(size=15)
        draw.multiline_text((left + 4, _SIDE + 4), text, fill="black", font=font, spacing=2)
        left += picture.width + _GAP
    return sheet


def _enlarged(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels).convert("RGB")
    return image.resize((round(image.width * _SIDE / image.height), _SIDE), Image.Resampling.NEAREST)
