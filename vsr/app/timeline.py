"""A picture of what every thread did when: one lane for each, a bar for each piece of work."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _LEFT, _RIGHT, _LANE, _BAR, _TOP, _FOOT = 980, 150, 14, 30, 20, 34, 26
# Hues that keep apart on white, on black, and for most colour-blind eyes; waiting is no work, and hardly drawn.
_HUES = {
    "decode": "#3b82c4",
    "enhance": "#8a7a22",
    "network": "#2f9e72",
    "interpolation": "#c2559d",
    "encode": "#d9822b",
}
_OTHER, _WAITING = "#7c6bd0", "#8883"
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #444 }
.grid { stroke: #8884; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #bbb } }
"""


class Span(NamedTuple):
    """A piece of work: its name, who did it, and when in seconds."""

    name: str
    lane: str
    since: float
    until: float


def draw(spans: Sequence[Span], *, seconds: float) -> str:
    """An SVG of the middle of a run.

    Args:
        spans: of the run.
        seconds: how much of it to show.
    """
    lanes = {name: row for row, name in enumerate(sorted({span.lane for span in spans}))}
    begun = min((span.since for span in spans), default=0.0)
    ended = max((span.until for span in spans), default=0.0)
    start = max(begun, (begun + ended - seconds) / 2)
    shown = min(seconds, ended - start) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / shown
    height = _TOP + _LANE * len(lanes) + _FOOT
    body = [f'<text x="6" y="{_TOP + _LANE * row + 15}">{escape(name)}</text>' for name, row in lanes.items()]
    body += _axis(shown, scale, height)
    for span in spans:
        left, right = max(span.since, start), min(span.until, start + shown)
        if right > left:
            x, wide = _LEFT + (left - start) * scale, max(0.5, (right - left) * scale)
            body.append(
                f'<rect x="{x:.1f}" y="{_TOP + _LANE * lanes[span.lane]}" width="{wide:.1f}" height="{_BAR}" rx="2" '
                f'fill="{_hue(span.name)}"><title>{escape(span.name)}</title></rect>'
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">\n'
        f"<style>{_STYLE}</style>\n" + "\n".join([*_legend(spans), *body]) + "\n</svg>\n"
    )


def _axis(shown: float, scale: float, height: int) -> list[str]:
    lines = []
    for step in range(6):
        x = _LEFT + shown * scale * step / 5
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{height - _FOOT}"/>')
        lines.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{1000 * shown * step / 5:.0f} ms</text>')
    return lines


def _legend(spans: Sequence[Span]) -> list[str]:
    names = [name for name in _HUES if any(span.name == name for span in spans)]
    places = [(name, _LEFT + 130 * index) for index, name in enumerate(names)]
    return [
        f'<rect x="{x}" y="8" width="12" height="12" rx="2" fill="{_hue(name)}"/>'
        f'<text x="{x + 18}" y="18">{name}</text>'
        for name, x in places
    ]


def _hue(name: str) -> str:
    return _WAITING if name.startswith("wait") else _HUES.get(name, _OTHER)
