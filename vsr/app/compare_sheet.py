"""A comparison as a picture."""

from __future__ import annotations

from PIL import Image

from vsr.app.compare import Comparison, Result
from vsr.app.pictures import Tile, comparison_sheet


def sheet(comparison: Comparison, *, title: str) -> Image.Image:
    """The whole picture with the part outlined, and that part by each network."""
    # The letters that Pillow brings have no multiplication sign.
    size, low = (f"{columns}x{rows}" for rows, columns in (comparison.whole.shape[:2], comparison.low))
    if comparison.truth:
        lines = [f"{size}, shrunk to {low} and enlarged x{comparison.scale} again"]
        lines.append("dB, SSIM: luma of the whole picture, more is better")
    else:
        lines = [f"{size}, enlarged x{comparison.scale}; there is no truth to measure by"]
    if any(result.niqe is not None for result in comparison.results):
        lines.append("NIQE: how unnatural it looks, less is better")
    tiles = [
        Tile(result.name, "\n".join(figures(result)), crop)
        for result, crop in zip(comparison.results, comparison.crops(), strict=True)
    ]
    box = comparison.box
    outline = (box.left, box.top, box.width, box.height)
    return comparison_sheet(Tile(title, "\n".join(lines), comparison.whole), outline, tiles)


def figures(result: Result) -> list[str]:
    """What was measured of it, in lines."""
    lines = []
    if result.psnr is not None and result.ssim is not None:
        lines.append(f"{result.psnr:.2f} dB   SSIM {result.ssim:.4f}")
    if result.niqe is not None:
        lines.append(f"NIQE {result.niqe:.2f}")
    return lines
