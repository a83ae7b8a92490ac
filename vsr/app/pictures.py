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

_NAME_SIZE = 21
_NOTE_SIZE = 16
_LINE = 1.3
_MARGIN = 16
_TILE_WIDTH = 384
_ROW_OF = 4
_OUTLINE = (255, 221, 0)


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


def comparison_sheet(
    whole: Tile, outline: tuple[int, int, int, int], tiles: Sequence[Tile], *, columns: int | None = None
) -> Image.Image:
    """A whole picture with an outline of a part at left, and that part as several made it at right.

    Args:
        whole: the picture; its note may have several lines.
        outline: left, top, width and height of the part, in its pixels.
        tiles: the part, all of one size; each pixel is enlarged by a whole number without smoothing.
        columns: how many stand in a row; None for one or two rows.
    """
    columns = columns or (len(tiles) if len(tiles) <= _ROW_OF else -(-len(tiles) // 2))
    rows = -(-len(tiles) // columns)
    zoom = max(1, _TILE_WIDTH // tiles[0].pixels.shape[1])
    width, height = tiles[0].pixels.shape[1] * zoom, tiles[0].pixels.shape[0] * zoom
    # Text gets room where crops are tall and narrow.
    band = _band(max(tile.note.count("\n") for tile in tiles))
    cell = max(width, _TILE_WIDTH * 2 // 3), height + band
    inner = rows * cell[1] + (rows - 1) * _MARGIN
    picture = _fitted(whole.pixels, (2 * cell[0] + _MARGIN, inner - band))
    _draw_outline(picture, outline, picture.width / whole.pixels.shape[1])
    left = max(picture.width, cell[0])
    tall = max(inner, picture.height + _band(whole.note.count("\n")))
    sheet = Image.new("RGB", (left + columns * (cell[0] + _MARGIN) + 2 * _MARGIN, tall + 2 * _MARGIN), "white")
    sheet.paste(picture, (_MARGIN, _MARGIN))
    _write(sheet, whole, (_MARGIN, _MARGIN + picture.height), left)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        corner = 2 * _MARGIN + left + column * (cell[0] + _MARGIN), _MARGIN + row * (cell[1] + _MARGIN)
        crop = Image.fromarray(tile.pixels).convert("RGB").resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(crop, corner)
        _write(sheet, tile, (corner[0], corner[1] + height), cell[0])
    return sheet


def _band(breaks: int) -> int:
    """The height of a name and a note with so many line breaks."""
    return round(_NAME_SIZE * _LINE + (breaks + 1) * _NOTE_SIZE * _LINE) + _GAP


def _fitted(pixels: npt.NDArray[np.uint8], room: tuple[int, int]) -> Image.Image:
    """The picture as large as there is room for; smoothly, as it is there for orientation."""
    image = Image.fromarray(pixels).convert("RGB")
    factor = min(room[0] / image.width, room[1] / image.height)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(size, Image.Resampling.LANCZOS)


def _draw_outline(picture: Image.Image, box: tuple[int, int, int, int], factor: float) -> None:
    left, top, width, height = (value * factor for value in box)
    edges = [round(value) for value in (left, top, left + width, top + height)]
    draw = ImageDraw.Draw(picture)
    # Dark around bright is seen on any picture.
    for reach, colour in ((3, "black"), (2, _OUTLINE), (1, _OUTLINE), (0, "black")):
        draw.rectangle((edges[0] - reach, edges[1] - reach, edges[2] + reach, edges[3] + reach), outline=colour)


def _write(sheet: Image.Image, tile: Tile, corner: tuple[int, int], width: int) -> None:
    """Name and note below a picture whose lower left corner is given."""
    draw = ImageDraw.Draw(sheet)
    name_font, note_font = ImageFont.load_default(size=_NAME_SIZE), ImageFont.load_default(size=_NOTE_SIZE)
    name = tile.name
    while len(name) > 4 and draw.textlength(name, font=name_font) > width:
        name = f"{name[:-4]}..."
    left, top = corner
    draw.text((left, top + _GAP), name, fill="black", font=name_font)
    top += _GAP + round(_NAME_SIZE * _LINE)
    for number, line in enumerate(tile.note.split("\n")):
        draw.text((left, top + round(number * _NOTE_SIZE * _LINE)), line, fill=(64, 64, 64), font=note_font)


def _enlarged(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels).convert("RGB")
    return image.resize((round(image.width * _SIDE / image.height), _SIDE), Image.Resampling.NEAREST)
