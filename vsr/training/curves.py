"""``python -m vsr.training.curves RUN… -o curves.svg``: validation PSNR and loss of runs over steps, as a picture.

The picture follows a reader's light or dark page, and needs nothing but a browser.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from vsr.errors import DataError, VsrError
from vsr.training.checkpoints import HISTORY

# Hues that keep apart on white, on black, and for most colour-blind eyes.
_HUES = ("#3b82c4", "#d9822b", "#2f9e72", "#c2559d", "#8a7a22", "#7c6bd0", "#c94f4f", "#4aa3b8")
_WIDTH, _PANEL, _LEFT, _RIGHT, _GAP = 760, 230, 62, 16, 44
_SHOWN_DB = 2.5
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #444 }
.title { font-weight: 600 }
.grid { stroke: #8884; stroke-width: 1 }
path { fill: none; stroke-width: 1.8; stroke-linejoin: round }
@media (prefers-color-scheme: dark) { text { fill: #bbb } }
"""


@dataclass(frozen=True, slots=True)
class Curve:
    """One run: its name, and the rows of its history."""

    name: str
    rows: Sequence[dict[str, float]]

    def points(self, column: str) -> list[tuple[float, float]]:
        """(step, value) of each row that has one."""
        return [(row["step"], row[column]) for row in self.rows if math.isfinite(row.get(column, math.nan))]


def read_curve(run: Path) -> Curve:
    """The history of a run, by its folder or its ``history.jsonl``.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = run / HISTORY if run.is_dir() else run
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"cannot read the history {path}: {error}; give the folder of a run") from error
    if not rows or not all(isinstance(row, dict) and "step" in row for row in rows):
        raise DataError(f"{path} holds no epoch yet; let the run reach its first")
    return Curve(path.parent.name, rows)


def draw(curves: Sequence[Curve]) -> str:
    """An SVG of two panels: validation PSNR in dB, and the training loss on a logarithmic scale."""
    height = 2 * (_PANEL + _GAP) + 22 * len(curves) + 8
    body = [
        *_panel(curves, "psnr", "validation PSNR, dB", top=_GAP - 14, log=False),
        *_panel(
            curves,
            "loss",
            "training loss (it jumps where the recipe changes to its final loss)",
            top=_PANEL + 2 * _GAP - 14,
            log=True,
        ),
        *_legend(curves, top=2 * (_PANEL + _GAP) + 12),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">\n'
        f"<style>{_STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )


def _panel(curves: Sequence[Curve], column: str, title: str, *, top: int, log: bool) -> Iterator[str]:
    lines = [curve.points(column) for curve in curves]
    if log:
        lines = [[(step, math.log10(value)) for step, value in line if value > 0] for line in lines]
    values = sorted(value for line in lines for _, value in line)
    tops = [max(value for _, value in line) for line in lines if line]
    yield f'<text class="title" x="{_LEFT}" y="{top - 8}">{title}</text>'
    if not values:
        return
    # The first epochs of a run lie far below what is of interest.
    low = values[0] if log else max(values[0], min(tops) - _SHOWN_DB)
    high, last = max(values[-1], low + 1e-6), max(step for line in lines for step, _ in line)
    inner = _WIDTH - _LEFT - _RIGHT

    def at(step: float, value: float) -> tuple[float, float]:
        share = (max(value, low) - low) / (high - low)
        return round(_LEFT + inner * step / last, 1), round(top + _PANEL * (1 - share), 1)

    for value in _log_ticks(low, high) if log else _ticks(low, high):
        y = at(0, value)[1]
        label = f"{10**value:.1g}" if log else f"{value:.4g}"
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{label}</text>'
    for step in _ticks(0, last):
        yield f'<text x="{at(step, low)[0]}" y="{top + _PANEL + 18}" text-anchor="middle">{step:,.0f}</text>'
    for number, line in enumerate(lines):
        if line:
            way = "L".join("{} {}".format(*at(*point)) for point in line)
            yield f'<path stroke="{_HUES[number % len(_HUES)]}" d="M{way}"/>'


def _legend(curves: Sequence[Curve], *, top: int) -> Iterator[str]:
    for number, curve in enumerate(curves):
        y = top + 22 * number
        points = curve.points("psnr")
        best = f", best {max(value for _, value in points):.2f} dB" if points else ""
        yield f'<path stroke="{_HUES[number % len(_HUES)]}" d="M{_LEFT} {y}h24"/>'
        yield f'<text x="{_LEFT + 32}" y="{y + 4}">{escape(curve.name)}{best}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range, about five of them."""
    rough = (high - low) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Logarithms of 1, 2 and 5 times powers of ten, within a range of logarithms."""
    powers = range(math.floor(low), math.ceil(high))
    ticks = [power + math.log10(factor) for power in powers for factor in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the picture."""
    parser = argparse.ArgumentParser("python -m vsr.training.curves", description="Curves of training runs, as SVG.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or its history.jsonl")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the SVG to write")
    chosen = parser.parse_args(arguments)
    try:
        picture = draw([read_curve(run) for run in chosen.runs])
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(picture, encoding="utf-8")
    except (VsrError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
